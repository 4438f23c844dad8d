"""The residual stream's memory: who reads it, who writes it, and why they do not meet."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import RESIDUAL_BITS
from hw.arith.delay import delay
from hw.arith.fan_out import register_each
from hw.arith.widths import bits_for_index
from hw.engine.token_words import group_of, word_base
from hw.memory.banks import GROUPED_READ_LATENCY, GroupedMemory
from hw.memory.hidden import split_hidden
from hw.params import Machine
from hw.units.layernorm_lane import OUTPUT_BITS

NORM_WRITE_LAG = 1
"""Cycles by which a write of LayerNorm (which has its address to add up) is behind one of the vector path."""


def place_layout(machine: Machine) -> data.StructLayout:
    """P lanes of a word."""
    return data.StructLayout(
        {"group": bits_for_index(machine.groups), "address": bits_for_index(machine.hidden_words)}
    )


def rows_layout(machine: Machine) -> data.StructLayout:
    """P hidden words of one feature and their place."""
    return data.StructLayout(
        {
            "place": place_layout(machine),
            "lanes": data.ArrayLayout(unsigned(RESIDUAL_BITS), machine.rows),
        }
    )


def feature_layout(machine: Machine) -> data.StructLayout:
    """A feature of a token block."""
    return data.StructLayout(
        {
            "block": bits_for_index(machine.token_blocks),
            "feature": range(machine.model.hidden_size),
        }
    )


class HiddenStream(wiring.Component):
    """One memory of {hi, lo} words and residual sums, with one read and one write port.

    Reads do not meet: LayerNorm pauses in the cycle of a residual's read, and the array reads only behind a
    descriptor that waits for both. Writes do not meet: from its read, a residual's sum and LayerNorm's
    result take equally long (``NORM_WRITE_LAG`` makes up for the address), and embedding or projection work
    alone. No word is used that is written in the cycle of its read: a residual is read before it is written
    by the same column, cycles later; LayerNorm asks for a block when its last sum is written and has its own
    features behind it; the array waits until all is written.

    Members
    -------
    array_address : In
        For the array; ``array_words`` is every group's word `ARRAY_LATENCY` cycles later.
    residual_read : In(stream of place_layout)
    norm_read : In(stream of feature_layout)
    rows : Out(ArrayLayout(unsigned(18), P))
        Of either, `ROWS_LATENCY` cycles later.
    vector_write : In(stream of rows_layout)
    norm_write : In(stream of {at: feature_layout, values: P x signed(16)})
        Saved as {hi, lo}.
    embedding_write : In(stream of {at: feature_layout, lanes: P, value: signed(18)})
        One value into the lanes marked.
    """

    ARRAY_LATENCY = 1 + GROUPED_READ_LATENCY
    ROWS_LATENCY = 3 + GROUPED_READ_LATENCY

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        p = machine.rows

        def given(layout: data.Layout) -> wiring.Member:
            return In(stream.Signature(layout, always_ready=True))

        at = feature_layout(machine)
        word = data.ArrayLayout(unsigned(RESIDUAL_BITS), p)
        super().__init__(
            {
                "array_address": In(bits_for_index(machine.hidden_words)),
                "array_words": Out(data.ArrayLayout(word, machine.groups)),
                "residual_read": given(place_layout(machine)),
                "norm_read": given(at),
                "rows": Out(word),
                "vector_write": given(rows_layout(machine)),
                "norm_write": given(
                    data.StructLayout({"at": at, "values": data.ArrayLayout(signed(OUTPUT_BITS), p)})
                ),
                "embedding_write": given(
                    data.StructLayout({"at": at, "lanes": p, "value": signed(RESIDUAL_BITS)})
                ),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        machine = self._machine
        m.submodules.memory = memory = GroupedMemory(
            groups=machine.groups,
            lanes=machine.rows,
            width=RESIDUAL_BITS,
            depth=machine.hidden_words,
            dense=machine.dense_memories,
            lane_writes=True,
            poison=machine.trace,
        )
        self._read(m, memory)
        self._write(m, memory)
        return m

    def _base(self, m: Module, block: Signal, name: str) -> Signal:
        """The block's address, a cycle later."""
        base = Signal(bits_for_index(self._machine.hidden_words), name=name, reset_less=True)
        m.d.sync += base.eq(word_base(self._machine, block, self._machine.model.hidden_size))
        return base

    def _read(self, m: Module, memory: GroupedMemory) -> None:
        machine, norm = self._machine, self.norm_read
        residual, residual_reads = Signal(place_layout(machine), reset_less=True), Signal()
        norm_reads = Signal()
        feature = delay(m, norm.payload.feature, 1, "norm_feature")
        base = self._base(m, norm.payload.block, "norm_base")
        m.d.sync += [
            residual_reads.eq(self.residual_read.valid),
            residual.eq(self.residual_read.payload),
            norm_reads.eq(norm.valid),
        ]
        address = Signal.like(memory.read_address, reset_less=True)
        group = Signal(bits_for_index(machine.groups), reset_less=True)
        m.d.sync += group.eq(
            Mux(
                residual_reads,
                residual.group,
                delay(m, group_of(machine, norm.payload.block), 1, "norm_group"),
            )
        )
        with m.If(residual_reads):
            m.d.sync += address.eq(residual.address)
        with m.Elif(norm_reads):
            m.d.sync += address.eq(base + feature)
        with m.Else():
            m.d.sync += address.eq(self.array_address)
        m.d.comb += [memory.read_address.eq(address), self.array_words.eq(memory.read_data)]
        group_of_lane = register_each(
            m, delay(m, group, GROUPED_READ_LATENCY - 1, "group"), machine.rows, "group_of"
        )
        for lane in range(machine.rows):
            row = Signal(RESIDUAL_BITS, name=f"row_{lane}", reset_less=True)
            choices = Cat(*(memory.read_data[g][lane] for g in range(machine.groups)))
            m.d.sync += row.eq(choices.word_select(group_of_lane[lane], RESIDUAL_BITS))
            m.d.comb += self.rows[lane].eq(row)

    def _write(self, m: Module, memory: GroupedMemory) -> None:
        machine = self._machine
        p = machine.rows
        norm, embedding, vector = self.norm_write, self.embedding_write, self.vector_write
        # LayerNorm and embedding add up their address first; they never write in the same phase.
        at = Signal(feature_layout(machine))
        m.d.comb += at.eq(Mux(embedding.valid, embedding.payload.at.as_value(), norm.payload.at.as_value()))
        lanes = Signal(p)
        values = Signal(memory.write_data.shape(), reset_less=True)
        feature = delay(m, at.feature, 1, "feature")
        base = self._base(m, at.block, "base")
        group = delay(m, group_of(machine, at.block), 1, "write_group")
        with m.If(embedding.valid):
            m.d.sync += lanes.eq(embedding.payload.lanes)
            m.d.sync += [values[lane].eq(embedding.payload.value) for lane in range(p)]
        with m.Else():
            m.d.sync += lanes.eq(Mux(norm.valid, ~0, 0))
            m.d.sync += [
                values[lane].eq(split_hidden(m, norm.payload.values[lane], f"high_{lane}"))
                for lane in range(p)
            ]

        write_lanes = Signal(p)
        write = Signal(rows_layout(machine), reset_less=True)
        with m.If(vector.valid):
            m.d.sync += [write.eq(vector.payload), write_lanes.eq(~0)]
        with m.Else():
            m.d.sync += [
                write.place.group.eq(group),
                write.place.address.eq(base + feature),
                write.lanes.eq(values),
                write_lanes.eq(lanes),
            ]
        m.d.comb += [
            memory.write_enable.eq(1),
            memory.write_lanes.eq(write_lanes),
            memory.write_group.eq(write.place.group),
            memory.write_address.eq(write.place.address),
            memory.write_data.eq(write.lanes),
        ]
