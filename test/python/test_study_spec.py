"""Specifications of studies: values with stable names, expressions, and what is said of bad files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dlas_mlir.study.axes import METRICS, NAMES
from dlas_mlir.study.expression import ExpressionError, parse
from dlas_mlir.study.recipes import recipe_of
from dlas_mlir.study.spec import Spec, SpecError, Training
from dlas_mlir.study.spec_file import SHIPPED, find_spec, read_spec
from dlas_mlir.study.values import Block, Point, Step

MINIMAL = '[study]\nname = "x"\n[axes]\nmodel = ["resnet18-cifar"]\n'


def spec_of(tmp_path: Path, text: str) -> Spec:
    file = tmp_path / "study.toml"
    file.write_text(text)
    return read_spec(file)


def test_the_id_of_a_point_depends_on_its_levels_alone() -> None:
    point = Point("digits", "vgg16-cifar", "none", "direct", "dense", "rule", "f32", 1, 1, "host")
    assert point.id == "b6a674210517cdc8"  # stores that exist hold it
    assert Point.from_dict(dict(reversed(point.as_dict().items()))) == point
    assert tuple(point.as_dict()) == NAMES


def test_the_key_of_a_step_holds_all_that_it_depends_on() -> None:
    step = Step("train", {"model": "a", "epochs": 1}, {}, "salt")
    assert step.key == Step("train", {"epochs": 1, "model": "a"}, {}, "salt").key
    others = [
        Step("train", {"model": "a", "epochs": 2}, {}, "salt"),
        Step("train", {"model": "a", "epochs": 1}, {"weights": "k"}, "salt"),
        Step("train", {"model": "a", "epochs": 1}, {}, "other"),
        Step("compress", {"model": "a", "epochs": 1}, {}, "salt"),
    ]
    assert len({step.key, *(other.key for other in others)}) == 5
    assert Block("host", ("a", "b"), ("k", "l")).key != Block("host", ("b", "a"), ("k", "l")).key


def test_what_a_minimal_file_means(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, MINIMAL)
    assert spec.size == 1
    assert spec.axes["primitive"] == ("auto",)
    assert spec.axes["device"] == ("host",)
    assert spec.devices["host"].target == "host"


def test_ranges_are_expanded(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, MINIMAL + 'compression = ["none", "prune-{50,80}", "channels-{25, 50}"]\n')
    assert spec.axes["compression"] == ("none", "prune-50", "prune-80", "channels-25", "channels-50")


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.toml")), ids=lambda file: file.stem)
def test_those_that_come_with_the_package_are_right(file: Path) -> None:
    assert read_spec(find_spec(file.stem)).name == file.stem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[study]\nname x", "not a TOML file: .*line 2"),
        ('[devices.a]\ntarget = "host"\n[devices.a]\ntarget = "host"', r"not a TOML file: .*line 3"),
        ('[studdy]\nname = "x"', "studdy: unknown table .did you mean `study`"),
        ('[study]\nnam = "x"', r"study.toml:2: study.nam: unknown key"),
        ("[study]\n[axes]", "study.name: the key is missing"),
        (MINIMAL + 'primtive = "direct"', "study.toml:5: axes.primtive: unknown axis .did you mean `primitive`"),
        ('[study]\nname = "x"\n[axes]', "axes.model: the key is missing"),
        (MINIMAL + "threads = []", "axes.threads: an axis without values"),
        (MINIMAL + "threads = [0]", "axes.threads: expected whole numbers from 1"),
        (MINIMAL + 'threads = ["1"]', "axes.threads: expected whole numbers"),
        (MINIMAL + 'schedule = ["naiv"]', "axes.schedule: there is no `naiv` .did you mean `naive`"),
        (MINIMAL + 'compression = "prune-{50,80"', "a range is written as"),
        (MINIMAL + 'compression = "prune-0"', "takes nothing away"),
        (MINIMAL + 'compression = "mine.toml"', "there is no recipe .*mine.toml"),
        (MINIMAL + 'compression = "prunes-50"', "there is no recipe `prunes-50`"),
        (MINIMAL + 'dataset = "digit"', "there is no dataset `digit` .did you mean `digits`"),
        (MINIMAL + 'dataset = "cifar10"', r"cifar10 is read from a folder: \[datasets.cifar10\]"),
        (MINIMAL + 'dataset = "cifar10"\n[datasets.cifar10]\nfolder = "none"', "there is no folder"),
        ("datasets = 3\n" + MINIMAL, r"datasets: expected tables \[datasets"),
        (MINIMAL + 'device = "pi"', r"there is no table \[devices.pi\]"),
        (MINIMAL + '[devices.pi]\ntarget = "aarch"', "devices.pi.target: there is no target `aarch`"),
        (MINIMAL + '[devices.pi]\ntarget = "host"\nkind = "ssh"', "devices.pi.kind: expected local or worker"),
        (
            MINIMAL + '[[exclude]]\nwhen = "primitive == \'x\'"\nreason = ""',
            "exclude 1.when: .*no level of `primitive`",
        ),
        (MINIMAL + '[[exclude]]\nwhen = "threads =="\nreason = ""', "exclude 1.when: .*column 10"),
        (MINIMAL + '[[exclude]]\nwhen = "threads == 1"', "exclude 1.reason: the key is missing"),
        (MINIMAL + '[goals]\nminimise = ["latency"]', "goals.minimise: there is no metric `latency`"),
        (MINIMAL + '[goals]\nlimits = ["accuracy_loss < 1 %"]', "goals.limits: .*invalid syntax"),
        (MINIMAL + '[measurement]\ncompare = ["primitives"]', "measurement.compare: there is no axis"),
        (MINIMAL + '[measurement]\nbudget = "soon"', "measurement.budget: expected a time"),
        (MINIMAL + "[measurement]\nrounds = 0", "measurement.rounds: expected a number above 0"),
        (MINIMAL + '[models.vgg]\nweights = "a"', "models.vgg: the axis model has no such level"),
        ('[study]\nname = "x"\nsearch = "tpe"\n[axes]\nmodel = "vgg16-cifar"', "study.trials: the search `tpe` needs"),
        ('[study]\nname = "x"\n[axes]\nmodel = "vgg16-cifr"', "there is no model `vgg16-cifr` .did you mean `vgg16"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(Exception, match=message) as told:
        spec_of(tmp_path, text)
    assert str(told.value).startswith(str(tmp_path / "study.toml"))


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as told:
        spec_of(tmp_path, MINIMAL + 'threads = []\nformat = "spars"\n[measurement]\nrounds = 0\n[goal]\n')
    assert len(str(told.value).splitlines()) == 4


COLUMNS = {"primitive": ("direct", "gemm"), "threads": (1, 2), **dict.fromkeys(METRICS)}
POINT = {"primitive": "gemm", "threads": 2, "median_ms": 1.5, "accuracy": float("nan")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("primitive == 'gemm' and threads > 1", True),
        ("not primitive in ('gemm', 'direct')", False),
        ("1 < median_ms <= 1.5 or threads == 1", True),
        ("like(primitive, 'ge*')", True),
        ("accuracy >= 0.5 or accuracy < 0.5", False),  # no number
        ("weight_bytes < 5", False),  # missing
        ("median_ms > -1", True),
    ],
)
def test_expressions(text: str, expected: bool) -> None:
    assert parse(text, COLUMNS).test(POINT) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("primitve == 'gemm'", "column 1: there is no `primitve` .did you mean `primitive`"),
        ("threads == 3", "column 12: 3 is no level of `threads`; it has 1, 2"),
        ("primitive < 'gemm'", "is a text: it can be compared by"),
        ("threads == '1'", "`threads` is a number"),
        ("median_ms == 'fast'", "`median_ms` is a number"),
        ("__import__('os').system('x')", "the only call is like"),
        ("(lambda: 1)() == 1", "column 1: expected a name"),
        ("threads.__class__ == 1", "expected a name, a number or a text"),
        ("threads is 1", "comparison is not known"),
        ("threads", "this is no condition"),
        ("primitive in 'gemm'", "`in` goes with several values"),
        ("(" * 300 + "1", "allowed are"),
        ("", "allowed are"),
    ],
)
def test_expressions_that_are_wrong(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse(text, COLUMNS)


def test_levels_of_compression_are_steps() -> None:
    training = Training(fine_tune=2, iterations=3)
    prune = recipe_of("prune-80", training, Path())
    assert prune.zeros
    assert prune.steps[0] | {"sparsity": 0.8, "epochs": 2, "iterations": 3} == prune.steps[0]
    channels = recipe_of("channels-50", Training(fine_tune=0), Path())
    assert not channels.zeros
    assert re.match("channel", channels.steps[0]["kind"])


def test_a_file_of_steps_says_what_it_leaves(tmp_path: Path) -> None:
    (tmp_path / "half.toml").write_text('[[step]]\nkind = "prune"\nsparsity = 0.5\n[[step]]\nkind = "half"\n')
    recipe = recipe_of("half.toml", Training(), tmp_path)
    assert (recipe.zeros, recipe.element) == (True, "f16")
    (tmp_path / "bad.toml").write_text('[[step]]\nkind = "prun"\n')
    with pytest.raises(Exception, match=r"bad.toml: step 1 \(prun\): unknown kind `prun`"):
        recipe_of("bad.toml", Training(), tmp_path)
