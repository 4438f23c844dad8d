"""Which channel parameter rescales a column."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import MULTIPLIER_BITS, SHIFT_BITS
from hw.arith.fan_out import register_each
from hw.arith.widths import bits_for_index
from hw.channel import CHANNEL, CHANNEL_BITS
from hw.engine.drain import column_layout
from hw.engine.program import HEADER_SLOTS, Post
from hw.memory.banks import WordMemory
from hw.params import Machine


def header_layout(machine: Machine) -> data.StructLayout:
    """One channel parameter of a weight tile and its place."""
    return data.StructLayout(
        {
            "slot": range(HEADER_SLOTS),
            "index": bits_for_index(machine.columns),
            "channel": unsigned(CHANNEL_BITS),
        }
    )


class Channels(wiring.Component):
    """The channel parameter of every lane: the column's (its output feature's), the row's, or the scores'.

    A weight tile's parameters lie in a slot of memory. Where features are on the rows, each lane takes its
    own before the columns come (``preload``); where the row's softmax scales, with the first column.

    Members
    -------
    headers : In(stream of header_layout)
        Parameters of the weight tiles, long before their columns; a slot is not written again before its
        tile has left.
    score_channel : In(CHANNEL)
    row_multiplier, row_shift : In
        Softmax's scales, [parity][lane].
    ahead, column : In(column_layout)
        As from `hw.engine.drain.Drain`.
    channels : Out(ArrayLayout(CHANNEL, P))
        ``LATENCY`` cycles after ``column``.
    """

    LATENCY = 3

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        p = machine.rows
        column = column_layout(machine)
        super().__init__(
            {
                "headers": In(stream.Signature(header_layout(machine), always_ready=True)),
                "score_channel": In(CHANNEL),
                "row_multiplier": In(data.ArrayLayout(data.ArrayLayout(MULTIPLIER_BITS, p), 2)),
                "row_shift": In(data.ArrayLayout(data.ArrayLayout(SHIFT_BITS, p), 2)),
                "ahead": In(column),
                "column": In(column),
                "channels": Out(data.ArrayLayout(CHANNEL, p)),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        p, q = self._machine.rows, self._machine.columns
        ahead, written = self.ahead, self.headers
        m.submodules.memory = memory = WordMemory(
            unsigned(CHANNEL_BITS), HEADER_SLOTS * q, poison=self._machine.trace
        )
        address = Signal.like(memory.read_address, reset_less=True)
        m.d.sync += address.eq(
            ahead.tile.slot * q + Mux(ahead.preload, ahead.tile.group * p + ahead.lane, ahead.column)
        )
        m.d.comb += [
            memory.write_enable.eq(written.valid),
            memory.write_address.eq(written.payload.slot * q + written.payload.index),
            memory.write_data.eq(written.payload.channel),
            memory.read_address.eq(address),
        ]
        # The parameter is there with this register of the column.
        preload = Signal()
        lane = Signal.like(self.column.lane, reset_less=True)
        scores, of_rows = (Signal(name=n, reset_less=True) for n in ("scores", "of_rows"))
        post = self.column.tile.post
        m.d.sync += [
            preload.eq(self.column.preload),
            lane.eq(self.column.lane),
            scores.eq(post == Post.SCORES),
            of_rows.eq((post == Post.VALUE) | (post == Post.CONTEXT)),
        ]
        first_of_context = register_each(
            m,
            self.column.valid & self.column.first & (post == Post.CONTEXT),
            p,
            "first_of_context",
            reset=True,
        )
        parity = register_each(m, self.column.tile.parity, p, "parity")
        header = Signal(CHANNEL)
        shared = Signal(CHANNEL, reset_less=True)
        by_row = register_each(m, of_rows, p, "by_row")
        m.d.comb += header.eq(memory.read_data)
        m.d.sync += shared.eq(Mux(scores, self.score_channel.as_value(), header.as_value()))
        for i in range(p):
            row = Signal(CHANNEL, name=f"row_{i}", reset_less=True)
            with m.If(first_of_context[i]):
                m.d.sync += [
                    row.offset.eq(0),
                    row.multiplier.eq(Mux(parity[i], self.row_multiplier[1][i], self.row_multiplier[0][i])),
                    row.shift.eq(Mux(parity[i], self.row_shift[1][i], self.row_shift[0][i])),
                ]
            with m.Elif(preload & (lane == i)):
                m.d.sync += row.eq(header)
            channel = Signal(CHANNEL, name=f"channel_{i}", reset_less=True)
            m.d.sync += channel.eq(Mux(by_row[i], row.as_value(), shared.as_value()))
            m.d.comb += self.channels[i].eq(channel)
        return m
