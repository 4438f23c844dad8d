"""Streams weights and per-iteration parameters in the order of use, ahead of the sequencer."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, enum, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hw.bus.axi import AXI_ADDRESS_BITS, read_command_stream, read_data_stream
from hw.channel import CHANNEL_WORD_BITS
from hw.engine.descriptors import DescriptorTable
from hw.engine.program import Prefetch
from hw.params import Machine
from hw.units.activation_table import TABLE_WORD_BITS, TABLE_WORDS

HEADER_SLOTS = 4
"""Weight tiles whose channel parameters are kept: two waiting, one running, one draining."""
QUEUE = 4
"""Reads asked for ahead of the one being received."""


class Item(enum.Enum, shape=3):  # type: ignore[call-arg]
    """What a read carries."""

    WEIGHTS = 0
    HEADER = 1
    NORM = 2
    TABLE = 3
    ATTENTION = 4


class Fetcher(wiring.Component):
    """Walks a run of descriptors, reads their parameters and weight tiles, fills the two weight banks.

    Weights come from one linear stream (restarted by ``start``), parameters from another that goes on
    from run to run (restarted by ``load_parameters``), both in the order of `program.fetch_items`.

    Members
    -------
    start : In(1)
        Begins the run ``first``..``last``; taken when ``idle``. ``weights_base`` is its weight stream.
    load_parameters : In(1)
        Sets the parameter stream to ``parameters_base``.
    idle : Out(1)
    command, data : to the AxiReader
    bank_write_* : one weight word (Q bytes) to a weight bank
    tile_available : Out(1)
        The bank whose turn it is holds a whole tile and its channel parameters.
    tile_release : In(1)
        Pulse: that tile was read for the last time.
    header_*, norm_*, table_* : writes of channel parameters, LayerNorm parameters, table words
    attention_parameters : Out(ArrayLayout(64, 2))
        Score and context channel parameter; ``attention_loaded`` pulses when they are complete.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.table = DescriptorTable(machine)
        m = machine
        index = self.table.index.shape()
        super().__init__(
            {
                "start": In(1),
                "first": In(index),
                "last": In(index),
                "weights_base": In(AXI_ADDRESS_BITS),
                "load_parameters": In(1),
                "parameters_base": In(AXI_ADDRESS_BITS),
                "idle": Out(1),
                "command": Out(read_command_stream()),
                "data": In(read_data_stream(m.axi_bits)),
                "bank_write_enable": Out(1),
                "bank_write_bank": Out(1),
                "bank_write_address": Out(range(m.bank_words)),
                "bank_write_data": Out(m.axi_bits),
                "tile_available": Out(1),
                "tile_release": In(1),
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
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        m.submodules.table = table = self.table
        m.submodules.queue = queue = SyncFIFO(width=Item.as_shape().width, depth=QUEUE)
        walking = self._walk(m, table, queue)
        receiving = self._receive(m, queue)
        m.d.comb += self.idle.eq(~walking & ~receiving & ~queue.r_rdy)
        return m

    def _walk(self, m: Module, table: DescriptorTable, queue: SyncFIFO) -> Signal:
        """Asks for the reads, in order; returns "not finished"."""
        machine = self.machine
        d = table.descriptor
        weights, parameters = Signal(AXI_ADDRESS_BITS), Signal(AXI_ADDRESS_BITS)
        last = Signal.like(self.last)
        tile, chunk = Signal.like(d.last_tile), Signal.like(d.last_chunk)
        walking = Signal()
        sent = Signal()
        item = Signal(Item)
        m.d.comb += queue.w_data.eq(item)
        with m.If(self.load_parameters):
            m.d.sync += parameters.eq(self.parameters_base)

        def send(kind: Signal, address: Signal, count: Signal) -> None:
            m.d.comb += [
                item.eq(kind),
                self.command.payload.address.eq(address),
                self.command.payload.bytes.eq(count),
                self.command.valid.eq(queue.w_rdy),
                sent.eq(queue.w_rdy & self.command.ready),
                queue.w_en.eq(sent),
            ]
            with m.If(sent):
                m.d.sync += address.eq(address + count)

        tile_bytes = Signal(range(machine.bank_words * machine.columns + 1))
        m.d.comb += tile_bytes.eq(d.depth * machine.columns)

        def next_descriptor() -> None:
            m.d.sync += [tile.eq(0), chunk.eq(0)]
            with m.If(table.index == last):
                m.d.sync += walking.eq(0)
                m.next = "IDLE"
            with m.Else():
                m.d.sync += table.index.eq(table.index + 1)
                m.next = "PREFETCH"

        with m.FSM(name="walk"):
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [
                    table.index.eq(self.first),
                    last.eq(self.last),
                    weights.eq(self.weights_base),
                    tile.eq(0),
                    chunk.eq(0),
                    walking.eq(1),
                ]
                m.next = "PREFETCH"
            with m.State("PREFETCH"):
                kind = Signal(Item)
                with m.Switch(d.prefetch):
                    with m.Case(Prefetch.NORM):
                        m.d.comb += kind.eq(Item.NORM)
                    with m.Case(Prefetch.TABLE):
                        m.d.comb += kind.eq(Item.TABLE)
                    with m.Default():
                        m.d.comb += kind.eq(Item.ATTENTION)
                with m.If(d.prefetch != Prefetch.NONE):
                    send(kind, parameters, d.prefetch_bytes)
                with m.If(sent | (d.prefetch == Prefetch.NONE)):
                    with m.If(~d.has_tiles):
                        next_descriptor()
                    with m.Elif(d.last_chunk == 0):
                        m.next = "HEADER"
                    with m.Else():
                        m.next = "WEIGHTS"
            with m.State("HEADER"):
                size = Signal(range(machine.header_bytes + 1), init=machine.header_bytes)
                send(Item.HEADER, parameters, size)
                with m.If(sent):
                    m.next = "WEIGHTS"
            with m.State("WEIGHTS"):
                send(Item.WEIGHTS, weights, tile_bytes)
                with m.If(sent):
                    with m.If(chunk != d.last_chunk):
                        m.d.sync += chunk.eq(chunk + 1)
                        with m.If(chunk + 1 == d.last_chunk):
                            m.next = "HEADER"
                    with m.Elif(tile != d.last_tile):
                        m.d.sync += [tile.eq(tile + 1), chunk.eq(0)]
                        with m.If(d.last_chunk == 0):
                            m.next = "HEADER"
                    with m.Else():
                        next_descriptor()
        return walking

    def _receive(self, m: Module, queue: SyncFIFO) -> Signal:
        """Puts the beats where they belong; returns "in the middle of a read"."""
        machine = self.machine
        beat = self.data.payload
        full = Signal(range(3))
        filled = Signal()
        with m.If(filled & ~self.tile_release):
            m.d.sync += full.eq(full + 1)
        with m.Elif(~filled & self.tile_release):
            m.d.sync += full.eq(full - 1)
        m.d.comb += self.tile_available.eq(full != 0)

        index = Signal(range(max(machine.bank_words, machine.model.hidden_size, TABLE_WORDS) + 1))
        slot = Signal(range(HEADER_SLOTS))
        bank = Signal()
        with m.If(self.start):
            m.d.sync += [slot.eq(0), bank.eq(0)]

        # A beat is unpacked into 64-bit words (32-bit ones for the table); a 32-bit bus packs two.
        words32 = machine.axi_bits // 32
        part = Signal(range(max(2, words32)))
        low = Signal(32, reset_less=True)
        word_valid, beat_done = Signal(), Signal()
        narrow = Signal()
        word32 = beat.data.word_select(part, 32)
        if words32 == 1:
            odd = Signal()
            m.d.comb += [
                self.word.eq(Cat(low, word32)),
                word_valid.eq(odd | narrow),
                beat_done.eq(1),
            ]
        else:
            m.d.comb += [
                self.word.eq(
                    beat.data.word_select(part[1:], CHANNEL_WORD_BITS) if words32 > 2 else beat.data
                ),
                word_valid.eq(1),
                beat_done.eq(part >= Mux(narrow, words32 - 1, words32 - 2)),
            ]
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
        kind = Signal(Item)
        receiving = Signal()
        attention = Signal.like(self.attention_parameters, reset_less=True)
        m.d.comb += self.attention_parameters.eq(attention)

        with m.FSM(name="receive"):
            with m.State("NEXT"):
                m.d.comb += queue.r_en.eq(1)
                m.d.sync += [index.eq(0), part.eq(0)]
                if words32 == 1:
                    m.d.sync += odd.eq(0)
                with m.If(queue.r_rdy):
                    m.d.sync += kind.eq(queue.r_data)
                    with m.If(queue.r_data == Item.WEIGHTS.value):
                        m.next = "WEIGHTS"
                    with m.Else():
                        m.next = "WORDS"
            with m.State("WEIGHTS"):
                m.d.comb += [
                    receiving.eq(1),
                    self.data.ready.eq(full != 2),
                    self.bank_write_enable.eq(self.data.valid & self.data.ready),
                ]
                with m.If(self.bank_write_enable):
                    m.d.sync += index.eq(index + 1)
                    with m.If(beat.last):
                        m.d.comb += filled.eq(1)
                        m.d.sync += bank.eq(~bank)
                        m.next = "NEXT"
            with m.State("WORDS"):
                write = Signal()
                m.d.comb += [
                    receiving.eq(1),
                    narrow.eq(kind == Item.TABLE),
                    write.eq(self.data.valid & word_valid),
                    self.data.ready.eq(beat_done),
                    self.header_write_enable.eq(write & (kind == Item.HEADER)),
                    self.norm_write_enable.eq(write & (kind == Item.NORM)),
                    self.table_write_enable.eq(write & (kind == Item.TABLE)),
                ]
                with m.If(self.data.valid):
                    m.d.sync += low.eq(word32)
                    if words32 == 1:
                        m.d.sync += odd.eq(~odd & ~narrow)
                    else:
                        m.d.sync += part.eq(Mux(beat_done, 0, part + Mux(narrow, 1, 2)))
                    with m.If(word_valid):
                        m.d.sync += index.eq(index + 1)
                        with m.If((kind == Item.ATTENTION) & (index < 2)):
                            m.d.sync += attention[index[0]].eq(self.word)
                    with m.If(beat_done & beat.last):
                        with m.If(kind == Item.HEADER):
                            m.d.sync += slot.eq(slot + 1)
                        with m.If(kind == Item.ATTENTION):
                            m.d.comb += self.attention_loaded.eq(1)
                        m.next = "NEXT"
        return receiving
