"""Pipelines: checked before any IR is touched, then run: Python, upstream and IREE passes in one order."""

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
from dlas_mlir.ir import native, registry
from dlas_mlir.ir.base import Pass, PassError
from dlas_mlir.ir.diagnostics import Diagnostic, from_mlir, render
from dlas_mlir.ir.options import OptionSpec, closest, print_pass, specs_of
from dlas_mlir.ir.pipeline_text import NestNode, OptionNode, PassNode, PipelineError, Source, parse_text

ROOT = "builtin.module"


class PassFailure(DlasError):
    """A pass failed. `diagnostics` is what it said; empty when a handler on the context was told already."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__("\n".join(map(render, diagnostics)) or "the pass pipeline failed")
        self.diagnostics = diagnostics


@dataclass(frozen=True)
class NativePass:
    """A pass of MLIR or IREE; `options` is the text between the braces."""

    name: str
    options: str | None = None

    def __str__(self) -> str:
        return self.name if self.options is None else f"{self.name}{{{self.options}}}"


@dataclass(frozen=True)
class PythonPass:
    """A pass of the registry with its options set."""

    instance: Pass

    @property
    def name(self) -> str:
        return self.instance.name

    def __str__(self) -> str:
        return print_pass(self.instance)


@dataclass(frozen=True)
class Nest:
    """Native passes that run on every `anchor` operation."""

    anchor: str
    children: tuple[NativePass | Nest, ...]

    def __str__(self) -> str:
        return f"{self.anchor}({','.join(map(str, self.children))})"


Element = NativePass | PythonPass | Nest


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
        return (
            self.before_all
            or self.after_all
            or self.after_change
            or self.after_failure
            or bool(self.tree_dir)
        )


@dataclass(frozen=True)
class RunConfig:
    """How a pipeline runs."""

    verify_each: bool = True
    timing: bool = False
    statistics: bool = False
    printing: Printing = field(default_factory=Printing)


@dataclass(frozen=True)
class Pipeline:
    """A checked pipeline. `str()` is text that `parse_pipeline` reads back."""

    elements: tuple[Element, ...] = ()

    def __str__(self) -> str:
        return f"{ROOT}({','.join(map(str, self.elements))})"

    def __add__(self, other: Pipeline) -> Pipeline:
        return Pipeline(self.elements + other.elements)

    def pass_names(self) -> Iterator[str]:
        """The names of all passes, nested ones too, in order."""
        return _names(self.elements)

    def run(self, module: ir.Module, config: RunConfig | None = None) -> None:
        """Run on `module` in place. Raises PassFailure; the module is then valid or not, and of no use."""
        config = config or RunConfig()
        run = _Run(module, config)
        chosen = config.printing.before | config.printing.after
        for element in self.elements:
            for part in _isolated(element, chosen):
                run.add(part)
        run.go()


def _names(elements: tuple[Element, ...]) -> Iterator[str]:
    for element in elements:
        if isinstance(element, Nest):
            yield from _names(element.children)
        else:
            yield element.name


def _isolated(element: Element, chosen: frozenset[str]) -> Iterator[Element]:
    """`element` cut so that each of the `chosen` passes in a nest stands alone, to be printed around."""
    if isinstance(element, Nest) and chosen & set(_names((element,))):
        for child in element.children:
            for part in _isolated(child, chosen):
                assert not isinstance(part, PythonPass)
                yield Nest(element.anchor, (part,))
    else:
        yield element


class _Run:
    """One run over one module, on one pass manager, so that printing and timing cover all passes alike."""

    def __init__(self, module: ir.Module, config: RunConfig) -> None:
        self.module = module
        self.config = config
        self.manager = PassManager(ROOT, context=module.context)
        self.interrupt: BaseException | None = None

    def add(self, element: Element) -> None:
        printing = self.config.printing
        names = set(_names((element,)))
        for name in sorted(names & printing.before):
            self._add_print("Before", name)
        if isinstance(element, PythonPass):
            instance = element.instance
            self.manager.add(
                self._guarded(instance), name=type(instance).__name__, argument=instance.name, description=""
            )
        else:
            self.manager.add(str(element))
        for name in sorted(names & printing.after):
            self._add_print("After", name)

    def go(self) -> None:
        config, printing = self.config, self.config.printing
        self.manager.enable_verifier(config.verify_each)
        if printing.by_pass_manager:
            # MLIR insists: IR is printed from one thread only.
            self.module.context.enable_multithreading(False)
            self.manager.enable_ir_printing(
                print_before_all=printing.before_all,
                print_after_all=printing.after_all or printing.after_change or bool(printing.tree_dir),
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
            self.manager.enable_timing()
        if config.statistics:
            self.manager.enable_statistics()
        try:
            self.manager.run(self.module.operation)
        except ir.MLIRError as failure:
            if self.interrupt is not None:
                raise self.interrupt from None
            raise PassFailure(tuple(map(from_mlir, failure.error_diagnostics))) from None

    def _guarded(self, instance: Pass) -> Callable[[ir.Operation, Any], None]:
        # An exception must not unwind through the pass manager's C++ frames.
        def run(op: ir.Operation, handle: Any) -> None:
            try:
                with self.module.context, ir.Location.unknown():
                    instance.run(self.module)
            except PassError as error:
                location = error.op.location if error.op is not None else op.location
                location.emit_error(error.message)
                handle.signal_pass_failure()
            except ir.MLIRError as error:
                for info in error.error_diagnostics:
                    info.location.emit_error(info.message)
                if not error.error_diagnostics:
                    op.location.emit_error(f"{instance.name}: {error}")
                handle.signal_pass_failure()
            except Exception as error:
                # A bug of the pass: told like any error, and never as a bare traceback.
                if os.environ.get("DLAS_TRACEBACK"):
                    traceback.print_exc()
                op.location.emit_error(
                    f"{instance.name} broke: {type(error).__name__}: {error} (a bug in the pass; "
                    "DLAS_TRACEBACK=1 in the environment shows where)"
                )
                handle.signal_pass_failure()
            except BaseException as error:
                self.interrupt = error
                handle.signal_pass_failure()

        return run

    def _add_print(self, when: str, name: str) -> None:
        printing = self.config.printing

        def run(op: ir.Operation, _: Any) -> None:
            text = op.get_asm(
                large_elements_limit=printing.elements_limit,
                large_resource_limit=printing.resource_limit,
                enable_debug_info=printing.debug_info,
                print_generic_op_form=printing.generic,
            )
            print(f"// -----// IR Dump {when} {name} //----- //\n{text}\n", file=sys.stderr)

        self.manager.add(run, name=f"Print{when}", argument=f"print-ir-{when.lower()}-{name}")


def parse_pipeline(text: str | Source, context: ir.Context | None = None) -> Pipeline:
    """The checked pipeline that `text` describes: `builtin.module(...)`, or the elements alone.

    Every pass is looked up and every option parsed. Raises PipelineError with the place and a caret.
    """
    source = text if isinstance(text, Source) else Source(text)
    nodes = parse_text(source)
    if len(nodes) == 1 and isinstance(nodes[0], NestNode) and nodes[0].anchor in (ROOT, "any"):
        nodes = nodes[0].children
    with context or ir.Context.current or ir.Context():
        checker = _Checker(source)
        return Pipeline(tuple(checker.element(node) for node in nodes))


class _Checker:
    """Turns the tree of a text into passes."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def element(self, node: PassNode | NestNode) -> Element:
        if isinstance(node, PassNode):
            return self.python(node) if registry.find(node.name) else self.native(node)
        return self.nest(node)

    def nest(self, node: NestNode) -> Nest:
        if "." not in node.anchor and node.anchor != "any":
            raise self.error(
                f"expected an operation such as `func.func` before `(`, found `{node.anchor}`", node
            )
        return Nest(node.anchor, tuple(self.nested(child, node.anchor) for child in node.children))

    def nested(self, node: PassNode | NestNode, anchor: str) -> NativePass | Nest:
        if isinstance(node, NestNode):
            return self.nest(node)
        if registry.find(node.name):
            raise self.error(f"`{node.name}` runs on the module: move it out of `{anchor}(...)`", node)
        return self.native(node)

    def native(self, node: PassNode) -> NativePass:
        if complaint := native.complaint(node.name, node.text):
            if native.complaint(node.name, None):
                known = [*registry.all_pass_names(), *native.known_passes()]
                raise self.error(complaint + closest(node.name, known), node)
            raise self._native_option_error(node, complaint)
        return NativePass(node.name, node.text)

    def _native_option_error(self, node: PassNode, complaint: str) -> PipelineError:
        known = native.known_passes().get(node.name, ())
        for option in node.options:
            one = f"{option.key}={option.value}"
            if (alone := native.complaint(node.name, one)) is None:
                continue
            if alone.startswith("no such option"):
                message = f"`{node.name}` has no option `{option.key}`{closest(option.key, known)}"
                return PipelineError(message, self.source, option.key_at, len(option.key))
            return PipelineError(f"`{node.name}`: {alone}", self.source, option.value_at, len(option.value))
        return self.error(f"`{node.name}`: {complaint}", node)

    def python(self, node: PassNode) -> PythonPass:
        try:
            cls = registry.pass_class(node.name)
        except registry.RegistryError as error:
            raise self.error(str(error), node) from error
        specs = {spec.name: spec for spec in specs_of(cls)}
        values: dict[str, Any] = {}
        for option in node.options:
            spec = specs.get(option.key)
            if spec is None:
                hint = closest(option.key, specs) or (
                    f"; it has {', '.join(f'`{name}`' for name in specs)}" if specs else "; it has none"
                )
                message = f"`{node.name}` has no option `{option.key}`{hint}"
                raise PipelineError(message, self.source, option.key_at, len(option.key))
            if spec.field in values:
                raise PipelineError(
                    f"`{option.key}` is given twice", self.source, option.key_at, len(option.key)
                )
            values[spec.field] = self._value(spec, option)
        for spec in specs.values():
            if spec.required and spec.field not in values:
                raise self.error(f"`{node.name}` needs the option `{spec.name}`: {spec.help}", node)
        return PythonPass(cls(**values))

    def _value(self, spec: OptionSpec, option: OptionNode) -> Any:
        try:
            return spec.parse(option.value)
        except ValueError as error:
            message = f"`{option.key}`: {error}"
            raise PipelineError(message, self.source, option.value_at, len(option.value)) from None

    def error(self, message: str, node: PassNode | NestNode) -> PipelineError:
        name = node.name if isinstance(node, PassNode) else node.anchor
        return PipelineError(message, self.source, node.at, len(name))
