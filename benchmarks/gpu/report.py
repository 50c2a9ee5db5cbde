"""The rows as tables: what was measured beside what is required."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.cases import EXACT, REQUIRED, Layer
from dlas_mlir.runtime.gpus import FUNCTION_ONLY

Row = dict[str, Any]
_TIMES = ("device_us", "queued_us", "call_us", "mean_us")


def line(row: Row) -> str:
    """A row in a line, as it comes."""
    times = ", ".join(f"{key.removesuffix('_us')} {row[key]:.1f} us" for key in _TIMES if row.get(key) is not None)
    more = [f"{row[key]}" for key in ("error", "device_error", "unchecked", "missing") if key in row]
    if "of" in row:
        more.append(f"{row['right']} of {row['of']} right")
    if "tflops" in row:
        more.append(", ".join(f"{name} {rate:.0f}" for name, rate in row["tflops"].items()) + " TFLOP/s")
        more.append(f"{row['bandwidth_gbs']:.0f} GB/s")
    if "seconds" in row:
        more.append(f"{row['seconds']} s")
    head = " ".join(str(row.get(key, "")) for key in ("part", "case", "element", "who"))
    return "; ".join([head, *([times] if times else []), *more])


def write(rows: Sequence[Row], folder: Path) -> str:
    """Write results.json and results.md into `folder`; returns the latter."""
    text = tables(rows)
    (folder / "results.json").write_text(json.dumps(list(rows), indent=1))
    (folder / "results.md").write_text(text)
    return text


def tables(rows: Sequence[Row]) -> str:
    """All tables as Markdown."""
    facts = next((row for row in rows if row.get("part") == "facts" and "facts" in row), {})
    lines = [f"# {facts.get('who', 'unknown device')}", ""]
    if facts.get("software"):
        lines += [f"**{FUNCTION_ONLY}**", ""]
    lines += [
        line(row) for row in rows if row.get("who") in ("peaks", "torch") and row.get("part") in ("facts", "peaks")
    ]
    for table in (_numbers, _layers, _sparse, _candidates, _models, _apart, _required, _errors):
        lines += ["", *table(rows)]
    return "\n".join(lines).strip() + "\n"


def _numbers(rows: Sequence[Row]) -> list[str]:
    found = ["## Numbers of the grid of convolutions", "", "| type | right | of | largest error |", "|---|---|---|---|"]
    grid = [row for row in rows if row.get("part") == "grid" and "of" in row]
    for element in dict.fromkeys(row["element"] for row in grid):
        own = [row for row in grid if row["element"] == element]
        right, total = sum(row["right"] for row in own), sum(row["of"] for row in own)
        found.append(f"| {element} | {right} | {total} | {max(row['error_of_max'] for row in own):.1e} |")
    zoo = [row for row in rows if row.get("part") == "zoo" and row.get("who") == "ours"]
    networks = ["", "| type | networks right | of | largest error |", "|---|---|---|---|"]
    for element in dict.fromkeys(row["element"] for row in zoo):
        own = [row for row in zoo if row["element"] == element]
        errors = [row["error_of_max"] for row in own if "error_of_max" in row]
        right = sum("error_of_max" in row and "error" not in row for row in own)
        networks.append(f"| {element} | {right} | {len(own)} | {max(errors, default=math.nan):.1e} |")
    return [*(found if grid else found[:1]), *(networks if zoo else [])] if grid or zoo else []


def _layers(rows: Sequence[Row]) -> list[str]:
    head = "| layer | batch | type | device us | cuDNN us | ratio | TFLOP/s | % of peak | % of bandwidth |"
    head = f"{head} call us | queued us | error |"
    found = ["## Layers: the kernel alone, weights in the cache", "", head, "|---|" + "---|" * 11]
    ours = [row for row in rows if row.get("part") == "layers" and row.get("who") == "ours"]
    for row in ours:
        layer, peer = Layer.of(row["case"]), _peer(rows, row)
        us = row.get("device_us")
        rate = 2 * layer.macs / us / 1e6 if us else None
        cells = [layer.title, layer.batch, row["element"], us, peer, us / peer if us and peer else None, rate]
        cells += [_of_peak(rows, row, layer.macs, us) if layer.groups == 1 else None, _of_bandwidth(rows, row, us)]
        cells += [row.get("call_us"), row.get("queued_us"), row.get("error_of_max")]
        found.append(_cells(cells))
    return found if ours else []


def _sparse(rows: Sequence[Row]) -> list[str]:
    """Sparse layers beside the same ones without zeros."""
    head = "| layer | batch | type | device us | dense us | ratio | dense f16 us | ratio | error |"
    found = ["## Sparse layers: the kernel alone, its image padded before", "", head, "|---|" + "---|" * 8]
    ours = [row for row in rows if row.get("part") == "sparse" and row.get("who") == "ours"]
    for row in ours:
        layer, cells = Layer.of(row["case"]), []
        for element in (row["element"], "f16"):
            us, other = _against(rows, row, f"ours dense {element}")
            cells += [other, us / other if us and other else None]
        found.append(_cells([layer.title, layer.batch, row["element"], _time(row), *cells, row.get("error_of_max")]))
    return found if ours else []


def _candidates(rows: Sequence[Row]) -> list[str]:
    """Of each layer the rule's schedule beside the fastest."""
    head = "| layer | batch | type | rule's us | least us | ratio | of | the fastest |"
    found = ["## Schedules of layers", "", head, "|---|" + "---|" * 7]
    every = [row for row in rows if row.get("part") == "candidates" and row.get("device_us")]
    for name, element in dict.fromkeys((row["case"], row["element"]) for row in every):
        own = [row for row in every if (row["case"], row["element"]) == (name, element)]
        best, layer = min(own, key=lambda row: row["device_us"]), Layer.of(name)
        us, least = own[0]["device_us"], best["device_us"]
        cells = [layer.title, layer.batch, element, us, least, us / least, len(own), _told(best["schedule"])]
        found.append(_cells(cells))
    return found if every else []


def _told(schedule: Row) -> str:
    """A schedule in a few words."""
    tile, warp = schedule["tile"], schedule["warp"]
    sizes = f"{tile['rows']}x{tile['columns']} in {warp['rows']}x{warp['columns']}, {schedule['stages']} stages"
    halo = ", halo" if schedule["halo"] else ""
    return f"{schedule['instruction']} {sizes}, split {schedule['split']}{halo}"


def _models(rows: Sequence[Row]) -> list[str]:
    own = "| model | batch | type | call ms | queued ms | device ms | % of peak | dispatches |"
    head = f"{own} eager ms | cuda graph ms | inductor ms | autotuned ms | error |"
    found = ["## Networks", "", head, "|---|" + "---|" * 12]
    ours = [row for row in rows if row.get("part") == "models" and row.get("who") == "ours"]
    for row in ours:
        name, _, batch = row["case"].rpartition("_n")
        milliseconds = [row[key] / 1e3 if row.get(key) else None for key in ("call_us", "queued_us", "device_us")]
        percent = _of_peak(rows, row, row.get("macs"), _time(row))
        peers = [
            _of(rows, row, who) for who in ("eager", "cuda graph", "inductor reduce-overhead", "inductor max-autotune")
        ]
        found.append(
            _cells(
                [name, batch, row["element"], *milliseconds, percent, row.get("dispatches")]
                + [us / 1e3 if us else None for us in peers]
                + [row.get("error_of_max")]
            )
        )
    return found if ours else []


def _apart(rows: Sequence[Row]) -> list[str]:
    """What kernels that are one launch with others gain."""
    head = "| model | batch | launches | device ms | launches, each kernel apart | device ms | over that |"
    found = ["## Kernels in one launch, and apart", "", head, "|---|" + "---|" * 6]
    ours = [row for row in rows if row.get("who") == "ours"]
    together = {row["case"]: row for row in ours if row["part"] == "models" and row["element"] == "f16"}
    alone = [row for row in ours if row["part"] == "apart"]
    for row in alone:
        name, _, batch = row["case"].rpartition("_n")
        one = together.get(row["case"], {})
        us, own = one.get("device_us"), row.get("device_us")
        ratio = us / own if us and own else None
        times = [value / 1e3 if value else None for value in (us, own)]
        found.append(_cells([name, batch, one.get("dispatches"), times[0], row.get("dispatches"), times[1], ratio]))
    return found if alone else []


def _required(rows: Sequence[Row]) -> list[str]:
    """Each requirement with the ratios that were measured; those that nothing was measured for say so."""
    found = ["## Required, and measured", "", "| what | required | measured | met |", "|---|---|---|---|"]
    for need in REQUIRED:
        ratios = _ratios(rows, need)
        batch = f" batch {need['batch']}" if "batch" in need else ""
        what = f"{need['part']} {need['element']}{batch} over {need['of']}"
        if not ratios:
            found.append(f"| {what} | {_limit(need)} | nothing | - |")
            continue
        mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
        worst = max(ratios, key=lambda name: ratios[name])
        met = mean <= need.get("geomean", math.inf) and ratios[worst] <= need.get("worst", need.get("each", math.inf))
        measured = f"mean {mean:.2f} of {len(ratios)}, worst {ratios[worst]:.2f} ({worst})"
        found.append(f"| {what} | {_limit(need)} | {measured} | {'yes' if met else 'NO'} |")
    return [*found, _exact(rows)]


def _exact(rows: Sequence[Row]) -> str:
    """How far layers in float32 are off, the worst."""
    of = [row for row in rows if row.get("part") == "layers" and row.get("element") == "f32" and "error_of_max" in row]
    what = f"| layers f32, error over the largest value | each <= {EXACT:.0e} |"
    if not of:
        return f"{what} nothing | - |"
    worst = max(of, key=lambda row: row["error_of_max"])
    met = "yes" if worst["error_of_max"] <= EXACT else "NO"
    return f"{what} worst {worst['error_of_max']:.1e} of {len(of)} ({worst['case']}) | {met} |"


def _limit(need: Row) -> str:
    words = {"geomean": "mean <= {}", "worst": "each <= {}", "each": "each <= {}"}
    return ", ".join(text.format(need[key]) for key, text in words.items() if key in need)


def _ratios(rows: Sequence[Row], need: Row) -> dict[str, float]:
    found = {}
    for row in rows:
        if (row.get("part"), row.get("who"), row.get("element")) != (need["part"], "ours", need["element"]):
            continue
        if "batch" in need and not re.search(rf"_n{need['batch']}(_z|$)", row["case"]):
            continue
        ours, peer = _against(rows, row, need["of"])
        if ours and peer:
            found[row["case"]] = ours / peer
    return found


def _against(rows: Sequence[Row], row: Row, of: str) -> tuple[float | None, float | None]:
    """Our time and the other's, of the same kind: the device's for layers, a call that is waited for for networks."""
    if of == "cudnn":
        return row.get("device_us"), _of(rows, row, "cudnn", "device_us")
    if of.startswith("ours"):
        *dense, element = of.split()[1:]
        case, part = (Layer.of(row["case"]).dense.name, "layers") if dense else (row["case"], row["part"])
        wanted = ("ours", part, case, element)
        keys = ("who", "part", "case", "element")
        other = next((one for one in rows if tuple(one.get(key) for key in keys) == wanted), {})
        return _time(row), _time(other)
    names = ("inductor reduce-overhead", "inductor max-autotune")
    if of == "best":
        names = ("eager", "cuda graph", *names)
    times = [us for us in (_of(rows, row, who) for who in names) if us]
    return row.get("call_us"), min(times) if times else None


def _of(rows: Sequence[Row], row: Row, who: str, key: str = "call_us") -> float | None:
    return next(
        (
            one[key]
            for one in rows
            if one.get("who") == who
            and (one.get("case"), one.get("element")) == (row["case"], row["element"])
            and one.get(key)
        ),
        None,
    )


def _peer(rows: Sequence[Row], row: Row) -> float | None:
    return _of(rows, row, "cudnn", "device_us") or _of(rows, row, "int_mm", "device_us")


def _peak(rows: Sequence[Row], element: str) -> float | None:
    peaks = next((row["tflops"] for row in rows if "tflops" in row), {})
    if element == "f32":
        return peaks["tf32"] / 3 if "tf32" in peaks else None
    return peaks.get({"int8": "s8"}.get(element, element))


def _of_peak(rows: Sequence[Row], row: Row, macs: int | None, us: float | None) -> float | None:
    """Per cent of the products that the device was measured to do in its type."""
    peak = _peak(rows, row["element"])
    return 2 * macs / us / 1e6 / peak * 100 if macs and us and peak else None


def _of_bandwidth(rows: Sequence[Row], row: Row, us: float | None) -> float | None:
    """Per cent of the bytes that the device was measured to move; more than 100 where its caches hold them."""
    peak = next((one["bandwidth_gbs"] for one in rows if "bandwidth_gbs" in one), None)
    return Layer.of(row["case"]).bytes(row["element"]) / us / 1e3 / peak * 100 if us and peak else None


def _time(row: Row) -> float | None:
    """The device's own time, or, where there is none, that of a queued call."""
    return row.get("device_us") or row.get("queued_us")


def _errors(rows: Sequence[Row]) -> list[str]:
    wrong = [
        row for row in rows if any(key in row for key in ("error", "device_error", "unchecked")) or row.get("wrong")
    ]
    if not wrong:
        return []
    found = ["## What went wrong", ""]
    for row in wrong:
        found.append(f"- {line(row)}")
        found += [f"  - convolution {text}" for text in row.get("wrong", [])]
    return found


def _cells(values: Sequence[Any]) -> str:
    def text(value: Any) -> str:
        if value is None:
            return "-"
        if not isinstance(value, float):
            return str(value)
        return f"{value:.1e}" if 0 < abs(value) < 1e-2 else f"{value:.3g}" if value < 100 else f"{value:.0f}"

    return "| " + " | ".join(text(value) for value in values) + " |"
