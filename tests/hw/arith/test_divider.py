"""The divider of fractions is its golden function."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from golden_model.integer.ops.exit_math import divide_probability
from golden_model.numerics import PROBABILITY_FRACTION_BITS
from hw.arith.divider import FractionDivider


@pytest.mark.parametrize(("width", "fraction_bits"), [(20, 16), (5, 3), (1, 1)])
def test_divider_equals_its_golden_function(width: int, fraction_bits: int, simulate: Any) -> None:
    dut = FractionDivider(width, fraction_bits)
    generator = torch.Generator().manual_seed(width)
    top = (1 << width) - 1
    wholes = torch.randint(1, top + 1, (60,), generator=generator).tolist()
    pairs = [(int(torch.randint(0, whole + 1, (1,), generator=generator)), whole) for whole in wholes]
    pairs += [(0, top), (top, top), (1, 1), (0, 1), (top - 1 or 1, top), (1, top)]

    async def bench(ctx: Any) -> None:
        for number, (part, whole) in enumerate(pairs):
            if number % 3 == 1:  # a division that is dropped for the next one
                ctx.set(dut.part, 1)
                ctx.set(dut.whole, 1)
                ctx.set(dut.start, 1)
                await ctx.tick().repeat(1 + number % (dut.latency + 1))
            ctx.set(dut.part, part)
            ctx.set(dut.whole, whole)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            for _ in range(dut.latency - 1):
                assert not ctx.get(dut.done)
                await ctx.tick()
            assert ctx.get(dut.done)
            expected = (2 * part * (1 << fraction_bits) + whole) // (2 * whole)
            assert ctx.get(dut.quotient) == expected
            if fraction_bits == PROBABILITY_FRACTION_BITS:
                golden = divide_probability(torch.tensor(part), torch.tensor(whole))
                assert expected == int(golden)

    simulate(dut, bench)
