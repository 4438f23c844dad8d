"""Executes the descriptor table: one array step per cycle, and a reason for every cycle without."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.engine.descriptors import DescriptorTable
from hw.engine.fetcher import HEADER_SLOTS
from hw.engine.program import Operand, Post
from hw.engine.tile import ArrayState, ColumnSource, RowSource, last_block_of, step_layout, tile_layout
from hw.interfaces import LENGTH_BITS
from hw.params import Machine


class Sequencer(wiring.Component):
    """Loops over tiles, chunks and token blocks of each descriptor, and over the heads of attention.

    Weight tiles are the outer loop and token blocks the inner one, so that a weight tile serves all
    tokens before it is dropped. Attention runs scores(0) scores(1) context(0) scores(2) context(1) …,
    so that the softmax of one row block hides behind the scores of the next.

    Members
    -------
    start : In(1)
        Begins descriptors ``first``..``last``; taken when ``idle``.
    length : In
        Tokens of the sentence, 1 to the maximum.
    idle : Out(1)
    step : Out(step_layout)
        Registered; at most one per cycle.
    tile : Out(tile_layout)
        Valid with ``step.last``.
    state : Out(ArrayState)
        What this cycle was, aligned with the decision (one cycle before ``step``).
    tile_available, tile_release : the weight bank whose turn it is
    attention_loaded : In(1)
        Pulse: the attention's channel parameters arrived.
    softmax_done : In(2)
        Pulse per parity: that row block is ready for its context.
    quiet, layernorm_busy : In(1)
        Nothing is on its way to a memory; LayerNorm still works.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.table = DescriptorTable(machine)
        index = self.table.index.shape()
        super().__init__(
            {
                "start": In(1),
                "first": In(index),
                "last": In(index),
                "length": In(LENGTH_BITS),
                "idle": Out(1),
                "step": Out(step_layout(machine)),
                "tile": Out(tile_layout(machine)),
                "state": Out(ArrayState),
                "tile_available": In(1),
                "tile_release": Out(1),
                "attention_loaded": In(1),
                "softmax_done": In(2),
                "quiet": In(1),
                "layernorm_busy": In(1),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        machine, model = self.machine, self.machine.model
        p, q = machine.rows, machine.columns
        m.submodules.table = table = self.table
        d = table.descriptor

        step, tile = Signal(step_layout(machine)), Signal(tile_layout(machine))
        m.d.sync += [self.step.eq(step), self.tile.eq(tile)]

        # Blocks of the sentence, as "last index".
        length = self.length
        last_row_block = Signal(range(max(2, machine.token_blocks)))
        last_word_block = Signal(range(max(2, machine.word_blocks)))
        m.d.sync += [
            last_row_block.eq(last_block_of(length, p)),
            last_word_block.eq(last_block_of(length, q)),
        ]

        # A tile may close only when the drain buffer will be empty: `gap` counts its columns.
        gap = Signal(range(2 * q + 2))
        with m.If(gap != 0):
            m.d.sync += gap.eq(gap - 1)

        def drain_cycles(columns, rowwise):  # type: ignore[no-untyped-def]
            return columns - 1 + Mux(rowwise, p, 0)

        parity_done = Signal(2)
        m.d.sync += parity_done.eq(parity_done | self.softmax_done)
        attention_ready = Signal()
        with m.If(self.attention_loaded):
            m.d.sync += attention_ready.eq(1)

        k = Signal(range(max(machine.bank_words, model.max_position_embeddings)))
        last = Signal.like(self.last)

        def next_descriptor() -> None:
            with m.If(table.index == last):
                m.next = "IDLE"
            with m.Else():
                m.d.sync += table.index.eq(table.index + 1)
                m.next = "START"

        # -- weight matmul ----------------------------------------------------------------------
        tile_index, chunk = Signal.like(d.last_tile), Signal.like(d.last_chunk)
        feature = Signal(range(machine.activation_stride + q))
        chunk_offset = Signal(range(machine.activation_stride + 1))
        block = Signal(range(max(2, machine.token_blocks)))
        hidden_base = Signal(range(machine.hidden_words + 1))
        activation_base = Signal(range(machine.activation_words + 1))
        value_base = Signal(range(machine.value_words + model.max_position_embeddings + 1))
        word_block = Signal(range(max(2, machine.word_blocks)))
        slot = Signal(range(HEADER_SLOTS))
        bank = Signal()
        group_bits = machine.groups.bit_length() - 1
        group = block[:group_bits] if group_bits else Const(0, 1)
        word_end = Signal()
        m.d.comb += word_end.eq(group == machine.groups - 1)
        last_block = Signal.like(block)
        with m.If(d.first_block):
            m.d.comb += last_block.eq(0)
        with m.Elif(d.swapped):
            m.d.comb += last_block.eq((last_word_block << group_bits) | (machine.groups - 1))
        with m.Else():
            m.d.comb += last_block.eq(last_row_block)
        tokens_left = Signal(LENGTH_BITS + 1)
        m.d.comb += tokens_left.eq(length - (word_block << (q.bit_length() - 1)))
        word_tokens = Mux(tokens_left < q, tokens_left, q)

        def rewind_blocks() -> None:
            m.d.sync += [block.eq(0), hidden_base.eq(0), activation_base.eq(0), word_block.eq(0)]

        # -- attention: a scores loop and, one row block behind, a context loop -------------------
        class RowBlock:
            """Head and token block of one of the two loops."""

            def __init__(self, name: str) -> None:
                self.head = Signal(range(model.num_attention_heads), name=f"{name}_head")
                self.offset = Signal(range(model.hidden_size + 1), name=f"{name}_offset")
                self.block = Signal(range(max(2, machine.token_blocks)), name=f"{name}_block")
                self.base = Signal(range(machine.activation_words + 1), name=f"{name}_base")
                self.parity = Signal(name=f"{name}_parity")
                self.finished = Signal(name=f"{name}_finished")
                self.group = self.block[:group_bits] if group_bits else Const(0, 1)

            def reset(self) -> None:
                m.d.sync += [
                    s.eq(0)
                    for s in (self.head, self.offset, self.block, self.base, self.parity, self.finished)
                ]

            def advance(self) -> None:
                m.d.sync += self.parity.eq(~self.parity)
                with m.If(self.block != last_row_block):
                    m.d.sync += self.block.eq(self.block + 1)
                    with m.If(self.group == machine.groups - 1):
                        m.d.sync += self.base.eq(self.base + machine.activation_stride)
                with m.Else():
                    m.d.sync += [self.block.eq(0), self.base.eq(0)]
                    with m.If(self.head != model.num_attention_heads - 1):
                        m.d.sync += [
                            self.head.eq(self.head + 1),
                            self.offset.eq(self.offset + model.head_dim),
                        ]
                    with m.Else():
                        m.d.sync += self.finished.eq(1)

        scores, context = RowBlock("scores"), RowBlock("context")
        key_block = Signal(range(max(2, machine.word_blocks)))
        key_base = Signal(range(machine.key_words + 1))
        ahead = Signal()
        dim_blocks = model.head_dim // q
        dim_block = Signal(range(max(2, dim_blocks)))
        dim_offset = Signal(range(model.head_dim + 1))
        context_value_base = Signal.like(value_base)
        keys_left = Signal(LENGTH_BITS + 1)
        m.d.comb += keys_left.eq(length - (key_block << (q.bit_length() - 1)))

        closing, may_close = Signal(), Signal()
        m.d.comb += may_close.eq(~closing | (gap == 0))

        with m.FSM(name="sequencer"):
            with m.State("IDLE"):
                m.d.comb += [self.idle.eq(1), self.state.eq(ArrayState.FILL)]
                with m.If(self.start):
                    m.d.sync += [
                        table.index.eq(self.first),
                        last.eq(self.last),
                        slot.eq(0),
                        bank.eq(0),
                    ]
                    m.next = "START"
            with m.State("START"):
                m.d.comb += self.state.eq(ArrayState.FILL)
                rewind_blocks()
                scores.reset()
                context.reset()
                m.d.sync += [
                    k.eq(0),
                    tile_index.eq(0),
                    chunk.eq(0),
                    feature.eq(d.target_offset),
                    chunk_offset.eq(d.source_offset),
                    value_base.eq(0),
                    context_value_base.eq(0),
                    key_block.eq(0),
                    key_base.eq(0),
                    ahead.eq(0),
                    dim_block.eq(0),
                    dim_offset.eq(0),
                ]
                with m.If(d.wait):
                    m.next = "WAIT"
                with m.Elif(d.has_tiles):
                    m.next = "MATMUL"
                with m.Else():
                    next_descriptor()
            with m.State("WAIT"):
                m.d.comb += self.state.eq(
                    Mux(
                        self.layernorm_busy,
                        ArrayState.LAYERNORM,
                        Mux(self.quiet, ArrayState.WEIGHTS, ArrayState.DRAIN),
                    )
                )
                with m.If(self.quiet):
                    with m.If(d.has_tiles):
                        m.next = "MATMUL"
                    with m.Elif(attention_ready):
                        m.d.sync += attention_ready.eq(0)
                        m.next = "SCORES"

            with m.State("MATMUL"):
                waiting = Signal()
                m.d.comb += [
                    waiting.eq((k == 0) & (block == 0) & ~self.tile_available),
                    closing.eq(k == d.depth - 1),
                    step.valid.eq(~waiting & may_close),
                    step.first.eq(k == 0),
                    step.last.eq(closing),
                    step.row.eq(
                        Mux(
                            d.swapped,
                            RowSource.WEIGHTS,
                            Mux(d.source == Operand.HIDDEN, RowSource.HIDDEN, RowSource.ACTIVATION),
                        )
                    ),
                    step.column.eq(Mux(d.swapped, ColumnSource.HIDDEN, ColumnSource.WEIGHTS)),
                    step.address.eq(
                        Mux(d.source == Operand.HIDDEN, hidden_base, activation_base) + chunk_offset + k
                    ),
                    step.group.eq(group),
                    step.bank.eq(bank),
                    step.index.eq(k),
                    self.state.eq(
                        Mux(waiting, ArrayState.WEIGHTS, Mux(may_close, ArrayState.ACTIVE, ArrayState.DRAIN))
                    ),
                    tile.post.eq(d.post),
                    tile.columns.eq(Mux(d.swapped, word_tokens, q)),
                    tile.group.eq(group),
                    tile.block.eq(block),
                    tile.slot.eq(slot),
                    tile.psum_first.eq(chunk == 0),
                    tile.psum_last.eq(chunk == d.last_chunk),
                    tile.block_first.eq(tile_index == 0),
                    tile.block_last.eq(tile_index == d.last_tile),
                    # Value: a column is a token, the rows are features of group `group`.
                    tile.feature.eq(Mux(d.swapped, word_block << (q.bit_length() - 1), feature)),
                ]
                with m.Switch(d.post):
                    with m.Case(Post.QUERY, Post.TABLE):
                        m.d.comb += tile.address.eq(activation_base + feature)
                    with m.Case(Post.VALUE):
                        m.d.comb += tile.address.eq(value_base + (word_block << (q.bit_length() - 1)))
                    with m.Default():
                        m.d.comb += tile.address.eq(hidden_base + feature)
                with m.If(step.valid):
                    m.d.sync += k.eq(k + 1)
                with m.If(step.valid & closing):
                    m.d.sync += [k.eq(0), gap.eq(drain_cycles(tile.columns, d.swapped))]
                    with m.If(block != last_block):
                        m.d.sync += block.eq(block + 1)
                        with m.If(word_end):
                            m.d.sync += [
                                word_block.eq(word_block + 1),
                                hidden_base.eq(hidden_base + model.hidden_size),
                                activation_base.eq(activation_base + machine.activation_stride),
                            ]
                    with m.Else():
                        m.d.comb += self.tile_release.eq(1)
                        m.d.sync += bank.eq(~bank)
                        rewind_blocks()
                        with m.If(chunk != d.last_chunk):
                            m.d.sync += [chunk.eq(chunk + 1), chunk_offset.eq(chunk_offset + d.depth)]
                        with m.Else():
                            m.d.sync += [
                                chunk.eq(0),
                                chunk_offset.eq(d.source_offset),
                                tile_index.eq(tile_index + 1),
                                feature.eq(feature + q),
                                value_base.eq(value_base + model.max_position_embeddings),
                                slot.eq(slot + 1),
                            ]
                            with m.If(tile_index == d.last_tile):
                                next_descriptor()

            with m.State("SCORES"):
                m.d.comb += [
                    closing.eq(k == model.head_dim - 1),
                    step.valid.eq(may_close),
                    step.first.eq(k == 0),
                    step.last.eq(closing),
                    step.row.eq(RowSource.ACTIVATION),
                    step.column.eq(ColumnSource.KEY),
                    step.address.eq(scores.base + scores.offset + k),
                    step.group.eq(scores.group),
                    step.key_address.eq(key_base + scores.offset + k),
                    self.state.eq(Mux(may_close, ArrayState.ACTIVE, ArrayState.DRAIN)),
                    tile.post.eq(Post.SCORES),
                    tile.columns.eq(Mux(keys_left < q, keys_left, q)),
                    tile.block.eq(scores.block),
                    tile.feature.eq(key_block << (q.bit_length() - 1)),
                    tile.address.eq(key_block << (q.bit_length() - 1)),
                    tile.psum_first.eq(1),
                    tile.psum_last.eq(1),
                    tile.block_first.eq(key_block == 0),
                    tile.block_last.eq(key_block == last_word_block),
                    tile.parity.eq(scores.parity),
                    tile.head.eq(scores.head),
                ]
                with m.If(step.valid):
                    m.d.sync += k.eq(k + 1)
                    with m.If(step.first & (key_block == 0)):
                        m.d.sync += parity_done.bit_select(scores.parity, 1).eq(0)
                with m.If(step.valid & closing):
                    m.d.sync += [k.eq(0), gap.eq(drain_cycles(tile.columns, 0))]
                    with m.If(key_block != last_word_block):
                        m.d.sync += [key_block.eq(key_block + 1), key_base.eq(key_base + model.hidden_size)]
                    with m.Else():
                        m.d.sync += [key_block.eq(0), key_base.eq(0), ahead.eq(1)]
                        scores.advance()
                        more = Signal()
                        m.d.comb += more.eq(
                            (scores.block != last_row_block) | (scores.head != model.num_attention_heads - 1)
                        )
                        with m.If(ahead | ~more):
                            m.next = "CONTEXT"

            with m.State("CONTEXT"):
                ready = Signal()
                m.d.comb += [
                    ready.eq(parity_done.bit_select(context.parity, 1)),
                    closing.eq(k == length - 1),
                    step.valid.eq(ready & may_close),
                    step.first.eq(k == 0),
                    step.last.eq(closing),
                    step.row.eq(RowSource.EXPONENTIALS),
                    step.column.eq(ColumnSource.VALUE),
                    step.index.eq(k),
                    step.value_address.eq(context_value_base + k),
                    step.parity.eq(context.parity),
                    step.trace.eq(dim_block == 0),
                    step.head.eq(context.head),
                    step.block.eq(context.block),
                    self.state.eq(
                        Mux(~ready, ArrayState.SOFTMAX, Mux(may_close, ArrayState.ACTIVE, ArrayState.DRAIN))
                    ),
                    tile.post.eq(Post.CONTEXT),
                    tile.columns.eq(q),
                    tile.group.eq(context.group),
                    tile.block.eq(context.block),
                    tile.feature.eq(context.offset + dim_offset),
                    tile.address.eq(context.base + model.hidden_size + context.offset + dim_offset),
                    tile.psum_first.eq(1),
                    tile.psum_last.eq(1),
                    tile.parity.eq(context.parity),
                ]
                with m.If(step.valid):
                    m.d.sync += k.eq(k + 1)
                with m.If(step.valid & closing):
                    m.d.sync += [k.eq(0), gap.eq(drain_cycles(q, 0))]
                    with m.If(dim_block != dim_blocks - 1):
                        m.d.sync += [
                            dim_block.eq(dim_block + 1),
                            dim_offset.eq(dim_offset + q),
                            context_value_base.eq(context_value_base + model.max_position_embeddings),
                        ]
                    with m.Else():
                        m.d.sync += [dim_block.eq(0), dim_offset.eq(0)]
                        # The next row block reads the same head's values again, or goes on to the next head.
                        with m.If(context.block != last_row_block):
                            m.d.sync += context_value_base.eq(
                                context_value_base - (dim_blocks - 1) * model.max_position_embeddings
                            )
                        with m.Else():
                            m.d.sync += context_value_base.eq(
                                context_value_base + model.max_position_embeddings
                            )
                        context.advance()
                        with m.If(~scores.finished):
                            m.next = "SCORES"
                        with m.Elif(
                            (context.block == last_row_block)
                            & (context.head == model.num_attention_heads - 1)
                        ):
                            next_descriptor()
        return m
