"""Requantiser against ``golden_model.integer.ops.fixed.requantize``: one value per cycle, exact equality.

Arguments (``bench_args``): latency (the block's own property), count (random values).
Reported: checked, and how many results were saturated and how many were not.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

import cocotb
import torch
from cocotb.triggers import RisingEdge

from golden_model.integer.ops.fixed import requantize
from golden_model.numerics import ACCUMULATOR_BITS, OFFSET_LIMIT, RESIDUAL_BITS
from sim.agents import clock
from sim.run import bench_args, report

LOW, HIGH = -(1 << (RESIDUAL_BITS - 1)), (1 << (RESIDUAL_BITS - 1)) - 1
ACCUMULATOR_MIN, ACCUMULATOR_MAX = -(1 << (ACCUMULATOR_BITS - 1)), (1 << (ACCUMULATOR_BITS - 1)) - 1
Operands = tuple[int, int, int, int]


def corners() -> list[Operands]:
    """Extremes of every operand at every shift, and ties of the rounding."""
    accumulators = (ACCUMULATOR_MIN, -1, 0, 1, ACCUMULATOR_MAX)
    offsets = (-OFFSET_LIMIT + 1, 0, OFFSET_LIMIT - 1)
    values = list(itertools.product(accumulators, offsets, (0, 1 << 15, (1 << 16) - 1), range(64)))
    # multiplier 2^15 and shift s: (accumulator·2^15) / 2^s is a tie for accumulator = odd·2^(s-16)
    for shift in range(16, 32):
        for odd in (-3, -1, 1, 3, 2 * HIGH + 1, 2 * HIGH - 1, 2 * LOW - 1, 2 * LOW + 1):
            for nudge in (-1, 0, 1):
                accumulator = (odd << (shift - 16)) + nudge
                if ACCUMULATOR_MIN <= accumulator <= ACCUMULATOR_MAX:
                    values.append((accumulator, 0, 1 << 15, shift))
    return values


def random_operands(rng: random.Random) -> Operands:
    """Mostly such that the result is near the range, where both outcomes occur."""
    bits = rng.randint(1, ACCUMULATOR_BITS - 1)
    accumulator = rng.randint(-(1 << bits), (1 << bits) - 1)
    offset = rng.randint(-min(OFFSET_LIMIT - 1, 1 << bits), min(OFFSET_LIMIT - 1, 1 << bits))
    centre = max(bits + 16 - RESIDUAL_BITS, 0)
    shift = rng.choice([rng.randrange(64), min(63, max(0, centre + rng.randint(-3, 3)))])
    return accumulator, offset, rng.choice([rng.randrange(1 << 16), rng.randrange(1 << 15, 1 << 16)]), shift


@cocotb.test
async def equals_golden(dut: Any) -> None:
    """Corners and random operands, back to back."""
    args = bench_args()
    latency: int = args["latency"]
    rng = random.Random(cocotb.RANDOM_SEED)
    operands = corners() + [random_operands(rng) for _ in range(args["count"])]
    rng.shuffle(operands)
    table = torch.tensor(operands)
    expected = requantize(table[:, 0], table[:, 1], table[:, 2], table[:, 3], LOW, HIGH).tolist()
    for i, (accumulator, offset, multiplier, shift) in enumerate(operands):
        if shift == 63:  # the rule in unbounded integers: 2^(shift - 1) leaves int64 when added there
            exact = ((accumulator + offset) * multiplier + (1 << 62)) >> 63
            expected[i] = max(LOW, min(HIGH, exact))

    await clock.start(dut)
    edge = RisingEdge(dut.clk)
    saturated = 0
    for i in range(len(operands) + latency):
        accumulator, offset, multiplier, shift = operands[min(i, len(operands) - 1)]
        dut.accumulator.value = accumulator & ((1 << 28) - 1)
        dut.offset.value = offset & ((1 << 32) - 1)
        dut.multiplier.value = multiplier
        dut.shift.value = shift
        await edge
        if i >= latency:
            k = i - latency
            got = dut.value.value.to_signed()
            assert got == expected[k], f"value {k}, {operands[k]}: expected {expected[k]}, got {got}"
            saturated += expected[k] in (LOW, HIGH)
    report(checked=len(operands), saturated=saturated)
