"""A delay is as long in memory as in registers."""

from __future__ import annotations

from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.delay import RING_BITS, delay, delay_in_memory

WIDTH = 2 * RING_BITS + 3
"""Three memories, the last a narrow one."""
FACTOR = 0x1234_5678_9ABC_DEF1


class Both(wiring.Component):
    """The same bits late by either means."""

    def __init__(self, cycles: int) -> None:
        self.cycles = cycles
        super().__init__({"value": In(WIDTH), "registers": Out(WIDTH), "memory": Out(WIDTH)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.comb += [
            self.registers.eq(delay(m, self.value, self.cycles, "registers")),
            self.memory.eq(delay_in_memory(m, self.value, self.cycles, "memory")),
        ]
        return m


@pytest.mark.parametrize("cycles", [1, 5, 6, 7, 16, 17, 21])
def test_delays(simulate: Any, cycles: int) -> None:
    both = Both(cycles)

    async def process(ctx: Any) -> None:
        for number in range(60):
            ctx.set(both.value, number * FACTOR % (1 << WIDTH))
            await ctx.tick()
            late = max(0, number + 1 - cycles)
            expected = late * FACTOR % (1 << WIDTH) if number + 1 >= cycles else 0
            assert (ctx.get(both.registers), ctx.get(both.memory)) == (expected, expected), number

    simulate(both, process)
