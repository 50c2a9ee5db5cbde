"""Reports: what is in them, that names are nothing but text in them, and what a browser makes of them."""

from __future__ import annotations

import base64
import gzip
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import browser as browsers
import numpy as np
import pytest

from benchmarks.planted_study import study
from dlas_mlir.errors import DlasError
from dlas_mlir.study.analysis import Analysis
from dlas_mlir.study.fronts import front_of
from dlas_mlir.study.report import html_report, markdown_report
from dlas_mlir.study.results import Results

EVIL = "<script>alert(1)</script>|`*_\"'&"


def small(**axes: Any) -> Results:
    """Two models on two devices, some of which fail."""
    level = {"none": 1.0, "prune-50": 0.8, "prune-90": 0.4, "channels-50": 0.6}
    given = {
        "model": ["mobilenetv1-cifar", "resnet18-cifar", "vgg16-cifar"],
        "compression": list(level),
        "primitive": ["direct", "gemm", "auto"],
        "format": ["dense", "sparse"],
        "schedule": ["naive", "rule", "tuned"],
        "device": ["server", "board"],
        **axes,
    }

    def time(point):
        if point["format"] == "sparse" and point["compression"] in ("none", "channels-50"):
            return None
        gain = 1.3 if point["primitive"] == "direct" and point["schedule"] != "tuned" else 1.0
        return level.get(str(point["compression"]), 1.0) * gain * {"naive": 2.0}.get(str(point["schedule"]), 1.0)

    def metrics(point):
        left = level.get(str(point["compression"]), 1.0)
        size = 1e6 * (1 + len(str(point["model"])))
        return {"weight_bytes": 4 * size * left, "macs": 1e8, "effective_macs": 1e8 * left, "parameters": size}

    def accuracy(point):
        return 0.99 - 0.04 * (point["compression"] == "prune-90")

    found = study(given, time, metrics=metrics, accuracy=accuracy)
    return replace(found, spec='[study]\nname = "planted"\n', provenance={"date": "2026-01-01", "cpu": "made up"})


def evil() -> Results:
    found = small(model=[EVIL, "vgg16-cifar"], device=["server", f"board{EVIL}"])
    return replace(found, name=EVIL, description=EVIL, reasons=("", EVIL), spec=f"```\n{EVIL}", provenance={EVIL: EVIL})


@pytest.fixture(scope="module")
def results() -> Results:
    return small()


@pytest.fixture(scope="module")
def page(results) -> str:
    return html_report(Analysis(results))


def data_of(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="text/plain" id="data">([A-Za-z0-9+/=]*)</script>', page)
    return json.loads(gzip.decompress(base64.b64decode(text)))


def column(value: dict[str, str]) -> np.ndarray:
    kinds = {"Uint8Array": "<u1", "Uint16Array": "<u2", "Uint32Array": "<u4", "Float32Array": "<f4"}
    return np.frombuffer(base64.b64decode(value["data"]), kinds[value["type"]])


def test_the_page_has_all_parts(page):
    titles = re.findall(r"<h2 id=\"[a-z]+\">([^<]*)</h2>", page)
    assert titles == [
        "Overview",
        "Findings",
        "Pareto front",
        "The fastest primitive",
        "Accuracy and time over sparsity",
        "Expected and actual speed-up",
        "Untuned and tuned",
        "One device and another",
        "Correlations",
        "Parallel coordinates",
        "Provenance",
    ]
    assert page.count('class="verdict ') == 9
    assert "signal 11 in `main`" in page
    assert "[study]\nname = &quot;planted&quot;" in page


def test_the_same_results_make_the_same_page(results, page):
    assert html_report(Analysis(results)) == page


def test_the_data_are_those_of_the_points(results, page):
    data = data_of(page)
    timed = np.flatnonzero(results.timed)
    assert column(data["metrics"]["median_ms"]).tolist() == results.metrics["median_ms"][timed].astype("f4").tolist()
    assert column(data["codes"]["model"]).tolist() == results.codes["model"][timed].tolist()
    ids = column(data["ids"]).reshape(-1, 8)
    assert [bytes(row).hex() for row in ids] == results.ids[timed].tolist()
    assert column(data["front"]).tolist() == front_of(results)[timed].tolist()
    assert data["slopes"]["levels"] == ["naive", "rule", "tuned"]
    assert {bar["name"] for bar in data["bars"][0]["bars"]} == {
        "channels-50, dense",
        "prune-50, dense",
        "prune-50, sparse",
        "prune-90, dense",
        "prune-90, sparse",
    }


def test_a_tie_of_the_heat_map_is_a_bit(results, page):
    heat = data_of(page)["heat"]
    best, tied = column(heat["fastest"]), column(heat["tied"])
    assert ((tied >> best) & 1).all()
    # auto and gemm are equally fast.
    several = np.array([bin(bits).count("1") for bits in tied.tolist()]) > 1
    assert several.all()


def test_names_are_nothing_but_text():
    page = html_report(Analysis(evil()))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    text = markdown_report(Analysis(evil()))
    assert "<script" not in text.replace(f"```\n{EVIL}", "")
    for line in text.split("````")[0].splitlines():
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line)
            assert len(cells) >= 3


def test_the_tables_of_the_markdown_page_are_whole(results):
    text = markdown_report(Analysis(results))
    tables = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    assert len(tables) > 8
    for table in tables:
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "**confirmed**" in text
    assert "## Provenance" in text


@pytest.mark.parametrize(
    "results",
    [
        study({"model": ["m"]}, lambda point: None),
        study({"model": ["m"]}, lambda point: 1.0),
        study({"model": ["m", "n"], "compression": ["none", "prune-50"]}, lambda point: 1.0, rounds=2),
        study({"model": ["m"], "dataset": []}, lambda point: 1.0),
    ],
    ids=["nothing timed", "one point", "no accuracy", "no point"],
)
def test_little_is_reported_too(results):
    assert "untestable" in html_report(Analysis(results))
    assert "untestable" in markdown_report(Analysis(results))


def test_a_large_study_takes_some_bytes_a_point(results, page):
    many = html_report(Analysis(small(threads=[1, 2, 3, 4])))
    points = 3 * results.timed.sum()
    assert (len(many) - len(page)) / points < 120  # a third of it lines of the slope chart, of which there is a limit


def test_html_without_plotly_says_what_to_install(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(DlasError, match=r"pip install 'dlas-mlir\[report\]'"):
        html_report(Analysis(results))
    assert markdown_report(Analysis(results))


# ---- in a browser

needs_browser = pytest.mark.skipif(
    browsers.find() is None, reason="chromium is not installed (apt-get install chromium)"
)
FIGURES = ("front-figure", "levels-time", "bars-figure", "slopes-figure", "between-figure", "parallel-figure")
READY = "document.documentElement?.dataset.ready === '1'"


@pytest.fixture(scope="module")
def window(tmp_path_factory) -> Iterator[browsers.Browser]:
    with browsers.browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def file(tmp_path_factory, page) -> Path:
    path = tmp_path_factory.mktemp("pages") / "study.html"
    path.write_text(page, encoding="utf-8")
    return path


def scroll_through(window: browsers.Browser) -> None:
    """Until every figure is drawn."""
    window.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    for name in (*FIGURES, "heat-figure"):
        window.evaluate(f"document.getElementById('{name}').scrollIntoView({{block: 'center'}})")
        window.wait(f"!!document.querySelector('#{name} .main-svg, #{name} table, #{name} p')")


@needs_browser
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_a_browser_draws_all_figures_and_asks_for_nothing(window, file, width, dark):
    window.open(file, width=width, dark=dark)
    window.wait(READY)
    scroll_through(window)
    drawn = {name: window.evaluate(f"document.getElementById('{name}').data?.length ?? 0") for name in FIGURES}
    assert min(drawn.values()) > 0, drawn
    assert window.evaluate("document.querySelectorAll('#heat-figure td.cell').length") == 3 * 4
    assert window.evaluate("document.querySelectorAll('#heat-figure td.tied').length") > 0
    # Nothing but tables and figures in their own boxes is wider than the window.
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    assert window.errors == []
    assert window.requests == [file.resolve().as_uri()]


@needs_browser
def test_figures_follow_the_colour_scheme(window, file):
    window.open(file, dark=False)
    window.wait(READY)
    colour = "document.getElementById('front-figure').layout.font.color"
    light = window.evaluate(colour)
    window.scheme(dark=True)
    window.wait(f"{colour} !== '{light}'")
    assert window.errors == []


@needs_browser
def test_a_point_is_told_by_mouse_and_by_keys(window, file, results):
    window.open(file)
    window.wait(READY)
    window.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    window.evaluate("document.getElementById('front-figure').scrollIntoView({block: 'center'})")
    window.evaluate("document.getElementById('front-figure').focus({preventScroll: true})")
    window.press("ArrowRight")
    told = "document.querySelector('#front-chosen code')?.textContent"
    window.wait(f"!!{told}")
    first = window.evaluate(told)
    assert first.split()[-1] in results.ids[front_of(results)]
    window.press("ArrowRight")
    window.press("ArrowRight")
    window.wait(f"{told} !== '{first}'")
    # The front's last point, by the mouse.
    place = window.evaluate(
        "(() => { const f = document.getElementById('front-figure'), l = f._fullLayout, t = f.data[0];"
        "const r = f.getBoundingClientRect(), i = t.x.length - 1;"
        "return [r.left + l._size.l + l.xaxis.d2p(t.x[i]), r.top + l._size.t + l.yaxis.d2p(t.y[i])] })()"
    )
    before = window.evaluate(told)
    window.move(place[0] - 3, place[1] - 3)
    window.move(*place)
    window.wait(f"{told} !== '{before}'")
    assert window.errors == []


@needs_browser
def test_other_levels_are_drawn_when_they_are_chosen(window, file):
    window.open(file)
    window.wait(READY)
    before = window.evaluate("document.getElementById('front-figure').data[0].x[0]")
    window.evaluate(
        "(() => { const s = document.querySelector('#front-controls select'); s.selectedIndex = 1;"
        "s.dispatchEvent(new Event('change')) })()"
    )
    window.wait(f"document.getElementById('front-figure').data[0].x[0] !== {before}")
    scroll_through(window)
    assert window.errors == []


TICKS = "[...document.querySelectorAll('#front-figure .{}tick text')].map((each) => each.textContent)"


@needs_browser
def test_ticks_tell_values_apart_and_nothing_empty_is_offered(window, tmp_path):
    """Accuracies that lie close together, times of less than two powers of ten, one model and one device."""
    few = small(model=["vgg16-cifar"], compression=["none", "prune-80"], device=["server"])
    close = {**few.metrics, "accuracy": 0.955 + np.arange(len(few)) / len(few) / 1000}
    file = tmp_path / "few.html"
    file.write_text(html_report(Analysis(replace(few, metrics=close))), encoding="utf-8")
    window.open(file)
    window.wait(READY)
    scroll_through(window)
    for axis in "xy":
        ticks = window.evaluate(TICKS.format(axis))
        assert len(ticks) > 2
        assert len(set(ticks)) == len(ticks)
    assert [float(tick) for tick in window.evaluate(TICKS.format("x"))] == sorted(
        float(tick) for tick in window.evaluate(TICKS.format("x"))
    )
    offered = "[...document.querySelectorAll('select')].filter((s) => s.options.length < 2 && s.offsetParent).length"
    assert window.evaluate(offered) == 0
    assert window.errors == []


@needs_browser
def test_names_run_nothing(window, tmp_path):
    file = tmp_path / "evil.html"
    file.write_text(html_report(Analysis(evil())), encoding="utf-8")
    window.open(file)
    window.evaluate("window.alert = () => console.error('it ran')")
    window.wait(READY)
    scroll_through(window)
    assert "<script>" in window.evaluate("document.querySelector('h1').textContent")
    assert "<script>" in window.evaluate("document.querySelector('#heat-figure th[scope=row]').textContent")
    assert window.errors == []
