# amaranth: UnusedElaboratable=no
"""A sum restarts with its first addend, holds without ``enable``, wraps."""

from __future__ import annotations

import random
from typing import Any

import pytest

from hw.arith.accumulator import Accumulator


def test_sums(simulate: Any) -> None:
    width, addend_width = 12, 9
    block = Accumulator(addend_width, width)
    rng = random.Random(1)

    async def process(ctx: Any) -> None:
        total = 0
        for number in range(400):
            enable, first = rng.randrange(4) > 0 or number == 0, rng.randrange(8) == 0 or number == 0
            addend = rng.choice((-256, 255, rng.randint(-256, 255)))
            ctx.set(block.enable, enable)
            ctx.set(block.first, first)
            ctx.set(block.addend, addend)
            await ctx.tick()
            if enable:
                total = addend if first else total + addend
                total = (total + 2048) % 4096 - 2048
            assert ctx.get(block.total) == total, number

    simulate(block, process)


def test_widths_are_checked() -> None:
    with pytest.raises(ValueError, match=r"addend_width 13 is outside 2\.\.12"):
        Accumulator(13, 12)
    with pytest.raises(ValueError, match="width 65"):
        Accumulator(9, 65)
