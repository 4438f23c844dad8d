"""Streams weights and per-iteration parameters in the order of use, ahead of the sequencer."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.bus.axi import AXI_ADDRESS_BITS, read_command_stream, read_data_stream
from hw.engine.descriptors import DescriptorWalk
from hw.engine.fetch_receive import Receiver, fetched_members
from hw.engine.fetch_walk import Item, ReadAddresses, ReadList
from hw.engine.program import HEADER_SLOTS
from hw.params import Machine

__all__ = ["HEADER_SLOTS", "QUEUE", "Fetcher"]

QUEUE = 4
"""Reads asked for ahead of the one being received."""


class Fetcher(wiring.Component):
    """Walks a run of descriptors, reads their parameters and weight tiles, fills the two weight banks.

        walk ─► list of reads ─► addresses ─► command
                      └────► queue of items ─► receiver ◄─ data

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

    Latency: 2 cycles from ``start`` to the first command.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.table = DescriptorWalk(machine)
        index = self.table.first.shape()
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
                "data": In(read_data_stream(machine.axi_bits)),
                "tile_available": Out(1),
                "tile_release": In(1),
                **fetched_members(machine),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        m.submodules.walk = walk = self.table
        m.submodules.reads = reads = ReadList(self.machine)
        m.submodules.addresses = addresses = ReadAddresses()
        m.submodules.queue = queue = SyncFIFO(width=Item.as_shape().width, depth=QUEUE)
        m.submodules.receiver = receiver = Receiver(self.machine)

        connect(m, walk.descriptor, reads.descriptor)
        m.d.comb += [
            walk.start.eq(self.start),
            walk.first.eq(self.first),
            walk.last.eq(self.last),
            # A read is asked for and noted, or neither.
            addresses.read.payload.eq(reads.read.payload),
            addresses.read.valid.eq(reads.read.valid & queue.w_rdy),
            reads.read.ready.eq(addresses.read.ready & queue.w_rdy),
            queue.w_data.eq(reads.read.payload.item),
            queue.w_en.eq(reads.read.valid & addresses.read.ready),
            receiver.item.payload.eq(queue.r_data),
            receiver.item.valid.eq(queue.r_rdy),
            queue.r_en.eq(receiver.item.ready),
            addresses.load_weights.eq(self.start),
            addresses.weights_base.eq(self.weights_base),
            addresses.load_parameters.eq(self.load_parameters),
            addresses.parameters_base.eq(self.parameters_base),
            receiver.begin.eq(self.start),
            receiver.tile_release.eq(self.tile_release),
            self.tile_available.eq(receiver.tile_available),
            self.idle.eq(~(walk.descriptor.valid | self.command.valid | queue.r_rdy | receiver.busy)),
        ]
        connect(m, addresses.command, flipped(self.command))
        connect(m, flipped(self.data), receiver.data)
        m.d.comb += [
            getattr(self, name).eq(getattr(receiver, name)) for name in fetched_members(self.machine)
        ]
        return m
