"""The pixels of a window's tile loaded once for all taps: a halo around it.

Pixels are numbered over rows that are longer than the image's by the columns of zeros that two rows share, and over
images that are higher by the rows of zeros that two images share. So each tap reads the same rows of shared memory,
moved by a constant; some pixels of a tile are no result.
"""

from __future__ import annotations

from dataclasses import dataclass

from dlas_mlir.codegen.gpu.product import BYTES, STEP, Product

# Rows of shared memory are swizzled in eights.
_SWIZZLED = 8 * STEP


@dataclass(frozen=True)
class Window:
    """A window of `taps` rows and columns, without strides and dilations, over `images` of `size` to results of `out`.
    `pitch` is the height of an image and the length of a row with the zeros behind them, `before` how many rows and
    columns of zeros are read before the image."""

    images: int
    size: tuple[int, int]
    out: tuple[int, int]
    taps: tuple[int, int]
    before: tuple[int, int]
    pitch: tuple[int, int]

    @staticmethod
    def of(product: Product) -> Window | str:
        """The window of a product, or why it has none."""
        extents, strides = product.workload.extents, product.a.strides
        if len(product.a.guards) not in (0, 2) or len(product.taps) != 2 or not product.whole_steps:
            return "its taps are no rows and columns of an image, of channels in whole 128 bytes"
        if len(product.rows) not in (2, 3):
            return "its rows are no images of rows and columns"
        if not product.a.guards:
            return Window._inside(product)
        *image, row, column = product.rows
        down, across = product.taps
        high, wide = product.a.guards
        if (high.factors, wide.factors) != ({row: 1, down: 1}, {column: 1, across: 1}):
            return "it has strides or dilations"
        step = strides[column]
        wanted = {column: step, across: step, row: step * wide.size, down: step * wide.size}
        wanted |= dict.fromkeys(image, step * wide.size * high.size)
        if any(strides[loop] != stride for loop, stride in wanted.items()):
            return "its image has other strides than rows and columns have"
        size, taps = (high.size, wide.size), (extents[down], extents[across])
        out, before = (extents[row], extents[column]), (-high.constant, -wide.constant)
        behind = [out[i] + taps[i] - 1 - before[i] - size[i] for i in range(2)]
        pitch = size[0] + max(before[0], behind[0], 0), size[1] + max(before[1], behind[1], 0)
        if min(before) < 0 or out[0] > pitch[0] or out[1] > pitch[1]:
            return "its results are more than the image and its padding"
        images = extents[image[0]] if image else 1
        return Window(images, size, out, taps, before, pitch)

    @staticmethod
    def _inside(product: Product) -> Window | str:
        """The same where all that is read is in the image, as it is where somebody has padded it before."""
        extents, strides = product.workload.extents, product.a.strides
        *image, row, column = product.rows
        down, across = product.taps
        step, line = strides[column], strides[row]
        if (strides[across], strides[down]) != (step, line):
            return "it has strides or dilations"
        out, taps = (extents[row], extents[column]), (extents[down], extents[across])
        whole = strides[image[0]] if image else line * (out[0] + taps[0] - 1)
        if product.a.constant or line % step or whole % line:
            return "its image does not begin where its tensor does, or has other strides than rows and columns have"
        size = whole // line, line // step
        return Window(extents[image[0]] if image else 1, size, out, taps, (0, 0), size)

    @property
    def pixels(self) -> int:
        """How many there are in this numbering."""
        return self.images * self.pitch[0] * self.pitch[1]

    @property
    def first(self) -> int:
        """How far before the first pixel of a tile that is which it reads first."""
        return self.before[0] * self.pitch[1] + self.before[1]

    def rows(self, tile: int) -> int:
        """Pixels that a tile of so many reads."""
        return tile + (self.taps[0] - 1) * self.pitch[1] + self.taps[1] - 1

    def chunk_bytes(self, tile: int) -> int:
        """Shared memory for 128 bytes of channels of each of them."""
        return -(-self.rows(tile) * STEP // _SWIZZLED) * _SWIZZLED


def chunks(product: Product, split: int) -> int:
    """Chunks of channels of one of `split` workgroups that share a sum."""
    return product.channels * BYTES[product.element] // STEP // split


def halo_bytes(product: Product, split: int, tile: int, window: Window) -> int:
    """Shared memory for the pixels of a workgroup's tile, of all its channels."""
    return chunks(product, split) * window.chunk_bytes(tile)
