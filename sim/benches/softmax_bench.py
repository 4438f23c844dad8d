"""Softmax unit against ``golden_model.integer.ops.softmax``: every exponential and row scale, exact equality.

Arguments (``bench_args``): lanes, max_keys, pass_overhead, divide_cycles (the block's own constants),
row_blocks, source, reader (stall patterns of the columns and of the exponential reads).
Reported: exponentials and rows checked, columns that came under the pass of the other parity.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import cocotb
import torch
from cocotb.triggers import RisingEdge, with_timeout

from golden_model.integer.ops.softmax import exponentials, row_scale
from golden_model.numerics import EXP_BITS, MULTIPLIER_BITS, SCORE_BITS, SHIFT_BITS
from sim.agents import clock
from sim.agents.lanes import pack, unpack
from sim.agents.stall import stall_pattern
from sim.run import bench_args, report

SCORE_MIN, SCORE_MAX = -(1 << (SCORE_BITS - 1)), (1 << (SCORE_BITS - 1)) - 1
LIMIT_NS = 20_000_000


@dataclass
class RowBlock:
    """P rows of scores [keys][P], and the requantisation of their context."""

    scores: list[list[int]]
    multiplier: int
    shift: int

    @property
    def keys(self) -> int:
        return len(self.scores)


def row_of_scores(rng: random.Random, keys: int) -> list[int]:
    """One row: all equal, extremes, uniform, or near its maximum as real scores are."""
    kind = rng.randrange(5)
    if kind == 0:
        return [rng.choice((SCORE_MIN, -1, 0, SCORE_MAX, rng.randint(SCORE_MIN, SCORE_MAX)))] * keys
    if kind == 1:
        return [rng.choice((SCORE_MIN, SCORE_MAX)) for _ in range(keys)]
    if kind == 2:
        return [rng.randint(SCORE_MIN, SCORE_MAX) for _ in range(keys)]
    if kind == 3:  # around the end of the table
        return [rng.choice((0, -254, -255, -256, -257)) for _ in range(keys)]
    centre = rng.randint(SCORE_MIN + 150, SCORE_MAX - 150)
    return [centre + rng.randint(-150, 150) for _ in range(keys)]


def row_block(rng: random.Random, lanes: int, max_keys: int) -> RowBlock:
    """Random rows of a random number of keys, with 1 and the maximum often."""
    keys = rng.choice((1, 2, max_keys, rng.randint(1, max_keys)))
    keys = min(keys, max_keys)
    rows = [row_of_scores(rng, keys) for _ in range(lanes)]
    multiplier = rng.choice((0, 1 << 15, (1 << 16) - 1, rng.randrange(1 << 15, 1 << 16)))
    return RowBlock([list(column) for column in zip(*rows, strict=True)], multiplier, rng.randint(0, 47))


class Unit:
    """The block, with what its three users have come to."""

    def __init__(self, dut: Any) -> None:
        torch.set_num_threads(1)  # tensors of a few elements
        self.args = bench_args()
        self.dut, self.rng = dut, random.Random(cocotb.RANDOM_SEED)
        self.lanes: int = self.args["lanes"]
        self.edge = RisingEdge(dut.clk)
        self.arrived = self.started = self.done_seen = self.checked = 0
        self.busy_free_at = 0
        self.overlaps = self.exponentials_checked = 0
        self.passing = False

    async def begin(self) -> None:
        """Clock and reset."""
        for name in ("score_valid", "score_first", "start", "exp_enable"):
            getattr(self.dut, name).value = 0
        await clock.start(self.dut)

    def noise(self) -> None:
        """Whatever must not matter while no column is valid."""
        self.dut.score_valid.value = 0
        self.dut.score_first.value = self.rng.randrange(2)
        self.dut.score_parity.value = self.rng.randrange(2)
        self.dut.score_key.value = self.rng.randrange(self.args["max_keys"])
        self.dut.scores.value = self.rng.randrange(1 << (SCORE_BITS * self.lanes))

    async def give_columns(self, blocks: list[RowBlock], stall: str) -> None:
        """The columns of one row block after the other, keys in any order."""
        go = stall_pattern(stall, cocotb.RANDOM_SEED)
        for number, block in enumerate(blocks):
            while self.done_seen < number - 1:  # its parity's buffers are free
                self.noise()
                await self.edge
            order = list(range(block.keys))
            self.rng.shuffle(order)
            for position, key in enumerate(order):
                while not next(go):
                    self.noise()
                    await self.edge
                self.overlaps += self.passing
                self.dut.score_valid.value = 1
                self.dut.score_parity.value = number % 2
                self.dut.score_key.value = key
                self.dut.score_first.value = position == 0
                self.dut.scores.value = pack(block.scores[key], SCORE_BITS)
                await self.edge
            self.arrived += 1
            self.noise()

    async def start_passes(self, blocks: list[RowBlock]) -> None:
        """Starts each row block once its columns are there, and times its pass."""
        dut, overhead = self.dut, self.args["pass_overhead"]
        for number, block in enumerate(blocks):
            while self.arrived <= number or self.checked < number - 1:
                await self.edge
            dut.start.value = 1
            dut.start_parity.value = number % 2
            dut.start_keys.value = block.keys
            dut.context_multiplier.value = block.multiplier
            dut.context_shift.value = block.shift
            self.passing = True
            await self.edge
            dut.start.value = 0
            # sampled at start, so they may change
            dut.start_parity.value = self.rng.randrange(2)
            dut.context_multiplier.value = self.rng.randrange(1 << MULTIPLIER_BITS)
            dut.context_shift.value = self.rng.randrange(1 << SHIFT_BITS)
            divider_was_free = self.done_seen == number
            busy = -1
            while True:
                await self.edge
                busy += 1
                if not int(dut.busy.value):
                    break
            if divider_was_free:
                want = block.keys + overhead
                assert busy == want, f"pass of {block.keys} keys: {busy} cycles, expected {want}"
            assert int(dut.exponentials_done.value) >> (number % 2) & 1, f"block {number}: exponentials_done"
            self.passing = False
            self.started += 1

    async def watch_done(self, blocks: list[RowBlock]) -> None:
        """``done`` comes ``divide_cycles`` after a pass."""
        for number in range(len(blocks)):
            while self.started <= number:
                await self.edge
            # started is counted in the cycle after busy fell
            for wait in range(1, self.args["divide_cycles"] + 1):
                assert not int(self.dut.done.value) >> (number % 2) & 1, f"block {number}: done {wait} early"
                await self.edge
            assert int(self.dut.done.value) >> (number % 2) & 1, f"block {number}: done is late"
            self.done_seen += 1

    async def check(self, blocks: list[RowBlock], stall: str) -> None:
        """Reads everything back."""
        go = stall_pattern(stall, cocotb.RANDOM_SEED + 1)
        for number, block in enumerate(blocks):
            while self.done_seen <= number:
                await self.edge
            _, golden = exponentials(torch.tensor(block.scores).T)
            multipliers, shifts = row_scale(golden.sum(dim=-1), block.multiplier, block.shift)
            expected = golden.T.tolist()
            await self.check_exponentials(number, expected, go)
            parity = number % 2
            for name, width, want in (
                ("row_multiplier", MULTIPLIER_BITS, multipliers),
                ("row_shift", SHIFT_BITS, shifts),
            ):
                both = int(getattr(self.dut, name).value)
                got = unpack(both, width, 2 * self.lanes, signed=False)[parity * self.lanes :][: self.lanes]
                assert got == want.tolist(), f"block {number}, {name}: expected {want.tolist()}, got {got}"
            self.checked += 1

    async def check_exponentials(self, number: int, expected: list[list[int]], go: Any) -> None:
        """One read per cycle, back to back where ``go`` lets it."""
        dut, pending, got = self.dut, False, None
        key = 0
        while key < len(expected) or pending:
            reading = key < len(expected) and next(go)
            dut.exp_enable.value = int(reading)
            dut.exp_parity.value = number % 2 if reading else self.rng.randrange(2)
            dut.exp_key.value = key if reading else self.rng.randrange(self.args["max_keys"])
            await self.edge
            word = unpack(int(dut.exponentials.value), EXP_BITS, self.lanes, signed=False)
            if pending:
                want = expected[key - 1]
                assert word == want, f"block {number}, key {key - 1}: expected {want}, got {word}"
                self.exponentials_checked += self.lanes
            elif got is not None:
                assert word == got, f"block {number}: the word changed without exp_enable"
            got = word
            pending = bool(reading)
            key += pending
        dut.exp_enable.value = 0


@cocotb.test
async def equals_golden(dut: Any) -> None:
    """Row blocks in both parities, columns of one arriving under the pass of the other."""
    unit = Unit(dut)
    args = unit.args
    blocks = [row_block(unit.rng, unit.lanes, args["max_keys"]) for _ in range(args["row_blocks"])]
    # The largest sum, and a parity whose maxima must fall.
    blocks.append(RowBlock([[SCORE_MAX] * unit.lanes] * args["max_keys"], (1 << 16) - 1, 47))
    blocks += [RowBlock([[SCORE_MIN] * unit.lanes] * args["max_keys"], 1 << 15, 0)] * 2
    await unit.begin()
    tasks = [
        cocotb.start_soon(unit.give_columns(blocks, args["source"])),
        cocotb.start_soon(unit.start_passes(blocks)),
        cocotb.start_soon(unit.watch_done(blocks)),
        cocotb.start_soon(unit.check(blocks, args["reader"])),
    ]
    for task in tasks:
        await with_timeout(task, LIMIT_NS, "ns")
    report(
        exponentials=unit.exponentials_checked,
        rows=len(blocks) * unit.lanes,
        overlapping_columns=unit.overlaps,
    )


@cocotb.test
async def does_not_hang(dut: Any) -> None:
    """A start with 0 keys and rows that never came both end; a start while busy changes nothing."""
    unit = Unit(dut)
    await unit.begin()
    unit.noise()
    for keys in (0, unit.args["max_keys"], 1):
        dut.start.value = 1
        dut.start_parity.value = 1
        dut.start_keys.value = keys
        dut.context_multiplier.value = 40000
        dut.context_shift.value = 20
        await unit.edge
        dut.start_keys.value = 1  # held: ignored until the pass is over
        dut.start_parity.value = 0
        await unit.edge
        dut.start.value = 0
        for _ in range(unit.args["max_keys"] + unit.args["pass_overhead"] + unit.args["divide_cycles"] + 4):
            await unit.edge
        assert not int(dut.busy.value), f"still busy after {keys} keys"
        assert int(dut.done.value) == 2, f"done is {int(dut.done.value):#b} after {keys} keys"
