"""The loop nest of attention: for each head and row block, scores against all keys, then context."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.arith.widths import bits_for_index
from hw.engine.program import Blocks, Post, descriptor_layout
from hw.engine.tile import ColumnSource, RowSource
from hw.engine.tile_job import job_layout
from hw.engine.token_blocks import (
    TokenBlocks,
    block_layout,
    columns_of_word,
    extent_layout,
    first_token,
)
from hw.engine.token_words import group_of
from hw.params import Machine


class HeadBlocks(wiring.Component):
    """The row blocks of one head after the other.

    Members
    -------
    restart : In(1), extent : In(extent_layout)
        As in `TokenBlocks`.
    block : Out(stream of {block, head, feature, parity, last}, always valid)
        ``feature`` is the head's first, ``parity`` alternates, ``last`` is the last block of the last head.
    """

    def __init__(self, machine: Machine, *, activation_offset: int = 0) -> None:
        self.machine = machine
        self.blocks = TokenBlocks(machine, activation_offset=activation_offset)
        model = machine.model
        layout = data.StructLayout(
            {
                "block": block_layout(machine),
                "head": bits_for_index(model.num_attention_heads),
                "feature": bits_for_index(model.hidden_size),
                "parity": 1,
                "last": 1,
            }
        )
        super().__init__(
            {
                "extent": In(extent_layout(machine)),
                "restart": In(1),
                "block": Out(stream.Signature(layout, always_valid=True)),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        m.submodules.blocks = blocks = self.blocks
        model, block = self.machine.model, self.block.payload
        last_head = model.num_attention_heads - 1
        in_last_head = Signal()
        m.d.comb += [
            blocks.list.eq(Blocks.ALL),
            blocks.extent.eq(self.extent),
            blocks.restart.eq(self.restart),
            blocks.block.ready.eq(self.block.ready),
            block.block.eq(blocks.block.payload),
            block.last.eq(block.block.last & in_last_head),
        ]
        with m.If(self.restart):
            m.d.sync += [
                block.head.eq(0),
                block.feature.eq(0),
                block.parity.eq(0),
                in_last_head.eq(last_head == 0),
            ]
        with m.Elif(self.block.ready):
            m.d.sync += block.parity.eq(~block.parity)
            with m.If(block.block.last):
                m.d.sync += [
                    block.head.eq(block.head + 1),
                    block.feature.eq(block.feature + model.head_dim),
                    in_last_head.eq(block.head == last_head - 1),
                ]
        return m


class ScoreTiles(wiring.Component):
    """A row block's queries against the keys, a word of keys a tile; then the next one's.

    Members
    -------
    extent : In(extent_layout), restart : In(1)
        As in `TokenBlocks`.
    job : Out(stream of job_layout, always valid)
    row_last, last : Out(1)
        The job is its row block's last; and that row block is the last of the last head.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        super().__init__(_row_tiles(machine))

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        machine, model, job = self.machine, self.machine.model, self.job.payload
        m.submodules.rows = rows = HeadBlocks(machine)
        row = rows.block.payload
        word = Signal.like(self.extent.last_word)
        left = Signal.like(self.extent.last_word)
        base = Signal.like(job.column_address)
        first = Signal()
        columns = Signal.like(job.tile.columns)
        m.d.comb += [
            rows.extent.eq(self.extent),
            rows.restart.eq(self.restart),
            rows.block.ready.eq(self.job.ready & self.row_last),
            self.last.eq(row.last),
            columns.eq(columns_of_word(word, self.extent, machine)),
            job.row.eq(RowSource.ACTIVATION),
            job.column.eq(ColumnSource.KEY),
            job.address.eq(row.block.activation + row.feature),
            job.column_address.eq(base + row.feature),
            job.last_step.eq(model.head_dim - 1),
            job.drain.eq(columns - 1),
            job.claims.eq(first),
            job.tile.post.eq(Post.SCORES),
            job.tile.columns.eq(columns),
            job.tile.group.eq(group_of(machine, row.block.block)),
            job.tile.block.eq(row.block.block),
            job.tile.feature.eq(first_token(word, machine)),
            job.tile.address.eq(first_token(word, machine)),
            job.tile.psum_first.eq(1),
            job.tile.psum_last.eq(1),
            job.tile.block_first.eq(first),
            job.tile.block_last.eq(self.row_last),
            job.tile.parity.eq(row.parity),
            job.tile.head.eq(row.head),
        ]
        with m.If(self.restart | (self.job.ready & self.row_last)):
            m.d.sync += [
                word.eq(0),
                left.eq(self.extent.last_word),
                base.eq(0),
                first.eq(1),
                self.row_last.eq(self.extent.last_word == 0),
            ]
        with m.Elif(self.job.ready):
            m.d.sync += [
                word.eq(word + 1),
                left.eq(left - 1),
                base.eq(base + model.hidden_size),
                first.eq(0),
                self.row_last.eq(left == 1),
            ]
        return m


class ContextTiles(wiring.Component):
    """A row block's exponentials against the values, Q features of its head a tile; then the next one's.

    Members are those of `ScoreTiles`.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        super().__init__(_row_tiles(machine))

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        machine, model, job = self.machine, self.machine.model, self.job.payload
        q, last_part = machine.columns, model.head_dim // machine.columns - 1
        # Context lies behind the query in the activation memory.
        m.submodules.rows = rows = HeadBlocks(machine, activation_offset=model.hidden_size)
        row = rows.block.payload
        part = Signal(range(last_part + 1))
        first = Signal()
        feature = Signal.like(job.tile.feature)
        base = Signal.like(job.column_address)
        head_feature = Signal.like(feature)
        head_base = Signal.like(base)
        following = Signal.like(feature)
        following_base = Signal.like(base)
        m.d.comb += [
            rows.extent.eq(self.extent),
            rows.restart.eq(self.restart),
            rows.block.ready.eq(self.job.ready & self.row_last),
            self.last.eq(row.last),
            following.eq(feature + q),
            following_base.eq(base + model.max_position_embeddings),
            job.row.eq(RowSource.EXPONENTIALS),
            job.column.eq(ColumnSource.VALUE),
            job.column_address.eq(base),
            job.last_step.eq(self.extent.last_token),
            job.drain.eq(q - 1),
            job.softmax.eq(1),
            job.trace.eq(first),
            job.tile.post.eq(Post.CONTEXT),
            job.tile.columns.eq(q),
            job.tile.group.eq(group_of(machine, row.block.block)),
            job.tile.block.eq(row.block.block),
            job.tile.feature.eq(feature),
            job.tile.address.eq(row.block.activation + feature),
            job.tile.psum_first.eq(1),
            job.tile.psum_last.eq(1),
            job.tile.parity.eq(row.parity),
            job.tile.head.eq(row.head),
        ]
        with m.If(self.restart):
            m.d.sync += [feature.eq(0), head_feature.eq(0), base.eq(0), head_base.eq(0)]
        with m.Elif(self.job.ready):
            # The next row block reads the same head's values again, or goes on to the next head.
            with m.If(self.row_last & ~row.block.last):
                m.d.sync += [feature.eq(head_feature), base.eq(head_base)]
            with m.Else():
                m.d.sync += [feature.eq(following), base.eq(following_base)]
            with m.If(self.row_last & row.block.last):
                m.d.sync += [head_feature.eq(following), head_base.eq(following_base)]
        with m.If(self.restart | (self.job.ready & self.row_last)):
            m.d.sync += [part.eq(0), first.eq(1), self.row_last.eq(last_part == 0)]
        with m.Elif(self.job.ready):
            m.d.sync += [part.eq(part + 1), first.eq(0), self.row_last.eq(part == last_part - 1)]
        return m


class AttentionTiles(wiring.Component):
    """The attention's descriptor in, the tiles of all heads out.

    scores(0) scores(1) context(0) scores(2) context(1) …: the softmax of one row block hides behind the next
    one's scores.

    Members
    -------
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
                "descriptor": In(stream.Signature(descriptor_layout(machine))),
                "extent": In(extent_layout(machine)),
                "job": Out(stream.Signature(job_layout(machine))),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        m.submodules.scores = scores = ScoreTiles(self.machine)
        m.submodules.context = context = ContextTiles(self.machine)
        running = Signal()
        first_job = Signal()
        in_context = Signal()
        ahead = Signal()
        scored = Signal()
        job = self.job.payload
        taken = Signal()
        row_done = Signal()
        m.d.comb += [
            self.job.valid.eq(running),
            taken.eq(running & self.job.ready),
            scores.job.ready.eq(taken & ~in_context),
            context.job.ready.eq(taken & in_context),
            job.eq(Mux(in_context, context.job.payload, scores.job.payload)),
            job.quiet.eq(first_job),
            job.parameters.eq(first_job),
            job.descriptor.eq(self.descriptor.payload.index),
            row_done.eq(taken & Mux(in_context, context.row_last, scores.row_last)),
            self.descriptor.ready.eq(row_done & in_context & context.last),
        ]
        for part in (scores, context):
            m.d.comb += [part.extent.eq(self.extent), part.restart.eq(~running)]
        with m.If(~running):
            m.d.sync += [
                running.eq(self.descriptor.valid),
                first_job.eq(1),
                in_context.eq(0),
                ahead.eq(0),
                scored.eq(0),
            ]
        with m.Elif(taken):
            m.d.sync += [running.eq(~self.descriptor.ready), first_job.eq(0)]
            with m.If(row_done & in_context):
                m.d.sync += in_context.eq(scored)
            with m.Elif(row_done):
                m.d.sync += [ahead.eq(1), scored.eq(scores.last), in_context.eq(ahead | scores.last)]
        return m


def _row_tiles(machine: Machine) -> dict[str, wiring.Member]:
    """Members of `ScoreTiles` and `ContextTiles`."""
    return {
        "extent": In(extent_layout(machine)),
        "restart": In(1),
        "job": Out(stream.Signature(job_layout(machine), always_valid=True)),
        "row_last": Out(1),
        "last": Out(1),
    }
