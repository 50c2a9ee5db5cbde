"""Whole programs: chains of steps, and pieces of networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from fuzz import bodies, contractions, steps
from fuzz.build import Builder, Choices, Drawn, Numbered, generic, plain
from fuzz.elements import Tensor, is_float
from fuzz.program import Argument, Program, loop


def _contraction(b: Builder, place: int, loose: bool) -> int:
    way = b.choose(("convolution", "convolution", "matmul", "pooling"))
    if way == "matmul":
        return contractions.matmul(b, place)
    return (contractions.convolution if way == "convolution" else contractions.pooling)(b, place, loose)


def _chain(b: Builder, fragile: bool, loose: bool) -> list[int]:
    """Steps one after the other, each on the last value or on an older one."""
    made = [steps.start(b)]
    for _ in range(b.choose((1, 1, 2, 2, 3, 3, 4, 5, 6))):
        place = made[-1] if b.chance(8) else b.choose(made)
        if not b.kind(place).shape:
            place = made[0]
        if b.chance(2):
            made.append(_contraction(b, place, loose))
            continue
        step = b.choose(steps.STEPS)
        arguments = (b, place, fragile) if step in (steps.elementwise, steps.reduction) else (b, place)
        made.append(step(*arguments))
    return made


def _channel(b: Builder, place: int) -> int:
    """The dimension that is most like channels: the second, or the last."""
    rank = len(b.kind(place).shape)
    return min(1, rank - 1) if b.chance(8) else rank - 1


def _epilogue(b: Builder, place: int) -> int:
    """A bias, a batch-norm, an activation, a residual: what follows a convolution."""
    kind = b.kind(place)
    rank, dim = len(kind.shape), _channel(b, place)
    if rank == 0:
        return place
    way = b.choose(("bias", "bias", "norm", "activation", "activation", "residual", "gate"))
    maps, operands = [plain(rank)], [place]
    if way in ("bias", "norm"):
        odd = b.choose((None,) * 6 + ("floordiv", "mod", "constant", "reversed"))
        size = kind.shape[dim]
        read = {
            "floordiv": ("floordiv", loop(dim), ("c", 2)),
            "mod": ("mod", loop(dim), ("c", max(1, size // 2))),
            "constant": ("c", 0),
            "reversed": ("+", ("*", loop(dim), ("c", -1)), ("c", size - 1)),
        }.get(odd or "", loop(dim))
        for _ in range(1 if way == "bias" else b.integer(2, 4)):
            operands.append(b.constant(Tensor((size,), kind.element)))
            maps.append((read,))
        if way == "norm":
            return _norm(b, kind, operands, maps)
    if way in ("residual", "gate"):
        shape = kind.shape if way == "residual" else tuple(1 if i > dim else s for i, s in enumerate(kind.shape))
        operands.append(b.source(Tensor(shape, kind.element)))
        maps.append(tuple(loop(i) if size == kind.shape[i] else ("c", 0) for i, size in enumerate(shape)))
    body = bodies.elementwise(b, [b.kind(i).element for i in operands], kind.element, rank, False)
    return generic(b, kind, operands, [*maps, plain(rank)], kind.shape, ["parallel"] * rank, body)


def _norm(b: Builder, kind: Tensor, operands: list[int], maps: list[Any]) -> int:
    """Subtraction, multiplication, addition per channel, each an operation of its own."""
    from fuzz.build import BodyBuilder

    suffix = "f" if is_float(kind.element) else "i"
    if kind.element == "i1":
        return operands[0]
    place, rank = operands[0], len(kind.shape)
    for other, map_ in zip(operands[1:], maps[1:], strict=True):
        body = BodyBuilder(b, [kind.element, kind.element, kind.element])
        order = (0, 1) if b.chance(8) else (1, 0)
        last = body.op(f"arith.{b.choose(('sub', 'mul', 'mul', 'add'))}{suffix}", kind.element, *order)
        iterators = ["parallel"] * rank
        place = generic(
            b, kind, [place, other], [plain(rank), map_, plain(rank)], kind.shape, iterators, body.done(last)
        )
    return place


def _network(b: Builder, fragile: bool, loose: bool) -> list[int]:
    """Convolutions with what networks put around them."""
    made: list[int] = [contractions.convolution(b, None, loose)]
    for _ in range(b.choose((1, 1, 2, 2, 3, 4, 5))):
        place = made[-1]
        rank = len(b.kind(place).shape)
        way = b.choose(("epilogue",) * 6 + ("convolution",) * 3 + ("pooling", "mean", "step", "step", "pad", "widened"))
        if way == "epilogue":
            made.append(_epilogue(b, place))
        elif way == "convolution":
            if rank >= 3 and b.chance(7) and b.kind(place).size < 3000:
                place = contractions.padded(
                    b, place, tuple(range(2, rank)) if b.chance(8) else tuple(range(1, rank - 1))
                )
            made.append(contractions.convolution(b, place, loose))
        elif way == "pooling":
            made.append(contractions.pooling(b, place, loose))
        elif way == "mean" and rank:
            made.append(steps.reduction(b, place))
        elif way == "pad" and rank >= 3:
            made.append(contractions.padded(b, place, tuple(range(2, rank))))
        elif way == "widened" and b.kind(place).element == "i8":
            made.append(contractions.widened(b, place))
        elif rank:
            made.append(b.choose(steps.STEPS)(b, place))
    return made


def _codes(b: Builder, fragile: bool, loose: bool) -> list[int]:
    """An integer convolution of widened codes."""
    name = b.choose([*contractions.USUAL, "linalg.conv_2d_nhwc_hwcf"])
    forms = contractions.FORMS[name]
    window = contractions._input_of(b, forms[0], None, False, False)
    if "f" in forms[1]:
        window.sizes["f"] = b.choose((1, 2, 3, 8)) if "g" in forms[1] else b.choose(contractions.CHANNELS)
    contractions._shrink(window, forms, False)
    data = contractions.widened(b, b.source(Tensor(window.shape(forms[0], "in"), "i8")))
    if b.chance(5):
        data = contractions.padded(b, data, tuple(i for i, x in enumerate(forms[0]) if x in "xy"))
        window = contractions._input_of(b, forms[0], b.kind(data).shape, False, False)
        window.sizes["f"] = b.choose((1, 2, 3, 8))
        contractions._shrink(window, forms, True)
    weights = contractions.widened(b, contractions._weights(b, Tensor(window.shape(forms[1], "in"), "i8")))
    made = [contractions._contract(b, name, forms, window, data, weights, "i32")]
    for _ in range(b.integer(0, 2)):
        made.append(_epilogue(b, made[-1]) if b.chance(7) else steps.elementwise(b, made[-1]))
    return made


def _results(b: Builder, made: Sequence[int]) -> list[int]:
    """The last value; at times others too, one of them twice, or an argument as it is."""
    results = [made[-1]]
    computed = [place for place in made if not isinstance(b.nodes[place], Argument)]
    if b.chance(3) and computed:
        results.append(b.choose(computed))
    if b.chance(1):
        results.append(results[0])
    if b.chance(1):
        arguments = [i for i, node in enumerate(b.nodes) if isinstance(node, Argument)]
        results += [b.choose(arguments)] if arguments else []
    return [results[i] for i in b.order(len(results))] if b.chance(2) else results


def chosen(choices: Choices, fragile: bool, loose: bool) -> Program:
    """The program that `choices` make. `fragile`: with floordiv and mod in maps, `loose`: with rows and columns of an
    input that no window reads; iree-compile fails on some of both."""
    b = Builder(choices)
    way = b.choose(("chain",) * 5 + ("network",) * 5 + ("codes",))
    made = {"chain": _chain, "network": _network, "codes": _codes}[way](b, fragile, loose)
    results = _results(b, made)
    arguments = [i for i, node in enumerate(b.nodes) if isinstance(node, Argument)]
    if b.chance(3):
        arguments = [arguments[i] for i in b.order(len(arguments))]
    return b.program(results, arguments)


def numbered(number: int) -> Program:
    """One of the programs that the fuzzer tries by hand; three of ten are fragile and loose."""
    return chosen(Numbered(number), number % 10 < 3, number % 10 < 3)


@st.composite
def programs(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Program:
    """Any program that iree-compile should take."""
    return chosen(Drawn(draw), False, False)
