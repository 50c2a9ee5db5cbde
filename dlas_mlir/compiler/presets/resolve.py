"""Presets: `TARGET/RECIPE` names a target's figures, the iree-compile flags and a pass pipeline.

Behind a colon stands where the schedules of kernels come from, as in `host/auto:naive`: those that
`dlas-attach-schedules` has, by rule where nothing is said.

A target is one TOML file, in the user's directories ($DLAS_PRESETS, a list of directories as in $PATH, then
`dlas_mlir/presets` in the configuration directory) or in `dlas_mlir.pipelines`; the first found is taken.
The target `host` is the file that fits this machine, compiled for exactly its CPU, `host-gpu` that which fits its GPU.
Targets can share recipes: those of the file named by `recipes_from`, which is looked for in the same directories, and
stands for no target itself.
Pipelines are made of fragments, those of `fragments.toml` in all these directories: of one name the first is taken. The
fragment `@primitives` is in no file: it lowers to every primitive that there is.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path

from dlas_mlir import pipelines
from dlas_mlir.codegen.target import AnyTarget, CpuTarget, GpuTarget
from dlas_mlir.compiler.presets import file as preset_file
from dlas_mlir.compiler.presets import host, host_gpu
from dlas_mlir.compiler.presets.file import Fragment, Recipe, TargetFile
from dlas_mlir.errors import DlasError
from dlas_mlir.opt.options import closest
from dlas_mlir.opt.pipeline import Pipeline, PythonPass, parse_pipeline
from dlas_mlir.opt.pipeline_text import Source
from dlas_mlir.passes import primitives
from dlas_mlir.passes.clean.set_target import SetTargetPass
from dlas_mlir.passes.schedule.attach_schedules import SCHEDULES, AttachSchedulesPass
from dlas_mlir.runtime.gpus import Gpu

HOST, HOST_GPU = "host", "host-gpu"
_FRAGMENTS = "fragments.toml"
# The flags of iree-compile that say for which machine of a kind.
MACHINE_FLAGS = "--iree-llvmcpu-target-"
# A GPU's caller says what to wait for and is told when it is done: so several calls can be on their way.
_CALLS = {"cpu": (), "gpu": ("--iree-execution-model=async-external",)}


@dataclass(frozen=True)
class Preset:
    """One recipe for one target, checked.

    `name` is what was asked for (`host/auto`), `target_name` the target file it came to; `schedule` is where schedules
    come from, empty where the recipe attaches none. `pipeline` is text that `parse_pipeline` takes; `iree_flags` is all
    that iree-compile is given; `device` is the runtime's;
    `element` is the type that operands are rounded to, empty where the model's own types stay. `needs` and `machine`
    are the target file's: what a machine has to have for it.
    """

    name: str
    target: AnyTarget
    target_name: str
    recipe: str
    pipeline: str
    iree_flags: tuple[str, ...]
    device: str
    description: str
    element: str = ""
    schedule: str = ""
    needs: tuple[str, ...] = ()
    machine: str = ""


@dataclass(frozen=True)
class Listed:
    """One line of `dlas presets`."""

    name: str
    description: str
    target: str
    device: str
    file: str
    machine: str = ""
    needs: tuple[str, ...] = ()


def load_preset(name: str, *, threads: int = 1) -> Preset:
    """The preset `TARGET/RECIPE[:SCHEDULE]` for `threads` workers, with its whole pipeline checked.

    Raises DlasError that names the file and what is wrong in it; for a wrong pipeline it is a PipelineError
    with the line and column in the TOML file.
    """
    target_name, slash, behind = name.partition("/")
    recipe_name, colon, schedule = behind.partition(":")
    if not slash or not recipe_name or not re.fullmatch(r"\w[\w.-]*", target_name):
        raise DlasError(f"expected a preset TARGET/RECIPE such as `host/auto`, found `{name}`")
    if threads < 1:
        raise DlasError(f"expected at least one thread, found {threads}")
    file = _read(target_name)
    recipe = file.recipes.get(recipe_name)
    if recipe is None:
        hint = closest(recipe_name, file.recipes)
        known = ", ".join(file.recipes)
        more = ""
        if (last := recipe_name.rpartition("-")[2]) in SCHEDULES:
            more = f"; schedules stand behind a colon, as in `{target_name}/auto:{last}`"
        raise DlasError(f"{file.path}: there is no recipe `{recipe_name}`{hint}; it has {known}{more}")
    if colon and schedule not in SCHEDULES:
        hint = closest(schedule, SCHEDULES)
        raise DlasError(f"{name}: there are no schedules `{schedule}`{hint}; there are {', '.join(SCHEDULES)}")
    target = file.target
    if target.kind == "cpu":
        target = dataclasses.replace(target, threads=threads)
    pipeline, attached = _scheduled(_pipeline(target, recipe), schedule)
    if colon and not attached:
        raise DlasError(f"{name}: {target_name}/{recipe_name} makes no kernels, so there are no schedules to choose")
    return Preset(
        name=name,
        target=target,
        target_name=file.target.name,
        recipe=recipe_name,
        pipeline=str(pipeline),
        iree_flags=(*file.iree_flags, *recipe.iree_flags, *_CALLS[target.kind]),
        device=_device(file.device, threads),
        description=recipe.description,
        element=recipe.element,
        schedule=attached,
        needs=file.needs,
        machine=file.machine,
    )


def list_presets(wrong: list[DlasError] | None = None) -> list[Listed]:
    """All presets, `host` first; pipelines are not looked into, and no GPU is looked for: `host-gpu` is not among them.

    For a target whose file is wrong there is an error in `wrong`, once for each file; without `wrong` it is raised.
    """
    try:
        names = [HOST] if _find(HOST) or host.target_name() else []
    except DlasError:
        names = []
    names += sorted(_targets() - {HOST})
    listed = []
    for name in names:
        try:
            file = _read(name)
        except DlasError as error:
            if wrong is None:
                raise
            if str(error) not in map(str, wrong):
                wrong.append(error)
            continue
        device = _device(file.device, 1)
        for recipe in file.recipes.values():
            label = f"{name}/{recipe.name}"
            of_file = (file.description, device, str(file.path), file.machine, file.needs)
            listed.append(Listed(label, recipe.description, *of_file))
    return listed


def list_fragments() -> list[Fragment]:
    """The fragments that pipelines of presets may name. A file that is wrong raises DlasError."""
    lowerings = Source(",".join(f"dlas-lower-{name}" for name in primitives.names()), "@primitives")
    found = {"primitives": Fragment("primitives", "the lowerings of all primitives, of other packages too", lowerings)}
    for folder in reversed(search_path()):
        if (path := folder / _FRAGMENTS).is_file():
            found |= preset_file.read_fragments(path)
    return list(found.values())


def search_path() -> list[Path]:
    """The directories in which target files are looked for, the user's first."""
    chosen = [Path(part).expanduser() for part in os.environ.get("DLAS_PRESETS", "").split(os.pathsep) if part]
    config = os.environ.get("XDG_CONFIG_HOME")
    base = Path(config) if config else Path.home() / ".config"
    return [*chosen, base / "dlas_mlir" / "presets", Path(pipelines.__path__[0])]


def _find(target: str) -> Path | None:
    paths = (folder / f"{target}.toml" for folder in search_path())
    return next((path for path in paths if path.is_file()), None)


def _targets() -> set[str]:
    """The names of all target files."""
    names = {path.stem for folder in search_path() for path in folder.glob("*.toml")}
    return {name for name in names if (path := _find(name)) and preset_file.is_target(path)}


def _read(target: str) -> TargetFile:
    path = _find(target)
    if path and preset_file.is_target(path):
        return _with_shared_recipes(preset_file.read(path))
    if path:
        raise DlasError(f"{path}: `{target}` is no target, only what targets share")
    if target == HOST:
        return _for_host(_read(host.target_name()))
    if target == HOST_GPU:
        name, gpu = host_gpu.find()
        return _for_gpu(_read(name), gpu)
    known = _targets() | {HOST, HOST_GPU}
    hint = closest(target, known)
    raise DlasError(f"there is no target `{target}`{hint}; there are {', '.join(sorted(known))}")


def _with_shared_recipes(file: TargetFile) -> TargetFile:
    """`file` with the recipes of `recipes_from` before its own, which go before those of the same name."""
    if file.recipes_from is None:
        return file
    shared = _find(file.recipes_from)
    where = f"{file.path}: recipes_from: "
    if shared is None:
        folders = ", ".join(str(folder) for folder in search_path())
        raise DlasError(f"{where}there is no file {file.recipes_from}.toml in {folders}")
    if preset_file.is_target(shared):
        raise DlasError(f"{where}{shared} is not a file of recipes only")
    return dataclasses.replace(file, recipes={**preset_file.read_recipes(shared), **file.recipes})


def _for_host(file: TargetFile) -> TargetFile:
    """`file` for exactly this CPU: its own instructions and caches."""
    if not isinstance(file.target, CpuTarget):
        raise DlasError(f"{file.path}: `{HOST}` is this CPU, and this target is a GPU")
    target = dataclasses.replace(file.target, **host.cache_sizes())
    flags = tuple(flag for flag in file.iree_flags if not flag.startswith(MACHINE_FLAGS))
    return dataclasses.replace(file, target=target, iree_flags=(*flags, "--iree-llvmcpu-target-cpu=host"))


def _for_gpu(file: TargetFile, gpu: Gpu) -> TargetFile:
    """`file` for exactly this GPU: with its own figures."""
    if not isinstance(file.target, GpuTarget):
        raise DlasError(f"{file.path}: `{HOST_GPU}` is this GPU, and this target is a CPU")
    return dataclasses.replace(file, target=dataclasses.replace(file.target, **host_gpu.figures(gpu, file.target)))


def _device(device: str, threads: int) -> str:
    # The synchronous driver has no threads, and the least overhead.
    return {"local": "local-sync" if threads == 1 else "local-task"}.get(device, device)


def _pipeline(target: AnyTarget, recipe: Recipe) -> Pipeline:
    """The recipe's passes after the one that writes the target; nothing at all for an empty recipe."""
    body = parse_pipeline(recipe.pipeline, fragments={part.name: part.pipeline for part in list_fragments()})
    if not body.elements:
        return body
    return Pipeline((PythonPass(SetTargetPass.for_target(target)),)) + body


def _scheduled(pipeline: Pipeline, schedule: str) -> tuple[Pipeline, str]:
    """The pipeline with schedules from there (empty: as it is), and where it has them from; empty for one that attaches
    none."""
    elements, found = list(pipeline.elements), ""
    for place, element in enumerate(elements):
        if isinstance(element, PythonPass) and isinstance(element.instance, AttachSchedulesPass):
            attach = element.instance
            if schedule and schedule != attach.schedule:
                attach = dataclasses.replace(attach, schedule=schedule, records="")
                elements[place] = PythonPass(attach)
            found = attach.schedule
    return Pipeline(tuple(elements)), found
