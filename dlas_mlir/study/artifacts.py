"""The files of a study, named by their SHA-256 and what they are: in a local folder, or wherever fsspec reaches."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from dlas_mlir.compiler.cache import file_digest, written_beside
from dlas_mlir.errors import DlasError


class Artifacts:
    """A place for files. `url` is a folder, or `scheme://..` of fsspec; files of the latter are kept in `cache` here.

    All methods raise DlasError with the name of the file.
    """

    def __init__(self, url: str, cache: Path | None = None) -> None:
        self.url = url
        self._remote = "://" in url
        self._cache = cache or Path(tempfile.gettempdir()) / f"dlas-artifacts-{os.getuid()}"

    def check(self) -> None:
        """Find out whether there is such a place, before anything is made for it."""
        try:
            if self._remote:
                self._system()
            else:
                Path(self.url).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DlasError(f"the place for artifacts {self.url} cannot be used: {error.strerror or error}") from None

    def put(self, file: Path) -> str:
        """Keep a copy of `file`; its name from then on, which ends as its own does."""
        name = name_of(file)
        try:
            if self._remote:
                self._upload(file, name)
            else:
                _copy(file, Path(self.url) / _place(name))
        except OSError as error:
            raise DlasError(f"cannot keep {file} in {self.url}: {error.strerror or error}") from None
        return name

    def place(self, name: str) -> str:
        """Where a file is, for the eyes."""
        return f"{self.url.rstrip('/')}/{_place(name)}"

    def get(self, name: str) -> Path:
        """Where the file is on this machine, verified."""
        if not self._remote:
            path = Path(self.url) / _place(name)
            if not path.is_file():
                raise DlasError(
                    f"the file {name[:16]} is not in {self.url}: `dlas study run --retry stale` makes it again"
                )
            return self._verified(path, name)
        path = self._cache / _place(name)
        if not path.is_file():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                system, root = self._system()
                with written_beside(path) as temporary:
                    system.get_file(f"{root}/{_place(name)}", str(temporary))
            except (OSError, ValueError, ImportError) as error:
                raise DlasError(f"cannot fetch the file {name[:16]} from {self.url}: {error}") from None
        return self._verified(path, name)

    def names(self) -> dict[str, int]:
        """The bytes of all files that are kept in a local folder, by name."""
        if self._remote:
            return {}
        return {file.name: file.stat().st_size for file in Path(self.url).glob("??/*") if len(file.stem) == 64}

    def remove(self, name: str) -> None:
        """Remove a file of a local folder."""
        (Path(self.url) / _place(name)).unlink(missing_ok=True)

    def _verified(self, path: Path, name: str) -> Path:
        if file_digest(path) != name.partition(".")[0]:
            path.unlink(missing_ok=True)  # the next try fetches or makes it again
            raise DlasError(f"{path} is damaged: its content is not what its name says; it was removed")
        return path

    def _upload(self, file: Path, name: str) -> None:
        system, root = self._system()
        place = f"{root}/{_place(name)}"
        if not system.exists(place):
            system.makedirs(place.rpartition("/")[0], exist_ok=True)
            system.put_file(str(file), place)

    def _system(self) -> tuple[Any, str]:
        try:
            from fsspec.core import url_to_fs

            return url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise DlasError(f"the place for artifacts {self.url} cannot be used: {error}") from None


def name_of(file: Path) -> str:
    """What a file is called when it is kept."""
    return f"{file_digest(file)}{file.suffix}"


def _place(name: str) -> str:
    return f"{name[:2]}/{name}"


def _copy(file: Path, target: Path) -> None:
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(target) as temporary:
        shutil.copyfile(file, temporary)
