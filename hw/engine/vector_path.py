"""From the drain buffer to the memories: one column of P sums per cycle through bias, requantisation and
whatever the tile's descriptor asks for."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import MAX_LABELS
from golden_model.numerics import (
    ACCUMULATOR_BITS,
    HIDDEN_MAX,
    LOGIT_BITS,
    MULTIPLIER_BITS,
    OPERAND_BITS,
    OPERAND_MAX,
    RESIDUAL_BITS,
    SCORE_BITS,
    SHIFT_BITS,
    TABLE_INDEX_BITS,
)
from hw.arith.requantizer import Requantizer
from hw.arith.rounding import saturate, saturate_signed
from hw.arith.widths import bits_for_index
from hw.channel import CHANNEL, CHANNEL_BITS, CHANNEL_WORD_BITS
from hw.engine.drain import Drain
from hw.engine.fetcher import HEADER_SLOTS
from hw.engine.program import Post
from hw.engine.tile import tile_layout
from hw.engine.trace import HEAD_SHIFT, LANE_BITS, POSITION_BITS, TracePort
from hw.memory.banks import WordMemory
from hw.memory.hidden import join_hidden, split_hidden
from hw.params import Machine


class VectorPath(wiring.Component):
    """Drains tiles, P lanes wide.

    Golden: `golden_model.integer.ops.fixed.requantize` and the rules of docs/numerics.md.

    Members
    -------
    tile_valid, tile : In
        A tile's destination, ``drain_lead`` cycles before its sums are in the drain buffer.
    column, shift : the drain buffer, which moves on ``drain_lead`` + 1 cycles after ``shift``
    header_write_* : channel parameters of weight tiles
    attention_parameters : In
    row_multiplier, row_shift : In
        Softmax row scales.
    activation_*, key_*, value_* : memory writes, int8
    hidden_* : hidden memory write, 18-bit words ({hi, lo} or a residual sum)
    residual_read_* : hidden memory read, data in the next cycle
    score_* : columns for the softmax; ``softmax_start`` follows the last of a row block
    stat_* : columns for LayerNorm's sums; ``norm_request`` after a row block's last write
    table_index, table_values : the activation table
    logits : Out
    busy : Out(1)

    Throughput: one column per cycle. `write_latency` cycles lie between a residual read and its
    write, the same as LayerNorm's, so that the two never meet at the write port.
    """

    RESIDUAL_STAGES = 3

    def __init__(self, machine: Machine, *, norm_latency: int, drain_lead: int) -> None:
        if norm_latency < self.RESIDUAL_STAGES:
            raise ValueError(f"norm_latency {norm_latency} is below {self.RESIDUAL_STAGES}")
        self.machine = machine
        self.norm_latency = norm_latency
        self.drain_lead = drain_lead
        self._requantizers = [
            Requantizer(machine.technology, high_in_logic=machine.requantizer_high_in_logic)
            for _ in range(machine.rows)
        ]
        p, q = machine.rows, machine.columns
        group = bits_for_index(machine.groups)
        bytes_ = data.ArrayLayout(unsigned(OPERAND_BITS), p)
        words = data.ArrayLayout(unsigned(RESIDUAL_BITS), p)
        keys = range(machine.model.max_position_embeddings)
        super().__init__(
            {
                "tile_valid": In(1),
                "tile": In(tile_layout(machine)),
                "column": In(data.ArrayLayout(signed(ACCUMULATOR_BITS), p)),
                "shift": Out(1),
                "header_write_enable": In(1),
                "header_write_slot": In(range(HEADER_SLOTS)),
                "header_write_index": In(range(q)),
                "header_write_data": In(CHANNEL_BITS),
                "attention_parameters": In(data.ArrayLayout(unsigned(CHANNEL_WORD_BITS), 2)),
                "row_multiplier": In(data.ArrayLayout(data.ArrayLayout(MULTIPLIER_BITS, p), 2)),
                "row_shift": In(data.ArrayLayout(data.ArrayLayout(SHIFT_BITS, p), 2)),
                "activation_write": Out(1),
                "key_write": Out(1),
                "value_write": Out(1),
                "write_group": Out(group),
                "write_address": Out(tile_layout(machine)["address"].shape),
                "write_bytes": Out(bytes_),
                "hidden_write": Out(1),
                "hidden_write_group": Out(group),
                "hidden_write_address": Out(range(machine.hidden_words)),
                "hidden_write_data": Out(words),
                "residual_read": Out(1),
                "residual_read_group": Out(group),
                "residual_read_address": Out(range(machine.hidden_words)),
                "residual_read_data": In(words),
                "score_valid": Out(1),
                "score_parity": Out(1),
                "score_key": Out(keys),
                "score_first": Out(1),
                "scores": Out(data.ArrayLayout(signed(SCORE_BITS), p)),
                "softmax_start": Out(1),
                "softmax_start_parity": Out(1),
                "stat_valid": Out(1),
                "stat_first": Out(1),
                "stat_block": Out(bits_for_index(machine.token_blocks)),
                "stat_block_start": Out(1),
                "stat_block_end": Out(1),
                "stat_values": Out(data.ArrayLayout(signed(RESIDUAL_BITS), p)),
                "norm_request": Out(1),
                "table_index": Out(data.ArrayLayout(signed(TABLE_INDEX_BITS), p)),
                "table_values": In(data.ArrayLayout(signed(OPERAND_BITS), p)),
                "logits": Out(data.ArrayLayout(signed(LOGIT_BITS), MAX_LABELS)),
                "busy": Out(1),
                **({"trace": Out(TracePort(p))} if machine.trace else {}),
            }
        )

    @property
    def column_latency(self) -> int:
        """Cycles from a column's ``shift`` to its write (to its ``score_valid``)."""
        return self.drain_lead + self._requantizers[0].latency + 3

    @property
    def residual_latency(self) -> int:
        """Cycles from a column's ``shift`` to the write of its residual sum; ``norm_request`` follows it."""
        return self.drain_lead + self._requantizers[0].latency + 1 + self.norm_latency

    @property
    def idle_latency(self) -> int:
        """Cycles from a column's ``shift`` to the first in which it does not keep ``busy`` high."""
        return self.residual_latency + 3

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        machine = self.machine
        p, q = machine.rows, machine.columns
        busy: list[Signal] = []

        # -- drain: which column leaves the buffer this cycle -------------------------------------
        m.submodules.drain = drain = Drain(machine, self.drain_lead)
        leaving = drain.column
        tile, column = leaving.tile, leaving.column
        m.d.comb += [
            drain.tile_valid.eq(self.tile_valid),
            drain.tile.eq(self.tile),
            self.shift.eq(drain.shift),
        ]
        busy.append(drain.busy)

        # -- stage 1: sums, channel parameters, partial sums ---------------------------------------
        m.submodules.headers = headers = WordMemory(unsigned(CHANNEL_BITS), HEADER_SLOTS * q)
        m.d.comb += [
            headers.write_enable.eq(self.header_write_enable),
            headers.write_address.eq(self.header_write_slot * q + self.header_write_index),
            headers.write_data.eq(self.header_write_data),
            headers.read_address.eq(
                tile.slot * q + Mux(leaving.preload, tile.group * p + leaving.lane, column)
            ),
        ]
        partial_depth = machine.token_blocks * q
        m.submodules.partial_sums = partial = WordMemory(
            data.ArrayLayout(signed(ACCUMULATOR_BITS), p), partial_depth
        )
        partial_address = Signal(range(partial_depth))
        partial_address_1 = Signal.like(partial_address)
        m.d.comb += [
            partial_address.eq(tile.block * q + column),
            partial.read_address.eq(partial_address),
        ]
        sums_1 = Signal.like(self.column, reset_less=True)
        valid_1, preload_1 = Signal(), Signal()
        tile_1 = Signal.like(self.tile, reset_less=True)
        column_1 = Signal(range(q), reset_less=True)
        lane_1 = Signal(range(max(2, p)), reset_less=True)
        m.d.sync += [
            sums_1.eq(self.column),
            valid_1.eq(leaving.valid),
            preload_1.eq(leaving.preload),
            tile_1.eq(tile),
            column_1.eq(column),
            lane_1.eq(leaving.lane),
            partial_address_1.eq(partial_address),
        ]
        busy += [valid_1, preload_1]

        totals = Signal(data.ArrayLayout(signed(ACCUMULATOR_BITS), p))
        for lane in range(p):
            m.d.comb += totals[lane].eq(sums_1[lane] + Mux(tile_1.psum_first, 0, partial.read_data[lane]))
        m.d.comb += [
            partial.write_enable.eq(valid_1 & ~tile_1.psum_last),
            partial.write_address.eq(partial_address_1),
            partial.write_data.eq(totals),
        ]

        header = Signal(CHANNEL)
        m.d.comb += header.eq(headers.read_data)
        row_channels = [Signal(CHANNEL, name=f"row_channel_{lane}", reset_less=True) for lane in range(p)]
        for lane in range(p):
            with m.If(preload_1 & (lane_1 == lane)):
                m.d.sync += row_channels[lane].eq(header)

        # -- stage 2 …: requantise --------------------------------------------------------------------
        score_channel = Signal(CHANNEL)
        m.d.comb += score_channel.eq(self.attention_parameters[0][:CHANNEL_BITS])
        values = []
        for lane, requantizer in enumerate(self._requantizers):
            m.submodules[f"requantizer_{lane}"] = requantizer
            channel = Signal(CHANNEL, name=f"channel_{lane}", reset_less=True)
            total = Signal(signed(ACCUMULATOR_BITS), name=f"total_{lane}", reset_less=True)
            m.d.sync += total.eq(totals[lane])
            with m.Switch(tile_1.post):
                with m.Case(Post.VALUE):
                    m.d.sync += channel.eq(row_channels[lane])
                with m.Case(Post.SCORES):
                    m.d.sync += channel.eq(score_channel)
                with m.Case(Post.CONTEXT):
                    m.d.sync += [
                        channel.offset.eq(0),
                        channel.multiplier.eq(
                            Mux(tile_1.parity, self.row_multiplier[1][lane], self.row_multiplier[0][lane])
                        ),
                        channel.shift.eq(
                            Mux(tile_1.parity, self.row_shift[1][lane], self.row_shift[0][lane])
                        ),
                    ]
                with m.Default():
                    m.d.sync += channel.eq(header)
            m.d.comb += [
                requantizer.accumulator.eq(total),
                requantizer.offset.eq(channel.offset),
                requantizer.multiplier.eq(channel.multiplier),
                requantizer.shift.eq(channel.shift),
            ]
            values.append(requantizer.value)
        latency = requantizer.latency

        layout = data.StructLayout(
            {
                "valid": 1,
                "post": Post,
                "address": self.write_address.shape(),
                "group": self.write_group.shape(),
                "block": tile_layout(machine)["block"].shape,
                "feature": tile_layout(machine)["feature"].shape,
                "first": 1,  # first column of its tile
                "last": 1,
                "block_first": 1,
                "block_last": 1,
                "parity": 1,
                "head": tile_layout(machine)["head"].shape,
            }
        )
        stages = []
        item = Signal(layout, name="column_2")
        m.d.sync += [
            item.valid.eq(valid_1 & tile_1.psum_last),
            item.post.eq(tile_1.post),
            item.address.eq(tile_1.address + column_1),
            item.group.eq(tile_1.group),
            item.block.eq(tile_1.block),
            item.feature.eq(tile_1.feature + column_1),
            item.first.eq(column_1 == 0),
            item.last.eq(column_1 == tile_1.columns - 1),
            item.block_first.eq(tile_1.block_first),
            item.block_last.eq(tile_1.block_last),
            item.parity.eq(tile_1.parity),
            item.head.eq(tile_1.head),
        ]
        stages.append(item)
        total_stages = latency - 1 + self.norm_latency + 2
        for i in range(total_stages):
            later = Signal(layout, name=f"column_{i + 3}")
            m.d.sync += later.eq(stages[-1])
            stages.append(later)
        busy += [stage.valid for stage in stages]
        before, after, after2 = (stages[latency + i] for i in (-1, 1, 2))

        # -- value stage: clamp, look up, add the residual ---------------------------------------------
        is_ = lambda stage, *posts: stage.valid & Cat(*(stage.post == post for post in posts)).any()  # noqa: E731
        m.d.comb += [
            self.residual_read.eq(is_(before, Post.RESIDUAL)),
            self.residual_read_group.eq(before.group),
            self.residual_read_address.eq(before.address),
        ]
        bytes_ = Signal.like(self.write_bytes, reset_less=True)
        pairs = Signal.like(self.hidden_write_data, reset_less=True)
        scores = Signal.like(self.scores, reset_less=True)
        sums = [
            Signal(signed(RESIDUAL_BITS + 1), name=f"residual_{lane}", reset_less=True) for lane in range(p)
        ]
        residual = Signal.like(self.stat_values, reset_less=True)
        first_value = Signal(signed(RESIDUAL_BITS), reset_less=True)
        for lane, value in enumerate(values):
            hidden = saturate(value, -HIDDEN_MAX, HIDDEN_MAX)
            joined = Signal(signed(2 * OPERAND_BITS), name=f"joined_{lane}")
            m.d.comb += self.table_index[lane].eq(saturate_signed(value, TABLE_INDEX_BITS))
            pair = split_hidden(m, hidden, f"high_{lane}")
            m.d.comb += joined.eq(join_hidden(self.residual_read_data[lane]))
            m.d.sync += [
                bytes_[lane].eq(saturate(value, -OPERAND_MAX, OPERAND_MAX)),
                pairs[lane].eq(pair),
                scores[lane].eq(saturate_signed(value, SCORE_BITS)),
                sums[lane].eq(joined + value),
                residual[lane].eq(saturate_signed(sums[lane], RESIDUAL_BITS)),
            ]
        m.d.sync += first_value.eq(values[0])

        # -- writes ---------------------------------------------------------------------------------------
        m.d.comb += [
            self.activation_write.eq(is_(after, Post.QUERY, Post.CONTEXT, Post.TABLE)),
            self.key_write.eq(is_(after, Post.KEY)),
            self.value_write.eq(is_(after, Post.VALUE)),
            self.write_group.eq(after.group),
            self.write_address.eq(after.address),
            self.score_valid.eq(is_(after, Post.SCORES)),
            self.score_parity.eq(after.parity),
            self.score_key.eq(after.feature),
            self.score_first.eq(after.first & after.block_first),
            self.scores.eq(scores),
        ]
        for lane in range(p):
            m.d.comb += self.write_bytes[lane].eq(
                Mux(after.post == Post.TABLE, self.table_values[lane].as_unsigned(), bytes_[lane])
            )
        m.d.sync += [
            self.softmax_start.eq(self.score_valid & after.last & after.block_last),
            self.softmax_start_parity.eq(after.parity),
        ]
        for i in range(MAX_LABELS):
            with m.If(is_(after, Post.LOGITS) & (after.feature == i)):
                m.d.sync += self.logits[i].eq(first_value)

        # Residual sums: LayerNorm's statistics at once, memory after LayerNorm's own latency.
        m.d.comb += [
            self.stat_valid.eq(is_(after2, Post.RESIDUAL)),
            # Sums of a block start with the first column of its first tile only.
            self.stat_first.eq(after2.block_first & after2.first),
            self.stat_block.eq(after2.block),
            self.stat_block_start.eq(after2.first),
            self.stat_block_end.eq(after2.last),
            self.stat_values.eq(residual),
        ]
        write_stage = stages[latency - 1 + self.norm_latency]
        delayed = residual
        for i in range(self.norm_latency - self.RESIDUAL_STAGES):
            later = Signal.like(residual, reset_less=True, name=f"residual_delay_{i}")
            m.d.sync += later.eq(delayed)
            delayed = later
        with m.If(is_(after, Post.HIDDEN)):
            m.d.comb += [
                self.hidden_write.eq(1),
                self.hidden_write_group.eq(after.group),
                self.hidden_write_address.eq(after.address),
                self.hidden_write_data.eq(pairs),
            ]
        with m.Else():
            m.d.comb += [
                self.hidden_write.eq(is_(write_stage, Post.RESIDUAL)),
                self.hidden_write_group.eq(write_stage.group),
                self.hidden_write_address.eq(write_stage.address),
                self.hidden_write_data.eq(delayed),
            ]
        m.d.sync += self.norm_request.eq(
            is_(write_stage, Post.RESIDUAL) & write_stage.last & write_stage.block_last
        )
        m.d.comb += self.busy.eq(Cat(busy).any())

        if machine.trace:
            self._trace(m, after, after2, bytes_, pairs, scores, residual, first_value, is_)
        return m

    def _trace(self, m, after, after2, bytes_, pairs, scores, residual, first_value, is_) -> None:  # type: ignore[no-untyped-def]
        """Records every column as it is written (residual sums as they are summed)."""
        trace = self.trace
        lanes = Signal(data.ArrayLayout(signed(LANE_BITS), self.machine.rows))
        index_position = Signal(POSITION_BITS)
        m.d.comb += trace.data.eq(lanes.as_value())
        with m.If(self.stat_valid):
            m.d.comb += [
                trace.valid.eq(1),
                trace.tag.eq(Post.RESIDUAL),
                index_position.eq(after2.feature),
                trace.index.eq(Cat(index_position, after2.block)),
                lanes.eq(residual),
            ]
        with m.Else():
            m.d.comb += [
                trace.valid.eq(after.valid & (after.post != Post.RESIDUAL)),
                trace.tag.eq(after.post),
                trace.index.eq(Cat(index_position, after.block)),
            ]
            with m.Switch(after.post):
                with m.Case(Post.VALUE):
                    m.d.comb += index_position.eq(after.address)
                with m.Case(Post.SCORES):
                    m.d.comb += index_position.eq((after.head << HEAD_SHIFT) | after.feature)
                with m.Default():
                    m.d.comb += index_position.eq(after.feature)
            for lane in range(self.machine.rows):
                with m.Switch(after.post):
                    with m.Case(Post.SCORES):
                        m.d.comb += lanes[lane].eq(scores[lane])
                    with m.Case(Post.HIDDEN):
                        m.d.comb += lanes[lane].eq(join_hidden(pairs[lane]))
                    with m.Case(Post.LOGITS):
                        m.d.comb += lanes[lane].eq(first_value if lane == 0 else 0)
                    with m.Default():
                        m.d.comb += lanes[lane].eq(self.write_bytes[lane].as_signed())
