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
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session

Arrays = tuple[np.ndarray, ...]
_DTYPES = {"f32": np.float32, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}

NEGATED = "%r = arith.negf %a : f32; %r"
ADDED = "%r = arith.addf %a, %b : f32; %r"
SUBTRACTED = "%r = arith.subf %a, %b : f32; %r"
SUMMED = "%r = arith.addf %o, %a : f32; %r"


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


def function(arguments: str, results: str, body: str) -> str:
    """The text of a function: `arguments` and `results` are types (`2x40xf32`), separated by spaces; the arguments are
    %0, %1, ... of `body`, whose last line says what is returned."""
    taken = ", ".join(f"%{i}: tensor<{kind}>" for i, kind in enumerate(arguments.split()))
    given = ", ".join(f"tensor<{kind}>" for kind in results.split())
    *lines, last = body.strip().splitlines()
    text = "\n".join([*lines, f"    return {last.strip()} : {given}"])
    return f"""
  func.func @NAME({taken}) -> ({given}) {{
    {text}
  }}"""


def generic(result: str, inputs: str, out: str, maps: str, kinds: str, body: str) -> str:
    """The text of a linalg.generic. `inputs` and `out` are values with types (`%0: 2x40xf32, ...`), `maps` the results
    of the indexing maps, separated by semicolons, the last that of `out`; `kinds` has p or r for each loop. The
    elements are %a, %b, ... and %o in `body`, whose last line (or part after a semicolon) says what is yielded."""
    values = [text.split(": ") for text in [*inputs.split(", "), out] if text]
    types = [f"tensor<{kind}>" for _, kind in values]
    elements = [kind.split("x")[-1] for _, kind in values]
    names = [*"abcdefg"[: len(values) - 1], "o"]
    dims = ", ".join(f"d{i}" for i in range(len(kinds)))
    listed = ", ".join(f"affine_map<({dims}) -> ({map_.strip()})>" for map_ in maps.split(";"))
    iterators = ", ".join({"p": '"parallel"', "r": '"reduction"'}[kind] for kind in kinds)
    *lines, last = (line.strip() for line in re.split("[;\n]", body.strip()))
    reads = f"ins({', '.join(name for name, _ in values[:-1])} : {', '.join(types[:-1])})" if types[1:] else ""
    return f"""
    {result} = linalg.generic {{indexing_maps = [{listed}], iterator_types = [{iterators}]}}
        {reads} outs({values[-1][0]} : {types[-1]}) {{
    ^bb0({", ".join(f"%{name}: {kind}" for name, kind in zip(names, elements, strict=True))}):
      {chr(10).join(lines)}
      linalg.yield {last.strip()} : {elements[-1]}
    }} -> {types[-1]}"""


def empty(result: str, kind: str) -> str:
    """The text of a tensor.empty."""
    return f"\n    {result} = tensor.empty() : tensor<{kind}>"


def fill(result: str, value: str, kind: str) -> str:
    """The text of a tensor filled with `value`."""
    element = kind.split("x")[-1]
    return f"""
    {result}_value = arith.constant {value} : {element}
    {result}_empty = tensor.empty() : tensor<{kind}>
    {result} = linalg.fill ins({result}_value : {element}) outs({result}_empty : tensor<{kind}>) -> tensor<{kind}>"""


def matrix(name: str, body: str, expected: Callable, results: str = "4x20xf32", kernels: int = 1) -> Case:
    """A function of two matrices, %0 and %1, that has an empty one %e."""
    text = function("4x20xf32 4x20xf32", results, empty("%e", "4x20xf32") + body)
    return Case(name, text, ("4x20xf32", "4x20xf32"), expected, kernels)


def pairs(result: str, inputs: str, body: str, out: str = "%e: 4x20xf32", kinds: str = "pp") -> str:
    """An operation on whole matrices."""
    maps = "; ".join(["d0, d1"] * (inputs.count(":") + 1))
    return generic(result, inputs, out, maps, kinds, body)


def read_case(name: str, source: tuple[int, ...], map_: str, result: tuple[int, ...]) -> Case:
    """y[d0, d1, ...] = -x[map]."""
    x, y = ("x".join([*map(str, shape), "f32"]) for shape in (source, result))
    dims = ", ".join(f"d{i}" for i in range(len(result)))
    negated = generic(
        "%y", f"%0: {x}", f"%e: {y}", f"{map_}; {dims}", "p" * len(result), "%s = arith.negf %a : f32; %s"
    )
    text = function(x, y, empty("%e", y) + negated + "\n%y")

    def expected(x: np.ndarray) -> np.ndarray:
        places = {f"d{i}": index for i, index in enumerate(np.indices(result))}
        python = re.sub(r"ceildiv (\d+)", r"// -\1 * -1", map_.replace("floordiv", "//").replace("mod", "%"))
        at = eval(f"[{python}]", places)
        return np.broadcast_to(-x[tuple(np.broadcast_to(index, result) for index in at)], result)

    return Case(name, text, (x,), expected)


@dataclass(frozen=True)
class Outcome:
    """What a case returns, and how many kernels of ours it has become."""

    arrays: list[np.ndarray]
    kernels: int


def run_cases(cases: Sequence[Case], folder: Path, target: str = "x86-64-avx512") -> dict[str, Outcome]:
    """The outcomes of `cases`, with the kernels of `target`, a CPU's compiled for this machine. All are one module."""
    assert len({case.name for case in cases}) == len(cases)
    path = folder / "cases.mlir"
    path.write_text("module {" + "".join(case.text.replace("@NAME", f"@{case.name}") for case in cases) + "\n}\n")
    preset = load_preset(f"{target}/auto")
    if preset.target.kind == "cpu":
        flags = tuple(flag for flag in preset.iree_flags if not flag.startswith("--iree-llvmcpu-target-"))
        preset = dataclasses.replace(preset, iree_flags=(*flags, "--iree-llvmcpu-target-cpu=host"))
    lowered = folder / "kernels.mlir"
    artifact = compile_imported(Imported("cases", file_digest(path), path, 0, 0, None), preset, mlir_out=lowered)
    bodies = lowered.read_text().split("func.func ")[1:]
    made = {
        body[body.index("@") + 1 : body.index("(")]: body.count("flow.dispatch.workgroups(")
        + body.count("= flow.dispatch @")
        for body in bodies
    }
    found = {}
    for case in cases:
        session = Session(artifact.vmfb, resolve(preset.device), function=case.name)
        found[case.name] = Outcome(session(*case.arrays()), made[case.name])
        session.close()
    return found
