"""Exit unit against the golden integer definition: every output of every iteration, exact equality.

Arguments (``bench_args``): num_labels, latency (the block's own property), sentences (of the random test).
Reported: iterations checked, and per mode how many iterations let a sentence go and how many did not.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import cocotb
import torch
from cocotb.triggers import RisingEdge, with_timeout
from cocotb.utils import get_sim_time

from golden_model.config import MAX_ITERATIONS, MAX_LABELS
from golden_model.exits import MAX_PATIENCE, MAX_WINDOW, ExitMode, ExitState, FixedExitPolicy
from golden_model.integer.confidence import integer_confidence
from golden_model.integer.ops.exit_math import EXP_ZERO_FROM, LOGIT_MAX, LOGIT_MIN
from golden_model.numerics import LOGIT_BITS, ONE, PROBABILITY_BITS
from sim.agents import clock
from sim.run import bench_args, report

ILLEGAL_MODE = 7


def packed(values: list[int], width: int) -> int:
    """Signed or unsigned values to one port value, the first lowest."""
    return sum((value & ((1 << width) - 1)) << (width * i) for i, value in enumerate(values))


class Unit:
    """The block and, beside it, the golden state of the same sentence."""

    def __init__(self, dut: Any, rng: random.Random) -> None:
        """Reads the bench's arguments; ``rng`` fills whatever must not matter."""
        torch.set_num_threads(1)  # tensors of a few elements
        args = bench_args()
        self.dut, self.rng = dut, rng
        self.num_labels: int = args["num_labels"]
        self.latency: int = args["latency"]
        self.checked = 0
        self.outcomes: Counter[str] = Counter()
        self.new_sentence(FixedExitPolicy())

    async def begin(self) -> None:
        """Clock and reset."""
        self.dut.start.value = 0
        self.dut.clear.value = 0
        await clock.start(self.dut)

    def new_sentence(self, policy: FixedExitPolicy) -> None:
        """The next ``iterate`` comes with ``clear``."""
        self.policy, self.state, self.fresh = policy, ExitState(policy, 1), True

    def drive(self, logits: list[int], last: bool, mode: int | None = None) -> None:
        """Sets all inputs; the classes the block does not have get noise."""
        noise = [self.rng.randint(LOGIT_MIN, LOGIT_MAX) for _ in range(MAX_LABELS - self.num_labels)]
        dut, policy = self.dut, self.policy
        dut.logits.value = packed(logits + noise, LOGIT_BITS)
        dut.mode.value = int(policy.mode) if mode is None else mode
        dut.delta.value, dut.window.value = policy.delta, policy.window
        dut.margin.value, dut.range_.value = policy.margin, policy.range
        dut.patience.value, dut.last_iteration.value = policy.patience, last

    async def iterate(self, logits: list[int], last: bool = False, mode: int | None = None) -> bool:
        """One iteration, checked; returns the golden model's decision."""
        dut = self.dut
        self.drive(logits, last, mode)
        dut.clear.value, dut.start.value = self.fresh, 1
        self.fresh = False
        await RisingEdge(dut.clk)
        begin = get_sim_time("ps")
        dut.start.value = dut.clear.value = 0
        # what is taken at start may change afterwards
        dut.logits.value = self.rng.getrandbits(LOGIT_BITS * MAX_LABELS)
        dut.last_iteration.value = self.rng.getrandbits(1)
        await with_timeout(RisingEdge(dut.done), 4 * self.latency * clock.period_ns(), "ns")
        await RisingEdge(dut.clk)  # samples the cycle in which done is high
        cycles = round((get_sim_time("ps") - begin) / (1000 * clock.period_ns()))
        leaves = self.check(logits, last)
        assert cycles == self.latency, f"done came {cycles} cycles after start, expected {self.latency}"
        return leaves

    def check(self, logits: list[int], last: bool) -> bool:
        """Compares every output with the golden model; names the first that differs."""
        confidence = integer_confidence(torch.tensor([logits]))
        leaves = bool(self.state.step(confidence, last)[0])
        probabilities = confidence.probabilities[0].tolist()
        expected = {
            "done": 1,
            "label": int(confidence.label),
            "probabilities": packed(probabilities, PROBABILITY_BITS),
            "entropy": int(confidence.entropy),
            "entropy_raw": int(confidence.entropy_raw),
            "confidence": int(confidence.confidence),
            "exit": int(leaves),
        }
        for name, value in expected.items():
            got = int(getattr(self.dut, name).value)
            assert got == value, (
                f"{name}: expected {value:#x}, got {got:#x} at iteration {self.state.iteration}, "
                f"logits {logits}, {self.policy}"
            )
        self.checked += 1
        self.outcomes[f"{self.policy.mode.name}.{'exit' if leaves else 'stay'}"] += not last
        return leaves


def random_policy(rng: random.Random, mode: ExitMode) -> FixedExitPolicy:
    """Thresholds where trajectories of :func:`trajectory` fall on both sides."""
    stage_one = mode in (ExitMode.entropy, ExitMode.entropy_raw)
    return FixedExitPolicy(
        mode=mode,
        # stage 1 alone needs a delta that is met; elsewhere it must leave room for the window
        delta=rng.randint(10000, ONE) if stage_one else rng.choice((0, rng.randint(0, 20000))),
        window=rng.choice((1, 2, 3, 4, rng.randint(1, MAX_WINDOW))),
        margin=rng.choice((0, rng.randint(0, 3000), rng.randint(0, ONE // 2))),
        range=rng.choice((rng.randint(0, 3000), rng.randint(0, 20000), ONE)),
        patience=rng.choice((0, 1, 2, rng.randint(0, 6))),
    )


def trajectory(rng: random.Random, num_labels: int, length: int) -> list[list[int]]:
    """Logits that wander, drift towards a class, repeat or tie."""
    logits = [rng.randint(-1000, 1000) for _ in range(num_labels)]
    favourite, drift, step = (
        rng.randrange(num_labels),
        rng.choice((0, 100, 600)),
        rng.choice((3, 200, 200, 1500)),
    )
    steps = []
    for _ in range(length):
        if rng.random() > 0.1:
            logits = [z + rng.randint(-step, step) + drift * (c == favourite) for c, z in enumerate(logits)]
        if rng.random() < 0.05:
            logits = [max(logits)] * num_labels
        steps.append(list(logits))
    return steps


@cocotb.test
async def random_sentences(dut: Any) -> None:
    """Whole sentences in every mode, with idle gaps; some run on after their exit."""
    rng = random.Random(1)
    unit = Unit(dut, rng)
    await unit.begin()
    for number in range(bench_args()["sentences"]):
        unit.new_sentence(random_policy(rng, ExitMode(number % len(ExitMode))))
        steps = trajectory(rng, unit.num_labels, rng.randint(1, 12))
        runs_on = rng.random() < 0.3
        for i, logits in enumerate(steps):
            leaves = await unit.iterate(logits, last=i == len(steps) - 1)
            if leaves and not runs_on:
                break
            await clock.cycles(dut, rng.choice((0, 0, 1, 5)))
    report(iterations=unit.checked, outcomes=dict(unit.outcomes))


@cocotb.test
async def corner_logits(dut: Any) -> None:
    """The format's ends, ties in every place, and each distance around the tables' seams."""
    rng = random.Random(2)
    unit = Unit(dut, rng)
    await unit.begin()
    count = unit.num_labels
    cases = [[value] * count for value in (0, LOGIT_MIN, LOGIT_MAX)]
    for place in range(count):
        cases.append([LOGIT_MAX if c == place else LOGIT_MIN for c in range(count)])
        cases.append([5 if c >= place else 4 for c in range(count)])
    seams = (1, 63, 64, 65, 127, 128, 11355, 11356, EXP_ZERO_FROM - 1, EXP_ZERO_FROM, EXP_ZERO_FROM + 64)
    for distance in seams:
        cases.append([0] + [-distance] * (count - 1))
        cases.append([LOGIT_MIN] * (count - 1) + [LOGIT_MIN + distance])
    for _ in range(60):
        spread = 1 << rng.randint(1, LOGIT_BITS - 1)
        cases.append([rng.randint(-spread, spread - 1) for _ in range(count)])
    for i, logits in enumerate(cases):
        if i % 4 == 0:
            unit.new_sentence(random_policy(rng, rng.choice(list(ExitMode))))
        await unit.iterate(logits)


@cocotb.test
async def longest_windows(dut: Any) -> None:
    """Window 16 and patience 31 over 32 iterations and far beyond: the counters saturate, not wrap."""
    rng = random.Random(3)
    unit = Unit(dut, rng)
    await unit.begin()
    for mode in (ExitMode.bias_1, ExitMode.bias_2, ExitMode.bias_3, ExitMode.patience):
        policy = FixedExitPolicy(mode=mode, window=MAX_WINDOW, patience=MAX_PATIENCE, range=3000, margin=2000)
        unit.new_sentence(policy)
        exits = []
        for i in range(MAX_ITERATIONS + 40):
            # bias_3 sees a spike, which leaves the window after 16 more iterations
            rise = 1500 * (i == 4) if mode == ExitMode.bias_3 else 5 * min(i, MAX_ITERATIONS)
            exits.append(await unit.iterate([400 + rise] + [0] * (unit.num_labels - 1)))
        first = {ExitMode.patience: MAX_PATIENCE, ExitMode.bias_3: MAX_WINDOW + 4}.get(mode, MAX_WINDOW - 1)
        if unit.num_labels == 2:
            assert exits.index(True) == first
            assert all(exits[first:])
        else:
            assert mode != ExitMode.patience or exits.index(True) == first


@cocotb.test
async def illegal_mode_acts_as_none(dut: Any) -> None:
    """Whatever the registers let through, the unit still answers."""
    unit = Unit(dut, random.Random(4))
    await unit.begin()
    unit.new_sentence(FixedExitPolicy(mode=ExitMode.none, delta=ONE, window=1))
    for i in range(4):
        sure = [20000] + [0] * (unit.num_labels - 1)
        assert await unit.iterate(sure, last=i == 3, mode=ILLEGAL_MODE) == (i == 3)


@cocotb.test
async def start_while_busy_is_ignored_and_outputs_hold(dut: Any) -> None:
    """A second start changes nothing; results stay until the next start."""
    rng = random.Random(5)
    unit = Unit(dut, rng)
    await unit.begin()
    unit.new_sentence(FixedExitPolicy(mode=ExitMode.bias_1, window=1))
    logits = [300 * (c == unit.num_labels - 1) for c in range(unit.num_labels)]

    async def disturb() -> None:
        for _ in range(5):
            await clock.cycles(dut, unit.latency // 7)
            dut.start.value = 1
            await RisingEdge(dut.clk)
            dut.start.value = 0

    task = cocotb.start_soon(disturb())
    await unit.iterate(logits)
    await task
    names = ("label", "probabilities", "entropy", "entropy_raw", "confidence", "exit")
    before = [int(getattr(dut, name).value) for name in names]
    await clock.cycles(dut, 3 * unit.latency)
    assert int(dut.done.value) == 0
    assert before == [int(getattr(dut, name).value) for name in names]


@cocotb.test
async def clear_drops_what_runs(dut: Any) -> None:
    """Cleared after any number of cycles, with or without a start in the same cycle: the next is right."""
    rng = random.Random(6)
    unit = Unit(dut, rng)
    await unit.begin()
    for cut in range(1, unit.latency + 2, 3):
        unit.new_sentence(FixedExitPolicy(mode=ExitMode.patience, patience=1))
        logits = trajectory(rng, unit.num_labels, 2)
        await unit.iterate(logits[0])
        unit.drive(logits[0], last=False)
        dut.start.value = 1
        await RisingEdge(dut.clk)
        dut.start.value = 0
        await clock.cycles(dut, cut - 1)
        if cut % 2:
            dut.clear.value = 1
            await RisingEdge(dut.clk)
            dut.clear.value = 0
            await RisingEdge(dut.clk)
            assert int(dut.done.value) == 0
            await clock.cycles(dut, rng.randint(0, 2))
        unit.new_sentence(unit.policy)
        if cut % 2:
            unit.fresh = False  # the clear has come already
        assert not await unit.iterate(logits[1])
        assert await unit.iterate(logits[1])
