"""Table activations (GELU, tanh): one copy of the table per lane."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from golden_model.numerics import OPERAND_BITS, TABLE_INDEX_BITS, TABLE_SIZE
from hw.arith.check import check_int
from hw.arith.delay import delay
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
        ``LATENCY`` cycles after ``index``. An index of a word written in the same cycle reads anything.

    Latency ``LATENCY`` = 3 cycles (memory, its register, byte select); P look-ups per cycle.
    """

    LATENCY = 3

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
            word = Signal(TABLE_WORD_BITS, reset_less=True, name=f"word_{lane}")
            value = Signal(signed(OPERAND_BITS), reset_less=True, name=f"value_{lane}")
            select = delay(m, index[:select_bits], 2, f"select_{lane}")
            m.d.comb += [
                write.en.eq(self.write_enable),
                write.addr.eq(self.write_address),
                write.data.eq(self.write_data),
                read.addr.eq(index[select_bits:]),
            ]
            m.d.sync += [word.eq(read.data), value.eq(word.word_select(select, OPERAND_BITS))]
            m.d.comb += self.values[lane].eq(value)
        return m
