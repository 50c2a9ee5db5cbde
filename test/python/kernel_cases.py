"""Small functions in linalg whose results NumPy tells, and the machinery that compiles all of them at once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.driver import compile_imported
from dlas_mlir.compiler.importer import Imported
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session

Arrays = tuple[np.ndarray, ...]
_DTYPES = {"f32": np.float32, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}


@dataclass(frozen=True)
class Case:
    """`text` is the function, called @NAME in it; `inputs` are the shapes and types of its arguments (`2x40xf32`);
    `expected` computes what it returns. `kernels`: how many of ours it becomes."""

    name: str
    text: str
    inputs: tuple[str, ...]
    expected: Callable[..., np.ndarray | Arrays]
    kernels: int = 1

    def arrays(self) -> list[np.ndarray]:
        """Random inputs, the same each time."""
        random = np.random.default_rng(len(self.name))
        return [_random(random, text) for text in self.inputs]


def _random(random: np.random.Generator, text: str) -> np.ndarray:
    *shape, kind = text.split("x")
    sizes = tuple(map(int, shape))
    if kind.startswith("f"):
        return random.standard_normal(sizes).astype(_DTYPES[kind])
    return random.integers(-100, 100, sizes).astype(_DTYPES[kind])


def tensor(shape: Sequence[int], kind: str = "f32") -> str:
    """The text of a tensor type."""
    return f"tensor<{'x'.join([*map(str, shape), kind])}>"


def read_case(name: str, source: tuple[int, ...], map_: str, result: tuple[int, ...]) -> Case:
    """y[d0, d1, ...] = -x[map]."""
    dims = ", ".join(f"d{i}" for i in range(len(result)))
    kinds = ", ".join(['"parallel"'] * len(result))
    x, y = tensor(source), tensor(result)
    text = f"""
  func.func @NAME(%x: {x}) -> {y} {{
    %e = tensor.empty() : {y}
    %c = linalg.generic {{indexing_maps = [affine_map<({dims}) -> ({map_})>, affine_map<({dims}) -> ({dims})>],
        iterator_types = [{kinds}]}} ins(%x : {x}) outs(%e : {y}) {{
    ^bb0(%a: f32, %o: f32):
      %s = arith.negf %a : f32
      linalg.yield %s : f32
    }} -> {y}
    return %c : {y}
  }}"""

    def expected(x: np.ndarray) -> np.ndarray:
        places = {f"d{i}": index for i, index in enumerate(np.indices(result))}
        python = re.sub(r"ceildiv (\d+)", r"// -\1 * -1", map_.replace("floordiv", "//").replace("mod", "%"))
        at = eval(f"[{python}]", places)
        return -x[tuple(np.broadcast_to(index, result) for index in at)]

    return Case(name, text, (x[7:-1],), expected)


def run_cases(cases: Sequence[Case], folder: Path, target: str = "x86-64-avx512") -> dict[str, list[np.ndarray]]:
    """What each case returns with the kernels of `target`, compiled for this machine. All of them are one module, and
    have as many kernels as they say."""
    assert len({case.name for case in cases}) == len(cases)
    path = folder / "cases.mlir"
    path.write_text("module {" + "".join(case.text.replace("@NAME", f"@{case.name}") for case in cases) + "\n}\n")
    preset = load_preset(f"{target}/auto")
    flags = tuple(flag for flag in preset.iree_flags if not flag.startswith("--iree-llvmcpu-target-"))
    preset = dataclasses.replace(preset, iree_flags=(*flags, "--iree-llvmcpu-target-cpu=host"))
    lowered = folder / "kernels.mlir"
    imported = Imported("cases", file_digest(path), path, 0, 0, None)
    artifact = compile_imported(imported, preset, mlir_out=lowered)
    bodies = lowered.read_text().split("func.func ")[1:]
    made = {body[body.index("@") + 1 : body.index("(")]: body.count("flow.dispatch.workgroups(") for body in bodies}
    assert made == {case.name: case.kernels for case in cases}
    found = {}
    for case in cases:
        session = Session(artifact.vmfb, resolve("local"), function=case.name)
        found[case.name] = session(*case.arrays())
        session.close()
    return found
