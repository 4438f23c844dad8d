"""Exit arithmetic against the golden integer definition: every output, exact equality.

Arguments (``bench_args``): num_labels, latency (the block's own property), count (of random logits).
Reported: logits checked.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import torch
from cocotb.triggers import RisingEdge, with_timeout
from cocotb.utils import get_sim_time

from golden_model.config import MAX_LABELS
from golden_model.integer.confidence import integer_confidence
from golden_model.integer.ops.exit_math import EXP_ZERO_FROM, LOGIT_MAX, LOGIT_MIN
from golden_model.numerics import LOGIT_BITS, PROBABILITY_BITS
from sim.agents import clock
from sim.agents.lanes import pack
from sim.run import bench_args, report


class Bench:
    """The block and the golden function."""

    def __init__(self, dut: Any, seed: int) -> None:
        torch.set_num_threads(1)  # tensors of a few elements
        args = bench_args()
        self.dut, self.rng = dut, random.Random(seed)
        self.num_labels: int = args["num_labels"]
        self.latency: int = args["latency"]
        self.checked = 0

    async def begin(self) -> None:
        """Clock and reset."""
        self.dut.start.value = self.dut.clear.value = 0
        await clock.start(self.dut)

    async def start(self, logits: list[int]) -> None:
        """The classes that the block does not have get noise, and all of them afterwards."""
        dut, rng = self.dut, self.rng
        noise = [rng.randint(LOGIT_MIN, LOGIT_MAX) for _ in range(MAX_LABELS - self.num_labels)]
        dut.logits.value, dut.start.value = pack(logits + noise, LOGIT_BITS), 1
        await RisingEdge(dut.clk)
        dut.logits.value, dut.start.value = rng.getrandbits(LOGIT_BITS * MAX_LABELS), 0

    async def run(self, logits: list[int]) -> None:
        """One iteration's logits, checked."""
        dut = self.dut
        await self.start(logits)
        begin = get_sim_time("ps")
        await with_timeout(RisingEdge(dut.done), 4 * self.latency * clock.period_ns(), "ns")
        await RisingEdge(dut.clk)  # samples the cycle in which done is high
        cycles = round((get_sim_time("ps") - begin) / (1000 * clock.period_ns()))
        confidence = integer_confidence(torch.tensor([logits]))
        expected = {
            "done": 1,
            "label": int(confidence.label),
            "probabilities": pack(confidence.probabilities[0].tolist(), PROBABILITY_BITS),
            "entropy": int(confidence.entropy),
            "entropy_raw": int(confidence.entropy_raw),
            "confidence": int(confidence.confidence),
            "lead": int(confidence.lead),
        }
        for name, value in expected.items():
            got = int(getattr(dut, name).value)
            assert got == value, f"{name}: expected {value:#x}, got {got:#x}, logits {logits}"
        assert cycles == self.latency, f"done came {cycles} cycles after start, expected {self.latency}"
        self.checked += 1


@cocotb.test
async def random_logits(dut: Any) -> None:
    """Of every spread, back to back and with holes; the largest in every place."""
    bench = Bench(dut, 1)
    await bench.begin()
    for _ in range(bench_args()["count"]):
        spread = 1 << bench.rng.randint(1, LOGIT_BITS - 1)
        await bench.run([bench.rng.randint(-spread, spread - 1) for _ in range(bench.num_labels)])
        await clock.cycles(dut, bench.rng.choice((0, 0, 1, 5)))
    report(checked=bench.checked)


@cocotb.test
async def rails(dut: Any) -> None:
    """The format's ends, ties in every place, and each distance around the tables' seams."""
    bench = Bench(dut, 2)
    await bench.begin()
    count = bench.num_labels
    for value in (0, LOGIT_MIN, LOGIT_MAX):
        await bench.run([value] * count)
    for place in range(count):
        await bench.run([LOGIT_MAX if c == place else LOGIT_MIN for c in range(count)])
        await bench.run([5 if c >= place else 4 for c in range(count)])
    for distance in (1, 63, 64, 65, 127, 128, 11355, 11356, *(EXP_ZERO_FROM + d for d in (-1, 0, 64))):
        await bench.run([0] + [-distance] * (count - 1))
        await bench.run([LOGIT_MIN] * (count - 1) + [LOGIT_MIN + distance])


@cocotb.test
async def start_is_ignored_and_clear_drops(dut: Any) -> None:
    """A start while it works changes nothing; a clear drops what runs, and the next start works."""
    bench = Bench(dut, 3)
    await bench.begin()
    logits = [bench.rng.randint(-3000, 3000) for _ in range(bench.num_labels)]

    async def disturb() -> None:
        for _ in range(4):
            await clock.cycles(dut, bench.latency // 6)
            dut.start.value = 1
            await RisingEdge(dut.clk)
            dut.start.value = 0

    task = cocotb.start_soon(disturb())
    await bench.run(logits)
    await task
    for cut in range(1, bench.latency + 1, 5):
        await bench.start(logits[::-1])
        await clock.cycles(dut, cut - 1)
        dut.clear.value = 1
        if cut % 2:
            await RisingEdge(dut.clk)
            dut.clear.value = 0
            await RisingEdge(dut.clk)
            assert not int(dut.busy.value)
            assert not int(dut.done.value)
            await bench.run(logits)
        else:  # a start comes with it
            task = cocotb.start_soon(lower(dut))
            await bench.run(logits)
            await task


async def lower(dut: Any) -> None:
    """Clear is a pulse."""
    await RisingEdge(dut.clk)
    dut.clear.value = 0
