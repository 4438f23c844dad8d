"""Linear reads over AXI4: commands in, a stream of beats out, bursts in flight behind each other."""

from __future__ import annotations

from itertools import pairwise

from amaranth import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, fifo, wiring
from amaranth.lib.wiring import In, Out

from hw.arith.fan_out import register_each
from hw.bus.axi import (
    AXI_ADDRESS_BITS,
    AXI_BOUNDARY,
    AXI_CACHE,
    AXI_PROTECTION,
    READ_BYTES_BITS,
    Axi4Read,
    ReadCommand,
    read_command_stream,
    read_data_stream,
)

BURST_INCR = 1
SHOWN_TOGETHER = 33
"""Bits of a beat that one register picks."""
QUIET = 255
"""Cycles without a beat after which a bus that broke the protocol counts as drained."""


class AxiReader(wiring.Component):
    """Turns linear reads into AXI4 bursts and their beats into a stream.

    Two commands wait behind the one being split, so consecutive commands stream back to back. A
    burst ends at a 4 KB boundary and after ``max_burst`` beats; up to ``outstanding`` bursts are in
    flight, which hides ``outstanding * max_burst`` cycles of memory latency.

    Latency: 3 cycles from a command to ``arvalid``, 1 from ``rvalid`` to ``data.valid``.
    Throughput: one beat per cycle; one burst planned every 2 cycles.

    A beat answered with SLVERR or DECERR, or whose ``rlast`` is not where its burst ends, is not passed
    on; it raises ``error`` until ``clear``. ``error`` and ``abort`` forget every queued command, stop
    issuing (an offered ``arvalid`` is kept until it is taken, as AXI4 asks), swallow the outstanding
    beats, and may withdraw ``data.valid``. Commands are accepted again when nothing is outstanding and
    ``error`` is low. After a wrong ``rlast`` nobody knows what is outstanding: a burst then ends with its
    count of beats or with ``rlast``, whichever comes first, and nothing is when ``QUIET`` cycles have
    brought no beat.

    Parameters
    ----------
    data_width : int
        Bits of a beat, one of `hw.bus.axi.AXI_DATA_BITS`.
    max_burst : int
        Beats of the longest burst, 1..256.
    outstanding : int
        Bursts in flight, 1..16.

    Members
    -------
    command : In(stream of ReadCommand)
        Address and bytes, multiples of the beat: lower bits are ignored. 0 bytes reads nothing.
    data : Out(stream of read_beat(data_width))
    m_axi : Out(Axi4Read(data_width))
    error : Out(1)
        Sticky.
    clear : In(1)
        Lowers ``error``.
    abort : In(1)
        Pulse.
    idle : Out(1)
        Nothing is queued, outstanding or waiting at ``data``.

    Raises
    ------
    ValueError
        A parameter is outside its bound.
    """

    def __init__(self, data_width: int, *, max_burst: int = 64, outstanding: int = 4) -> None:
        if not 1 <= max_burst <= 256:
            raise ValueError(f"max_burst {max_burst} is outside 1..256")
        if not 1 <= outstanding <= 16:
            raise ValueError(f"outstanding {outstanding} is outside 1..16")
        self.data_width = data_width
        self.max_burst = max_burst
        self.outstanding = outstanding
        super().__init__(
            {
                "command": In(read_command_stream()),
                "data": Out(read_data_stream(data_width)),
                "m_axi": Out(Axi4Read(data_width)),
                "error": Out(1),
                "clear": In(1),
                "abort": In(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        bus = self.m_axi
        beat_bytes = self.data_width // 8
        beat_bits = (beat_bytes - 1).bit_length()
        page_beats = AXI_BOUNDARY // beat_bytes
        burst_max = min(self.max_burst, page_beats)

        flush = Signal()

        # Commands wait here.
        queue = fifo.SyncFIFO(width=ReadCommand.size, depth=2)
        m.submodules.queue = ResetInserter(flush)(queue)
        queued = Signal(ReadCommand)
        m.d.comb += [
            queue.w_data.eq(self.command.payload),
            queue.w_en.eq(self.command.valid & self.command.ready),
            self.command.ready.eq(queue.w_rdy & ~flush & ~self.abort),
            queued.eq(queue.r_data),
        ]

        # The command being split: `address` and `left` in beats.
        address = Signal(AXI_ADDRESS_BITS - beat_bits)
        left = Signal(READ_BYTES_BITS - beat_bits)
        burst = Signal(range(burst_max + 1))
        last = Signal()
        in_flight = Signal(range(self.outstanding + 1))
        push = Signal()
        pop = Signal()

        # How long the next burst may be is known a cycle before it is planned. A burst that does not end its
        # command is as long as it may be, so the page's rest behind it needs no look at the address.
        to_page_end, following = Signal(range(page_beats + 1)), Signal(range(page_beats + 1))
        limit = Signal(range(burst_max + 1))
        planned = Signal(range(burst_max + 1))
        offset_bits = (page_beats - 1).bit_length()
        m.d.comb += planned.eq(Mux(left < limit, left, limit))
        m.d.comb += [
            bus.arsize.eq(beat_bits),
            bus.arburst.eq(BURST_INCR),
            bus.arprot.eq(AXI_PROTECTION),
            bus.arcache.eq(AXI_CACHE),
            bus.araddr.eq(Cat(Signal(beat_bits), address)),
        ]

        loading = Signal()
        # A burst counts as in flight from its second cycle on the address channel: no beat comes before.
        m.d.sync += push.eq(0)
        with m.FSM():
            with m.State("LOAD"):
                m.d.comb += [loading.eq(1), queue.r_en.eq(1)]
                offset = queued.address[beat_bits : beat_bits + offset_bits]
                rest = page_beats - offset
                m.d.sync += [
                    address.eq(queued.address[beat_bits:]),
                    left.eq(queued.bytes[beat_bits:]),
                    to_page_end.eq(rest),
                    limit.eq(Mux(offset > page_beats - burst_max, rest, burst_max)),
                ]
                with m.If(queue.r_rdy & ~flush & queued.bytes[beat_bits:].any()):
                    m.next = "PLAN"
            with m.State("PLAN"):
                m.d.sync += [
                    burst.eq(planned),
                    last.eq(left <= limit),
                    bus.arlen.eq(planned - 1),
                    following.eq(Mux(to_page_end > burst_max, to_page_end - burst_max, page_beats)),
                ]
                with m.If(flush):
                    m.next = "LOAD"
                with m.Elif(in_flight != self.outstanding):
                    m.d.sync += [push.eq(1), bus.arvalid.eq(1)]
                    m.next = "ISSUE"
            with m.State("ISSUE"), m.If(bus.arready):
                m.d.sync += [
                    bus.arvalid.eq(0),
                    address.eq(address + burst),
                    left.eq(left - burst),
                    to_page_end.eq(following),
                    limit.eq(Mux(following < burst_max, following, burst_max)),
                ]
                m.next = "PLAN"
                with m.If(last | flush):
                    m.next = "LOAD"

        # Bursts in flight, oldest first: beats that follow the next one, and does it end its command?
        in_flight_burst = data.StructLayout({"left": range(burst_max), "final": 1})
        bursts = [Signal(in_flight_burst, name=f"burst_{i}") for i in range(self.outstanding)]
        oldest = bursts[0]
        beat_taken, ends = Signal(), Signal()
        slot = Signal(range(self.outstanding + 1))
        m.d.comb += [
            beat_taken.eq(bus.rvalid & bus.rready & (in_flight != 0)),
            ends.eq(oldest.left == 0),
            pop.eq(beat_taken & (ends | bus.rlast)),
            slot.eq(in_flight - pop),
        ]
        m.d.sync += in_flight.eq(in_flight + push - pop)
        with m.If(pop):
            for burst_, next_ in pairwise(bursts):
                m.d.sync += burst_.eq(next_)
        with m.Elif(beat_taken):
            m.d.sync += oldest.left.eq(oldest.left - 1)
        with m.If(push), m.Switch(slot):
            for i, burst_ in enumerate(bursts):
                with m.Case(i):
                    m.d.sync += [burst_.left.eq(bus.arlen), burst_.final.eq(last)]

        # Two places for beats decouple rready from data.ready. Which of them a beat is written to is known
        # beforehand, so that their many flip-flops wait for the bus alone and not for the consumer's logic.
        places = [Signal.like(self.data.payload, reset_less=True, name=f"place_{i}") for i in range(2)]
        writes, shows, next_shows, full = Signal(), Signal(), Signal(), Signal()
        """The place of the next beat, the one of the oldest, now and in the next cycle; both are taken."""
        take, bad, misplaced = Signal(), Signal(), Signal()
        """``misplaced``: rlast too early or too late."""
        beat = Signal.like(self.data.payload)
        given = Signal()
        m.d.comb += [
            bus.rready.eq(~full),
            misplaced.eq(beat_taken & (bus.rlast != ends)),
            bad.eq(beat_taken & (bus.rresp[1] | misplaced) & ~flush),
            take.eq(beat_taken & ~(bus.rresp[1] | misplaced)),
            given.eq(self.data.valid & self.data.ready),
            beat.data.eq(bus.rdata),
            beat.last.eq(ends & oldest.final),
            next_shows.eq((shows ^ given) & ~flush),
        ]
        shown = Value.cast(self.data.payload)
        parts = range(0, len(shown), SHOWN_TOGETHER)
        for low, shows_second in zip(parts, register_each(m, next_shows, len(parts), "shows"), strict=True):
            bits = slice(low, low + SHOWN_TOGETHER)
            first, second = (Value.cast(place)[bits] for place in places)
            m.d.comb += shown[bits].eq(Mux(shows_second, second, first))
        for i, place in enumerate(places):
            with m.If(~full & (writes == i)):
                m.d.sync += place.eq(beat)
        m.d.sync += [writes.eq(writes ^ take), shows.eq(next_shows)]
        with m.If(flush):
            m.d.sync += [self.data.valid.eq(0), full.eq(0), writes.eq(0)]
        with m.Elif(given):
            m.d.sync += [self.data.valid.eq(full | take), full.eq(0)]
        with m.Elif(take):
            m.d.sync += [self.data.valid.eq(1), full.eq(self.data.valid)]

        with m.If(bad):
            m.d.sync += self.error.eq(1)
        with m.Elif(self.clear):
            m.d.sync += self.error.eq(0)
        with m.If(bad | self.abort):
            m.d.sync += flush.eq(1)
        with m.Elif(loading & (in_flight == 0) & ~self.error):
            m.d.sync += flush.eq(0)

        quiet = Signal(range(QUIET + 1), init=QUIET)
        with m.If(misplaced | (bus.rvalid & (quiet != QUIET))):
            m.d.sync += quiet.eq(0)
        with m.Elif(quiet != QUIET):
            m.d.sync += quiet.eq(quiet + 1)
        m.d.comb += self.idle.eq(
            loading & ~queue.r_rdy & (in_flight == 0) & (quiet == QUIET) & ~self.data.valid
        )
        return m
