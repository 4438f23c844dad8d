"""Vector path against the golden functions: every write, score, statistic and logit, in its cycle.

Arguments (``bench_args``): machine (fields of `Machine`), lead, latencies (the block's own: column, score,
residual_read, residual, sum, idle, norm), tiles. Reported: columns checked, and of values how many met which
rail, with a tie of rounding up and down.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

import cocotb
import torch
from cocotb.triggers import RisingEdge

from golden_model.config import PRESETS
from golden_model.integer.ops.fixed import requantize, saturate, saturate_signed
from golden_model.integer.ops.hidden import add_residual, join_hidden, saturate_hidden, split_hidden
from golden_model.integer.ops.table import lookup
from golden_model.numerics import (
    ACCUMULATOR_BITS,
    HIDDEN_MAX,
    OPERAND_BITS,
    OPERAND_MAX,
    RESIDUAL_BITS,
    SCORE_BITS,
    TABLE_INDEX_BITS,
    TABLE_SIZE,
)
from hw.channel import CHANNEL
from hw.engine.channels import header_layout
from hw.engine.hidden_stream import HiddenStream, place_layout, rows_layout
from hw.engine.program import HEADER_SLOTS, Post
from hw.engine.tile import tile_layout
from hw.engine.vector_path import scores_layout, statistics_layout, write_layout
from hw.params import Machine
from hw.units.activation_table import ActivationTable
from sim.agents import clock
from sim.agents.lanes import pack, unpack
from sim.run import bench_args, report

LOW, HIGH = -(1 << (RESIDUAL_BITS - 1)), (1 << (RESIDUAL_BITS - 1)) - 1
UNIT = 15
"""A multiplier of 2^15 and this shift leave a sum as it is."""
EDGES = [
    edge + step
    for bound in (OPERAND_MAX, 1 << (TABLE_INDEX_BITS - 1), 1 << (SCORE_BITS - 1), HIDDEN_MAX, HIGH)
    for edge in (-bound, bound)
    for step in (-2, -1, 0, 1, 2)
]
"""Either side of every clamp."""


def bits(layout: Any, value: Any) -> int:
    """``value`` in ``layout``, as a port's integer."""
    return int(layout.const(value).as_value().value)


class Bench:
    """Inputs by cycle, expected outputs by cycle."""

    def __init__(self, dut: Any) -> None:
        torch.set_num_threads(1)  # tensors of a few elements
        args = bench_args()
        self.dut, self.rng = dut, random.Random(cocotb.RANDOM_SEED)
        fields = dict(args["machine"])
        self.machine = Machine(model=PRESETS[fields.pop("model")], **fields)
        self.lead, self.latency, self.tiles = args["lead"], args["latencies"], args["tiles"]
        self.table = torch.tensor([self.rng.randint(-128, 127) for _ in range(TABLE_SIZE)])
        self.met: Counter[str] = Counter()
        self.cycle = 0
        self.inputs: dict[int, dict[str, int]] = defaultdict(dict)
        self.expected: dict[int, dict[str, Any]] = defaultdict(dict)
        self.busy_until = 0
        self.header_at = 1
        self.first = 0
        self.loads: dict[int, list[list[int]]] = {}
        self.logits: dict[int, int] = {}
        self.partial: dict[tuple[int, int], list[int]] = {}

    # -- what goes in ---------------------------------------------------------------------------------------

    def channel(self) -> tuple[int, int, int]:
        """offset, multiplier, shift."""
        rng = self.rng
        kind = rng.randrange(4)
        if kind == 0:
            return rng.randint(-3, 3), 1 << UNIT, UNIT
        if kind == 1:  # halves: ties
            return 0, 1 << UNIT, UNIT + 1
        if kind == 2:
            return rng.randint(-(1 << 26), 1 << 26), rng.randrange(1 << UNIT, 1 << 16), rng.randrange(14, 40)
        return 0, 1 << UNIT, UNIT

    def sums(self, chunks: int) -> list[int]:
        """A column: around the clamps, the accumulator's own ends (of all chunks together), anything."""
        rng, top = self.rng, ((1 << (ACCUMULATOR_BITS - 1)) - 1) // chunks
        kind = rng.randrange(4)
        if kind < 2:
            return [rng.choice(EDGES) * rng.choice((1, 1, 2)) for _ in range(self.machine.rows)]
        if kind == 2:
            return [rng.choice((-top, top, 0, 1, -1)) for _ in range(self.machine.rows)]
        return [rng.randint(-(1 << 18), 1 << 18) for _ in range(self.machine.rows)]

    def value(self, total: int, channel: tuple[int, int, int]) -> int:
        """The requantised sum; counts ties."""
        offset, multiplier, shift = channel
        product = (total + offset) * multiplier
        if shift and product % (1 << shift) == 1 << (shift - 1) and LOW < product >> shift < HIGH:
            self.met["tie_of_a_positive" if product > 0 else "tie_of_a_negative"] += 1
        return int(requantize(torch.tensor(total), offset, multiplier, shift, LOW, HIGH))

    def rail(self, name: str, before: int, after: int) -> int:
        """``after`` of a clamp; counts which end was met."""
        if before != after:
            self.met[f"{name}_{'high' if after > 0 else 'low'}"] += 1
        return after

    def hidden_word(self) -> int:
        """A word of the residual stream, often at its ends."""
        rng = self.rng
        value = rng.choice((HIDDEN_MAX, -HIDDEN_MAX, 0, rng.randint(-HIDDEN_MAX, HIDDEN_MAX)))
        high, low = split_hidden(torch.tensor(value))
        return (int(high) & 0xFF) << OPERAND_BITS | int(low) & 0xFF

    def give_tile(
        self, at: int, number: int, post: Post, *, chunk: int = 0, chunks: int = 1, block: int
    ) -> int:
        """Schedules a tile at cycle ``at``; returns the first cycle of the next one."""
        m, rng, p, q = self.machine, self.rng, self.machine.rows, self.machine.columns
        last_chunk = chunk == chunks - 1
        columns = q if chunks > 1 else rng.choice((1, q, q, rng.randint(1, q)))
        tile: dict[str, Any] = {
            "post": post,
            "columns": columns,
            "address": rng.randrange(m.hidden_words - q),
            "group": rng.randrange(m.groups),
            "block": block,
            "feature": rng.randrange(m.model.max_position_embeddings - q + 1) if post != Post.LOGITS else 0,
            "slot": number % HEADER_SLOTS,
            "psum_first": int(chunk == 0),
            "psum_last": int(last_chunk),
            "block_first": rng.randrange(2),
            "block_last": rng.randrange(2),
            "parity": rng.randrange(2),
            "head": 0,
        }
        if post == Post.LOGITS:
            tile["columns"] = columns = min(columns, m.model.num_labels)
        channels = [self.channel() for _ in range(q)]
        # Not before the slot's last tile has left.
        self.header_at = max(self.header_at, at - q - 2)
        for index, channel in enumerate(channels):
            self.inputs[self.header_at].update(
                headers__valid=1,
                headers__payload=bits(
                    header_layout(m),
                    {"slot": tile["slot"], "index": index, "channel": bits(CHANNEL, self.fields(channel))},
                ),
            )
            self.header_at += 1
        at = max(at, self.header_at + 2)
        self.inputs[at].update(tile__valid=1, tile__payload=bits(tile_layout(m), tile))
        preload = p if post == Post.VALUE else 0
        begin = at + self.lead
        given = [self.sums(chunks) for _ in range(columns)]
        self.loads[begin] = given
        for j, sums in enumerate(given):
            cycle = begin + preload + j
            totals = sums
            if chunk:
                totals = [a + b for a, b in zip(sums, self.partial[block, j], strict=True)]
            if not last_chunk:
                self.partial[block, j] = totals
                continue
            values = []
            for lane, total in enumerate(totals):
                if post == Post.VALUE:
                    channel = channels[tile["group"] * p + lane]
                elif post == Post.SCORES:
                    channel = self.score_channel
                elif post == Post.CONTEXT:
                    channel = (0, *self.row_scales[tile["parity"]][lane])
                else:
                    channel = channels[j]
                values.append(self.value(total, channel))
            self.expect(cycle, tile, j, columns, values)
        end = begin + preload + columns - 1
        self.busy_until = end + self.latency["idle"]
        return at + preload + columns

    def fields(self, channel: tuple[int, int, int]) -> dict[str, int]:
        return dict(zip(("offset", "multiplier", "shift"), channel, strict=True))

    # -- what comes out -------------------------------------------------------------------------------------

    def expect(self, cycle: int, tile: dict[str, Any], j: int, columns: int, values: list[int]) -> None:
        """What a column leaves behind."""
        m, latency, post = self.machine, self.latency, tile["post"]
        place = {"group": tile["group"], "address": tile["address"] + j}
        feature = tile["feature"] + j
        first, last = j == 0, j == columns - 1
        self.met["columns"] += 1
        if post in (Post.QUERY, Post.CONTEXT, Post.TABLE, Post.KEY, Post.VALUE):
            port = {Post.KEY: "key", Post.VALUE: "value"}.get(post, "activation")
            lanes = []
            for value in values:
                x = torch.tensor(value)
                if post == Post.TABLE:
                    index = saturate_signed(x, TABLE_INDEX_BITS)
                    self.rail("index", value, int(index))
                    lanes.append(int(lookup(self.table, index)))
                else:
                    lanes.append(self.rail("byte", value, int(saturate(x, -OPERAND_MAX, OPERAND_MAX))))
            payload = {**place, "lanes": [v & 0xFF for v in lanes]}
            self.expected[cycle + latency["column"]][port] = bits(write_layout(m), payload)
        elif post == Post.SCORES:
            scores = [
                self.rail("score", v, int(saturate_signed(torch.tensor(v), SCORE_BITS))) for v in values
            ]
            self.expected[cycle + latency["score"]]["scores"] = bits(
                scores_layout(m),
                {
                    "parity": tile["parity"],
                    "key": feature,
                    "first": int(first and tile["block_first"]),
                    "last": int(last and tile["block_last"]),
                    "lanes": scores,
                },
            )
        elif post == Post.HIDDEN:
            words = []
            for value in values:
                hidden = self.rail("hidden", value, int(saturate_hidden(torch.tensor(value))))
                high, low = split_hidden(torch.tensor(hidden))
                words.append((int(high) & 0xFF) << OPERAND_BITS | int(low) & 0xFF)
            # A word's two bits above the pair are not used.
            self.expected[cycle + latency["residual"]]["hidden"] = (place, words, (1 << 2 * OPERAND_BITS) - 1)
        elif post == Post.RESIDUAL:
            before = [self.hidden_word() for _ in values]
            self.expected[cycle + latency["residual_read"]]["residual_read"] = bits(place_layout(m), place)
            self.inputs[cycle + latency["residual_read"] + HiddenStream.ROWS_LATENCY]["residual"] = pack(
                before, RESIDUAL_BITS
            )
            sums = []
            for word, value in zip(before, values, strict=True):
                low_byte, high_byte = (torch.tensor(x) for x in unpack(word, OPERAND_BITS, 2))
                joined = join_hidden(high_byte, low_byte)
                total = int(add_residual(joined, torch.tensor(value)))
                sums.append(self.rail("residual", int(joined) + value, total))
            self.expected[cycle + latency["sum"]]["statistics"] = bits(
                statistics_layout(m),
                {
                    "first": int(first and tile["block_first"]),
                    "block": tile["block"],
                    "block_start": int(first),
                    "block_end": int(last),
                    "lanes": sums,
                },
            )
            written = cycle + latency["residual"]
            mask = (1 << RESIDUAL_BITS) - 1
            self.expected[written]["hidden"] = (place, [v & mask for v in sums], mask)
            if last and tile["block_last"]:
                self.expected[written + 1]["norm_request"] = 1
        else:
            self.logits[feature] = values[0]

    def check(self) -> None:
        """The outputs of this cycle against what is expected of it."""
        dut, wanted = self.dut, self.expected.pop(self.cycle, {})
        where = f"cycle {self.cycle}"
        for port in ("activation", "key", "value", "scores", "statistics", "residual_read", "hidden"):
            valid = int(getattr(dut, f"{port}__valid").value)
            assert valid == (port in wanted), f"{where}: {port} is {'' if valid else 'not '}valid"
            if not valid:
                continue
            got: Any = int(getattr(dut, f"{port}__payload").value)
            want = wanted[port]
            if port == "hidden":
                place, words, mask = want
                rows = rows_layout(self.machine).from_bits(got)
                got = (
                    {"group": rows.place.group, "address": rows.place.address},
                    [w & mask for w in rows.lanes],
                )
                want = (place, words)
            assert got == want, f"{where}: {port} is {got}, expected {want}"
        assert int(dut.norm_request.value) == wanted.get("norm_request", 0), f"{where}: norm_request"
        busy = int(dut.busy.value)
        assert busy or not (wanted or (self.inputs and self.first <= self.cycle < self.busy_until)), where

    async def run(self) -> None:
        dut, rng, m = self.dut, self.rng, self.machine
        idle = ("tile__valid", "headers__valid")
        for name in idle:
            getattr(dut, name).value = 0
        self.score_channel = (0, 1 << UNIT, UNIT)
        self.row_scales = [
            [rng.choice(((1 << UNIT, UNIT), (1 << UNIT, UNIT + 1), (40001, 20))) for _ in range(m.rows)]
            for _ in range(2)
        ]
        dut.score_channel.value = bits(CHANNEL, self.fields(self.score_channel))
        dut.row_multiplier.value = pack([s[0] for parity in self.row_scales for s in parity], 16)
        dut.row_shift.value = pack([s[1] for parity in self.row_scales for s in parity], 6)
        await clock.start(dut)

        at = 2 * m.columns
        posts = [
            *(Post.VALUE, Post.CONTEXT, Post.SCORES, Post.RESIDUAL, Post.TABLE),
            *(Post.KEY, Post.HIDDEN, Post.QUERY),
        ]
        for number in range(self.tiles):
            post = posts[number % len(posts)] if number < self.tiles - 1 else Post.LOGITS
            begin = at
            block = rng.randrange(m.token_blocks)
            chunks = rng.choice((1, 2, 3)) if post in (Post.RESIDUAL, Post.TABLE) else 1
            for chunk in range(chunks):
                at = self.give_tile(at, number, Post(post), chunk=chunk, chunks=chunks, block=block)
            self.first = self.first or begin
            at += rng.choice((0, 0, 0, 5))

        column: list[list[int]] = []
        moves: list[int] = []
        tables: dict[int, int] = {}
        while self.cycle <= self.busy_until:
            now = self.cycle + 1
            given = self.inputs.pop(now, {})
            for name in idle:
                getattr(dut, name).value = given.get(name, 0)
            for name in ("tile__payload", "headers__payload"):
                if name in given:
                    getattr(dut, name).value = given[name]
            width = RESIDUAL_BITS * m.rows
            dut.residual.value = given.get("residual", rng.getrandbits(width))
            dut.table_values.value = tables.pop(now, rng.getrandbits(OPERAND_BITS * m.rows))
            if now in moves:
                column = column[1:]
            column = self.loads.get(now, column)
            shown = column[0] if column else [rng.randint(-9, 9) for _ in range(m.rows)]
            dut.column.value = pack(shown, ACCUMULATOR_BITS)
            await RisingEdge(dut.clk)
            self.cycle = now
            if int(dut.shift.value):
                moves.append(now + self.lead + 1)
            moves = [move for move in moves if move > now]
            index = torch.tensor(unpack(int(dut.table_index.value), TABLE_INDEX_BITS, m.rows))
            tables[now + ActivationTable.LATENCY] = pack(lookup(self.table, index).tolist(), OPERAND_BITS)
            self.check()
        assert not int(dut.busy.value), "still busy"
        assert not self.expected, f"never seen: {self.expected}"
        logits = unpack(int(dut.logits.value), RESIDUAL_BITS, len(self.logits))
        assert logits == [self.logits[i] for i in range(len(self.logits))]
        report(**self.met)


@cocotb.test
async def equals_golden(dut: Any) -> None:
    """Tiles of every kind behind each other, as closely as the drain allows."""
    await Bench(dut).run()
