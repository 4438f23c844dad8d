"""Rounding shift and clamps, exhaustively the golden ones."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.integer.ops.fixed import round_shift
from golden_model.integer.ops.fixed import saturate_signed as golden_saturate_signed
from hw.arith.rounding import RoundShift, saturate, saturate_signed


@pytest.mark.parametrize(
    ("in_width", "shift_width", "out_width"), [(6, 3, 4), (6, 4, 6), (5, 1, 2), (7, 2, 3)]
)
def test_round_shift_is_exhaustively_the_golden_one(
    in_width: int, shift_width: int, out_width: int, simulate: Any
) -> None:
    block = RoundShift(in_width, shift_width, out_width)
    half = 1 << (in_width - 1)
    cases = list(itertools.product(range(-half, half), range(1 << shift_width)))
    table = torch.tensor(cases)
    expected = golden_saturate_signed(round_shift(table[:, 0], table[:, 1]), out_width).tolist()
    got = []

    async def process(ctx: Any) -> None:
        for i in range(len(cases) + block.latency):
            if i < len(cases):
                ctx.set(block.value, cases[i][0])
                ctx.set(block.shift, cases[i][1])
            if i >= block.latency:
                got.append(ctx.get(block.result))
            await ctx.tick()

    simulate(block, process)
    assert got == expected


class Clamps(wiring.Component):
    """The combinational clamps on one value."""

    def __init__(self) -> None:
        super().__init__(
            {
                "value": In(signed(7)),
                "narrow": Out(signed(4)),
                "same": Out(signed(9)),
                "symmetric": Out(signed(7)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.sync += Signal().eq(0)
        m.d.comb += [
            self.narrow.eq(saturate_signed(self.value, 4)),
            self.same.eq(saturate_signed(self.value, 9)),
            self.symmetric.eq(saturate(self.value, -11, 11)),
        ]
        return m


def test_clamps_are_exhaustively_the_golden_ones(simulate: Any) -> None:
    block = Clamps()

    async def process(ctx: Any) -> None:
        for value in range(-64, 64):
            ctx.set(block.value, value)
            await ctx.delay(1e-9)
            assert ctx.get(block.narrow) == max(-8, min(7, value))
            assert ctx.get(block.same) == value
            assert ctx.get(block.symmetric) == max(-11, min(11, value))

    simulate(block, process)
