"""Models of the user's own, named `package.module:factory`: finding the file, calling the factory."""

from __future__ import annotations

import importlib
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from dlas_mlir.errors import DlasError
from dlas_mlir.process import entering

_OWN_PACKAGE = Path(__file__).parents[1]
_MODELS = f"{__name__.partition('.')[0]}.models"
_INSTALLED = (_OWN_PACKAGE, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")))


def split_factory(spec: str) -> tuple[str, str]:
    """`package.module:factory` in its two parts. Raises DlasError when it is not of this form."""
    module, _, name = spec.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise DlasError(f"malformed model '{spec}': a model of your own is named package.module:factory")
    return module, name


def find_module_file(module: str) -> Path:
    """The Python file of a module, found in the working directory and on sys.path without importing anything.

    Raises DlasError when there is none.
    """
    search: list[str] | None = [str(Path.cwd()), *sys.path]
    name = ""
    file = None
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = PathFinder.find_spec(name, search)
        if spec is None or search is None:
            raise DlasError(f"no module {name} in the working directory or on PYTHONPATH")
        search = list(spec.submodule_search_locations) if spec.submodule_search_locations else None
        file = spec.origin
    if file is None or not Path(file).is_file():
        raise DlasError(f"module {module} has no Python file")
    return Path(file).absolute()


def call_factory(spec: str) -> Any:
    """What the factory returns. Raises DlasError, with the line, when it cannot be imported or fails."""
    module_name, attribute = split_factory(spec)
    find_module_file(module_name)
    entering(f"the factory {spec}()")
    with _working_directory_on_path():
        try:
            made: Any = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:
            raise DlasError(f"importing {module_name} failed: {_describe(error)}") from None
        for part in attribute.split("."):
            if not hasattr(made, part):
                raise DlasError(f"module {module_name} has no {attribute}")
            made = getattr(made, part)
        try:
            return made()
        except (Exception, SystemExit) as error:
            raise DlasError(f"{spec}() failed: {_describe(error)}") from None


def source_files(module: str) -> list[Path]:
    """The loaded Python files that `module` may be made from: its own package, and whatever is not installed.

    Installed packages other than its own are left out: their versions are not the user's to edit. So is this one, but
    for its models.
    """
    package = module.partition(".")[0]
    files = set()
    for name, loaded in list(sys.modules.items()):
        path = Path(getattr(loaded, "__file__", None) or "")
        if path.suffix != ".py" or not path.is_file():  # PyTorch has modules whose file is made up
            continue
        if name.partition(".")[0] == package or name.startswith(_MODELS) or not _is_installed(path):
            files.add(path.absolute())
    return sorted(files)


def _is_installed(file: Path) -> bool:
    return bool({"site-packages", "dist-packages"} & set(file.parts)) or any(
        folder in file.parents for folder in _INSTALLED
    )


@contextmanager
def _working_directory_on_path() -> Iterator[None]:
    # A console script has its own folder there, not the working directory.
    directory = str(Path.cwd())
    sys.path.insert(0, directory)
    try:
        yield
    finally:
        sys.path.remove(directory)


def _describe(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
