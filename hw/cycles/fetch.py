"""The fetcher's streams: when parameters have come and weight tiles may be used."""

from __future__ import annotations

from collections import deque

from hw.cycles.memory import MemoryTiming
from hw.cycles.reads import Reads
from hw.engine.fetcher import QUEUE
from hw.engine.program import Descriptor, Prefetch, prefetch_bytes
from hw.params import Machine

BANKS = 2
"""Weight tiles on chip."""
LIST_INTERVAL = 2
"""Cycles between two reads of the fetcher's list; a read's command follows it by one."""


class Fetch:
    """Two linear streams through one reader, as `hw.engine.fetcher` walks them."""

    def __init__(self, machine: Machine, memory: MemoryTiming, parameters: int) -> None:
        """``parameters``: address of the parameter stream."""
        self._machine = machine
        self.reads = Reads(machine.axi_bits // 8, memory)
        self._parameters = parameters
        self._weights = 0
        self._asks = 0  # the list's next read can be taken
        self._next = 0  # the receiver looks for its next read
        self._queue: deque[int] = deque(maxlen=QUEUE)
        self._releases: deque[int] = deque(maxlen=BANKS)
        words = machine.axi_bits // 32
        self._per_word = max(1, words // 2)  # 64-bit words, unpacked one a cycle
        self._per_narrow = words  # 32-bit words

    def start(self, cycle: int, weights: int) -> None:
        """A run's start; its weight stream is at address ``weights``."""
        self._weights = weights
        self._asks = cycle + 1
        self._next = max(self._next, cycle + 2)
        self._releases = deque([cycle] * BANKS, maxlen=BANKS)

    @property
    def idle(self) -> int:
        """First cycle in which nothing is asked for or received."""
        return self._next

    def _read(self, address: int, count: int, free: int = 0, each: int = 1, lead: int = 0) -> int:
        listed = self._asks
        if len(self._queue) == QUEUE:  # a place is free once the oldest waiting read is being received
            listed = max(listed, self._queue[0] + 1)
        self._asks = listed + LIST_INTERVAL
        begin = max(self._next, listed + 1)
        self._queue.append(begin)
        taken = self.reads.read(listed + 1, address, count, max(begin + 1, free), each, lead)
        self._next = taken + 1
        return taken

    def descriptor(self, descriptor: Descriptor) -> int:
        """Reads the parameters that come before a descriptor's tiles; the cycle of their last beat, or 0."""
        if descriptor.prefetch is Prefetch.NONE:
            return 0
        count = prefetch_bytes(descriptor, self._machine)
        each = self._per_narrow if descriptor.prefetch is Prefetch.TABLE else self._per_word
        taken = self._read(self._parameters, count, 0, each, each - 1)
        self._parameters += count
        return taken

    def weights(self, descriptor: Descriptor, chunk: int) -> int:
        """Reads the next weight tile, its channel parameters before its last chunk; when it may be used."""
        if chunk == descriptor.chunks - 1:
            count = self._machine.header_bytes
            self._read(self._parameters, count, 0, self._per_word, self._per_word - 1)
            self._parameters += count
        count = descriptor.depth * self._machine.columns
        # a bank is free in the cycle after its release
        taken = self._read(self._weights, count, self._releases[0] + 1)
        self._weights += count
        return taken + 1

    def release(self, cycle: int) -> None:
        """A tile was read for the last time."""
        self._releases.append(cycle)
