"""Exit decision against the golden streaming state: every iteration of whole sentences.

Arguments (``bench_args``): latency (the block's own property), sentences. Reported: iterations checked, and
how many let a sentence go and how many did not, per mode; how often a threshold was met exactly.
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
from golden_model.exits import MAX_PATIENCE, MAX_WINDOW, Confidence, ExitMode, ExitState, FixedExitPolicy
from golden_model.numerics import ONE
from hw.units.exit_decision import POLICY
from sim.agents import clock
from sim.run import bench_args, report

ILLEGAL_MODE = 7
GRAIN = 1000
"""Of probabilities, entropies and thresholds: coarse, so that they often meet."""


def policy_value(policy: FixedExitPolicy, mode: int | None = None) -> int:
    """The policy as its port takes it."""
    given = policy.model_dump() | {"mode": int(policy.mode) if mode is None else mode}
    value = 0
    for name, field in POLICY:
        value |= given[name] << field.offset
    return value


class Bench:
    """The block and, beside it, the golden state of the same sentence."""

    def __init__(self, dut: Any, seed: int) -> None:
        torch.set_num_threads(1)  # tensors of a few elements
        self.dut, self.rng = dut, random.Random(seed)
        self.latency: int = bench_args()["latency"]
        self.checked = 0
        self.outcomes: Counter[str] = Counter()
        self.ties: Counter[str] = Counter()

    async def begin(self) -> None:
        """Clock and reset."""
        self.dut.start.value = self.dut.clear.value = 0
        await clock.start(self.dut)
        await self.new_sentence(FixedExitPolicy())

    async def new_sentence(self, policy: FixedExitPolicy) -> None:
        """A clear, and the policy."""
        self.policy, self.state = policy, ExitState(policy, 1)
        self.dut.clear.value = 1
        await RisingEdge(self.dut.clk)
        self.dut.clear.value = 0

    def drive(self, confidence: Confidence, last: bool, mode: int | None = None) -> None:
        """An iteration's numbers, with a start."""
        dut = self.dut
        for name in ("label", "confidence", "lead", "entropy", "entropy_raw"):
            getattr(dut, name).value = int(getattr(confidence, name))
        dut.policy.value = policy_value(self.policy, mode)
        dut.last_iteration.value = int(last)
        dut.start.value = 1

    async def iterate(self, confidence: Confidence, last: bool = False, mode: int | None = None) -> bool:
        """One iteration, checked; returns the golden decision."""
        dut, policy = self.dut, self.policy
        self.drive(confidence, last, mode)
        await RisingEdge(dut.clk)
        dut.start.value = 0
        begin = get_sim_time("ps")
        await with_timeout(RisingEdge(dut.done), 4 * self.latency * clock.period_ns(), "ns")
        await RisingEdge(dut.clk)  # samples the cycle in which done is high
        cycles = round((get_sim_time("ps") - begin) / (1000 * clock.period_ns()))
        leaves = bool(self.state.step(confidence, last)[0])
        where = f"iteration {self.state.iteration}, {policy}, {confidence}"
        assert int(dut.exit.value) == leaves, f"exit: expected {leaves}, {where}"
        assert int(dut.done.value), where
        assert cycles == self.latency, f"done came {cycles} cycles after start, expected {self.latency}"
        self.checked += 1
        self.outcomes[f"{policy.mode.name}.{'exit' if leaves else 'stay'}"] += not last
        top = self.state.top[: policy.window]
        self.ties["margin"] += int(confidence.lead) == 2 * policy.margin
        self.ties["delta"] += policy.delta in (int(confidence.entropy), int(confidence.entropy_raw))
        self.ties["range"] += int(top.amax() - top.amin()) == policy.range
        return leaves


def confidence_of(label: int, top: int, lead: int, entropy: int, entropy_raw: int) -> Confidence:
    """Numbers of one sentence; the classes that are neither first nor second have nothing."""
    probabilities = torch.zeros(1, MAX_LABELS, dtype=torch.int64)
    second = top - lead
    probabilities[0, (label + 1) % MAX_LABELS] = second
    probabilities[0, label] = top
    return Confidence(probabilities, torch.tensor([entropy]), torch.tensor([entropy_raw]))


def random_policy(rng: random.Random, mode: ExitMode) -> FixedExitPolicy:
    """Thresholds on the grain of the numbers."""
    return FixedExitPolicy(
        mode=mode,
        delta=GRAIN * rng.choice((0, rng.randint(0, 5), rng.randint(0, 65))),
        window=rng.choice((1, 2, 3, rng.randint(1, MAX_WINDOW), MAX_WINDOW)),
        margin=GRAIN * rng.choice((0, rng.randint(0, 5), 32)),
        range=GRAIN * rng.choice((0, 1, rng.randint(0, 20), 65)),
        patience=rng.choice((0, 1, 2, rng.randint(0, 8), MAX_PATIENCE)),
    )


def trajectory(rng: random.Random, length: int) -> list[Confidence]:
    """Numbers that wander, repeat, change sides."""
    label, top, steps = rng.randrange(MAX_LABELS), rng.randint(35, 60), []
    wander, change = rng.choice((0, 1, 4)), rng.choice((0.0, 0.0, 0.2))
    for _ in range(length):
        top = min(65, max(33, top + rng.randint(-wander, wander)))
        if rng.random() < change:
            label = rng.randrange(MAX_LABELS)
        lead = (
            rng.randint(1, 65 - top)
            if top < 64 and rng.random() < 0.2
            else max(1, 2 * top - 65) + rng.randint(0, 1)
        )
        entropy, raw = GRAIN * rng.randint(0, 65), GRAIN * rng.randint(0, 136)
        steps.append(confidence_of(label, GRAIN * top, GRAIN * lead, entropy, raw))
    return steps


@cocotb.test
async def random_sentences(dut: Any) -> None:
    """Whole sentences in every mode, with idle gaps; some run on after their exit."""
    bench = Bench(dut, 1)
    rng = bench.rng
    await bench.begin()
    for number in range(bench_args()["sentences"]):
        await bench.new_sentence(random_policy(rng, ExitMode(number % len(ExitMode))))
        steps = trajectory(rng, rng.choice((3, 12, 24)))
        for i, confidence in enumerate(steps):
            if await bench.iterate(confidence, last=i == len(steps) - 1) and rng.random() < 0.3:
                break
            await clock.cycles(dut, rng.choice((0, 0, 1, 5)))
    report(iterations=bench.checked, outcomes=dict(bench.outcomes), ties=dict(bench.ties))


@cocotb.test
async def rails(dut: Any) -> None:
    """The largest and smallest numbers and thresholds, in every mode."""
    bench = Bench(dut, 2)
    await bench.begin()
    for mode in ExitMode:
        for window, margin, spread in ((1, 0, 0), (MAX_WINDOW, ONE // 2, ONE), (MAX_WINDOW, 0, 0)):
            for delta in (0, 1, ONE, (1 << 18) - 1):
                policy = FixedExitPolicy(
                    mode=mode, window=window, margin=margin, range=spread, delta=delta, patience=0
                )
                await bench.new_sentence(policy)
                for top, lead, entropy in ((ONE, ONE, 0), (ONE, ONE, 0), (ONE // 2, 0, ONE), (ONE, ONE, 1)):
                    await bench.iterate(confidence_of(0, top, lead, entropy, 2 * entropy))


@cocotb.test
async def longest_streaks(dut: Any) -> None:
    """Window 16 and patience 31 over 32 iterations and far beyond: the counters saturate, not wrap."""
    bench = Bench(dut, 3)
    await bench.begin()
    for mode in (ExitMode.bias_1, ExitMode.bias_2, ExitMode.bias_3, ExitMode.patience):
        policy = FixedExitPolicy(mode=mode, window=MAX_WINDOW, patience=MAX_PATIENCE, range=3000, margin=2000)
        await bench.new_sentence(policy)
        exits = []
        for i in range(MAX_ITERATIONS + 40):
            # bias_3 sees a spike, which leaves the window after 16 more iterations
            top = 40000 + (9000 * (i == 4) if mode == ExitMode.bias_3 else i)
            exits.append(await bench.iterate(confidence_of(5, top, 9000, 60000, 90000)))
        first = {ExitMode.patience: MAX_PATIENCE, ExitMode.bias_3: MAX_WINDOW + 4}.get(mode, MAX_WINDOW - 1)
        assert exits.index(True) == first
        assert all(exits[first:])


@cocotb.test
async def illegal_mode_and_clear(dut: Any) -> None:
    """A mode that is none never lets go; a clear drops what runs and what was seen."""
    bench = Bench(dut, 4)
    await bench.begin()
    sure = confidence_of(1, ONE, ONE, 0, 0)
    await bench.new_sentence(FixedExitPolicy(mode=ExitMode.none, delta=ONE, window=1))
    for i in range(4):
        assert await bench.iterate(sure, last=i == 3, mode=ILLEGAL_MODE) == (i == 3)
    for cut in range(bench.latency):
        await bench.new_sentence(FixedExitPolicy(mode=ExitMode.patience, patience=1))
        await bench.iterate(sure)
        bench.drive(sure, last=True)
        await RisingEdge(dut.clk)
        dut.start.value = 0
        await clock.cycles(dut, cut)
        await bench.new_sentence(bench.policy)
        await RisingEdge(dut.clk)
        assert not int(dut.busy.value)
        assert not int(dut.done.value)
        assert not await bench.iterate(sure)
        assert await bench.iterate(sure)
