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

    `epoch` counts the barriers of workgroups, `turn` those of the cluster, which alone order what different workgroups
    do. `wrote`, `when`, `during` and `since` are who wrote a byte last, in which epoch and turn and at which moment;
    `read` is the last epoch in which it was read, `reader` by whom (-2: several), and `remote` the last turn in which
    another workgroup read it.
    """

    size: int
    workgroups: int
    threads: int
    turn: int = 1
    moment: int = 0
    conflicts: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        total = self.size * self.workgroups
        self.content = np.full(total, 0xFF, np.uint8)
        self.wrote, self.when = np.full(total, -1, np.int32), np.zeros(total, np.int32)
        self.during, self.remote = np.zeros(total, np.int32), np.zeros(total, np.int32)
        self.since = np.zeros(total, np.int64)
        self.reader, self.read = np.full(total, -1, np.int32), np.zeros(total, np.int32)
        self.fenced = np.zeros(self.threads * self.workgroups, np.int64)
        # Of each workgroup.
        self.epoch = np.ones(self.workgroups, np.int32)
        self.pending: list[list[Copy]] = [[] for _ in range(self.workgroups)]
        self.groups: list[list[list[Copy]]] = [[] for _ in range(self.workgroups)]
        # What products under way read: of the group that is open, and of those behind it.
        self.reading: list[tuple[np.ndarray, int]] = []
        self.products: list[list[list[tuple[np.ndarray, int]]]] = [[] for _ in range(self.workgroups)]

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
        # Workgroups that have met at different numbers of barriers count them apart.
        foreign = places // self.size != (threads // self.threads)[:, None]
        others = (self.wrote[places] != threads[:, None]) & (self.when[places] == self._now(threads))
        if (others & ~foreign).any():
            raise Race(f"{what} reads what another thread has written since the last barrier")
        if (foreign & (self.during[places] == self.turn)).any():
            raise Race(f"{what} reads what another workgroup has written since the cluster's last barrier")
        self.remote[places[foreign]] = self.turn
        own = ~foreign[:, 0]
        self.mark_read(places[own], threads[own])
        self._count_conflicts(pointers, count, what)
        return self.content[places]

    def _now(self, threads: np.ndarray) -> np.ndarray:
        """The epoch of each thread's workgroup: [threads, 1]."""
        return self.epoch[threads // self.threads][:, None]

    def mark_read(self, places: np.ndarray, threads: np.ndarray) -> None:
        """Whoever overwrites these before the next barrier is wrong, but a thread that alone reads them."""
        flat, who = places.reshape(-1), np.repeat(threads, places.shape[1])
        now = np.repeat(self._now(threads)[:, 0], places.shape[1])
        several = (self.read[flat] == now) & (self.reader[flat] != who)
        self.reader[flat] = np.where(several, -2, who)
        # Two of these threads may read one byte.
        twice = self.reader[flat] != np.where(several, -2, who)
        self.reader[flat[twice]] = -2
        self.read[flat] = now

    def check_written(self, places: np.ndarray, threads: np.ndarray, what: str) -> None:
        """Raise Race where another thread may still read, or has written, these bytes."""
        now = self._now(threads)
        late = (self.read[places] == now) & (self.reader[places] != threads[:, None])
        again = (self.when[places] == now) & (self.wrote[places] != threads[:, None])
        if late.any() or again.any():
            raise Race(f"{what} writes what another thread has touched since the last barrier")
        if (self.remote[places] == self.turn).any():
            raise Race(f"{what} writes what another workgroup has read since the cluster's last barrier")
        for read, _ in (*self.reading, *(one for own in self.products for group in own for one in group)):
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
        self.wrote[places], self.when[places], self.during[places] = (
            threads[:, None],
            self._now(threads),
            self.turn,
        )
        self.since[places] = self.moment
        self.moment += 1

    # cp.async.

    def copy(self, pointers: np.ndarray, threads: np.ndarray, content: np.ndarray) -> None:
        """Begin to copy; the bytes are there when the group has been waited for."""
        places = self.places(pointers, threads, content.shape[1])
        self.check_written(places, threads, "cp.async")
        for rank in np.unique(threads // self.threads):
            own = threads // self.threads == rank
            self.pending[rank].append(Copy(threads[own], places[own], content[own]))
        self._count_conflicts(pointers, content.shape[1], "cp.async")

    def commit(self, ranks: np.ndarray) -> None:
        """End a group of these workgroups. All threads of one have the same groups."""
        for rank in ranks:
            self.groups[rank].append(self.pending[rank])
            self.pending[rank] = []

    def wait(self, ranks: np.ndarray, left: int) -> None:
        """Until all but the last `left` groups of these workgroups are there."""
        for rank in ranks:
            while len(self.groups[rank]) > left:
                for copy in self.groups[rank].pop(0):
                    self._write(copy.places, copy.threads, copy.content)

    # Barriers and fences.

    def barrier(self, ranks: np.ndarray) -> None:
        """What these workgroups have written before is seen by them behind it."""
        self.epoch[ranks] += 1

    def cluster_barrier(self) -> None:
        """The same for all workgroups of the cluster."""
        self.epoch += 1
        self.turn += 1

    def fence(self, threads: np.ndarray) -> None:
        """What these threads have written is seen by asynchronous products."""
        self.fenced[threads] = self.moment
        self.moment += 1

    def read_asynchronously(self, places: np.ndarray, thread: int) -> np.ndarray:
        """What a warpgroup's product reads, until it has been waited for."""
        now = self.epoch[thread // self.threads]
        if ((self.when[places] == now) & (self.wrote[places] // 128 != thread // 128)).any():
            raise Race("wgmma reads what another thread has written since the last barrier")
        written = self.wrote[places] >= 0
        if (written & (self.fenced[self.wrote[places]] < self.since[places])).any():
            raise Race("wgmma reads what no fence.proxy.async followed")
        self.reading.append((np.unique(places), thread))
        return self.content[places]

    def commit_products(self, ranks: np.ndarray) -> None:
        """End a group of products of these workgroups."""
        for rank in ranks:
            own = [one for one in self.reading if one[1] // self.threads == rank]
            self.products[rank].append(own)
        self.reading = [one for one in self.reading if one[1] // self.threads not in ranks]

    def wait_products(self, ranks: np.ndarray, left: int) -> None:
        """Until all but the last `left` groups are done; what they have read is free behind a barrier."""
        for rank in ranks:
            while len(self.products[rank]) > left:
                for places, thread in self.products[rank].pop(0):
                    self.mark_read(places[:, None], np.full(len(places), thread))

    def check_end(self) -> None:
        """Raise Race where a kernel ends too early."""
        # Groups of no copies do not count.
        left = [group for own in (*self.groups, *self.products) for group in own]
        if self.reading or any(self.pending) or any(left):
            raise Race("the end of copies or products that nobody has waited for")
        if (self.remote == self.turn).any():
            raise Race("a workgroup may end while another one reads its shared memory")

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
