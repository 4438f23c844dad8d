"""Where the beats of a read go: weight banks, channel parameters, LayerNorm parameters, tables."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.bus.axi import read_data_stream
from hw.channel import CHANNEL_WORD_BITS
from hw.engine.fetch_walk import Item
from hw.engine.program import HEADER_SLOTS
from hw.params import Machine
from hw.units.activation_table import TABLE_WORD_BITS, TABLE_WORDS


def fetched_members(machine: Machine) -> dict[str, wiring.Member]:
    """What comes out of fetched beats; the meaning is `hw.engine.fetcher.Fetcher`'s."""
    m = machine
    return {
        "bank_write_enable": Out(1),
        "bank_write_bank": Out(1),
        "bank_write_address": Out(range(m.bank_words)),
        "bank_write_data": Out(m.axi_bits),
        "header_write_enable": Out(1),
        "header_write_slot": Out(range(HEADER_SLOTS)),
        "header_write_index": Out(range(m.columns)),
        "norm_write_enable": Out(1),
        "norm_write_index": Out(range(m.model.hidden_size)),
        "table_write_enable": Out(1),
        "table_write_address": Out(range(TABLE_WORDS)),
        "table_write_data": Out(TABLE_WORD_BITS),
        "attention_parameters": Out(data.ArrayLayout(unsigned(CHANNEL_WORD_BITS), 2)),
        "attention_loaded": Out(1),
        "word": Out(CHANNEL_WORD_BITS),
    }


class WeightBanks(wiring.Component):
    """Counts the weight banks that hold a tile: none, one or both.

    Members
    -------
    filled, released : In(1)
        Pulses: a bank got its last word; a bank is free again.
    available, full : Out(1)
        Registers: at least one, both.
    """

    def __init__(self) -> None:
        super().__init__({"filled": In(1), "released": In(1), "available": Out(1), "full": Out(1)})

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        with m.If(self.filled & ~self.released):
            m.d.sync += [self.available.eq(1), self.full.eq(self.available)]
        with m.Elif(self.released & ~self.filled):
            m.d.sync += [self.available.eq(self.full), self.full.eq(0)]
        return m


class Receiver(wiring.Component):
    """Puts the beats of one read after the other where they belong.

    A beat is a weight word, or is unpacked into 64-bit words (32-bit ones for the table). A 32-bit bus packs
    two beats into a word.

    Members
    -------
    begin : In(1)
        Pulse before a run: weight banks and header slots are counted from 0.
    item : In(stream of Item)
        What the next read carries.
    data : In(stream of read_beat)
    busy : Out(1)
        In the middle of a read.
    tile_available, tile_release : as in `hw.engine.fetcher.Fetcher`
    `fetched_members`
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        super().__init__(
            {
                "begin": In(1),
                "item": In(stream.Signature(Item)),
                "data": In(read_data_stream(machine.axi_bits)),
                "busy": Out(1),
                "tile_available": Out(1),
                "tile_release": In(1),
                **fetched_members(machine),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        machine = self.machine
        beat = self.data.payload
        m.submodules.banks = banks = WeightBanks()
        m.d.comb += [
            banks.released.eq(self.tile_release),
            self.tile_available.eq(banks.available),
        ]

        index = Signal(range(max(machine.bank_words, machine.model.hidden_size, TABLE_WORDS) + 1))
        slot = Signal(range(HEADER_SLOTS))
        bank = Signal()
        narrow = Signal()
        next_read = Signal()
        word32, word_valid, beat_done = self._unpack(m, narrow, next_read)
        m.d.comb += [
            self.table_write_data.eq(word32),
            self.table_write_address.eq(index),
            self.header_write_slot.eq(slot),
            self.header_write_index.eq(index),
            self.norm_write_index.eq(index),
            self.bank_write_bank.eq(bank),
            self.bank_write_address.eq(index),
            self.bank_write_data.eq(beat.data),
        ]
        attention = Signal.like(self.attention_parameters, reset_less=True)
        m.d.comb += self.attention_parameters.eq(attention)
        item = Signal(Item)

        with m.FSM(name="receive"):
            with m.State("NEXT"):
                m.d.comb += [self.item.ready.eq(1), next_read.eq(1)]
                m.d.sync += [index.eq(0), item.eq(self.item.payload)]
                m.d.sync += narrow.eq(self.item.payload == Item.TABLE)
                with m.If(self.item.valid):
                    with m.If(self.item.payload == Item.WEIGHTS):
                        m.next = "WEIGHTS"
                    with m.Else():
                        m.next = "WORDS"
            with m.State("WEIGHTS"):
                m.d.comb += [
                    self.busy.eq(1),
                    self.data.ready.eq(~banks.full),
                    self.bank_write_enable.eq(self.data.valid & ~banks.full),
                ]
                with m.If(self.bank_write_enable):
                    m.d.sync += index.eq(index + 1)
                    with m.If(beat.last):
                        m.d.comb += banks.filled.eq(1)
                        m.d.sync += bank.eq(~bank)
                        m.next = "NEXT"
            with m.State("WORDS"):
                write = Signal()
                m.d.comb += [
                    self.busy.eq(1),
                    write.eq(self.data.valid & word_valid),
                    self.data.ready.eq(beat_done),
                    self.header_write_enable.eq(write & (item == Item.HEADER)),
                    self.norm_write_enable.eq(write & (item == Item.NORM)),
                    self.table_write_enable.eq(write & (item == Item.TABLE)),
                ]
                with m.If(write):
                    m.d.sync += index.eq(index + 1)
                    with m.If((item == Item.ATTENTION) & (index < 2)):
                        m.d.sync += attention[index[0]].eq(self.word)
                with m.If(self.data.valid & beat_done & beat.last):
                    with m.If(item == Item.HEADER):
                        m.d.sync += slot.eq(slot + 1)
                    with m.If(item == Item.ATTENTION):
                        m.d.comb += self.attention_loaded.eq(1)
                    m.next = "NEXT"
        with m.If(self.begin):
            m.d.sync += [slot.eq(0), bank.eq(0)]
        return m

    def _unpack(self, m: Module, narrow: Signal, next_read: Signal) -> tuple[Signal, Signal, Signal]:
        """The words of a beat: its 32-bit word, "a word is complete" and "the beat's last word"."""
        beat = self.data.payload.data
        word32 = Signal(32)
        word_valid = Signal()
        beat_done = Signal()
        words = self.machine.axi_bits // 32
        if words == 1:
            low = Signal(32, reset_less=True)
            odd = Signal()
            with m.If(next_read):
                m.d.sync += odd.eq(0)
            with m.Elif(self.data.valid):
                m.d.sync += [low.eq(beat), odd.eq(~odd & ~narrow)]
            m.d.comb += [
                word32.eq(beat),
                self.word.eq(Cat(low, beat)),
                word_valid.eq(odd | narrow),
                beat_done.eq(1),
            ]
            return word32, word_valid, beat_done
        part = Signal(range(words))
        with m.If(next_read):
            m.d.sync += part.eq(0)
        with m.Elif(self.data.valid):
            m.d.sync += part.eq(Mux(beat_done, 0, part + Mux(narrow, 1, 2)))
        m.d.comb += [
            word32.eq(beat.word_select(part, 32)),
            self.word.eq(beat.word_select(part[1:], CHANNEL_WORD_BITS) if words > 2 else beat),
            word_valid.eq(1),
            beat_done.eq(part[1:] == words // 2 - 1 if words > 2 else 1),
        ]
        with m.If(narrow):
            m.d.comb += beat_done.eq(part == words - 1)
        return word32, word_valid, beat_done
