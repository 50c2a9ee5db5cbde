"""Pipelines: checked before any IR is touched, then run: Python, upstream and IREE passes in one order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from iree.compiler import ir

from dlas_mlir.opt import native, registry
from dlas_mlir.opt.options import OptionSpec, closest, specs_of
from dlas_mlir.opt.pipeline_elements import Element, NativePass, Nest, PythonPass, names, reads
from dlas_mlir.opt.pipeline_run import ROOT, PassFailure, Printing, RunConfig, run
from dlas_mlir.opt.pipeline_text import (
    FragmentNode,
    NestNode,
    Node,
    PassNode,
    PipelineError,
    Source,
    parse_text,
)

__all__ = [
    "Element",
    "NativePass",
    "Nest",
    "PassFailure",
    "Pipeline",
    "PipelineError",
    "Printing",
    "PythonPass",
    "RunConfig",
    "Source",
    "instance",
    "parse_pipeline",
]

_T = TypeVar("_T")


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
        return names(self.elements)

    def reads(self) -> tuple[str, ...]:
        """The files that its passes read beside the module; of a native pass, the options that name one."""
        return tuple(file for element in self.elements for file in reads(element))

    def run(self, module: ir.Module, config: RunConfig | None = None) -> None:
        """Run on `module` in place. Raises PassFailure; the module is then valid or not, and of no use."""
        run(self.elements, module, config or RunConfig())


def parse_pipeline(
    text: str | Source, context: ir.Context | None = None, fragments: Mapping[str, Source] | None = None
) -> Pipeline:
    """The checked pipeline that `text` describes: `builtin.module(...)`, or the elements alone.

    Every pass is looked up and every option parsed; `@NAME` is replaced by the elements of `fragments[NAME]`, which may
    name others. Raises PipelineError with the place and a caret.
    """
    source = text if isinstance(text, Source) else Source(text)
    nodes = parse_text(source)
    if len(nodes) == 1 and isinstance(nodes[0], NestNode) and nodes[0].anchor in (ROOT, "any"):
        nodes = nodes[0].children
    with context or ir.Context.current or ir.Context():
        return Pipeline(tuple(_Checker(source, fragments or {}).elements(nodes)))


def instance(cls: type[_T], node: PassNode, source: Source, hint: Callable[[str], str] = lambda option: "") -> _T:
    """A `cls`, a dataclass whose fields are options, with those that are written in `node`. `hint` says what to write
    for an option that it has not. Raises PipelineError with the place and a caret."""
    specs = {spec.name: spec for spec in specs_of(cls)}
    values: dict[str, Any] = {}
    for option in node.options:
        spec = specs.get(option.key)
        if spec is None:
            instead = hint(option.key) or closest(option.key, specs) or _has(specs)
            message = f"`{node.name}` has no option `{option.key}`{instead}"
            raise PipelineError(message, source, option.key_at, len(option.key))
        if spec.field in values:
            raise PipelineError(f"`{option.key}` is given twice", source, option.key_at, len(option.key))
        try:
            values[spec.field] = spec.parse(option.value)
        except ValueError as error:
            message = f"`{option.key}`: {error}"
            raise PipelineError(message, source, option.value_at, len(option.value)) from None
    for spec in specs.values():
        if spec.required and spec.field not in values:
            message = f"`{node.name}` needs the option `{spec.name}`: {spec.help}"
            raise PipelineError(message, source, node.at, len(node.name))
    return cls(**values)


def _has(specs: Mapping[str, OptionSpec]) -> str:
    return f"; it has {', '.join(f'`{name}`' for name in specs)}" if specs else "; it has none"


class _Checker:
    """Turns the tree of a text into passes."""

    def __init__(self, source: Source, fragments: Mapping[str, Source], inside: tuple[str, ...] = ()) -> None:
        self.source = source
        self.fragments = fragments
        self.inside = inside

    def elements(self, nodes: tuple[Node, ...]) -> Iterator[Element]:
        for node in nodes:
            if isinstance(node, FragmentNode):
                yield from self.fragment(node)
            else:
                yield self.element(node)

    def fragment(self, node: FragmentNode) -> Iterator[Element]:
        if node.name in self.inside:
            raise self.error(f"`@{node.name}` is a part of itself", node)
        if node.name not in self.fragments:
            hint = closest(node.name, self.fragments)
            known = f"; there are {', '.join(self.fragments)}" if self.fragments else "; only presets have fragments"
            raise self.error(f"there is no fragment `@{node.name}`{hint}{known}", node)
        source = self.fragments[node.name]
        return _Checker(source, self.fragments, (*self.inside, node.name)).elements(parse_text(source))

    def element(self, node: PassNode | NestNode) -> Element:
        if isinstance(node, PassNode):
            return self.python(node) if registry.find(node.name) else self.native(node)
        return self.nest(node)

    def nest(self, node: NestNode) -> Nest:
        if "." not in node.anchor and node.anchor != "any":
            raise self.error(f"expected an operation such as `func.func` before `(`, found `{node.anchor}`", node)
        return Nest(node.anchor, tuple(self.nested(child, node.anchor) for child in node.children))

    def nested(self, node: Node, anchor: str) -> NativePass | Nest:
        if isinstance(node, FragmentNode):
            raise self.error(f"`@{node.name}` is for the module: move it out of `{anchor}(...)`", node)
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
        return PythonPass(instance(cls, node, self.source, cls.hint))

    def error(self, message: str, node: Node) -> PipelineError:
        match node:
            case FragmentNode():
                length = len(node.name) + 1
            case PassNode():
                length = len(node.name)
            case NestNode():
                length = len(node.anchor)
        return PipelineError(message, self.source, node.at, length)
