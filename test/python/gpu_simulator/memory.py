"""Global and shared memory, with what is known of who wrote and read it when."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# A pointer to global memory is the number of its buffer above, and an offset below; one to shared memory an offset,
# and above it the number of the workgroup in its cluster plus one, where that is not the thread's own.
BUFFER, RANK = 40, 24


class Race(AssertionError):
    """Two threads, one of which writes, touch a byte without a barrier between them."""


@dataclass
class Copy:
    """cp.async of some threads: where the bytes go, and what they are."""

    threads: np.ndarray
    places: np.ndarray
    content: np.ndarray


@dataclass
class Shared:
    """The shared memory of all workgroups of a cluster, byte by byte.

    `epoch` counts the barriers. `wrote`, `when` and `since` are who wrote a byte last, in which epoch and at which
    moment; `read` is the last epoch in which another thread than the writer read it, by whom `reader`.
    """

    size: int
    workgroups: int
    threads: int
    epoch: int = 1
    moment: int = 0
    conflicts: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        total = self.size * self.workgroups
        self.content = np.full(total, 0xFF, np.uint8)
        self.wrote, self.when = np.full(total, -1, np.int32), np.zeros(total, np.int32)
        self.since = np.zeros(total, np.int64)
        self.reader, self.read = np.full(total, -1, np.int32), np.zeros(total, np.int32)
        self.fenced = np.zeros(self.threads * self.workgroups, np.int64)
        self.pending: list[Copy] = []
        self.groups: list[list[Copy]] = []
        # What products under way read: of the group that is open, and of those behind it.
        self.reading: list[tuple[np.ndarray, int]] = []
        self.products: list[list[tuple[np.ndarray, int]]] = []

    def places(self, pointers: np.ndarray, threads: np.ndarray, count: int) -> np.ndarray:
        """The bytes that pointers of these threads mean, `count` each."""
        rank = np.where(pointers >> RANK, (pointers >> RANK) - 1, threads // self.threads)
        offset = pointers & ((1 << RANK) - 1)
        assert (offset % count == 0).all(), f"{count} bytes at {offset[offset % count != 0][0]}: not aligned"
        assert (offset + count <= self.size).all(), f"{offset.max() + count} of {self.size} bytes of shared memory"
        return (rank * self.size + offset)[:, None] + np.arange(count)

    def load(self, pointers: np.ndarray, threads: np.ndarray, count: int, what: str) -> np.ndarray:
        """`count` bytes for each thread."""
        places = self.places(pointers, threads, count)
        others = (self.wrote[places] != threads[:, None]) & (self.when[places] == self.epoch)
        if others.any():
            raise Race(f"{what} reads what another thread has written since the last barrier")
        self.mark_read(places, threads)
        self._count_conflicts(pointers, count, what)
        return self.content[places]

    def mark_read(self, places: np.ndarray, threads: np.ndarray) -> None:
        """Whoever overwrites these before the next barrier is wrong, but a thread that alone reads them."""
        flat, who = places.reshape(-1), np.repeat(threads, places.shape[1])
        several = (self.read[flat] == self.epoch) & (self.reader[flat] != who)
        self.reader[flat] = np.where(several, -2, who)
        # Two of these threads may read one byte.
        twice = self.reader[flat] != np.where(several, -2, who)
        self.reader[flat[twice]] = -2
        self.read[flat] = self.epoch

    def check_written(self, places: np.ndarray, threads: np.ndarray, what: str) -> None:
        """Raise Race where another thread may still read, or has written, these bytes."""
        late = (self.read[places] == self.epoch) & (self.reader[places] != threads[:, None])
        again = (self.when[places] == self.epoch) & (self.wrote[places] != threads[:, None])
        if late.any() or again.any():
            raise Race(f"{what} writes what another thread has touched since the last barrier")
        for read, _ in (*self.reading, *(one for group in self.products for one in group)):
            if np.isin(places, read).any():
                raise Race(f"{what} writes what products under way still read")

    def store(self, pointers: np.ndarray, threads: np.ndarray, content: np.ndarray, what: str) -> None:
        """Bytes of each thread."""
        places = self.places(pointers, threads, content.shape[1])
        self.check_written(places, threads, what)
        self._write(places, threads, content)
        self._count_conflicts(pointers, content.shape[1], what)

    def _write(self, places: np.ndarray, threads: np.ndarray, content: np.ndarray) -> None:
        self.content[places] = content
        self.wrote[places], self.when[places] = threads[:, None], self.epoch
        self.since[places] = self.moment
        self.moment += 1

    # cp.async.

    def copy(self, pointers: np.ndarray, threads: np.ndarray, content: np.ndarray) -> None:
        """Begin to copy; the bytes are there when the group has been waited for."""
        places = self.places(pointers, threads, content.shape[1])
        self.check_written(places, threads, "cp.async")
        self.pending.append(Copy(threads, places, content))
        self._count_conflicts(pointers, content.shape[1], "cp.async")

    def commit(self) -> None:
        """End a group. All threads have the same groups."""
        self.groups.append(self.pending)
        self.pending = []

    def wait(self, left: int) -> None:
        """Until all but the last `left` groups are there."""
        while len(self.groups) > left:
            for copy in self.groups.pop(0):
                self._write(copy.places, copy.threads, copy.content)

    # Barriers and fences.

    def barrier(self) -> None:
        """What was written before is seen behind it."""
        self.epoch += 1

    def fence(self, threads: np.ndarray) -> None:
        """What these threads have written is seen by asynchronous products."""
        self.fenced[threads] = self.moment
        self.moment += 1

    def read_asynchronously(self, places: np.ndarray, thread: int) -> np.ndarray:
        """What a warpgroup's product reads, until it has been waited for."""
        if ((self.when[places] == self.epoch) & (self.wrote[places] // 128 != thread // 128)).any():
            raise Race("wgmma reads what another thread has written since the last barrier")
        written = self.wrote[places] >= 0
        if (written & (self.fenced[self.wrote[places]] < self.since[places])).any():
            raise Race("wgmma reads what no fence.proxy.async followed")
        self.reading.append((np.unique(places), thread))
        return self.content[places]

    def commit_products(self) -> None:
        """End a group of products."""
        self.products.append(self.reading)
        self.reading = []

    def wait_products(self, left: int) -> None:
        """Until all but the last `left` groups are done; what they have read is free behind a barrier."""
        while len(self.products) > left:
            for places, thread in self.products.pop(0):
                self.mark_read(places[:, None], np.full(len(places), thread))

    def under_way(self) -> bool:
        """Whether there is a copy or a product that nobody has waited for. Groups of no copies do not count."""
        return bool(self.pending or self.reading or any(self.groups) or any(self.products))

    def _count_conflicts(self, pointers: np.ndarray, count: int, what: str) -> None:
        """How many cycles the first warp's access takes, and how many it would without conflicts of banks."""
        per = max(1, 128 // count)
        seen = self.conflicts.setdefault(what, [0, 0])
        offsets = pointers[:32] & ((1 << RANK) - 1)
        for first in range(0, len(offsets), per):
            words = np.unique((offsets[first : first + per, None] + np.arange(0, count, 4)) // 4)
            seen[0] += 1
            seen[1] += int(np.bincount(words % 32).max())


@dataclass
class Global:
    """The buffers of a dispatch."""

    buffers: list[np.ndarray]

    def _find(self, pointers: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        number = int(pointers[0]) >> BUFFER
        offset = pointers - (number << BUFFER)
        size = self.buffers[number].size
        assert ((offset >= 0) & (offset + count <= size)).all(), (
            f"buffer {number}: {offset.min()} to {offset.max() + count} of {size} bytes"
        )
        assert (offset % count == 0).all(), f"buffer {number}: {count} bytes at an address that is no multiple"
        return self.buffers[number], offset[:, None] + np.arange(count)

    def load(self, pointers: np.ndarray, count: int) -> np.ndarray:
        """`count` bytes from each pointer."""
        buffer, places = self._find(pointers, count)
        return buffer[places]

    def store(self, pointers: np.ndarray, content: np.ndarray) -> None:
        """Bytes to each pointer. Raises Race where two go to one."""
        buffer, places = self._find(pointers, content.shape[1])
        if len(np.unique(places)) != places.size:
            raise Race("two threads store to one address")
        buffer[places] = content
