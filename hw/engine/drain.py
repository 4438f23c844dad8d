"""Which column leaves the drain buffer, and where it goes."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.arith.widths import bits_for_index
from hw.engine.program import Post
from hw.engine.tile import tile_layout
from hw.params import Machine


def column_layout(machine: Machine) -> data.StructLayout:
    """A column of the drain buffer (``valid``), or a cycle before it (``preload``) for the channel parameter
    of row ``lane``: a tile with features on its rows takes P of those before its columns."""
    return data.StructLayout(
        {
            "valid": 1,
            "preload": 1,
            "lane": bits_for_index(machine.rows),
            "column": bits_for_index(machine.columns),
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
        Cycles from ``tile_valid`` to the tile's sums, 1 or more: the buffer moves on ``lead`` + 1 cycles
        after ``shift``.

    Members
    -------
    tile_valid, tile : In
        A tile's destination. The tile before has left: its columns (and P more where features are on the
        rows) are over.
    shift : Out(1)
    column : Out(column_layout)
        In the cycle in which the column is in the buffer, ``lead`` cycles after its ``shift``.
    busy : Out(1)
    """

    def __init__(self, machine: Machine, lead: int) -> None:
        if lead < 1:
            raise ValueError(f"lead {lead} is below 1")
        self._machine, self._lead = machine, lead
        super().__init__(
            {
                "tile_valid": In(1),
                "tile": In(tile_layout(machine)),
                "shift": Out(1),
                "column": Out(column_layout(machine)),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        p, q = self._machine.rows, self._machine.columns
        held, tile = Signal.like(self.tile, reset_less=True), Signal.like(self.tile)
        running = Signal()
        count, position = Signal(range(p + q + 1), reset_less=True), Signal(range(p + q + 1))
        preloads = Signal(range(p + 1))
        now = Signal(column_layout(self._machine))
        with m.If(self.tile_valid):
            m.d.sync += held.eq(self.tile)
        m.d.comb += [
            tile.eq(Mux(self.tile_valid, self.tile, held)),
            position.eq(Mux(self.tile_valid, 0, count)),
            preloads.eq(Mux(tile.post == Post.VALUE, p, 0)),
            now.preload.eq((self.tile_valid | running) & (position < preloads)),
            now.valid.eq((self.tile_valid | running) & ~now.preload),
            now.lane.eq(position),
            now.column.eq(position - preloads),
            now.last.eq(position + 1 == tile.columns + preloads),
            now.tile.eq(tile),
            self.shift.eq(now.valid),
        ]
        m.d.sync += [
            count.eq(position + 1),
            running.eq((self.tile_valid | running) & ~now.last),
        ]
        busy = [self.tile_valid, running]
        for i in range(self._lead):
            later = Signal.like(now, name=f"column_{i}")
            m.d.sync += later.eq(now)
            now = later
            busy += [now.valid, now.preload]
        m.d.comb += [self.column.eq(now), self.busy.eq(Cat(busy).any())]
        return m
