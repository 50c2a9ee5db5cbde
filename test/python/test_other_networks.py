"""Networks with layers that the zoo does not have: other norms, attention, transposed convolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dlas_mlir
from dlas_mlir.compiler.frontend.decompositions import table
from dlas_mlir.errors import DlasError


class LayerNorm(nn.Module):
    """A block of ConvNeXt's kind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 4, 4)
        self.depthwise = nn.Conv2d(32, 32, 7, padding=3, groups=32)
        self.norm = nn.LayerNorm(32)
        self.widen, self.narrow = nn.Linear(32, 128), nn.Linear(128, 32)
        self.scale = nn.Parameter(torch.full((32,), 0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(nn.functional.gelu(self.widen(y))) * self.scale
        return (x + y.permute(0, 3, 1, 2)).mean((2, 3))


class Attention(nn.Module):
    """Patches of an image, and an encoder over them."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 64, 8, 8)
        self.encoder = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, norm_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


class GroupNorm(nn.Module):
    """Convolutions with SiLU behind normalised groups of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.norm = nn.GroupNorm(8, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(nn.functional.silu(self.norm(self.first(x))))


class Decoder(nn.Module):
    """Upsampling, a transposed convolution, and normalised images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 20, 3, padding=1)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.transposed = nn.ConvTranspose2d(20, 16, 3, 2, 1, 1)
        self.norm = nn.InstanceNorm2d(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.norm(self.transposed(self.up(self.conv(x)))), 1)


class Recurrent(nn.Module):
    """A one-dimensional convolution in front of an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(3, 16, 5), nn.BatchNorm1d(16)
        self.lstm = nn.LSTM(16, 8, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lstm(self.norm(self.conv(x[:, :, 0])).transpose(1, 2))[0]


class Gathered(nn.Module):
    """Elements by tables and by indices of 64 bits, which may count from the end."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.linear, self.norm = nn.Embedding(16, 8), nn.Linear(8, 8), nn.GroupNorm(2, 4)
        self.rows: Tensor
        self.columns: Tensor
        self.register_buffer("rows", torch.tensor([3, -1, 0, 2, -4, 1, 1, 3]))
        self.register_buffer("columns", torch.tensor([7, 0, -8, 3, -2, 5, 1, 4]))

    def forward(self, x: torch.Tensor, i: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.norm(self.linear(x).unsqueeze(0))[0]
        tables, indices = y[self.rows, self.columns] + 1, y[:, i] * 2
        chosen = torch.gather(y, 1, i.reshape(1, 8).clamp(0, 3).expand(4, 8))
        return tables, indices, chosen + self.embedding(torch.arange(4)), y[2 * i[:4] - i[:4], self.columns[:4]].relu()


class Strided(nn.Module):
    """What is taken in the order of memory: whole, a part, rows that overlap, of what is turned round, or cut off."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = x * 2
        turned, cut = y.transpose(0, 1), y[1:]
        parts = (
            y.as_strided((3, 4), (4, 1), 7),
            y.as_strided((4, 1, 5), (8, 3, 1), 2),
            y.as_strided((2, 3, 2), (9, 0, 4)),
        )
        whole = turned.as_strided((2, 16), (16, 1)), turned.as_strided((3, 5), (8, 1), 2)
        others = cut.as_strided((2, 8), (8, 1)), cut.as_strided((2, 8), (8, 1), 8), cut.as_strided((4, 4), (1, 4), 0)
        return tuple(one + 1 for one in (*parts, *whole, *others))


class Types(nn.Module):
    """Elements of other widths than 32 bits, in sizes that fill no whole words, read, computed with and written."""

    def forward(
        self, x: torch.Tensor, codes: torch.Tensor, mask: torch.Tensor, i: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        floats = torch.relu(x.half() * 2 + 1), (x.half() @ x.half().T).float(), torch.where(mask, x, -x)
        integers = codes.float() / 2, (x * 9).to(torch.int8), (x * 99).to(torch.int16), i // 3 - i.abs() * 2
        return *floats, *integers, x > 0, codes


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.mark.parametrize("recipe", ["direct", "gemm", "auto"])
@pytest.mark.parametrize("network", [LayerNorm, Attention, GroupNorm, Decoder, Recurrent])
def test_other_networks(network, recipe):
    torch.manual_seed(0)
    module = network().eval()
    x = torch.randn(1, 3, 32, 32)
    (ours,) = dlas_mlir.run(dlas_mlir.compile(module, preset=f"host/{recipe}", example_inputs=(x,)))
    with torch.no_grad():
        wanted = module(x).numpy()
    np.testing.assert_allclose(ours, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)


def _compare(module: nn.Module, preset: str, inputs: tuple[torch.Tensor, ...]) -> None:
    found = dlas_mlir.run(dlas_mlir.compile(module, preset=preset, example_inputs=inputs))
    with torch.no_grad():
        wanted = module(*inputs)
    wanted = (wanted,) if isinstance(wanted, Tensor) else wanted
    for ours, one in zip(found, wanted, strict=True):
        rounding = {torch.float16: 2**-10, torch.float32: 1e-5}.get(one.dtype, 0)
        numbers = one.numpy() if rounding == 0 else one.float().numpy()
        atol = rounding * np.abs(numbers).max()
        np.testing.assert_allclose(ours.astype(numbers.dtype), numbers, atol=atol, rtol=0)


_INDICES = torch.tensor([0, 3, -1, 2, -4, 1, -3, 2])


def test_gathered_elements() -> None:
    torch.manual_seed(0)
    _compare(Gathered().eval(), "host/auto", (torch.randn(4, 8), _INDICES))


@pytest.mark.parametrize("network", [GroupNorm, Decoder, Recurrent])
def test_other_networks_on_vulkan(network, vulkan) -> None:
    """With what is packed at run time, of sizes that no block divides, and kernels that read constants alone."""
    torch.manual_seed(0)
    _compare(network().eval(), "vulkan/auto", (torch.randn(1, 3, 32, 32),))


def test_gathered_elements_on_a_device_without_64_bits(vulkan) -> None:
    torch.manual_seed(0)
    _compare(Gathered().eval(), "vulkan/auto", (torch.randn(4, 8), _INDICES))


def test_types_of_other_widths_on_vulkan(vulkan) -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 7)
    inputs = (x, torch.randint(0, 256, (33, 65), dtype=torch.uint8), x > 0.5, torch.randint(-(2**40), 2**40, (3, 8)))
    _compare(Types(), "vulkan/auto", inputs)


def test_what_is_taken_in_the_order_of_memory() -> None:
    _compare(Strided(), "host/auto", (torch.arange(32.0).reshape(4, 8),))


def test_groups_are_normalised_without_tables() -> None:
    program = torch.export.export(GroupNorm().eval(), (torch.randn(1, 3, 32, 32),)).run_decompositions(table())
    called = {node.target for node in program.graph.nodes if node.op == "call_function"}
    assert torch.ops.aten.rsqrt.default in called
    assert torch.ops.aten.as_strided.default not in called


class Separable(nn.Module):
    """A depthwise layer on an image that no cache should hold twice, and the 1x1 layer behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.widen, self.narrow = nn.Conv2d(3, 128, 1), nn.Conv2d(128, 24, 1)
        self.depthwise = nn.Conv2d(128, 128, 3, padding=1, groups=128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.narrow(torch.relu(self.depthwise(torch.relu(self.widen(x))))))


def test_depthwise_results_are_computed_where_they_are_read():
    torch.manual_seed(0)
    module = Separable().eval()
    x = torch.randn(1, 3, 32, 32)
    artifact = dlas_mlir.compile(module, preset="x86-64-avx2/auto", example_inputs=(x,), threads=2)
    assert [layer["layer"] for layer in artifact.layers] == ["widen", "depthwise", "narrow"]
    assert {one["layer"] for one in artifact.dispatches if one["workload"]} == {"widen", "narrow"}
    (ours,) = dlas_mlir.run(artifact, threads=2)
    with torch.no_grad():
        wanted = module(x).numpy()
    np.testing.assert_allclose(ours, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)
    rows = {row["layer"]: row for row in dlas_mlir.profile(artifact, threads=2, seconds=0.01)["layers"]}
    macs = {layer["layer"]: layer["macs"] for layer in artifact.layers}
    assert rows["narrow"]["producers"] == ["depthwise"]
    assert rows["narrow"]["macs"] == macs["narrow"] + macs["depthwise"]
    assert rows["widen"]["producers"] == []
    assert rows["widen"]["macs"] == macs["widen"]


def test_double_precision_is_refused():
    module = nn.Linear(4, 4).double()
    with pytest.raises(DlasError, match=r"`weight` is float64, and iree-compile makes everything float32: call"):
        dlas_mlir.compile(module, preset="host/auto", example_inputs=(torch.randn(1, 4).double(),))


class Factors(nn.Module):
    """Factors that no float32 is: torch-mlir writes them in float64."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x * 1.1, x * 0.7, x / 3.3, x - 0.1])


def test_factors_are_rounded_to_the_nearest():
    x = torch.ones(8)
    (ours,) = dlas_mlir.run(dlas_mlir.compile(Factors(), preset="host/auto", example_inputs=(x,)), x.numpy())
    np.testing.assert_array_equal(ours, Factors()(x).numpy())


class Ranks(nn.Module):
    """Sorts and scatters that begin with the same numbers, and with arguments that are read afterwards."""

    def forward(self, x: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = torch.exp(x)
        numbers = torch.arange(6)
        scattered = [numbers.scatter(0, places[0], places[0] + 9), numbers.scatter(0, places[1], places[1] + 7)]
        return (*torch.topk(x, 3, 1), *torch.topk(x, 3, 1, largest=False), *torch.sort(y, 1), *scattered, x, y)


def test_sorts_leave_what_others_read():
    torch.manual_seed(0)
    inputs = (torch.randn(3, 4), torch.tensor([[1, 2], [3, 5]]))
    ours = dlas_mlir.run(dlas_mlir.compile(Ranks(), preset="host/auto", example_inputs=inputs))
    for found, wanted in zip(ours, Ranks()(*inputs), strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-6)
