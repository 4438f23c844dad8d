"""From the drain buffer to the memories: one column of P sums per cycle through bias, requantisation and
whatever the tile's descriptor asks for.

    drain ─► partial sums ─► requantiser x P ─► clamp ─► bytes, hidden pairs, scores, logits
             channels ────────────┘        │   table ──► bytes
                                residual ─► + ─► saturate ─► statistics, and in LayerNorm's time the memory
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

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
from hw.arith.delay import delay, delay_in_memory
from hw.arith.requantizer import Requantizer
from hw.arith.rounding import saturate, saturate_signed
from hw.arith.widths import bits_for_index
from hw.channel import CHANNEL
from hw.engine.channels import Channels, header_layout
from hw.engine.drain import Drain, column_layout
from hw.engine.hidden_stream import HiddenStream, place_layout, rows_layout
from hw.engine.partial_sums import PartialSums
from hw.engine.program import Post
from hw.engine.tile import tile_layout
from hw.engine.trace import HEAD_SHIFT, LANE_BITS, POSITION_BITS, TracePort
from hw.memory.hidden import join_hidden, split_hidden
from hw.params import Machine
from hw.units.activation_table import ActivationTable


def write_layout(machine: Machine) -> data.StructLayout:
    """P bytes of one feature (of one token, where features are on the rows) and their place."""
    return data.StructLayout(
        {
            "group": bits_for_index(machine.groups),
            "address": tile_layout(machine)["address"].shape,
            "lanes": data.ArrayLayout(unsigned(OPERAND_BITS), machine.rows),
        }
    )


def scores_layout(machine: Machine) -> data.StructLayout:
    """P scores of one key; ``first`` of a row block, its ``last``."""
    return data.StructLayout(
        {
            "parity": 1,
            "key": range(machine.model.max_position_embeddings),
            "first": 1,
            "last": 1,
            "lanes": data.ArrayLayout(signed(SCORE_BITS), machine.rows),
        }
    )


def statistics_layout(machine: Machine) -> data.StructLayout:
    """P residual sums of one feature, for LayerNorm: as its ``stat_*``."""
    return data.StructLayout(
        {
            "first": 1,
            "block": bits_for_index(machine.token_blocks),
            "block_start": 1,
            "block_end": 1,
            "lanes": data.ArrayLayout(signed(RESIDUAL_BITS), machine.rows),
        }
    )


def _item_layout(machine: Machine) -> data.StructLayout:
    """What travels beside a column."""
    tile = tile_layout(machine)
    return data.StructLayout(
        {
            "post": Post,
            "address": tile["address"].shape,
            "group": tile["group"].shape,
            "block": tile["block"].shape,
            "feature": tile["feature"].shape,
            "first": 1,  # column of its tile
            "last": 1,
            "block_first": 1,
            "block_last": 1,
            "parity": 1,
            "head": tile["head"].shape,
        }
    )


class VectorPath(wiring.Component):
    """Drains tiles, P lanes wide.

    Golden: ``golden_model.integer.ops.fixed.requantize``, ``hidden.add_residual``, ``hidden.split_hidden``,
    ``table.lookup`` and the rules of docs/numerics.md.

    Parameters
    ----------
    machine : Machine
    norm_latency : int
        Cycles from a residual's read to the write of its sum: LayerNorm's, so that the two never meet at the
        write port.
    drain_lead : int
        As of `hw.engine.drain.Drain`.

    Members
    -------
    tile : In(stream of tile_layout)
        A tile's destination, ``drain_lead`` cycles before its sums are in the drain buffer.
    column, shift : the drain buffer, which moves on ``drain_lead`` + 1 cycles after ``shift``
    headers, score_channel, row_multiplier, row_shift : to `hw.engine.channels.Channels`
    activation, key, value : Out(stream of write_layout)
    hidden : Out(stream of rows_layout)
        {hi, lo} or a residual sum.
    residual_read : Out(stream of place_layout)
    residual : In(ArrayLayout(unsigned(18), P))
        `HiddenStream.ROWS_LATENCY` cycles later.
    scores : Out(stream of scores_layout)
    statistics : Out(stream of statistics_layout)
    norm_request : Out(1)
        Pulse: the last sum of a row block has been written.
    table_index, table_values : the activation table, `ActivationTable.LATENCY` cycles later
    logits : Out
    busy : Out(1)

    Throughput: one column per cycle.
    """

    def __init__(self, machine: Machine, *, norm_latency: int, drain_lead: int) -> None:
        self.machine = machine
        self.norm_latency = norm_latency
        self.drain_lead = drain_lead
        self._requantizers = [
            Requantizer(machine.technology, high_in_logic=machine.requantizer_high_in_logic)
            for _ in range(machine.rows)
        ]
        # Stages: cycles behind the column's in the drain buffer.
        self._value_at = Channels.LATENCY + self._requantizers[0].latency + 1
        self._read_at = self._value_at - 1 - HiddenStream.ROWS_LATENCY
        self._sum_at = self._value_at + 2
        self._table_at = self._value_at + 1 + ActivationTable.LATENCY
        self._write_at = self._table_at + 1
        self._sum_write_at = self._read_at + norm_latency
        if self._sum_write_at < self._sum_at:
            low = self._sum_at - self._read_at
            raise ValueError(f"norm_latency {norm_latency} is below {low}")
        p = machine.rows
        words = data.ArrayLayout(unsigned(RESIDUAL_BITS), p)

        def out(layout: data.Layout) -> wiring.Member:
            return Out(stream.Signature(layout, always_ready=True))

        super().__init__(
            {
                "tile": In(stream.Signature(tile_layout(machine), always_ready=True)),
                "column": In(data.ArrayLayout(signed(ACCUMULATOR_BITS), p)),
                "shift": Out(1),
                "headers": In(stream.Signature(header_layout(machine), always_ready=True)),
                "score_channel": In(CHANNEL),
                "row_multiplier": In(data.ArrayLayout(data.ArrayLayout(MULTIPLIER_BITS, p), 2)),
                "row_shift": In(data.ArrayLayout(data.ArrayLayout(SHIFT_BITS, p), 2)),
                "activation": out(write_layout(machine)),
                "key": out(write_layout(machine)),
                "value": out(write_layout(machine)),
                "hidden": out(rows_layout(machine)),
                "residual_read": out(place_layout(machine)),
                "residual": In(words),
                "scores": out(scores_layout(machine)),
                "statistics": out(statistics_layout(machine)),
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
        """Cycles from a column in the drain buffer to its write."""
        return self._write_at

    @property
    def score_latency(self) -> int:
        """Cycles from a column in the drain buffer to its ``scores``."""
        return self._value_at + 1

    @property
    def sum_latency(self) -> int:
        """Cycles from a column in the drain buffer to its ``statistics``."""
        return self._sum_at

    @property
    def residual_read_latency(self) -> int:
        """Cycles from a column in the drain buffer to its ``residual_read``."""
        return self._read_at

    @property
    def residual_latency(self) -> int:
        """Cycles from a column in the drain buffer to the write of its residual sum, or of its pairs."""
        return self._sum_write_at

    @property
    def _last_stage(self) -> int:
        return max(self._sum_write_at, self._write_at) + 1

    @property
    def idle_latency(self) -> int:
        """Cycles from a column in the drain buffer to the first in which it does not keep ``busy`` high."""
        return self._last_stage + 1

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        column = self._drain(m)
        values = self._requantise(m, column)
        self._items(m, column)
        self._bytes(m, values)
        self._hidden(m, values)
        self._scores_and_logits(m, values)
        if self.machine.trace:
            self._trace(m)
        return m

    # -- up to the requantiser ------------------------------------------------------------------------------

    def _drain(self, m: Module):  # type: ignore[no-untyped-def]
        m.submodules.drain = self._drained = drain = Drain(self.machine, self.drain_lead)
        connect(m, flipped(self.tile), drain.tile)
        m.d.comb += self.shift.eq(drain.shift)
        return drain.column

    def _requantise(self, m: Module, column) -> list[Value]:  # type: ignore[no-untyped-def]
        m.submodules.partial_sums = partial = PartialSums(self.machine)
        m.submodules.channels = channels = Channels(self.machine)
        connect(m, flipped(self.headers), channels.headers)
        for part in (partial, channels):
            m.d.comb += [part.ahead.eq(self._drained.ahead), part.column.eq(column)]
        m.d.comb += [
            partial.sums.eq(self.column),
            channels.score_channel.eq(self.score_channel),
            channels.row_multiplier.eq(self.row_multiplier),
            channels.row_shift.eq(self.row_shift),
        ]
        values = []
        for lane, requantizer in enumerate(self._requantizers):
            m.submodules[f"requantizer_{lane}"] = requantizer
            channel = channels.channels[lane]
            m.d.comb += [
                requantizer.accumulator.eq(
                    delay(m, partial.totals[lane], Channels.LATENCY - PartialSums.LATENCY, f"total_{lane}")
                ),
                requantizer.offset.eq(channel.offset),
                requantizer.multiplier.eq(channel.multiplier),
                requantizer.shift.eq(channel.shift),
            ]
            # Multipliers dictate where a requantiser lies: the way to those who clamp has a cycle of its own.
            values.append(delay(m, requantizer.value, 1, f"value_{lane}"))
        return values

    # -- what travels beside --------------------------------------------------------------------------------

    def _items(self, m: Module, column) -> None:  # type: ignore[no-untyped-def]
        """``_item[stage]`` and ``_valid[stage]`` from stage 2 on; ``busy``."""
        layout = _item_layout(self.machine)
        now = Signal(column_layout(self.machine), name="column_1", reset_less=True)
        valid = Signal(name="column_1_valid")
        item = Signal(layout, name="item_2", reset_less=True)
        item_valid = Signal(name="valid_2")
        tile = now.tile
        m.d.sync += [
            now.eq(column),
            valid.eq(column.valid),
            item_valid.eq(valid & tile.psum_last),
            item.post.eq(tile.post),
            item.address.eq(tile.address + now.column),
            item.feature.eq(tile.feature + now.column),
            item.first.eq(now.first),
            item.last.eq(now.last),
            *(item[n].eq(tile[n]) for n in ("group", "block", "block_first", "block_last", "parity", "head")),
        ]
        self._item, self._valid = {2: item}, {2: item_valid}
        for stage in range(3, self._write_at + 1):
            self._item[stage] = Signal(layout, name=f"item_{stage}", reset_less=True)
            self._valid[stage] = Signal(name=f"valid_{stage}")
            m.d.sync += [
                self._item[stage].eq(self._item[stage - 1]),
                self._valid[stage].eq(self._valid[stage - 1]),
            ]

        # Of the columns behind the drain only the newest counts for ``busy``.
        left = Signal(range(self._last_stage + 1))
        with m.If(column.valid | column.preload):
            m.d.sync += left.eq(self._last_stage)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        m.d.comb += self.busy.eq(self._drained.busy | (left != 0))

    def _is(self, stage: int, *posts: Post) -> Value:
        post = self._item[stage].post
        return self._valid[stage] & Cat(*(post == one for one in posts)).any()

    # -- from the value on ----------------------------------------------------------------------------------

    def _bytes(self, m: Module, values: list[Value]) -> None:
        """Operands of later matmuls, clamped or looked up, to their memory."""
        at = self._write_at
        before = self._item[at - 1]
        looked_up = Signal(reset_less=True)
        m.d.sync += looked_up.eq(self._item[at - 2].post == Post.TABLE)
        self._written = Signal(write_layout(self.machine), reset_less=True)
        m.d.sync += [self._written.group.eq(before.group), self._written.address.eq(before.address)]
        for lane, value in enumerate(values):
            index = Signal(signed(TABLE_INDEX_BITS), name=f"table_index_{lane}", reset_less=True)
            clamped = Signal(signed(OPERAND_BITS), name=f"byte_{lane}", reset_less=True)
            m.d.sync += [
                index.eq(saturate_signed(value, TABLE_INDEX_BITS)),
                clamped.eq(saturate(value, -OPERAND_MAX, OPERAND_MAX)),
            ]
            clamped = delay(m, clamped, ActivationTable.LATENCY, f"byte_{lane}")
            m.d.comb += self.table_index[lane].eq(index)
            m.d.sync += self._written.lanes[lane].eq(Mux(looked_up, self.table_values[lane], clamped))
        for port, posts in (
            (self.activation, (Post.QUERY, Post.CONTEXT, Post.TABLE)),
            (self.key, (Post.KEY,)),
            (self.value, (Post.VALUE,)),
        ):
            valid = Signal(name="written")
            m.d.sync += valid.eq(self._is(at - 1, *posts))
            m.d.comb += [port.valid.eq(valid), port.payload.eq(self._written)]

    def _hidden(self, m: Module, values: list[Value]) -> None:
        """The residual stream: a projection's pairs, or sums: read, join, add, saturate, a cycle each."""
        machine = self.machine
        read, at = self._item[self._read_at], self._sum_at
        reads, projected, to_stream = Signal(), Signal(reset_less=True), Signal()
        m.d.sync += [
            reads.eq(self._is(self._read_at - 1, Post.RESIDUAL)),
            projected.eq(self._item[at - 1].post == Post.HIDDEN),
            to_stream.eq(self._is(at - 1, Post.RESIDUAL, Post.HIDDEN)),
        ]
        m.d.comb += [
            self.residual_read.valid.eq(reads),
            self.residual_read.payload.group.eq(read.group),
            self.residual_read.payload.address.eq(read.address),
        ]
        self._pairs = Signal(self.residual.shape(), reset_less=True)
        self._sums = Signal(self.statistics.payload.lanes.shape(), reset_less=True)
        for lane, value in enumerate(values):
            joined = Signal(signed(2 * OPERAND_BITS), name=f"joined_{lane}", reset_less=True)
            total = Signal(signed(RESIDUAL_BITS + 1), name=f"sum_{lane}", reset_less=True)
            hidden = Signal(signed(2 * OPERAND_BITS), name=f"hidden_{lane}", reset_less=True)
            m.d.sync += [
                joined.eq(join_hidden(self.residual[lane])),
                total.eq(joined + value),
                self._sums[lane].eq(saturate_signed(total, RESIDUAL_BITS)),
                hidden.eq(saturate(value, -HIDDEN_MAX, HIDDEN_MAX)),
                self._pairs[lane].eq(split_hidden(m, hidden, f"high_{lane}")),
            ]
        item = self._item[at]
        m.d.comb += [
            self.statistics.valid.eq(self._is(at, Post.RESIDUAL)),
            # Sums of a block start with the first column of its first tile only.
            self.statistics.payload.first.eq(item.block_first & item.first),
            self.statistics.payload.block.eq(item.block),
            self.statistics.payload.block_start.eq(item.first),
            self.statistics.payload.block_end.eq(item.last),
            self.statistics.payload.lanes.eq(self._sums),
        ]
        # The memory takes them when it would take LayerNorm's results of values read as late.
        late = Signal(data.StructLayout({"rows": rows_layout(machine), "ends": 1}), name="late_now")
        m.d.comb += [
            late.rows.place.group.eq(item.group),
            late.rows.place.address.eq(item.address),
            late.rows.lanes.eq(Mux(projected, self._pairs.as_value(), self._sums.as_value())),
            late.ends.eq(~projected & item.last & item.block_last),
        ]
        later = Signal.like(late, name="late")
        m.d.comb += later.eq(delay_in_memory(m, late, self._sum_write_at - at, "late_rows"))
        for stage in range(at + 1, self._sum_write_at + 1):
            now, to_stream = to_stream, Signal(name=f"to_stream_{stage}")
            m.d.sync += to_stream.eq(now)
        m.d.comb += [self.hidden.valid.eq(to_stream), self.hidden.payload.eq(later.rows)]
        m.d.sync += self.norm_request.eq(to_stream & later.ends)

    def _scores_and_logits(self, m: Module, values: list[Value]) -> None:
        at = self._value_at + 1
        item = self._item[at]
        scores = self._scores = Signal(self.scores.payload.lanes.shape(), reset_less=True)
        self._first_value = first_value = Signal(signed(RESIDUAL_BITS), reset_less=True)
        for lane, value in enumerate(values):
            m.d.sync += scores[lane].eq(saturate_signed(value, SCORE_BITS))
        m.d.sync += first_value.eq(values[0])
        m.d.comb += [
            self.scores.valid.eq(self._is(at, Post.SCORES)),
            self.scores.payload.parity.eq(item.parity),
            self.scores.payload.key.eq(item.feature),
            self.scores.payload.first.eq(item.first & item.block_first),
            self.scores.payload.last.eq(item.last & item.block_last),
            self.scores.payload.lanes.eq(scores),
        ]
        for i in range(MAX_LABELS):
            with m.If(self._is(at, Post.LOGITS) & (item.feature == i)):
                m.d.sync += self.logits[i].eq(first_value)

    def _trace(self, m: Module) -> None:
        """Records every column when its bytes would be written."""
        at = self._write_at
        item, trace = self._item[at], self.trace
        values, sums = self._value_at + 1, self._sum_at
        scores = delay(m, self._scores, at - values, "trace_score")
        first_value = delay(m, self._first_value, at - values, "trace_logit")
        residual = delay(m, self._sums, at - sums, "trace_sum")
        pairs = delay(m, self._pairs, at - sums, "trace_pair")
        lanes = Signal(data.ArrayLayout(signed(LANE_BITS), self.machine.rows))
        index_position = Signal(POSITION_BITS)
        m.d.comb += [
            trace.data.eq(lanes.as_value()),
            trace.valid.eq(self._valid[at]),
            trace.tag.eq(item.post),
            trace.index.eq(Cat(index_position, item.block)),
        ]
        with m.Switch(item.post):
            with m.Case(Post.VALUE):
                m.d.comb += index_position.eq(item.address)
            with m.Case(Post.SCORES):
                m.d.comb += index_position.eq((item.head << HEAD_SHIFT) | item.feature)
            with m.Default():
                m.d.comb += index_position.eq(item.feature)
        for lane in range(self.machine.rows):
            with m.Switch(item.post):
                with m.Case(Post.SCORES):
                    m.d.comb += lanes[lane].eq(scores[lane])
                with m.Case(Post.HIDDEN):
                    m.d.comb += lanes[lane].eq(join_hidden(pairs[lane]))
                with m.Case(Post.RESIDUAL):
                    m.d.comb += lanes[lane].eq(residual[lane])
                with m.Case(Post.LOGITS):
                    m.d.comb += lanes[lane].eq(first_value if lane == 0 else 0)
                with m.Default():
                    m.d.comb += lanes[lane].eq(self._written.lanes[lane].as_signed())
