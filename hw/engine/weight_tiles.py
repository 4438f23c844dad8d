"""The loop nest of a weight matmul: for each weight tile, for each chunk of K, for each token block."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.engine.program import HEADER_SLOTS, Operand, Post, descriptor_layout
from hw.engine.tile import ColumnSource, RowSource
from hw.engine.tile_job import job_layout
from hw.engine.token_blocks import TokenBlocks, columns_of_word, extent_layout, first_token
from hw.engine.token_words import group_of, word_of
from hw.params import Machine


class WeightTiles(wiring.Component):
    """Descriptors with weights in, their tiles out.

    Weight tiles are the outer loop and token blocks the inner one, so that a weight tile serves all tokens
    before it is dropped; K above hidden_size is cut into chunks, each a weight tile of its own.

    Members
    -------
    begin : In(1)
        Pulse before a run: weight banks and header slots are counted from 0.
    descriptor : In(stream of descriptor_layout)
        Taken with its last tile.
    extent : In(extent_layout)
    job : Out(stream of job_layout)

    Latency: 1 cycle from a descriptor to its first tile. Throughput: one tile a cycle.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        super().__init__(
            {
                "begin": In(1),
                "descriptor": In(stream.Signature(descriptor_layout(machine))),
                "extent": In(extent_layout(machine)),
                "job": Out(stream.Signature(job_layout(machine))),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        machine, model, q = self.machine, self.machine.model, self.machine.columns
        d, job = self.descriptor.payload, self.job.payload
        m.submodules.blocks = blocks = TokenBlocks(machine)
        block = blocks.block.payload
        word = word_of(machine, block.block)

        # Where the loops stand; "first" and "last" are known when a loop gets there.
        chunks_left = Signal.like(d.last_chunk)
        tiles_left = Signal.like(d.last_tile)
        first_job = Signal()
        first_tile = Signal()
        last_tile = Signal()
        first_chunk = Signal()
        last_chunk = Signal()
        first_block = Signal()
        chunk_offset = Signal(range(machine.activation_stride + 1))
        feature = Signal(range(machine.activation_stride + q))
        value_base = Signal(range(machine.value_words + model.max_position_embeddings + 1))
        bank = Signal()
        slot = Signal(range(HEADER_SLOTS))

        running = Signal()
        taken = Signal()
        done = Signal()
        m.d.comb += [
            self.job.valid.eq(running),
            taken.eq(running & self.job.ready),
            done.eq(block.last & last_chunk & last_tile),
            self.descriptor.ready.eq(taken & done),
            blocks.list.eq(d.blocks),
            blocks.extent.eq(self.extent),
            blocks.restart.eq(~running),
            blocks.block.ready.eq(taken),
        ]
        with m.If(~running):
            m.d.sync += [
                running.eq(self.descriptor.valid),
                first_job.eq(1),
                first_block.eq(1),
                tiles_left.eq(d.last_tile),
                first_tile.eq(1),
                last_tile.eq(d.last_tile == 0),
                feature.eq(d.target_offset),
                value_base.eq(0),
            ]
        with m.Elif(taken):
            m.d.sync += [running.eq(~done), first_job.eq(0), first_block.eq(block.last)]
            with m.If(block.last):
                m.d.sync += bank.eq(~bank)
                with m.If(last_chunk):
                    m.d.sync += [
                        tiles_left.eq(tiles_left - 1),
                        first_tile.eq(0),
                        last_tile.eq(tiles_left == 1),
                        feature.eq(feature + q),
                        value_base.eq(value_base + model.max_position_embeddings),
                        slot.eq(slot + 1),
                    ]
        with m.If(~running | (taken & block.last & last_chunk)):
            m.d.sync += [
                chunks_left.eq(d.last_chunk),
                first_chunk.eq(1),
                last_chunk.eq(d.last_chunk == 0),
                chunk_offset.eq(d.source_offset),
            ]
        with m.Elif(taken & block.last):
            m.d.sync += [
                chunks_left.eq(chunks_left - 1),
                first_chunk.eq(0),
                last_chunk.eq(chunks_left == 1),
                chunk_offset.eq(chunk_offset + d.depth),
            ]
        with m.If(self.begin):
            m.d.sync += [bank.eq(0), slot.eq(0)]

        columns = Signal.like(job.tile.columns)
        hidden = Signal()
        m.d.comb += [
            columns.eq(Mux(d.swapped, columns_of_word(word, self.extent, machine), q)),
            hidden.eq(d.source == Operand.HIDDEN),
            job.row.eq(
                Mux(d.swapped, RowSource.WEIGHTS, Mux(hidden, RowSource.HIDDEN, RowSource.ACTIVATION))
            ),
            job.column.eq(Mux(d.swapped, ColumnSource.HIDDEN, ColumnSource.WEIGHTS)),
            job.address.eq(Mux(hidden, block.hidden, block.activation) + chunk_offset),
            job.descriptor.eq(d.index),
            job.bank.eq(bank),
            job.last_step.eq(d.last_step),
            # Features on the rows: their P channel parameters are read before the first column.
            job.drain.eq(columns - 1 + Mux(d.swapped, machine.rows, 0)),
            job.weights.eq(first_block),
            job.last_use.eq(block.last),
            job.quiet.eq(first_job & d.wait),
            job.tile.post.eq(d.post),
            job.tile.columns.eq(columns),
            job.tile.group.eq(group_of(machine, block.block)),
            job.tile.block.eq(block.block),
            job.tile.slot.eq(slot),
            job.tile.psum_first.eq(first_chunk),
            job.tile.psum_last.eq(last_chunk),
            job.tile.block_first.eq(first_tile),
            job.tile.block_last.eq(last_tile),
            job.tile.feature.eq(Mux(d.swapped, first_token(word, machine), feature)),
        ]
        base = Signal.like(job.tile.address)
        with m.Switch(d.post):
            with m.Case(Post.QUERY, Post.TABLE):
                m.d.comb += base.eq(block.activation)
            with m.Case(Post.VALUE):
                m.d.comb += base.eq(value_base)
            with m.Default():
                m.d.comb += base.eq(block.hidden)
        m.d.comb += job.tile.address.eq(base + job.tile.feature)
        return m
