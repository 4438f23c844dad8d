"""Which column leaves the drain buffer, and where it goes."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.arith.widths import bits_for_index
from hw.engine.program import Post
from hw.engine.tile import tile_layout
from hw.params import Machine

AHEAD = 2
"""Cycles by which ``ahead`` is before the column: an address' register and the first cycle of a memory."""


def column_layout(machine: Machine) -> data.StructLayout:
    """A column of the drain buffer (``valid``), or a cycle before it (``preload``) for the channel parameter
    of row ``lane``: a tile with features on its rows takes P of those before its columns."""
    return data.StructLayout(
        {
            "valid": 1,
            "preload": 1,
            "lane": bits_for_index(machine.rows),
            "column": bits_for_index(machine.columns),
            "first": 1,
            "last": 1,
            "tile": tile_layout(machine),
        }
    )


class Drain(wiring.Component):
    """Counts a tile's columns out of the drain buffer, one a cycle.

    Parameters
    ----------
    machine : Machine
    lead : int
        Cycles from a tile to its sums, `AHEAD` or more: the buffer moves on ``lead`` + 1 cycles after
        ``shift``.

    Members
    -------
    tile : In(stream of tile_layout)
        A tile's destination. The tile before has left: its columns (and P more where features are on the
        rows) are over.
    shift : Out(1)
    ahead : Out(column_layout)
        `AHEAD` cycles before the column is in the buffer, ``lead`` - `AHEAD` cycles after its ``shift``.
    column : Out(column_layout)
        In the cycle in which the column is in the buffer.
    busy : Out(1)
    """

    def __init__(self, machine: Machine, lead: int) -> None:
        if lead < AHEAD:
            raise ValueError(f"lead {lead} is below {AHEAD}")
        self._machine, self._lead = machine, lead
        super().__init__(
            {
                "tile": In(stream.Signature(tile_layout(machine), always_ready=True)),
                "shift": Out(1),
                "ahead": Out(column_layout(machine)),
                "column": Out(column_layout(machine)),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        p, q = self._machine.rows, self._machine.columns
        given = self.tile
        held, tile = Signal.like(given.payload, reset_less=True), Signal.like(given.payload)
        running = Signal()
        count, position = Signal(range(p + q + 1), reset_less=True), Signal(range(p + q + 1))
        preloads = Signal(range(p + 1))
        now = Signal(column_layout(self._machine))
        with m.If(given.valid):
            m.d.sync += held.eq(given.payload)
        m.d.comb += [
            tile.eq(Mux(given.valid, given.payload.as_value(), held.as_value())),
            position.eq(Mux(given.valid, 0, count)),
            preloads.eq(Mux(tile.post == Post.VALUE, p, 0)),
            now.preload.eq((given.valid | running) & (position < preloads)),
            now.valid.eq((given.valid | running) & ~now.preload),
            now.lane.eq(position),
            now.column.eq(position - preloads),
            now.first.eq(position == preloads),
            now.last.eq(position + 1 == tile.columns + preloads),
            now.tile.eq(tile),
            self.shift.eq(now.valid),
        ]
        m.d.sync += [
            count.eq(position + 1),
            running.eq((given.valid | running) & ~now.last),
        ]
        busy = [given.valid, running]
        for i in range(self._lead):
            if i == self._lead - AHEAD:
                m.d.comb += self.ahead.eq(now)
            # What says that something is there is reset, what it says is not.
            flags = Signal(2, name=f"flags_{i}")
            rest = Signal.like(now, name=f"rest_{i}", reset_less=True)
            later = Signal.like(now, name=f"column_{i}")
            m.d.sync += [flags.eq(Cat(now.valid, now.preload)), rest.eq(now)]
            m.d.comb += [later.eq(rest), later.valid.eq(flags[0]), later.preload.eq(flags[1])]
            now = later
            busy.append(flags.any())
        m.d.comb += [self.column.eq(now), self.busy.eq(Cat(busy).any())]
        return m
