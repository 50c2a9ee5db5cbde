"""How recipes and options name layers: shell patterns, and kinds to leave out. One place for models and for modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase

from dlas_mlir.errors import DlasError

# What `skip` may name.
SKIPS = ("first", "last", "depthwise", "linear")


def matching(pattern: str, names: Iterable[str], key: str) -> list[str]:
    """The names that a shell pattern such as `layer1.*` matches, those inside a named container included.

    Raises DlasError, naming the `key` that holds the pattern, when there is none.
    """
    names = list(names)
    found = [name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
    if not found:
        some = f"layers are {', '.join(names[:4])}, ..." if names else "there are none"
        raise DlasError(f"{key}: the pattern `{pattern}` matches no layer; {some}")
    return found


def selected(
    names: Sequence[str], skip: Sequence[str], exclude: Sequence[str], is_kind: Callable[[str, str], bool]
) -> list[str]:
    """All names but those that `skip` (see SKIPS) and the patterns of `exclude` leave out; `is_kind` says whether a
    layer, by its name, is `depthwise` or `linear`. Raises DlasError when a pattern matches nothing."""
    out = {name for pattern in exclude for name in matching(pattern, names, "exclude")}
    out.update(names[:1] if "first" in skip else (), names[-1:] if "last" in skip else ())
    kinds = [what for what in skip if what not in ("first", "last")]
    return [name for name in names if name not in out and not any(is_kind(what, name) for what in kinds)]
