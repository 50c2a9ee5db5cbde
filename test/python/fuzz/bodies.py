"""Bodies of element-wise operations and of reductions."""

from __future__ import annotations

from collections.abc import Sequence

from fuzz.build import BodyBuilder, Builder
from fuzz.elements import is_float
from fuzz.program import Body

_UNARY = (
    "relu",
    "relu6",
    "leaky",
    "sigmoid",
    "tanh",
    "abs",
    "negate",
    "scale",
    "shift",
    "square",
    "exp",
    "root",
    "step",
)
_LESS_USUAL = ("erf", "log", "rsqrt", "round", "divide", "reciprocal", "number", "index", "square")
_PAIRS = ("add", "add", "sub", "reverse", "mul", "max", "min", "select", "mixed")


def elementwise(builder: Builder, types: Sequence[str], out: str, loops: int, reads_out: bool) -> Body:
    """A body of inputs `types` with a result `out`; the result's old value takes part where `reads_out`."""
    body = BodyBuilder(builder, [*types, out])
    operands = list(range(len(types) + reads_out))
    element = out if out != "i1" else next((t for t in types if t != "i1"), "i1")
    values = [body.convert(i, element) for i in operands]
    value = values[0]
    for other in values[1:]:
        value = _pair(body, builder.choose(_PAIRS), element, value, other)
    for _ in range(builder.integer(0 if len(values) > 1 else 1, 2)):
        value = _unary(body, builder.choose(_UNARY * 3 + _LESS_USUAL), element, value, loops)
    return body.done(body.convert(value, out))


def _pair(body: BodyBuilder, way: str, element: str, a: int, b: int) -> int:
    if element == "i1":
        return body.op(body.draw.choose(("arith.andi", "arith.ori", "arith.xori")), "i1", a, b)
    suffix = "f" if is_float(element) else "i"
    if way == "reverse":
        a, b, way = b, a, "sub"
    if way in ("add", "sub", "mul"):
        return body.op(f"arith.{way}{suffix}", element, a, b)
    if way in ("max", "min"):
        names = [f"{way}imumf", f"{way}numf"] if is_float(element) else [f"{way}si", f"{way}ui"]
        return body.op(f"arith.{body.draw.choose(names)}", element, a, b)
    if way == "select":
        return body.op("arith.select", element, _less(body, element, a, b), a, b)
    if is_float(element):
        return body.op("math.fma", element, a, b, body.number(0.5, element))
    return body.op(f"arith.{body.draw.choose(('andi', 'ori', 'xori'))}", element, a, b)


def _less(body: BodyBuilder, element: str, a: int, b: int) -> int:
    if is_float(element):
        predicate = body.draw.choose(("olt", "ole", "ogt", "oge", "oeq", "une", "ugt", "ult"))
        return body.op("arith.cmpf", "i1", a, b, attr=predicate)
    return body.op("arith.cmpi", "i1", a, b, attr=body.draw.choose(("slt", "sle", "sgt", "sge", "eq", "ne")))


def _unary(body: BodyBuilder, way: str, element: str, x: int, loops: int) -> int:
    if element == "i1":
        return body.op("arith.xori", "i1", x, body.number(1, "i1"))
    if way == "index" and loops:
        place = body.op("linalg.index", "index", attr=body.draw.integer(0, loops - 1))
        return _pair(body, "add", element, x, _position(body, place, element))
    return _float(body, way, element, x) if is_float(element) else _integer(body, way, element, x)


def _position(body: BodyBuilder, place: int, element: str) -> int:
    if not is_float(element):
        return body.op("arith.index_cast", element, place)
    return body.op("arith.sitofp", element, body.op("arith.index_cast", "i32", place))


def _float(body: BodyBuilder, way: str, t: str, x: int) -> int:
    def number(value: float) -> int:
        return body.number(value, t)

    def op(name: str, *args: int) -> int:
        return body.op(f"arith.{name}", t, *args)

    if way in ("relu", "relu6", "step"):
        if body.draw.chance(3):
            zero = number(0)
            positive = body.op("arith.cmpf", "i1", x, zero, attr="ugt")
            return op("select", positive, x, zero)
        y = op("maximumf", x, number(0 if way != "step" else 0.5))
        return op("minimumf", y, number(6)) if way == "relu6" else y
    if way == "leaky":
        positive = body.op("arith.cmpf", "i1", x, number(0), attr="ogt")
        return op("select", positive, x, op("mulf", x, number(0.25)))
    if way == "sigmoid":
        return op("divf", number(1), op("addf", number(1), body.op("math.exp", t, op("negf", _bounded(body, t, x)))))
    if way in ("tanh", "erf"):
        return body.op(f"math.{way}", t, x)
    if way == "exp":
        return body.op("math.exp", t, _bounded(body, t, x))
    if way in ("root", "log", "rsqrt", "reciprocal"):
        positive = op("addf", body.op("math.absf", t, x), number(0.5))
        if way == "reciprocal":
            return op("divf", number(1), positive)
        return body.op({"root": "math.sqrt", "log": "math.log", "rsqrt": "math.rsqrt"}[way], t, positive)
    if way == "round":
        return body.op(f"math.{body.draw.choose(('floor', 'ceil', 'roundeven'))}", t, x)
    if way == "divide":
        return op("divf", x, number(body.draw.choose((2, 3, -0.7))))
    return {
        "abs": lambda: body.op("math.absf", t, x),
        "negate": lambda: op("negf", x),
        "scale": lambda: op("mulf", x, number(body.draw.choose((2, 0.5, -1, 0.1)))),
        "shift": lambda: op("addf", x, number(body.draw.choose((1, -0.5, 3, 0.1)))),
        "square": lambda: op("mulf", x, x),
        "number": lambda: number(body.draw.choose((0, 1.5, -2))),
    }.get(way, lambda: op("subf", number(1), x))()


def _bounded(body: BodyBuilder, t: str, x: int) -> int:
    return body.op("arith.maximumf", t, body.op("arith.minimumf", t, x, body.number(4, t)), body.number(-8, t))


def _integer(body: BodyBuilder, way: str, t: str, x: int) -> int:
    def number(value: int) -> int:
        return body.number(value, t)

    def op(name: str, *args: int) -> int:
        return body.op(f"arith.{name}", t, *args)

    if way in ("relu", "relu6", "step"):
        y = op("maxsi", x, number(0))
        return op("minsi", y, number(6)) if way == "relu6" else y
    if way == "leaky":
        return op("select", body.op("arith.cmpi", "i1", x, number(0), attr="sgt"), x, op("shrsi", x, number(1)))
    if way in ("sigmoid", "tanh", "exp"):
        return op(body.draw.choose(("shli", "shrsi", "shrui")), x, number(body.draw.integer(0, 3)))
    if way in ("root", "divide"):
        return op("divsi", x, number(body.draw.choose((2, 3, 7))))
    if way == "number":
        return number(body.draw.choose((0, 1, -2)))
    return {
        "negate": lambda: op("subi", number(0), x),
        "scale": lambda: op("muli", x, number(body.draw.choose((2, 3, -1)))),
        "square": lambda: op("muli", x, x),
        "abs": lambda: op("maxsi", x, op("subi", number(0), x)),
    }.get(way, lambda: op("addi", x, number(body.draw.choose((1, -5, 3)))))()


def reduction(builder: Builder, types: Sequence[str], out: str, combine: str, windowed: bool = False) -> Body:
    """A body that combines one number of the inputs with the accumulator. `windowed`: the last input is not read."""
    body = BodyBuilder(builder, [*types, out])
    if combine == "last":
        return body.done(_unary(body, "abs", out, body.convert(0, out), 0))
    accumulator = len(types)
    values = [body.convert(i, out) for i in range(len(types) - windowed)]
    value = values[0]
    for other in values[1:]:
        value = _pair(body, "mul" if builder.chance(8) else "sub", out, value, other)
    if len(values) == 1 and builder.chance(4):
        value = _unary(body, builder.choose(("abs", "square", "shift", "scale", "exp")), out, value, 0)
    name = _combination(combine, out)
    operands = (value, accumulator) if builder.chance(5) else (accumulator, value)
    return body.done(body.op(name, out, *operands))


def _combination(combine: str, element: str) -> str:
    if is_float(element):
        return {"add": "arith.addf", "max": "arith.maximumf", "min": "arith.minimumf", "mul": "arith.mulf"}[combine]
    return {"add": "arith.addi", "max": "arith.maxsi", "min": "arith.minsi", "mul": "arith.muli"}[combine]
