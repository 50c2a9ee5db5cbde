"""A program as MLIR."""

from __future__ import annotations

from functools import singledispatch

from fuzz.elements import dense, is_float, literal
from fuzz.program import (
    Argument,
    Broadcast,
    Concat,
    Constant,
    Empty,
    Fill,
    Generic,
    Insert,
    Node,
    Pack,
    Pad,
    Program,
    Reshape,
    Scalar,
    Slice,
    Transpose,
    Unpack,
    map_text,
)


def function(program: Program, name: str = "main") -> str:
    """The program as a func.func."""
    nodes = program.nodes
    arguments = ", ".join(f"%v{i}: {nodes[i].type}" for i in program.arguments)
    results = ", ".join(str(nodes[i].type) for i in program.results)
    lines = [f"func.func @{name}({arguments}) -> ({results}) {{"]
    for place, node in enumerate(nodes):
        values = [f"%v{i}" for i in node.inputs]
        lines += [f"  {line}" for line in _lines(node, f"%v{place}", values, [str(nodes[i].type) for i in node.inputs])]
    lines += [f"  return {', '.join(f'%v{i}' for i in program.results)} : {results}", "}"]
    return "\n".join(lines) + "\n"


@singledispatch
def _lines(node: Node, name: str, values: list[str], kinds: list[str]) -> list[str]:
    raise NotImplementedError(type(node).__name__)


def _empty(name: str, node: Node) -> str:
    return f"{name} = tensor.empty() : {node.type}"


def _list(numbers: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, numbers))}]"


@_lines.register
def _(node: Argument, name: str, values: list[str], kinds: list[str]) -> list[str]:
    return []


@_lines.register
def _(node: Constant, name: str, values: list[str], kinds: list[str]) -> list[str]:
    return [f"{name} = arith.constant {dense(node.data.array(node.type), node.type.element)} : {node.type}"]


@_lines.register
def _(node: Empty, name: str, values: list[str], kinds: list[str]) -> list[str]:
    return [_empty(name, node)]


@_lines.register
def _(node: Fill, name: str, values: list[str], kinds: list[str]) -> list[str]:
    element = node.type.element
    return [
        f"{name}_c = arith.constant {literal(node.value, element)}" + ("" if element == "i1" else f" : {element}"),
        _empty(f"{name}_e", node),
        f"{name} = linalg.fill ins({name}_c : {element}) outs({name}_e : {node.type}) -> {node.type}",
    ]


@_lines.register
def _(node: Generic, name: str, values: list[str], kinds: list[str]) -> list[str]:
    lines = []
    if not node.initial:
        lines.append(_empty(f"{name}_e", node))
        values, kinds = [*values, f"{name}_e"], [*kinds, str(node.type)]
    operands = f"outs({values[-1]} : {kinds[-1]})"
    if values[:-1]:
        operands = f"ins({', '.join(values[:-1])} : {', '.join(kinds[:-1])}) {operands}"
    if node.named is not None:
        operation, attributes = node.named
        return [*lines, f"{name} = {operation}{attributes} {operands} -> {node.type}"]
    maps = ", ".join(map_text(map_, len(node.extents)) for map_ in node.maps)
    iterators = ", ".join(f'"{kind}"' for kind in node.iterators)
    lines.append(f"{name} = linalg.generic {{indexing_maps = [{maps}], iterator_types = [{iterators}]}} {operands} {{")
    elements = [kind.removesuffix(">").rpartition("x")[2].removeprefix("tensor<") for kind in kinds]
    arguments = [f"%a{i}" for i in range(len(kinds))]
    lines.append(f"^bb0({', '.join(f'{a}: {e}' for a, e in zip(arguments, elements, strict=True))}):")
    names, types = list(arguments), list(elements)
    for i, op in enumerate(node.body.ops):
        lines.append(f"  {_scalar(op, f'%s{i}', [names[j] for j in op.args], [types[j] for j in op.args])}")
        names.append(f"%s{i}")
        types.append(op.type)
    last = -1 if node.body.passed is None else node.body.passed
    lines += [f"  linalg.yield {names[last]} : {types[last]}", f"}} -> {node.type}"]
    return lines


def _scalar(op: Scalar, name: str, values: list[str], types: list[str]) -> str:
    if op.op == "constant":
        return f"{name} = arith.constant {literal(op.attr, op.type)}" + ("" if op.type == "i1" else f" : {op.type}")
    if op.op == "linalg.index":
        return f"{name} = linalg.index {op.attr} : index"
    if op.op in ("arith.cmpf", "arith.cmpi"):
        return f"{name} = {op.op} {op.attr}, {', '.join(values)} : {types[0]}"
    if op.op == "arith.select":
        return f"{name} = arith.select {', '.join(values)} : {op.type}"
    if len(types) == 1 and types[0] != op.type:
        return f"{name} = {op.op} {values[0]} : {types[0]} to {op.type}"
    return f"{name} = {op.op} {', '.join(values)} : {op.type}"


@_lines.register
def _(node: Pad, name: str, values: list[str], kinds: list[str]) -> list[str]:
    element = node.type.element
    indices = ", ".join(f"%i{i}: index" for i in range(len(node.low)))
    suffix = "" if element == "i1" else f" : {element}"
    return [
        f"{name}_c = arith.constant {literal(node.value, element)}{suffix}",
        f"{name} = tensor.pad {values[0]} low{_list(node.low)} high{_list(node.high)} {{",
        f"^bb0({indices}):",
        f"  tensor.yield {name}_c : {element}",
        f"}} : {kinds[0]} to {node.type}",
    ]


def _slice(offsets: tuple[int, ...], sizes: tuple[int, ...], strides: tuple[int, ...]) -> str:
    return f"{_list(offsets)} {_list(sizes)} {_list(strides)}"


@_lines.register
def _(node: Slice, name: str, values: list[str], kinds: list[str]) -> list[str]:
    part = _slice(node.offsets, node.type.shape, node.strides)
    return [f"{name} = tensor.extract_slice {values[0]}{part} : {kinds[0]} to {node.type}"]


@_lines.register
def _(node: Insert, name: str, values: list[str], kinds: list[str]) -> list[str]:
    sizes = kinds[0].removeprefix("tensor<").split("x")[:-1]
    part = _slice(node.offsets, tuple(map(int, sizes)), node.strides)
    return [f"{name} = tensor.insert_slice {values[0]} into {values[1]}{part} : {kinds[0]} into {kinds[1]}"]


@_lines.register
def _(node: Concat, name: str, values: list[str], kinds: list[str]) -> list[str]:
    return [f"{name} = tensor.concat dim({node.dim}) {', '.join(values)} : ({', '.join(kinds)}) -> {node.type}"]


@_lines.register
def _(node: Reshape, name: str, values: list[str], kinds: list[str]) -> list[str]:
    groups = f"[{', '.join(map(_list, node.groups))}]"
    if len(node.type.shape) > kinds[0].count("x"):
        shape = _list(node.type.shape)
        return [f"{name} = tensor.expand_shape {values[0]} {groups} output_shape {shape} : {kinds[0]} into {node.type}"]
    return [f"{name} = tensor.collapse_shape {values[0]} {groups} : {kinds[0]} into {node.type}"]


@_lines.register
def _(node: Transpose, name: str, values: list[str], kinds: list[str]) -> list[str]:
    outs = f"outs({name}_e : {node.type}) permutation = {_list(node.permutation)}"
    return [_empty(f"{name}_e", node), f"{name} = linalg.transpose ins({values[0]} : {kinds[0]}) {outs}"]


@_lines.register
def _(node: Broadcast, name: str, values: list[str], kinds: list[str]) -> list[str]:
    outs = f"outs({name}_e : {node.type}) dimensions = {_list(node.added)}"
    return [_empty(f"{name}_e", node), f"{name} = linalg.broadcast ins({values[0]} : {kinds[0]}) {outs}"]


def _tiles(node: Pack | Unpack) -> str:
    permutation = f"outer_dims_perm = {_list(node.permutation)} " if node.permutation else ""
    return f"{permutation}inner_dims_pos = {_list(node.dims)} inner_tiles = {_list(node.tiles)}"


@_lines.register
def _(node: Pack, name: str, values: list[str], kinds: list[str]) -> list[str]:
    element = node.type.element
    assert is_float(element) or element != "i1"
    return [
        f"{name}_c = arith.constant {literal(node.value, element)} : {element}",
        _empty(f"{name}_e", node),
        f"{name} = linalg.pack {values[0]} padding_value({name}_c : {element}) {_tiles(node)} "
        f"into {name}_e : {kinds[0]} -> {node.type}",
    ]


@_lines.register
def _(node: Unpack, name: str, values: list[str], kinds: list[str]) -> list[str]:
    return [
        _empty(f"{name}_e", node),
        f"{name} = linalg.unpack {values[0]} {_tiles(node)} into {name}_e : {kinds[0]} -> {node.type}",
    ]
