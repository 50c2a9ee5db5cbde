"""Which cells of a study make sense, and as which preset they are compiled."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from dlas_mlir import datasets, models
from dlas_mlir.compiler.presets import Preset, load_preset
from dlas_mlir.compiler.presets.here import here
from dlas_mlir.errors import DlasError
from dlas_mlir.runtime.devices import usable_cpus
from dlas_mlir.study.axes import FILES, NO_COMPRESSION, NO_DATASET, ONNX, SEARCHED
from dlas_mlir.study.recipes import Recipe, recipe_of
from dlas_mlir.study.spec import Spec
from dlas_mlir.study.values import Point

# Quantized layers are done in integers by these, whose fronts take them.
_TAKES_INTEGERS = ("auto",)
# Where `dlas-attach-schedules` has schedules from, by level of the axis.
_SCHEDULES = {"naive": "naive", "rule": "rule", "tuned": "tuned", "transferred": "tuned"}


class Applicable:
    """The rules for the points of one study."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._presets: dict[tuple[str, str], Preset | str] = {}
        self._recipes: dict[str, Recipe] = {}
        self._models = len(spec.axes["model"])
        # Each rule looks at few axes, so that a hundred thousand points ask few questions.
        self._of_model = cache(self._model_reason)
        self._of_weights = cache(self._weights_reason)
        self._of_code = cache(self._code_reason)
        self._of_search = cache(self._search_reason)

    def reason(self, point: Point) -> str | None:
        """Why a cell makes no sense; None for one that does."""
        return (
            self._of_model(point.dataset, point.model, point.compression, point.batch)
            or self._of_weights(point.model, point.compression, point.element, point.format, point.primitive)
            or self._of_code(
                point.compression,
                point.primitive,
                point.format,
                point.schedule,
                point.element,
                point.threads,
                point.device,
            )
        )

    def recipe(self, compression: str) -> Recipe:
        """What a level of the compression axis means."""
        if compression not in self._recipes:
            self._recipes[compression] = recipe_of(compression, self._spec.training, self._spec.folder)
        return self._recipes[compression]

    def preset_name(self, point: Point) -> str:
        """The preset of a point, with its schedules behind a colon where that is not the rule."""
        target = self._spec.devices[point.device].target
        name = f"{target}/{self._recipe_name(point.compression, point.primitive, point.format, point.element)}"
        return name if point.schedule == "rule" else f"{name}:{_SCHEDULES[point.schedule]}"

    def _model_reason(self, dataset: str, model: str, compression: str, batch: int) -> str | None:
        entry = models.find(model)
        if entry is not None and dataset != NO_DATASET and entry.input_shape[1:] != datasets.SHAPES[dataset]:
            takes, gives = ("x".join(map(str, shape)) for shape in (entry.input_shape[1:], datasets.SHAPES[dataset]))
            return f"{model} takes images of {takes}, those of {dataset} are {gives}"
        if Path(model).suffix in FILES and compression != NO_COMPRESSION:
            return "a file cannot be compressed, only a model of the zoo or package.module:factory"
        if Path(model).suffix in FILES and Path(model).suffix != ONNX and batch > 1:
            return "the batch of a file is fixed"
        return None

    def _weights_reason(self, model: str, compression: str, element: str, format: str, primitive: str) -> str | None:
        recipe = self.recipe(compression)
        source = self._spec.models.get(model)
        zeros = recipe.zeros or (source is not None and source.weights is not None)
        if recipe.element and recipe.element != element:
            return f"the recipe {compression} leaves the weights in {recipe.element}"
        if element == "int8" and Path(model).suffix in FILES and not recipe.element:
            return "a file cannot be quantized here, only a model of the zoo or package.module:factory"
        if format == "sparse" and not zeros:
            return "no weights are zero, so there is nothing to leave out"
        if primitive == "auto" and format == "dense" and recipe.zeros:
            return "auto leaves zeros out where that pays off: its format is sparse"
        return None

    def _code_reason(
        self, compression: str, primitive: str, format: str, schedule: str, element: str, threads: int, device: str
    ) -> str | None:
        spec = self._spec.devices[device]
        most = spec.threads or (len(usable_cpus()) if spec.kind == "local" else None)
        if most is not None and threads > most:
            return f"{device} has {most} threads"
        name = self._recipe_name(compression, primitive, format, element)
        preset = self._preset(spec.target, name)
        if isinstance(preset, str):
            return preset
        if preset.target.kind == "gpu" and threads > 1:
            return "a GPU shares out its work by itself: threads is 1"
        if schedule != "rule" and not preset.schedule:
            return f"{spec.target}/{name} makes no kernels of its own, so there are no schedules to choose"
        if schedule == "transferred" and self._models < 2:
            return "schedules are transferred from other models, and the axis has none"
        if schedule in SEARCHED:
            return self._of_search(device)
        return None

    def _search_reason(self, device: str) -> str | None:
        """Searches measure where the run is, whichever machine has the device."""
        target = self._spec.devices[device].target
        place = here(load_preset(f"{target}/stock"))
        if not place.runs:
            return f"schedules are searched for on the machine of the run, where {target} cannot run: {place.reason}"
        return None

    def _recipe_name(self, compression: str, primitive: str, format: str, element: str) -> str:
        """The recipe of a target file: the element type, sparse or not, and the primitive."""
        words = [primitive]
        if format == "sparse" and primitive != "auto":
            words.insert(0, "sparse")
        by_itself = self.recipe(compression).element in ("f16", "bf16")  # its operands are so already
        if element != "f32" and not by_itself and not (element == "int8" and primitive in _TAKES_INTEGERS):
            words.insert(0, element)
        return "-".join(words)

    def _preset(self, target: str, recipe: str) -> Preset | str:
        """The preset, or that there is none."""
        key = (target, recipe)
        if key not in self._presets:
            try:
                self._presets[key] = load_preset(f"{target}/{recipe}")
            except DlasError:
                self._presets[key] = f"{target} has no recipe `{recipe}`"
        return self._presets[key]
