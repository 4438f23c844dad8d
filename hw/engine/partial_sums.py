"""Sums over the chunks of K: what earlier weight tiles left."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import ACCUMULATOR_BITS
from hw.arith.delay import delay
from hw.arith.fan_out import register_each
from hw.arith.widths import bits_for_index
from hw.engine.drain import AHEAD, column_layout
from hw.memory.banks import READ_LATENCY, WordMemory
from hw.params import Machine


class PartialSums(wiring.Component):
    """Adds a column to the partial sums of the chunks before; keeps the total unless it is the last chunk's.

    A column is read from memory three cycles before its total is written, and a tile's columns are Q > 3
    cycles behind those of the tile before: no sum is read in the cycle of its write, or before.

    Members
    -------
    ahead, column : In(column_layout)
        As from `hw.engine.drain.Drain`.
    sums : In(ArrayLayout(signed(28), P))
        With ``column``.
    totals : Out(ArrayLayout(signed(28), P))
        ``LATENCY`` cycles after ``column``.
    """

    LATENCY = 2

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        sums = data.ArrayLayout(signed(ACCUMULATOR_BITS), machine.rows)
        column = column_layout(machine)
        super().__init__({"ahead": In(column), "column": In(column), "sums": In(sums), "totals": Out(sums)})

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        machine = self._machine
        depth = machine.token_blocks * machine.columns
        m.submodules.memory = memory = WordMemory(self.sums.shape(), depth, poison=machine.trace)
        assert (
            AHEAD + 1 == 1 + READ_LATENCY
        )  # the address' register, then the memory, meet the sums' register
        address = Signal(bits_for_index(depth), reset_less=True)
        sums = Signal.like(self.sums, reset_less=True)
        totals = Signal.like(self.totals, reset_less=True)
        first = register_each(m, self.column.tile.psum_first, machine.rows, "psum_first")
        kept = Signal(2)
        m.d.sync += [
            address.eq(self.ahead.tile.block * machine.columns + self.ahead.column),
            sums.eq(self.sums),
            kept.eq((kept << 1) | (self.column.valid & ~self.column.tile.psum_last)),
        ]
        for lane in range(machine.rows):
            m.d.sync += totals[lane].eq(sums[lane] + Mux(first[lane], 0, memory.read_data[lane]))
        m.d.comb += [
            memory.read_address.eq(address),
            memory.write_enable.eq(kept[1]),
            memory.write_address.eq(delay(m, address, AHEAD + self.LATENCY - 1, "address")),
            memory.write_data.eq(totals),
            self.totals.eq(totals),
        ]
        return m
