"""When the beats of linear reads arrive: reader, bus and memory, burst by burst."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

from hw.bus.axi import AXI_BOUNDARY
from hw.bus.axi_reader import AxiReader
from hw.cycles.memory import MemoryTiming
from hw.unelaborated import unelaborated

COMMAND_TO_PLAN = 2
"""Cycles from the one in which an idle reader takes a command to its first burst's plan: queue, load."""
PLAN_TO_TAKEN = 1
"""Cycles from a burst's plan to the memory's taking its address."""
PLAN_TO_PLAN = 2
"""Cycles between the plans of two bursts of a command; one more, the load, between two commands."""
TAKEN_TO_BUS = 1
"""Cycles, beside the memory's latency, from an address to its first beat taken from the bus."""
BUS_TO_DATA = 1
"""Cycles from a beat on the bus to the reader's ``data.valid``."""
SINGLY = 4
"""First beats of a read that are followed one by one: what reader and memory may hold ready of it."""


class Reads:
    """Linear reads through one `AxiReader`, in order, as their consumer takes them.

    Times are cycles from any origin. A burst waits for the reader's plan, for one of the bursts in flight to
    end, and for the address to reach the memory; its beats for the memory's latency and bandwidth, for the
    bus, and for the consumer, two beats ahead of which the reader stops.
    """

    def __init__(self, beat_bytes: int, memory: MemoryTiming) -> None:
        reader = unelaborated(AxiReader(8 * beat_bytes))
        self._longest = reader.max_burst
        self._beat_bytes = beat_bytes
        self._latency = memory.latency
        self._ended = deque([-1] * reader.outstanding, maxlen=reader.outstanding)
        """Cycles of the last beats of the bursts in flight, oldest first."""
        rate = memory.bandwidth
        interval = Fraction(1) if rate is None else max(Fraction(1), beat_bytes / rate)
        # Times of the memory's bucket are in 1/_parts of a cycle.
        self._interval, self._parts = interval.numerator, interval.denominator
        self._plan = 0  # first cycle in which the next burst can be planned
        self._bucket = 0  # when the bucket pays for the next beat
        self._bus = -1  # the last beat was taken from the bus
        self._taken = (-1, -1)  # the consumer took the last beat, and the one before

    def bursts(self, address: int, count: int) -> list[int]:
        """Beats of the bursts of a read of ``count`` bytes: none crosses a 4 KB boundary."""
        beats, sizes = count // self._beat_bytes, []
        while beats:
            page = (AXI_BOUNDARY - address % AXI_BOUNDARY) // self._beat_bytes
            sizes.append(min(beats, page, self._longest))
            beats -= sizes[-1]
            address += sizes[-1] * self._beat_bytes
        return sizes

    def read(self, asked: int, address: int, count: int, ready: int, each: int = 1, lead: int = 0) -> int:
        """One linear read.

        Args:
            asked: Cycle in which its command is offered.
            address, count: Bytes.
            ready: First cycle in which the consumer looks at a beat.
            each: Cycles between two beats that the consumer takes.
            lead: Cycles that it looks at a beat before it takes it.

        Returns:
            The cycle in which the consumer takes the last beat.
        """
        self._plan = max(self._plan, asked + COMMAND_TO_PLAN)
        next_take, left = ready + lead, SINGLY
        for beats in self.bursts(address, count):
            # a burst in flight that ends makes room in the next cycle
            plan = max(self._plan, self._ended[0] + 1)
            self._plan = plan + PLAN_TO_PLAN
            due = plan + PLAN_TO_TAKEN + self._latency + TAKEN_TO_BUS
            while beats and left:
                next_take = self._beats(1, due, next_take, each, lead)
                beats, left = beats - 1, left - 1
            if beats:
                next_take = self._beats(beats, due, next_take, each, lead)
            self._ended.append(self._bus)
        self._plan += 1
        return self._taken[0]

    def _beats(self, count: int, due: int, next_take: int, each: int, lead: int) -> int:
        """``count`` beats of one burst; returns when the consumer can take the next.

        A beat is offered when it is due, the one before has left the memory, and the bucket pays. The reader
        takes it as soon as it has room: it keeps two, one of them in the consumer's view.
        """
        interval, parts = self._interval, self._parts
        offered = max(due, self._bus + 1, self._bucket // parts)
        start = max(offered * parts, self._bucket)
        last = (start + (count - 1) * interval) // parts
        self._bucket = start + count * interval
        if count == 1:
            bus = max(last, self._taken[1] + 1)
            taken = max(next_take, bus + BUS_TO_DATA + lead)
            self._bus, self._taken = bus, (taken, self._taken[0])
            return taken + each
        taken = max(next_take + (count - 1) * each, last + BUS_TO_DATA + lead)
        held = taken - 2 * each + 1
        if held > last:  # the memory waits for the consumer; its last beat left when the one before was taken
            last = held
            self._bucket = (held - each + 1) * parts + interval
        self._bus, self._taken = last, (taken, taken - max(each, interval // parts))
        return taken + each
