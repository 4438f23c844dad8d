"""Memories of P-lane words in groups: written a token block at a time, read a block or a whole word.

A word of Q tokens x 1 feature lies in Q/P groups of P lanes. The array's rows read one group, its
columns read all groups at the same address: that is how one memory serves both sides of the array.
"""

from __future__ import annotations

from amaranth.hdl import Elaboratable, Module, Signal, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory

from hw.arith.widths import bits_for_index
from hw.memory.attributes import DONT_CARE_ON_COLLISION


class GroupedMemory(Elaboratable):
    """``groups`` memories of ``depth`` words of ``lanes`` x ``width`` bits; one read, one write port.

    Reading takes one cycle and delivers every group at ``read_address``; the reader picks.

    Members
    -------
    read_enable, read_address, read_data : read_data is ArrayLayout(ArrayLayout(width, lanes), groups)
    write_group, write_lanes, write_address, write_data : write_lanes masks lanes, 0 writes nothing
    """

    def __init__(self, *, groups: int, lanes: int, width: int, depth: int) -> None:
        self.groups, self.lanes, self.width, self.depth = groups, lanes, width, depth
        bits = bits_for_index(depth)
        word = data.ArrayLayout(unsigned(width), lanes)
        self.read_enable = Signal()
        self.read_address = Signal(bits)
        self.read_data = Signal(data.ArrayLayout(word, groups))
        self.write_group = Signal(range(max(2, groups)))
        self.write_lanes = Signal(lanes)
        self.write_address = Signal(bits)
        self.write_data = Signal(word)

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        for group in range(self.groups):
            memory = Memory(
                shape=data.ArrayLayout(unsigned(self.width), self.lanes), depth=self.depth, init=[]
            )
            m.submodules[f"group_{group}"] = memory
            read, write = memory.read_port(), memory.write_port(granularity=1)
            m.d.comb += [
                read.addr.eq(self.read_address),
                read.en.eq(self.read_enable),
                self.read_data[group].eq(read.data),
                write.addr.eq(self.write_address),
                write.data.eq(self.write_data),
            ]
            with m.If(self.write_group == group):
                m.d.comb += write.en.eq(self.write_lanes)
        return m


class WordMemory(Elaboratable):
    """``depth`` words of one shape; one read, one write port, read latency one cycle."""

    def __init__(self, shape, depth: int) -> None:  # type: ignore[no-untyped-def]
        self.shape, self.depth = shape, depth
        bits = bits_for_index(depth)
        self.read_enable = Signal(init=1)
        self.read_address = Signal(bits)
        self.read_data = Signal(shape)
        self.write_enable = Signal()
        self.write_address = Signal(bits)
        self.write_data = Signal(shape)

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self.shape, depth=self.depth, init=[], attrs=DONT_CARE_ON_COLLISION
        )
        read, write = memory.read_port(), memory.write_port()
        m.d.comb += [
            read.addr.eq(self.read_address),
            read.en.eq(self.read_enable),
            self.read_data.eq(read.data),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_enable),
        ]
        return m
