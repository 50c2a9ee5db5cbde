"""Makes a failing program smaller: nodes become arguments, results go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from fuzz.build import renumbered
from fuzz.elements import Data
from fuzz.program import Argument, Generic, Node, Program


def reduced(program: Program, fails: Callable[[Program], bool], tries: int = 30) -> Program:
    """A smaller program that still fails."""
    progress = True
    while progress:
        progress = False
        for candidate in _smaller(program):
            tries -= 1
            if tries < 0:
                return program
            if fails(candidate):
                program, progress = candidate, True
                break
    return program


def _smaller(program: Program) -> Iterator[Program]:
    """Programs with less to them, the largest steps first."""
    if len(program.results) > 1:
        for place in program.results:
            yield _pruned(program.nodes, program.arguments, (place,))
        for i in range(len(program.results)):
            yield _pruned(program.nodes, program.arguments, program.results[:i] + program.results[i + 1 :])
    for place in range(len(program.nodes) - 1, -1, -1):
        node = program.nodes[place]
        for other in node.inputs:
            if program.nodes[other].type == node.type:
                yield _forwarded(program, place, other)
        if len(program.results) == 1 and place not in program.results and node.inputs:
            yield _pruned(program.nodes, program.arguments, (place,))
    for place in range(len(program.nodes) - 1, -1, -1):
        node = program.nodes[place]
        if node.inputs:
            nodes = list(program.nodes)
            nodes[place] = Argument(node.type, (), Data("small", place))
            yield _pruned(nodes, (*program.arguments, place), program.results)
    for place, node in enumerate(program.nodes):
        if isinstance(node, Generic) and node.named is None:
            yield from _shorter(program, place, node)


def _shorter(program: Program, place: int, node: Generic) -> Iterator[Program]:
    """Bodies that stop before their end."""
    for count in range(len(node.body.ops) - 1, 0, -1):
        if node.body.ops[count - 1].type == node.type.element:
            body = replace(node.body, ops=node.body.ops[:count], passed=None)
            nodes = list(program.nodes)
            nodes[place] = replace(node, body=body)
            yield _pruned(nodes, program.arguments, program.results)


def _forwarded(program: Program, place: int, other: int) -> Program:
    """With the input `other` for the node at `place`."""

    def at(i: int) -> int:
        return other if i == place else i

    nodes = [replace(node, inputs=tuple(map(at, node.inputs))) for node in program.nodes]
    return _pruned(nodes, program.arguments, tuple(map(at, program.results)))


def _pruned(nodes: tuple[Node, ...] | list[Node], arguments: tuple[int, ...], results: tuple[int, ...]) -> Program:
    needed: set[int] = set()
    pending = list(results)
    while pending:
        place = pending.pop()
        if place not in needed:
            needed.add(place)
            pending.extend(nodes[place].inputs)
    return renumbered(nodes, sorted(needed), arguments, results)
