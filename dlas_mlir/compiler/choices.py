"""The primitives that `dlas tune --primitives` has chosen for the layers of a network."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dlas_mlir.compiler import cache, tuned
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.presets import Preset
from dlas_mlir.errors import DlasError
from dlas_mlir.measure.choices import Choices, ChoicesPlace
from dlas_mlir.opt.pipeline import Pipeline, PythonPass, parse_pipeline
from dlas_mlir.passes.primitive.select_primitive import SelectPrimitivePass


@dataclass(frozen=True)
class Split:
    """A pipeline before and behind dlas-select-primitive."""

    before: Pipeline
    selection: SelectPrimitivePass
    behind: Pipeline

    @staticmethod
    def of(preset: Preset) -> Split:
        """That of a preset. Raises DlasError for one that chooses no primitives."""
        elements = parse_pipeline(preset.pipeline).elements
        for place, element in enumerate(elements):
            if isinstance(element, PythonPass) and isinstance(element.instance, SelectPrimitivePass):
                return Split(Pipeline(elements[:place]), element.instance, Pipeline(elements[place + 1 :]))
        raise DlasError(f"{preset.name} chooses no primitives, so there is nothing to choose")

    def select(self, choices: Path | None = None) -> Pipeline:
        """The pass alone, with a file of choices that go before the recipe's."""
        given = self.selection
        if choices is not None:
            given = dataclasses.replace(given, choices=str(choices))
        return Pipeline((PythonPass(given),))

    def with_choices(self, choices: Path) -> str:
        """The whole pipeline's text with the choices in a file."""
        return str(self.before + self.select(choices) + self.behind)


def place_of(imported: Imported, preset: Preset, threads: int) -> ChoicesPlace:
    """Where a choice holds: the model (with its weights: their zeros count), all that is done to it until primitives
    are chosen, and from which the recipe chooses; the target and the threads."""
    split = Split.of(preset)
    key = cache.digest([imported.key], str(split.before + split.select()))[:32]
    return ChoicesPlace(key, tuned.target_key(preset), preset.target_name, threads)


def with_choices(
    imported: Imported,
    preset: Preset,
    threads: int,
    say: Callable[[str], None] = lambda _: None,
    db: Path | None = None,
) -> Preset:
    """`preset` with the primitives that were chosen for this model by measurement, `preset` itself where none were, in
    the data base `db` (None: the user's own).

    A file of choices that the recipe names goes before. What was measured with other versions, or another emitter, is
    not taken, and it is said. Raises DlasError for a data base that cannot be read."""
    file = db or tuned.database()
    try:
        split = Split.of(preset)
    except DlasError:
        return preset
    if split.selection.choices or not file.is_file():
        return preset
    here = tuned.environment(preset)
    with Choices(file, create=False) as known:
        found = known.chosen(place_of(imported, preset, threads))
    if not found:
        return preset
    fresh = [choice for choice in found if dataclasses.replace(choice.environment, cpu=here.cpu) == here]
    if not fresh:
        words = ", ".join(here.differences(found[-1].environment))
        say(f"the choice of primitives is out of date ({words}): `dlas tune --primitives` makes it again")
        return preset
    taken = max(fresh, key=lambda choice: (choice.environment.cpu == here.cpu, choice.date))
    if not taken.primitives:
        return preset
    say(f"{len(taken.primitives)} layers have primitives that were chosen by measurement")
    return dataclasses.replace(preset, pipeline=split.with_choices(written(taken.primitives)))


def written(primitives: Mapping[str, str]) -> Path:
    """A file of choices, whose name tells its content, in the cache."""
    text = json.dumps(dict(primitives), sort_keys=True, indent=1) + "\n"
    with cache.workspace() as scratch:
        made = scratch / "choices.json"
        cache.write_atomically(made, text)
        return cache.publish(made, cache.entry("choices", cache.digest(text)))[0]
