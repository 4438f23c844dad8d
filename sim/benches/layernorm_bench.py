"""LayerNorm unit against ``golden_model.integer.ops.layernorm``: every written value, exact equality.

Arguments (``bench_args``): lanes, sizes, blocks, read_latency, read_to_write_latency, cycles_per_feature
(the block's own properties), rounds (times every block is done), gap (stall pattern between statistics
columns), pause (of the reads). Reported: rows and values checked, columns that came while other blocks were
worked on, cycles.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

import cocotb
import torch
from cocotb.triggers import RisingEdge, with_timeout

from golden_model.integer.ops.layernorm import layernorm
from golden_model.numerics import HIDDEN_MAX, OPERAND_MAX, RESIDUAL_BITS
from sim.agents import clock
from sim.agents.lanes import pack, unpack
from sim.agents.stall import stall_pattern
from sim.run import bench_args, report

LOW, HIGH = -(1 << (RESIDUAL_BITS - 1)), (1 << (RESIDUAL_BITS - 1)) - 1
OUTPUT_BITS = 16
LIMIT_NS = 20_000_000
REVISIT_CYCLES = 4
"""A block's next burst starts at least so long after its last column (LayerNorm's docstring)."""


@dataclass
class Job:
    """One token block of one round."""

    block: int
    size_select: int
    to_operand: bool
    rows: list[list[int]]
    """[lanes][features]; None of a lane without a token is checked."""
    tokens: int
    """Lanes below this one hold tokens."""
    gamma: list[int]
    beta: list[int]
    shift: list[int]

    @property
    def features(self) -> int:
        return len(self.gamma)

    def expected(self) -> list[list[int]]:
        """Golden result, [features][tokens]."""
        bound = OPERAND_MAX if self.to_operand else HIDDEN_MAX
        gamma, beta, shift = (torch.tensor(x) for x in (self.gamma, self.beta, self.shift))
        rows = torch.tensor(self.rows[: self.tokens])
        return layernorm(rows, gamma, beta, shift, -bound, bound).T.tolist()


def row_of_values(rng: random.Random, features: int) -> list[int]:
    """One row: all equal (V = 0), extremes, one outlier, uniform, or a narrow band."""
    kind = rng.randrange(6)
    if kind == 0:
        return [rng.choice((LOW, 0, 1, HIGH, rng.randint(LOW, HIGH)))] * features
    if kind == 1:
        return [rng.choice((LOW, HIGH)) for _ in range(features)]
    if kind == 2:
        row = [rng.choice((0, HIGH))] * features
        row[rng.randrange(features)] = rng.choice((1, LOW))
        return row
    if kind == 3:
        return [rng.randint(LOW, HIGH) for _ in range(features)]
    spread = rng.choice((1, 3, 300, 20000))
    centre = rng.randint(LOW + spread, HIGH - spread)
    return [centre + rng.randint(-spread, spread) for _ in range(features)]


def channel(rng: random.Random) -> tuple[int, int, int]:
    """(gamma, beta, shift): extremes, or such that the result lies in the range."""
    if rng.random() < 0.3:
        gamma = rng.choice((-(1 << 15), -1, 0, 1, (1 << 15) - 1))
        beta = rng.choice((-(1 << 31), -1, 0, 1, (1 << 31) - 1))
        return gamma, beta, rng.randrange(63)
    shift = rng.randint(8, 24)
    return rng.randint(-(1 << 15), (1 << 15) - 1), rng.randint(-(1 << (shift + 6)), 1 << (shift + 6)), shift


class Unit:
    """The block between its statistics source, its requester and its memory."""

    def __init__(self, dut: Any) -> None:
        torch.set_num_threads(1)  # tensors of a few elements
        self.args = bench_args()
        self.dut, self.rng = dut, random.Random(cocotb.RANDOM_SEED)
        self.lanes: int = self.args["lanes"]
        self.edge = RisingEdge(dut.clk)
        self.cycle = 0
        self.complete: deque[Job] = deque()
        """Jobs whose columns have all been given."""
        self.requested: deque[Job] = deque()
        self.open: set[int] = set()
        """Blocks between their first column and their done."""
        self.last_column = dict.fromkeys(range(self.args["blocks"]), -REVISIT_CYCLES)
        self.columns_under_work = self.values = self.rows = 0
        self.answers: deque[tuple[list[int], int, int, int]] = deque()
        """Words on their way from the memory."""

    async def begin(self) -> None:
        """Clock and reset."""
        for name in ("stat_valid", "start", "pause"):
            getattr(self.dut, name).value = 0
        await clock.start(self.dut)

    def jobs_of_a_round(self) -> list[Job]:
        """Every block once, all of one size."""
        rng = self.rng
        select = rng.randrange(len(self.args["sizes"]))
        features = self.args["sizes"][select]
        gamma, beta, shift = (list(x) for x in zip(*(channel(rng) for _ in range(features)), strict=True))
        to_operand = rng.random() < 0.5
        return [
            Job(
                block,
                select,
                to_operand,
                [row_of_values(rng, features) for _ in range(self.lanes)],
                rng.randint(1, self.lanes),
                gamma,
                beta,
                shift,
            )
            for block in range(self.args["blocks"])
        ]

    def quiet(self) -> None:
        """No column: the other inputs must not matter."""
        dut, rng = self.dut, self.rng
        dut.stat_valid.value = 0
        dut.stat_first.value = rng.randrange(2)
        dut.stat_block.value = rng.randrange(self.args["blocks"])
        dut.stat_block_start.value = rng.randrange(2)
        dut.stat_block_end.value = rng.randrange(2)
        dut.stat_lanes.value = rng.randrange(1 << self.lanes)
        dut.stat_values.value = rng.randrange(1 << (RESIDUAL_BITS * self.lanes))

    async def burst(self, job: Job, columns: list[tuple[int, int, bool]], go: Any) -> None:
        """Columns (feature, lane mask, first) of one block, not before the block may be visited again."""
        dut = self.dut
        while self.cycle < self.last_column[job.block] + REVISIT_CYCLES:
            self.quiet()
            await self.edge
        for i, (feature, mask, first) in enumerate(columns):
            while not next(go):
                self.quiet()
                await self.edge
            values = [row[feature] for row in job.rows]
            dut.stat_valid.value = 1
            dut.stat_lanes.value = mask
            dut.stat_first.value = first
            dut.stat_block.value = job.block
            dut.stat_block_start.value = i == 0
            dut.stat_block_end.value = i == len(columns) - 1
            dut.stat_values.value = pack(values, RESIDUAL_BITS)
            self.columns_under_work += bool(self.requested)
            self.last_column[job.block] = self.cycle
            await self.edge
        self.quiet()

    async def give_statistics(self, rounds: int) -> None:
        """Rounds of all blocks: features in tiles over all blocks, or token after token as an embedding."""
        go = stall_pattern(self.args["gap"], cocotb.RANDOM_SEED)
        for number in range(rounds):
            jobs = self.jobs_of_a_round()
            features = jobs[0].features
            by_token = number % 3 == 2
            tile = self.rng.choice((1, 4, features))
            pieces: list[tuple[Job, list[tuple[int, int, bool]]]] = []
            if by_token:
                for job in jobs:
                    for lane in range(job.tokens):
                        pieces.append((job, [(f, 1 << lane, f == 0) for f in range(features)]))
            else:
                for begin in range(0, features, tile):
                    end = min(features, begin + tile)
                    for job in jobs:
                        pieces.append((job, [(f, (1 << job.tokens) - 1, f == 0) for f in range(begin, end)]))
            remaining = {id(job): sum(1 for other, _ in pieces if other is job) for job in jobs}
            for job, columns in pieces:
                fresh = columns[0][2] and (not by_token or columns[0][1] == 1)
                while fresh and job.block in self.open:
                    self.quiet()
                    await self.edge
                self.open.add(job.block)
                await self.burst(job, columns, go)
                remaining[id(job)] -= 1
                if not remaining[id(job)]:
                    self.complete.append(job)

    async def request(self, count: int) -> None:
        """Starts every complete block, in order, as soon as ``ready``."""
        dut = self.dut
        for _ in range(count):
            dut.start.value = 0
            dut.size_select.value = self.rng.randrange(len(self.args["sizes"]))
            dut.to_operand.value = self.rng.randrange(2)
            while not self.complete:
                await self.edge
            job = self.complete.popleft()
            dut.start.value = 1
            dut.start_block.value = job.block
            dut.size_select.value = job.size_select
            dut.to_operand.value = int(job.to_operand)
            self.requested.append(job)
            while True:
                await self.edge
                if int(dut.ready.value):
                    break
        dut.start.value = 0

    async def serve(self, count: int) -> None:
        """The memory and the parameters: answers reads, checks writes and ``done``; counts cycles."""
        dut, args = self.dut, self.args
        stall = stall_pattern(args["pause"], cocotb.RANDOM_SEED + 1)
        latency, spacing = args["read_to_write_latency"], args["cycles_per_feature"]
        reads: deque[tuple[int, int]] = deque()
        """(cycle, feature) of reads not yet written."""
        job, expected, next_read, next_write, last_read = None, [], 0, 0, -spacing
        finished, done_due = 0, False
        while finished < count:
            paused = not next(stall)
            dut.pause.value = int(paused)
            await self.edge
            self.cycle += 1
            assert int(dut.done.value) == done_due, f"cycle {self.cycle}: done is {int(dut.done.value)}"
            if done_due:
                assert job is not None
                assert int(dut.done_block.value) == job.block
                self.open.discard(job.block)
                self.requested.popleft()
                self.rows += job.tokens
                finished += 1
                job, done_due = None, False
            if int(dut.write_enable.value):
                assert job is not None, f"cycle {self.cycle}: a write without a block"
                at, feature = reads.popleft()
                assert self.cycle - at == latency, f"feature {feature}: {self.cycle - at} cycles to the write"
                assert int(dut.write_block.value) == job.block
                assert int(dut.write_feature.value) == feature == next_write
                got = unpack(int(dut.write_values.value), OUTPUT_BITS, self.lanes)[: job.tokens]
                want = expected[feature]
                assert got == want, f"block {job.block}, feature {feature}: expected {want}, got {got}"
                self.values += job.tokens
                next_write += 1
                done_due = next_write == job.features
            elif reads:
                assert self.cycle - reads[0][0] < latency, f"feature {reads[0][1]} was not written"
            if int(dut.read_enable.value):
                assert not paused, f"cycle {self.cycle}: a read while paused"
                if job is None:
                    job, next_read, next_write = self.requested[0], 0, 0
                    expected = job.expected()
                feature = int(dut.read_feature.value)
                assert int(dut.read_block.value) == job.block
                assert feature == int(dut.parameter_feature.value) == next_read
                assert self.cycle - last_read >= spacing
                last_read = self.cycle
                next_read += 1
                reads.append((self.cycle, feature))
                self.answer(
                    [row[feature] for row in job.rows],
                    job.gamma[feature],
                    job.beta[feature],
                    job.shift[feature],
                )
            else:
                rng = self.rng
                self.answer(
                    [rng.randint(LOW, HIGH) for _ in range(self.lanes)],
                    rng.randint(-9, 9),
                    rng.randint(-9, 9),
                    3,
                )

    def answer(self, values: list[int], gamma: int, beta: int, shift: int) -> None:
        """Data and parameters, ``read_latency`` cycles after their read."""
        self.answers.append((values, gamma, beta, shift))
        if len(self.answers) < self.args["read_latency"]:
            return
        values, gamma, beta, shift = self.answers.popleft()
        self.dut.read_values.value = pack(values, RESIDUAL_BITS)
        self.dut.gamma.value = gamma & 0xFFFF
        self.dut.beta.value = beta & 0xFFFFFFFF
        self.dut.shift.value = shift


@cocotb.test
async def equals_golden(dut: Any) -> None:
    """Statistics of blocks, requests and passes side by side."""
    unit = Unit(dut)
    rounds = unit.args["rounds"]
    count = rounds * unit.args["blocks"]
    await unit.begin()
    unit.quiet()
    tasks = [
        cocotb.start_soon(unit.serve(count)),
        cocotb.start_soon(unit.give_statistics(rounds)),
        cocotb.start_soon(unit.request(count)),
    ]
    for task in reversed(tasks):
        await with_timeout(task, LIMIT_NS, "ns")
    for _ in range(3):
        await unit.edge
        assert not int(dut.write_enable.value)
        assert not int(dut.done.value)
    assert not int(dut.busy.value)
    assert int(dut.ready.value)
    report(rows=unit.rows, values=unit.values, columns_under_work=unit.columns_under_work, cycles=unit.cycle)
