"""Which reads a run of descriptors needs, in order, and where in memory they begin."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.bus.axi import AXI_ADDRESS_BITS, READ_BYTES_BITS, read_command_stream
from hw.engine.program import Prefetch, descriptor_layout
from hw.params import Machine


class Item(enum.Enum, shape=3):  # type: ignore[call-arg]
    """What a read carries."""

    WEIGHTS = 0
    HEADER = 1
    NORM = 2
    TABLE = 3
    ATTENTION = 4


READ = data.StructLayout({"item": Item, "bytes": READ_BYTES_BITS})
"""One linear read of whichever stream its item lies in."""


class ReadList(wiring.Component):
    """Descriptors in, their reads out: `program.fetch_items` in hardware.

    For each descriptor what it prefetches, then for each weight tile its chunks, the channel parameters just
    before the last of them.

    Members
    -------
    descriptor : In(stream of descriptor_layout)
        Taken with its last read.
    read : Out(stream of READ)
        The first one in the descriptor's own cycle (one later, where it has chunks and prefetches nothing).
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        super().__init__(
            {
                "descriptor": In(stream.Signature(descriptor_layout(machine))),
                "read": Out(stream.Signature(READ)),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        d, read = self.descriptor.payload, self.read.payload
        tiles_left = Signal.like(d.last_tile)
        last_tile = Signal()
        chunks_left = Signal.like(d.last_chunk)
        last_chunk = Signal()
        chunked = Signal()
        taken = Signal()
        done = Signal()
        m.d.comb += [
            chunked.eq(d.last_chunk != 0),
            taken.eq(self.read.valid & self.read.ready),
            self.descriptor.ready.eq(done),
        ]

        def first_chunk() -> None:
            m.d.sync += [chunks_left.eq(d.last_chunk), last_chunk.eq(~chunked)]

        with m.FSM(name="reads"):
            with m.State("PREFETCH"):
                first_chunk()
                m.d.sync += [tiles_left.eq(d.last_tile), last_tile.eq(d.last_tile == 0)]
                prefetches = d.prefetch != Prefetch.NONE
                with m.If(prefetches):
                    m.d.comb += read.bytes.eq(d.prefetch_bytes)
                    with m.Switch(d.prefetch):
                        with m.Case(Prefetch.NORM):
                            m.d.comb += read.item.eq(Item.NORM)
                        with m.Case(Prefetch.TABLE):
                            m.d.comb += read.item.eq(Item.TABLE)
                        with m.Case(Prefetch.ATTENTION):
                            m.d.comb += read.item.eq(Item.ATTENTION)
                with m.Else():
                    m.d.comb += [read.bytes.eq(self.machine.header_bytes), read.item.eq(Item.HEADER)]
                m.d.comb += self.read.valid.eq(
                    self.descriptor.valid & (prefetches | (d.has_tiles & ~chunked))
                )
                with m.If(self.descriptor.valid & (taken | ~self.read.valid)):
                    with m.If(~d.has_tiles):
                        m.d.comb += done.eq(1)
                    with m.Elif(prefetches & ~chunked):
                        m.next = "HEADER"
                    with m.Else():
                        m.next = "WEIGHTS"
            with m.State("HEADER"):
                m.d.comb += [
                    self.read.valid.eq(1),
                    read.bytes.eq(self.machine.header_bytes),
                    read.item.eq(Item.HEADER),
                ]
                with m.If(taken):
                    m.next = "WEIGHTS"
            with m.State("WEIGHTS"):
                m.d.comb += [
                    self.read.valid.eq(1),
                    read.bytes.eq(d.tile_bytes),
                    read.item.eq(Item.WEIGHTS),
                ]
                with m.If(taken & ~last_chunk):
                    m.d.sync += [chunks_left.eq(chunks_left - 1), last_chunk.eq(chunks_left == 1)]
                    with m.If(chunks_left == 1):
                        m.next = "HEADER"
                with m.Elif(taken):
                    first_chunk()
                    m.d.sync += [tiles_left.eq(tiles_left - 1), last_tile.eq(tiles_left == 1)]
                    with m.If(last_tile):
                        m.d.comb += done.eq(1)
                        m.next = "PREFETCH"
                    with m.Elif(~chunked):
                        m.next = "HEADER"
        return m


class ReadAddresses(wiring.Component):
    """Reads in, commands out: each of the two streams goes on where its last read ended.

    Members
    -------
    load_weights, load_parameters : In(1)
        Set a stream to ``weights_base``, ``parameters_base``; while no read is offered.
    read : In(stream of READ)
    command : Out(stream of ReadCommand)
        Out of registers, a cycle after the read is taken.

    Throughput: one read every second cycle.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "load_weights": In(1),
                "weights_base": In(AXI_ADDRESS_BITS),
                "load_parameters": In(1),
                "parameters_base": In(AXI_ADDRESS_BITS),
                "read": In(stream.Signature(READ)),
                "command": Out(read_command_stream()),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        command, read = self.command, self.read
        weights = Signal(AXI_ADDRESS_BITS, reset_less=True)
        parameters = Signal(AXI_ADDRESS_BITS, reset_less=True)
        of_weights = read.payload.item == Item.WEIGHTS
        issued = Signal()
        issued_weights = Signal()
        m.d.comb += read.ready.eq(~command.valid)
        m.d.sync += [issued.eq(read.valid & read.ready), issued_weights.eq(of_weights)]
        with m.If(~command.valid):
            m.d.sync += [
                command.valid.eq(read.valid),
                command.payload.address.eq(Mux(of_weights, weights, parameters)),
                command.payload.bytes.eq(read.payload.bytes),
            ]
        with m.Elif(command.ready):
            m.d.sync += command.valid.eq(0)
        with m.If(self.load_weights):
            m.d.sync += weights.eq(self.weights_base)
        with m.Elif(issued & issued_weights):
            m.d.sync += weights.eq(weights + command.payload.bytes)
        with m.If(self.load_parameters):
            m.d.sync += parameters.eq(self.parameters_base)
        with m.Elif(issued & ~issued_weights):
            m.d.sync += parameters.eq(parameters + command.payload.bytes)
        return m
