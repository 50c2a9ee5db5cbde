"""An emitted kernel: its operations are translated once, then executed for all threads at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from iree.compiler import ir

from gpu_simulator import arithmetic, matrices
from gpu_simulator.memory import BUFFER, RANK, Global, Shared

# What a value is: an array with an entry for each thread, or (of a structure) a list of them.
Values = dict[int, Any]
Step = Callable[[Values, np.ndarray], None]


@dataclass
class Report:
    """What a run has seen: bytes of shared memory, and for each kind of access how often the first warp did it and how
    many cycles that took for conflicts of banks."""

    shared: int = 0
    conflicts: dict[str, list[int]] = field(default_factory=dict)


def _word(op: ir.Operation, name: str) -> str:
    """What stands in the brackets of an attribute."""
    return str(op.attributes[name]).rpartition("<")[2].rstrip(">")


def _integer(op: ir.Operation, name: str) -> int:
    return ir.IntegerAttr(op.attributes[name]).value


class Kernel:
    """The kernel of a hal.executable.source, on what it is given; what is seen goes to `report`."""

    def __init__(self, source: ir.Operation, memory: Global, report: Report) -> None:
        inner = [op.operation for op in source.regions[0].blocks[0].operations]
        export, module = inner[0], inner[1]
        self.memory, self.report = memory, report
        self.function = module.regions[0].blocks[0].operations[0].operation
        counts = export.regions[0].blocks[0].operations
        grid = list(counts)[-1].operation.operands
        self.grid = [ir.IntegerAttr(value.owner.attributes["value"]).value for value in grid]
        sizes = ir.ArrayAttr(export.attributes["workgroup_size"])
        self.threads = ir.IntegerAttr(sizes[0]).value
        attributes = self.function.attributes
        name = "nvvm.cluster_dim"
        self.cluster = list(ir.DenseI32ArrayAttr(attributes[name]))[2] if name in attributes else 1
        assert self.grid[2] % self.cluster == 0, "the grid is no multiple of the cluster"
        self.count = self.threads * self.cluster
        self.lane = np.arange(self.count)
        self.shared = Shared(0, self.cluster, self.threads)
        self.place = (0, 0, 0)
        self.slots: dict[ir.Value, int] = {}
        self.steps = self._block(self.function.regions[0].blocks[0])

    def run(self) -> None:
        """All workgroups."""
        size = self.report.shared
        for z in range(0, self.grid[2], self.cluster):
            for y in range(self.grid[1]):
                for x in range(self.grid[0]):
                    self.place = (x, y, z)
                    self.shared = Shared(size, self.cluster, self.threads, conflicts=self.report.conflicts)
                    self._execute(self.steps, {}, np.ones(self.count, bool))
                    self.shared.check_end()

    def _execute(self, steps: Sequence[Step], values: Values, mask: np.ndarray) -> None:
        for step in steps:
            step(values, mask)

    def _slot(self, value: ir.Value) -> int:
        return self.slots.setdefault(value, len(self.slots))

    def _block(self, block: ir.Block) -> list[Step]:
        return [step for op in block.operations if (step := self._step(op.operation)) is not None]

    def _step(self, op: ir.Operation) -> Step | None:
        name = op.name
        if name in ("func.return", "scf.yield"):
            return None
        method = getattr(self, "_" + name.replace(".", "_"), None)
        if method is not None:
            return method(op)
        operands = [self._slot(value) for value in op.operands]
        if name in arithmetic.BINARY:
            function, kind = arithmetic.BINARY[name], arithmetic.dtype_of(op.results[0].type)
            return self._compute(op, lambda a, b: function(a, b).astype(kind, copy=False), operands)
        if name in arithmetic.UNARY:
            unary, kind = arithmetic.UNARY[name], arithmetic.dtype_of(op.results[0].type)
            return self._compute(op, lambda a: unary(a).astype(kind, copy=False), operands)
        if name in arithmetic.CASTS:
            kind = arithmetic.dtype_of(op.results[0].type)
            return self._compute(op, lambda a: a.astype(kind), operands)
        raise AssertionError(f"the simulator does not know {name}")

    def _compute(self, op: ir.Operation, function: Callable[..., Any], operands: Sequence[int]) -> Step:
        """A step whose result is a function of its operands."""
        result = self._slot(op.results[0])

        def step(values: Values, mask: np.ndarray) -> None:
            with np.errstate(all="ignore"):
                values[result] = function(*(values[slot] for slot in operands))

        return step

    def _operands(self, op: ir.Operation) -> list[int]:
        return [self._slot(value) for value in op.operands]

    # arith, vector, llvm: values.

    def _arith_constant(self, op: ir.Operation) -> Step:
        kind, attribute = op.results[0].type, op.attributes["value"]
        number = ir.FloatAttr(attribute).value if isinstance(kind, ir.FloatType) else ir.IntegerAttr(attribute).value
        array = np.full(self.count, number, arithmetic.dtype_of(kind))
        return self._compute(op, lambda: array, [])

    def _arith_cmpi(self, op: ir.Operation) -> Step:
        predicate = _integer(op, "predicate")
        return self._compute(op, lambda a, b: arithmetic.compare_integers(predicate, a, b), self._operands(op))

    def _arith_cmpf(self, op: ir.Operation) -> Step:
        predicate = _integer(op, "predicate")
        return self._compute(op, lambda a, b: arithmetic.compare_floats(predicate, a, b), self._operands(op))

    def _arith_select(self, op: ir.Operation) -> Step:
        return self._compute(op, lambda c, a, b: np.where(c, a, b), self._operands(op))

    def _arith_bitcast(self, op: ir.Operation) -> Step:
        kind = arithmetic.dtype_of(op.results[0].type)
        return self._compute(op, lambda value: np.ascontiguousarray(value).view(kind), self._operands(op))

    def _math_fma(self, op: ir.Operation) -> Step:
        return self._compute(op, arithmetic.multiplied_and_added, self._operands(op))

    def _vector_from_elements(self, op: ir.Operation) -> Step:
        return self._compute(op, lambda *elements: np.stack(elements, 1), self._operands(op))

    def _vector_extract(self, op: ir.Operation) -> Step:
        (place,) = ir.DenseI64ArrayAttr(op.attributes["static_position"])
        return self._compute(op, lambda vector: vector[:, place], self._operands(op))

    def _llvm_extractvalue(self, op: ir.Operation) -> Step:
        (place,) = ir.DenseI64ArrayAttr(op.attributes["position"])
        return self._compute(op, lambda struct: struct[place], self._operands(op))

    def _llvm_bitcast(self, op: ir.Operation) -> Step:
        kind = op.results[0].type
        return self._compute(
            op, lambda value: arithmetic.from_bits(arithmetic.to_bits(value), kind), self._operands(op)
        )

    def _llvm_mlir_zero(self, op: ir.Operation) -> Step:
        text = str(op.results[0].type)
        kind, count = (np.int32 if "i32" in text else np.float32), text.count(",") + 1
        return self._compute(op, lambda: [np.zeros(self.count, kind) for _ in range(count)], [])

    # Where a thread is.

    def _gpu_thread_id(self, op: ir.Operation) -> Step:
        return self._compute(op, lambda: self.lane % self.threads, [])

    def _hal_interface_workgroup_id(self, op: ir.Operation) -> Step:
        dimension = _integer(op, "dimension")
        own = self.lane // self.threads if dimension == 2 else 0 * self.lane
        return self._compute(op, lambda: own + self.place[dimension], [])

    def _nvvm_shfl_sync(self, op: ir.Operation) -> Step:
        first = self.lane // 32 * 32
        return self._compute(op, lambda mask, value, offset, clamp: value[first + offset], self._operands(op))

    # Pointers.

    def _hal_interface_binding_subspan(self, op: ir.Operation) -> Step:
        number = _integer(op, "binding")
        return self._compute(op, lambda *_: np.full(self.count, number << BUFFER, np.int64), self._operands(op))

    def _memref_alloc(self, op: ir.Operation) -> Step:
        self.report.shared = ir.MemRefType(op.results[0].type).shape[0]
        # Shared memory begins anywhere that is a multiple of sixteen.
        return self._compute(op, lambda: np.full(self.count, 16, np.int64), [])

    def _memref_extract_aligned_pointer_as_index(self, op: ir.Operation) -> Step:
        return self._compute(op, lambda memref: memref, self._operands(op))

    def _llvm_inttoptr(self, op: ir.Operation) -> Step:
        return self._compute(op, lambda value: value.astype(np.int64), self._operands(op))

    def _llvm_ptrtoint(self, op: ir.Operation) -> Step:
        return self._compute(op, lambda value: value.astype(np.int32), self._operands(op))

    def _llvm_getelementptr(self, op: ir.Operation) -> Step:
        (constant,) = ir.DenseI32ArrayAttr(op.attributes["rawConstantIndices"])
        if constant == -(2**31):
            return self._compute(op, lambda base, offset: base + offset.astype(np.int64), self._operands(op))
        return self._compute(op, lambda base: base + constant, self._operands(op))

    def _nvvm_mapa(self, op: ir.Operation) -> Step:
        own = (1 << RANK) - 1
        return self._compute(
            op, lambda base, rank: (base & own) + ((rank.astype(np.int64) + 1) << RANK), self._operands(op)
        )

    # Memory.

    def _llvm_load(self, op: ir.Operation) -> Step:
        kind, result, (pointer,) = op.results[0].type, self._slot(op.results[0]), self._operands(op)
        count = np.dtype(arithmetic.dtype_of(kind)).itemsize * max(1, arithmetic.lanes_of(kind))
        is_global = "<1>" in str(op.operands[0].type)

        def step(values: Values, mask: np.ndarray) -> None:
            content = np.zeros((self.count, count), np.uint8)
            if mask.any():
                places = values[pointer][mask]
                if is_global:
                    content[mask] = self.memory.load(places, count)
                else:
                    content[mask] = self.shared.load(places, self.lane[mask], count, "ld.shared")
            values[result] = arithmetic.from_bits(content, kind)

        return step

    def _llvm_store(self, op: ir.Operation) -> Step:
        value, pointer = self._operands(op)
        is_global = "<1>" in str(op.operands[1].type)

        def step(values: Values, mask: np.ndarray) -> None:
            if not mask.any():
                return
            content, places = arithmetic.to_bits(values[value])[mask], values[pointer][mask]
            if is_global:
                self.memory.store(places, content)
            else:
                self.shared.store(places, self.lane[mask], content, "st.shared")

        return step

    def _nvvm_cp_async_shared_global(self, op: ir.Operation) -> Step:
        slots, size = self._operands(op), _integer(op, "size")

        def step(values: Values, mask: np.ndarray) -> None:
            target, source = values[slots[0]], values[slots[1]]
            count = values[slots[2]] if len(slots) > 2 else np.full(self.count, size)
            assert np.isin(count[mask], (0, size)).all(), "cp.async of a part"
            content, full = np.zeros((self.count, size), np.uint8), mask & (count > 0)
            if full.any():
                content[full] = self.memory.load(source[full], size)
            if mask.any():
                self.shared.copy(target[mask], self.lane[mask], content[mask])

        return step

    def _nvvm_cp_async_commit_group(self, op: ir.Operation) -> Step:
        return lambda values, mask: self.shared.commit(self._ranks(mask))

    def _nvvm_cp_async_wait_group(self, op: ir.Operation) -> Step:
        left = _integer(op, "n")
        return lambda values, mask: self.shared.wait(self._ranks(mask), left)

    def _ranks(self, mask: np.ndarray) -> np.ndarray:
        """The workgroups of which all threads are there. Those of which some are do what they must not."""
        each = mask.reshape(self.cluster, self.threads)
        assert (each.all(1) == each.any(1)).all(), "a barrier, or a wait, that not all threads of a workgroup reach"
        return np.flatnonzero(each.any(1))

    def _whole(self, action: Callable[[], None]) -> Step:
        def step(values: Values, mask: np.ndarray) -> None:
            assert mask.all(), "a barrier that not all threads of the cluster reach"
            action()

        return step

    def _nvvm_barrier(self, op: ir.Operation) -> Step:
        return lambda values, mask: self.shared.barrier(self._ranks(mask))

    def _nvvm_cluster_arrive(self, op: ir.Operation) -> Step:
        return self._whole(lambda: None)

    _nvvm_cluster_arrive_relaxed = _nvvm_cluster_arrive

    def _nvvm_cluster_wait(self, op: ir.Operation) -> Step:
        return self._whole(lambda: self.shared.cluster_barrier())

    def _nvvm_fence_proxy(self, op: ir.Operation) -> Step:
        return lambda values, mask: self.shared.fence(self.lane[mask])

    # Products.

    def _nvvm_ldmatrix(self, op: ir.Operation) -> Step:
        (pointer,), result, count = self._operands(op), self._slot(op.results[0]), _integer(op, "num")

        def step(values: Values, mask: np.ndarray) -> None:
            self._ranks(mask)
            values[result] = matrices.ldmatrix(self.shared.load(values[pointer], self.lane, 16, "ldmatrix"), count)

        return step

    def _nvvm_mma_sync(self, op: ir.Operation) -> Step:
        slots, result = self._operands(op), self._slot(op.results[0])
        ptx = _word(op, "multiplicandAPtxType"), _word(op, "multiplicandBPtxType")
        sizes = list(ir.DenseI32ArrayAttr(op.attributes["operandSegmentSizes"]))

        def step(values: Values, mask: np.ndarray) -> None:
            given = [values[slot] for slot in slots]
            a, b, c = given[: sizes[0]], given[sizes[0] : -sizes[2]], given[-sizes[2] :]
            values[result] = matrices.mma(a, b, c, ptx)

        return step

    def _nvvm_wgmma_mma_async(self, op: ir.Operation) -> Step:
        sums, a, b = self._operands(op)
        result = self._slot(op.results[0])
        ptx = _word(op, "typeA"), _word(op, "typeB")
        n = int(str(op.attributes["shape"]).partition("n = ")[2].partition(",")[0])

        def step(values: Values, mask: np.ndarray) -> None:
            live = np.repeat(np.isin(np.arange(self.cluster), self._ranks(mask)), self.threads)
            values[result] = matrices.wgmma(self.shared, (values[a], values[b]), values[sums], n, ptx, live)

        return step

    def _nvvm_wgmma_fence_aligned(self, op: ir.Operation) -> Step:
        return lambda values, mask: None

    def _nvvm_wgmma_commit_group_sync_aligned(self, op: ir.Operation) -> Step:
        return lambda values, mask: self.shared.commit_products(self._ranks(mask))

    def _nvvm_wgmma_wait_group_sync_aligned(self, op: ir.Operation) -> Step:
        left = _integer(op, "group")
        return lambda values, mask: self.shared.wait_products(self._ranks(mask), left)

    # Control.

    def _scf_if(self, op: ir.Operation) -> Step:
        (condition,), inner = self._operands(op), self._block(op.regions[0].blocks[0])
        assert not len(op.results), "scf.if with results"

        def step(values: Values, mask: np.ndarray) -> None:
            taken = mask & values[condition]
            if taken.any():
                self._execute(inner, values, taken)

        return step

    def _scf_for(self, op: ir.Operation) -> Step:
        low, high, _, *start = self._operands(op)
        block = op.regions[0].blocks[0]
        number, *carried = [self._slot(argument) for argument in block.arguments]
        inner = self._block(block)
        yielded = [self._slot(value) for value in list(block.operations)[-1].operation.operands]
        results = [self._slot(value) for value in op.results]

        def step(values: Values, mask: np.ndarray) -> None:
            current = [values[slot] for slot in start]
            count = values[high] - values[low]
            for iteration in range(int(count.max())):
                live = mask & (iteration < count)
                values[number] = values[low] + np.int32(iteration)
                values.update(zip(carried, current, strict=True))
                self._execute(inner, values, live)
                current = [_selected(live, values[slot], before) for slot, before in zip(yielded, current, strict=True)]
            values.update(zip(results, current, strict=True))

        return step


def _selected(mask: np.ndarray, new: Any, old: Any) -> Any:
    """Entry by entry what is new where the mask holds."""
    if mask.all():
        return new
    if isinstance(new, list):
        return [_selected(mask, a, b) for a, b in zip(new, old, strict=True)]
    return np.where(mask if new.ndim == 1 else mask[:, None], new, old)
