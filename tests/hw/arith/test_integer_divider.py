"""The integer divider is divmod, and ends whatever it is given."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from hw.arith.integer_divider import IntegerDivider


@pytest.mark.parametrize(
    ("dividend", "divisor", "quotient"), [(5, 4, None), (5, 3, 3), (1, 1, None), (4, 5, 2)]
)
def test_integer_divider_is_exhaustively_divmod(
    dividend: int, divisor: int, quotient: int | None, simulate: Any
) -> None:
    block = IntegerDivider(dividend, divisor, quotient)
    steps = quotient or dividend
    cases = [
        (a, b)
        for a, b in itertools.product(range(1 << dividend), range(1 << divisor))
        if a >> steps < b  # the quotient fits
    ]
    assert len(cases) >= (1 << dividend)

    async def process(ctx: Any) -> None:
        for a, b in cases:  # a start in the cycle of done: back to back
            ctx.set(block.start, 1)
            ctx.set(block.dividend, a)
            ctx.set(block.divisor, b)
            await ctx.tick()
            ctx.set(block.start, 0)
            for _ in range(block.latency - 1):
                assert ctx.get(block.busy)
                assert not ctx.get(block.done)
                await ctx.tick()
            assert ctx.get(block.done)
            assert not ctx.get(block.busy)
            assert (ctx.get(block.quotient), ctx.get(block.remainder)) == divmod(a, b), (a, b)

    simulate(block, process)


def test_integer_divider_ends_when_dividing_by_zero(simulate: Any) -> None:
    block = IntegerDivider(8, 4)

    async def process(ctx: Any) -> None:
        ctx.set(block.start, 1)
        ctx.set(block.dividend, 200)
        await ctx.tick()
        ctx.set(block.start, 0)
        for _ in range(block.latency - 1):
            await ctx.tick()
        assert ctx.get(block.done)

    simulate(block, process)
