"""Multiplication by constants."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from amaranth.hdl import Module, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.addition import adder_tree, tree_levels
from hw.arith.constant import constant_products, signed_digits, times_constant


def test_signed_digits() -> None:
    for constant in range(1, 2049):
        digits = signed_digits(constant)
        assert sum(sign << shift for sign, shift in digits) == constant
        shifts = [shift for _, shift in digits]
        assert all(b - a >= 2 for a, b in itertools.pairwise(shifts)), digits
    assert len(signed_digits(384)) == len(signed_digits(768)) == 2


class Scaled(wiring.Component):
    """value · constants[select] through a tree."""

    CONSTANTS = (1, 59, 384, 1000)

    def __init__(self) -> None:
        super().__init__({"value": In(signed(6)), "select": In(unsigned(2)), "product": Out(signed(18))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        addends = constant_products(self.value, self.CONSTANTS, self.select)
        self.latency = tree_levels(len(addends))
        m.d.comb += self.product.eq(adder_tree(m, addends, signed(18), "tree"))
        return m


def test_constant_products(simulate: Any) -> None:
    block = Scaled()

    async def process(ctx: Any) -> None:
        for select, constant in enumerate(block.CONSTANTS):
            for value in range(-32, 32):
                ctx.set(block.value, value)
                ctx.set(block.select, select)
                await ctx.tick().repeat(block.latency)
                assert ctx.get(block.product) == value * constant

    simulate(block, process)


@pytest.mark.parametrize("factor", [1, 16, 24, 384, 1023])
def test_times_constant(factor: int) -> None:
    assert [times_constant(value, factor) for value in (0, 1, 77)] == [0, factor, 77 * factor]
