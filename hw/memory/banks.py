"""Memories of P-lane words in groups: written a token block at a time, read a block or a whole word.

A word of Q tokens x 1 feature lies in Q/P groups of P lanes. The array's rows read one group, its
columns read all groups at the same address: that is how one memory serves both sides of the array.

A block memory takes half a cycle to deliver: nothing but a register lies behind it, and a word is cut into
memories that need no multiplexer either (`hw.memory.block_ram`). What it delivers of a
word that is written in the same cycle is left open, since a defined answer costs the ECP5's a comparator and
a bypass (of one hidden memory 300 of 900 LUT4 and all its flip-flops). That no such word is used, its user
sees to, and says why; with ``poison``, as in every traced simulation, such a word comes out inverted, so that
its use shows as a wrong integer.
"""

from __future__ import annotations

from amaranth.hdl import Elaboratable, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory, ReadPort, WritePort

from hw.arith.fan_out import register_each
from hw.arith.widths import bits_for_index, ceil_div
from hw.memory.attributes import DONT_CARE_ON_COLLISION
from hw.memory.block_ram import slice_width

READ_LATENCY = 2
"""Cycles from an address to its word: memory, register."""
GROUPED_READ_LATENCY = 1 + READ_LATENCY
"""Of a memory in groups, before which addresses have a register too."""
NEIGHBOURS = 32
"""Memories that one register of an address or an enable reaches."""


def _register(m: Module, read: ReadPort, write: WritePort, poison: bool) -> Value:
    """The word read, a cycle later; with ``poison`` inverted if it was written in the cycle of the read."""
    word = Value.cast(read.data)
    register = Signal(len(word), reset_less=True)
    if poison:
        collided = Signal()
        m.d.sync += collided.eq(read.en & Value.cast(write.en).any() & (read.addr == write.addr))
        word = Mux(collided, ~word, word)
    m.d.sync += register.eq(word)
    return register


class GroupedMemory(Elaboratable):
    """``groups`` memories of ``depth`` words of ``lanes`` x ``width`` bits; one read, one write port.

    Reading takes `GROUPED_READ_LATENCY` cycles and delivers every group at ``read_address``; the reader
    picks. Its block memories lie all over the device, so reads and writes alike go through a register first,
    which addresses and enables have a copy of for every `NEIGHBOURS` memories; their order stays.

    Parameters
    ----------
    groups, lanes, width, depth : int
    dense : bool
        The word is not cut: as few block memories as Yosys finds.
    lane_writes : bool
        Lanes are written one by one (which takes a write enable each).
    poison : bool
        See the module.

    Members
    -------
    read_address, read_data : read_data is ArrayLayout(ArrayLayout(width, lanes), groups)
    write_enable, write_group, write_address, write_data
    write_lanes : with ``lane_writes`` only; masks lanes
    """

    def __init__(
        self,
        *,
        groups: int,
        lanes: int,
        width: int,
        depth: int,
        dense: bool = False,
        lane_writes: bool = False,
        poison: bool = False,
    ) -> None:
        self.groups, self.lanes, self.width, self.depth = groups, lanes, width, depth
        self.dense, self.lane_writes, self.poison = dense, lane_writes, poison
        bits = bits_for_index(depth)
        word = data.ArrayLayout(unsigned(width), lanes)
        self.read_address = Signal(bits)
        self.read_data = Signal(data.ArrayLayout(word, groups))
        self.write_enable = Signal()
        self.write_group = Signal(range(max(2, groups)), reset_less=True)
        if lane_writes:
            self.write_lanes = Signal(lanes)
        self.write_address = Signal(bits, reset_less=True)
        self.write_data = Signal(word, reset_less=True)

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        read_data = Value.cast(self.read_data)
        written = Signal(len(Value.cast(self.write_data)), reset_less=True)
        m.d.sync += written.eq(self.write_data)
        word = self.lanes * self.width
        pieces = self._pieces()
        clusters = ceil_div(len(pieces), NEIGHBOURS)
        copies = self.groups * clusters
        read_addresses = register_each(m, self.read_address, copies, "read_address")
        write_addresses = register_each(m, self.write_address, copies, "write_address")
        for group in range(self.groups):
            enable = Signal(self.lanes if self.lane_writes else 1, name=f"enable_{group}")
            with m.If(self.write_enable & (self.write_group == group)):
                m.d.comb += enable.eq(self.write_lanes if self.lane_writes else 1)
            enables = register_each(m, enable, clusters, f"enable_{group}_of")
            for i, (low, high) in enumerate(pieces):
                whole = high - low == word
                memory = Memory(
                    shape=data.ArrayLayout(unsigned(self.width), self.lanes)
                    if whole
                    else unsigned(high - low),
                    depth=self.depth,
                    init=[],
                    attrs=DONT_CARE_ON_COLLISION,
                )
                m.submodules[f"group_{group}" if whole else f"group_{group}_bit_{low}"] = memory
                read = memory.read_port()
                write = memory.write_port(granularity=1 if whole and self.lane_writes else None)
                cluster = i // NEIGHBOURS
                lanes: Value = enables[cluster]
                if self.lane_writes and not whole:
                    lanes = lanes[low // self.width]
                m.d.comb += [
                    read.addr.eq(read_addresses[group * clusters + cluster]),
                    read_data[group * word + low : group * word + high].eq(
                        _register(m, read, write, self.poison)
                    ),
                    write.addr.eq(write_addresses[group * clusters + cluster]),
                    Value.cast(write.data).eq(written[low:high]),
                    write.en.eq(lanes),
                ]
        return m

    def _pieces(self) -> list[tuple[int, int]]:
        """Bits of a word that share a memory: all, or slices, which hold bits of one lane where lanes are
        written one by one."""
        word = self.lanes * self.width
        widest = word if self.dense else slice_width(word, self.depth)
        if widest == word:
            return [(0, word)]
        part = self.width if self.lane_writes else word
        return [
            (start + low, min(start + low + widest, start + part))
            for start in range(0, word, part)
            for low in range(0, part, widest)
        ]


class WordMemory(Elaboratable):
    """``depth`` words of one shape; one read, one write port, read latency `READ_LATENCY`."""

    def __init__(self, shape, depth: int, *, poison: bool = False) -> None:  # type: ignore[no-untyped-def]
        self.shape, self.depth, self.poison = shape, depth, poison
        bits = bits_for_index(depth)
        self.read_address = Signal(bits)
        self.read_data = Signal(shape)
        self.write_enable = Signal()
        self.write_address = Signal(bits, reset_less=True)
        self.write_data = Signal(shape, reset_less=True)

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self.shape, depth=self.depth, init=[], attrs=DONT_CARE_ON_COLLISION
        )
        read, write = memory.read_port(), memory.write_port()
        m.d.comb += [
            read.addr.eq(self.read_address),
            Value.cast(self.read_data).eq(_register(m, read, write, self.poison)),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.write_enable),
        ]
        return m
