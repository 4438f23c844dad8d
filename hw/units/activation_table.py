"""Table activations (GELU, tanh): one copy of the table per lane."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import OPERAND_BITS, TABLE_INDEX_BITS, TABLE_SIZE
from hw.arith.check import check_int
from hw.memory.attributes import DONT_CARE_ON_COLLISION

ENTRIES_PER_WORD = 4
"""Entries of one written word, the lowest in the low byte."""
TABLE_WORDS = TABLE_SIZE // ENTRIES_PER_WORD
TABLE_WORD_BITS = ENTRIES_PER_WORD * OPERAND_BITS


class ActivationTable(wiring.Component):
    """values[p] = table[index[p] mod 1024] for every lane p.

    Golden: ``golden_model.integer.ops.table.lookup``.

    Parameters
    ----------
    lanes : int
        P, 1..64.

    Members
    -------
    write_enable : In(1)
        Writes one word into every lane's copy.
    write_address : In(8)
        In words of four entries: 0..255.
    write_data : In(32)
        Entries 4·write_address .. + 3, little-endian, int8 each.
    index : In(ArrayLayout(signed(10), P))
    values : Out(ArrayLayout(signed(8), P))
        One cycle after ``index``. An index of a word written in the same cycle reads old or new data.

    Latency ``LATENCY`` = 1 cycle (memory and byte select, not registered behind); P look-ups per cycle.
    """

    LATENCY = 1

    def __init__(self, lanes: int):
        self._lanes = check_int("lanes", lanes, 1, 64)
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(range(TABLE_WORDS)),
                "write_data": In(TABLE_WORD_BITS),
                "index": In(data.ArrayLayout(signed(TABLE_INDEX_BITS), lanes)),
                "values": Out(data.ArrayLayout(signed(OPERAND_BITS), lanes)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from ``index`` to ``values``."""
        return self.LATENCY

    def elaborate(self, platform):
        m = Module()
        select_bits = (ENTRIES_PER_WORD - 1).bit_length()
        for lane in range(self._lanes):
            table = memory.Memory(
                shape=TABLE_WORD_BITS,
                depth=TABLE_WORDS,
                init=[],
                attrs=DONT_CARE_ON_COLLISION,
            )
            m.submodules[f"table_{lane}"] = table
            write, read = table.write_port(), table.read_port()
            index = self.index[lane].as_unsigned()
            select = Signal(select_bits, reset_less=True, name=f"select_{lane}")
            m.d.comb += [
                write.en.eq(self.write_enable),
                write.addr.eq(self.write_address),
                write.data.eq(self.write_data),
                read.addr.eq(index[select_bits:]),
            ]
            m.d.sync += select.eq(index)
            entries = Array(read.data[i * OPERAND_BITS :][:OPERAND_BITS] for i in range(ENTRIES_PER_WORD))
            m.d.comb += self.values[lane].eq(entries[select])
        return m
