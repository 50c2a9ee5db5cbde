"""What stands behind a convolution in a packed layout, against PyTorch: filler lanes are never seen, and the channels
that a body, a reshape or a reduction looks at are those of the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from traced import write_linalg

from dlas_mlir.compiler.cache import file_digest
from dlas_mlir.compiler.driver import compile_imported
from dlas_mlir.compiler.frontend.importer import Imported
from dlas_mlir.compiler.presets import load_preset
from dlas_mlir.runtime.devices import resolve
from dlas_mlir.runtime.session import Session

TOLERANCE = 1e-4


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))


class Case(nn.Module):
    """A convolution, so that there is a packed layout, and a function of its result (and of `self`)."""

    next: nn.Conv2d

    def __init__(self, conv: nn.Conv2d, function: Callable[[Case, Tensor], Tensor], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.conv, self._function, self.shape = conv, function, shape

    def forward(self, x: Tensor) -> Tensor:
        return self._function(self, self.conv(x))


def _case(function: Callable[[Case, Tensor], Tensor], channels: int = 18, batch: int = 1, **layers: nn.Module) -> Case:
    case = Case(nn.Conv2d(8, channels, 1), function, (batch, 8, 4, 5))
    for name, layer in layers.items():
        case.add_module(name, layer)
    return case


def _masked(y: Tensor) -> Tensor:
    return torch.where(y > 0, y, torch.full_like(y, -1.0)) / y.abs().amax(1, keepdim=True)


def behind_a_packed_layout() -> dict[str, Case]:
    """18 channels are a block and two lanes of another."""
    return {
        "flipped channels": _case(lambda m, y: y.flip(1)),
        "flipped rows": _case(lambda m, y: y.flip(2) * 2),
        "softmax over channels": _case(lambda m, y: y.softmax(1)),
        "sum over channels": _case(lambda m, y: y.sum(1, keepdim=True) + y),
        "reciprocals": _case(lambda m, y: 1 / (y.relu() + 0.5)),
        "layer norm over channels": _case(lambda m, y: functional.layer_norm(y.permute(0, 2, 3, 1), (18,)), batch=2),
        "one row for each channel": _case(lambda m, y: y.mean((2, 3), keepdim=True).reshape(-1, 1), batch=2),
        "a sum of everything": _case(lambda m, y: y.flatten().sum(0, keepdim=True)),
        "minus itself with rows and batch changed": _case(lambda m, y: y - y.permute(2, 1, 0, 3), batch=4),
        "beside itself": _case(lambda m, y: torch.cat([y, y], 1)[:, 3:23]),
        "padded with other channels": _case(
            lambda m, y: m.next(functional.pad(y, (1, 1, 1, 1, 1, 0), value=7.0)), next=nn.Conv2d(19, 5, 3)
        ),
        "as the weights of another": _case(lambda m, y: functional.conv2d(torch.ones(3, 18, 4, 5), y), batch=2),
        "gathered": _case(lambda m, y: y[:, torch.tensor([17, 0, 16, 3])]),
        "rows of one channel": _case(lambda m, y: y[:, :, torch.tensor([3, 0, 2])], channels=1),
        "pixels of one channel": _case(lambda m, y: y.mT[:, 0, torch.tensor([4, 0]), torch.tensor([1, 3])], channels=1),
        "selected and scaled": _case(lambda m, y: _masked(y)),
        "shuffled": _case(lambda m, y: functional.channel_shuffle(y, 3)),
        "pixels from channels": _case(lambda m, y: functional.pixel_shuffle(y, 3)),
    }


class Overflow(nn.Module):
    """Infinities, which a ReLU takes away again: lanes that stand for no channel must not bring them back as NaN."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(8, channels, 1, bias=False), nn.Conv2d(channels, 6, 3)
        self.shape = (1, 8, 4, 5)
        with torch.no_grad():
            self.first.weight.abs_()

    def forward(self, x: Tensor) -> Tensor:
        spoilt = torch.where(x > 1.0, torch.full_like(x, torch.inf), x)
        return self.second(torch.relu(-self.first(spoilt)))


class Groups(nn.Module):
    """The first group overflows; the others have nothing to do with it."""

    def __init__(self, groups: int, size_in: int, size_out: int) -> None:
        super().__init__()
        self.size_in, self.size_out = size_in, size_out
        self.conv = nn.Conv2d(groups * size_in, groups * size_out, (1, 3), groups=groups)
        self.shape = (1, groups * size_in, 3, 6)

    def forward(self, x: Tensor) -> Tensor:
        spoilt = torch.cat([x[:, : self.size_in] * torch.inf, x[:, self.size_in :]], 1)
        return self.conv(spoilt)[:, self.size_out :]


_GROUPS = ((4, 4, 8), (2, 8, 16), (3, 12, 12), (2, 3, 5), (2, 20, 16), (8, 2, 2), (18, 1, 2), (3, 5, 16))


def infinities() -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {f"overflow in {channels} channels": Overflow(channels) for channels in (18, 24, 33)}
    return found | {f"{g} groups of {a}->{b}": Groups(g, a, b) for g, a, b in _GROUPS}


class Pools(nn.Module):
    """Pooling of whole numbers."""

    def __init__(self, function: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
        super().__init__()
        self._function, self.dtype, self.shape = function, dtype, (1, 5, 8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self._function(x)


def integers() -> dict[str, nn.Module]:
    return {
        "maximum of int8": Pools(lambda x: functional.max_pool2d(x, 2), torch.int8),
        "mean of int64": Pools(lambda x: functional.avg_pool2d(x, 2), torch.int64),
    }


class All(nn.Module):
    def __init__(self, cases: dict[str, nn.Module]) -> None:
        super().__init__()
        self.cases = nn.ModuleList(cases.values())

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(case(x) for case, x in zip(self.cases, inputs, strict=True))


def _inputs(cases: dict[str, nn.Module]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for case in cases.values():
        dtype = getattr(case, "dtype", torch.float32)
        x = torch.randn(case.shape, generator=generator)  # type: ignore[arg-type]
        found.append(x if dtype.is_floating_point else (30 * x).to(dtype))
    return tuple(found)


def wrong(cases: dict[str, nn.Module], recipe: str, folder: Path) -> list[str]:
    """The cases whose numbers are not PyTorch's, and how far they are off."""
    module, inputs = All(cases).eval(), _inputs(cases)
    path = folder / "module.mlirbc"
    write_linalg(module, inputs, path, "layouts")
    artifact = compile_imported(Imported("layouts", file_digest(path), path, 0, 0, None), load_preset(f"host/{recipe}"))
    session = Session(artifact.vmfb, resolve("local"))
    outputs = session(*[tensor.numpy() for tensor in inputs])
    session.close()
    with torch.no_grad():
        wanted = [tensor.numpy() for tensor in module(*inputs)]
    found = []
    for name, ours, theirs in zip(cases, outputs, wanted, strict=True):
        assert np.isfinite(theirs).all(), f"a case that tells nothing: {name}"
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        exact = theirs.astype(np.float64)
        error = float(np.abs(ours - exact).max() / max(1e-30, np.abs(exact).max()))
        if not error <= (TOLERANCE if theirs.dtype.kind == "f" else 0):
            found.append(f"{name}: {error:.1e}")
    return found


@pytest.mark.parametrize("recipe", ["auto", "direct"])
def test_behind_a_packed_layout(recipe: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    cases = behind_a_packed_layout() | (integers() if recipe == "auto" else {})
    assert wrong(cases, recipe, tmp_path) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("recipe", ["auto", "direct", "gemm"])
def test_infinities_stay_where_they_are(recipe: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert wrong(infinities(), recipe, tmp_path) == []
