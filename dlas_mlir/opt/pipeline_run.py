"""Running a checked pipeline on one pass manager, so that printing and timing cover all passes alike."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from iree.compiler import ir
from iree.compiler.passmanager import PassManager

from dlas_mlir.errors import DlasError
from dlas_mlir.opt.base import Pass, PassError
from dlas_mlir.opt.diagnostics import Diagnostic, from_mlir, render
from dlas_mlir.opt.pipeline_elements import Element, Nest, PythonPass, names

ROOT = "builtin.module"


class PassFailure(DlasError):
    """A pass failed. `diagnostics` is what it said; empty when a handler on the context was told already."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__("\n".join(map(render, diagnostics)) or "the pass pipeline failed")
        self.diagnostics = diagnostics


@dataclass(frozen=True)
class Printing:
    """Which IR is printed to standard error while a pipeline runs, and how: the `--mlir-print-ir-*` flags."""

    before: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    before_all: bool = False
    after_all: bool = False
    after_change: bool = False
    after_failure: bool = False
    module_scope: bool = False
    tree_dir: str | None = None
    elements_limit: int | None = None
    resource_limit: int | None = None
    debug_info: bool = False
    generic: bool = False

    @property
    def by_pass_manager(self) -> bool:
        """Whether MLIR's own printing does it."""
        return self.before_all or self.after_all or self.after_change or self.after_failure or bool(self.tree_dir)


@dataclass(frozen=True)
class RunConfig:
    """How a pipeline runs."""

    verify_each: bool = True
    timing: bool = False
    statistics: bool = False
    printing: Printing = field(default_factory=Printing)


def run(elements: tuple[Element, ...], module: ir.Module, config: RunConfig) -> None:
    """Run `elements` on `module` in place. Raises PassFailure."""
    # The callbacks must not hold the manager: it prints its times when it goes, at the end of this function.
    manager = PassManager(ROOT, context=module.context)
    interrupts: list[BaseException] = []
    chosen = config.printing.before | config.printing.after
    for element in elements:
        for part in _isolated(element, chosen):
            _add(manager, part, module, config.printing, interrupts)
    _configure(manager, module, config)
    try:
        manager.run(module.operation)
    except ir.MLIRError as failure:
        if interrupts:
            raise interrupts[0] from None
        raise PassFailure(tuple(map(from_mlir, failure.error_diagnostics))) from None


def _isolated(element: Element, chosen: frozenset[str]) -> Iterator[Element]:
    """`element` cut so that each of the `chosen` passes in a nest stands alone, to be printed around."""
    if isinstance(element, Nest) and chosen & set(names((element,))):
        for child in element.children:
            for part in _isolated(child, chosen):
                assert not isinstance(part, PythonPass)
                yield Nest(element.anchor, (part,))
    else:
        yield element


def _add(
    manager: PassManager,
    element: Element,
    module: ir.Module,
    printing: Printing,
    interrupts: list[BaseException],
) -> None:
    inside = set(names((element,)))
    for name in sorted(inside & printing.before):
        _add_print(manager, "Before", name, printing)
    if isinstance(element, PythonPass):
        callback = _guarded(element.instance, module, interrupts)
        manager.add(callback, name=type(element.instance).__name__, argument=element.name)
    else:
        manager.add(str(element))
    for name in sorted(inside & printing.after):
        _add_print(manager, "After", name, printing)


def _configure(manager: PassManager, module: ir.Module, config: RunConfig) -> None:
    printing = config.printing
    manager.enable_verifier(config.verify_each)
    if printing.by_pass_manager:
        # MLIR insists: IR is printed from one thread only.
        module.context.enable_multithreading(False)
        manager.enable_ir_printing(
            print_before_all=printing.before_all,
            # The other three only narrow this one down.
            print_after_all=printing.after_all
            or printing.after_change
            or printing.after_failure
            or printing.tree_dir is not None,
            print_module_scope=printing.module_scope,
            print_after_change=printing.after_change,
            print_after_failure=printing.after_failure,
            large_elements_limit=printing.elements_limit,
            large_resource_limit=printing.resource_limit,
            enable_debug_info=printing.debug_info,
            print_generic_op_form=printing.generic,
            tree_printing_dir_path=printing.tree_dir,
        )
    if config.timing:
        manager.enable_timing()
    if config.statistics:
        manager.enable_statistics()


def _guarded(instance: Pass, module: ir.Module, interrupts: list[BaseException]) -> Callable[[ir.Operation, Any], None]:
    """`instance` as a callback. No exception may unwind through the pass manager's C++ frames."""

    def call(op: ir.Operation, handle: Any) -> None:
        try:
            with module.context, ir.Location.unknown():
                instance.run(module)
            return
        except PassError as error:
            location = error.op.location if error.op is not None else op.location
            location.emit_error(error.message)
        except ir.MLIRError as error:
            for info in error.error_diagnostics:
                info.location.emit_error(info.message)
            if not error.error_diagnostics:
                op.location.emit_error(f"{instance.name}: {error}")
        except Exception as error:
            # A bug of the pass: told like any error, and never as a bare traceback.
            if os.environ.get("DLAS_TRACEBACK"):
                traceback.print_exc()
            message = f"{type(error).__name__}: {error}"
            op.location.emit_error(f"{instance.name} broke: {message} (a bug; DLAS_TRACEBACK=1 shows where)")
        except BaseException as error:
            interrupts.append(error)
        handle.signal_pass_failure()

    return call


def _add_print(manager: PassManager, when: str, name: str, printing: Printing) -> None:
    def call(op: ir.Operation, _: Any) -> None:
        text = op.get_asm(
            large_elements_limit=printing.elements_limit,
            large_resource_limit=printing.resource_limit,
            enable_debug_info=printing.debug_info,
            print_generic_op_form=printing.generic,
        )
        print(f"// -----// IR Dump {when} {name} //----- //\n{text}\n", file=sys.stderr)

    manager.add(call, name=f"Print{when}", argument=f"print-ir-{when.lower()}-{name}")
