# amaranth: UnusedElaboratable=no
"""A tree of copies: how deep, how wide, how late."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arith.fan_out import fan_out, fan_out_levels, register_each


class Tree(wiring.Component):
    """Every load of a tree is an output."""

    def __init__(self, loads: int, limit: int, cycles: int) -> None:
        self.loads, self.limit, self.cycles = loads, limit, cycles
        super().__init__({"value": In(8), "loads_see": Out(8).array(loads)})
        self.sources: list[Any] = []

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.sync += Signal().eq(0)
        self.sources = fan_out(m, self.value, self.loads, limit=self.limit, cycles=self.cycles, name="tree")
        m.d.comb += [seen.eq(source) for seen, source in zip(self.loads_see, self.sources, strict=True)]
        return m


def test_levels() -> None:
    assert [fan_out_levels(n, 4) for n in (1, 4, 5, 16, 17, 64, 65)] == [0, 0, 1, 1, 2, 2, 3]
    assert [fan_out_levels(n, 8) for n in (16, 128, 1024)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("loads", "limit", "cycles"), [(16, 4, 1), (17, 4, 3), (5, 2, 2), (3, 8, 2), (4, 4, 0)]
)
def test_every_load_sees_the_value_late_and_no_register_drives_too_many(
    simulate: Any, loads: int, limit: int, cycles: int
) -> None:
    tree = Tree(loads, limit, cycles)

    async def process(ctx: Any) -> None:
        for number in range(20 + cycles):
            ctx.set(tree.value, 7 * number % 256)
            await ctx.delay(1e-9)
            if number >= cycles:
                expected = 7 * (number - cycles) % 256
                assert [ctx.get(seen) for seen in tree.loads_see] == [expected] * loads
            await ctx.tick()

    simulate(tree, process)
    assert max(Counter(map(id, tree.sources)).values()) <= limit


def test_a_tree_that_is_too_deep_is_refused() -> None:
    with pytest.raises(ValueError, match="17 loads at 4 a register take 2 cycles, not 1"):
        fan_out(Module(), Signal(), 17, limit=4, cycles=1, name="tree")


@pytest.mark.parametrize("reset", [False, True])
def test_each_load_has_a_register_that_only_what_starts_something_clears(simulate: Any, reset: bool) -> None:
    module = Module()
    value, clear = Signal(8, init=5), Signal()
    registers = register_each(module, value, 3, "own", reset=reset)
    assert len({id(register) for register in registers}) == 3
    assert all(register.attrs["keep"] for register in registers)

    async def process(ctx: Any) -> None:
        ctx.set(value, 7)
        await ctx.tick()
        assert [ctx.get(register) for register in registers] == [7] * 3
        ctx.set(value, 9)
        ctx.set(clear, 1)
        await ctx.tick()
        assert [ctx.get(register) for register in registers] == ([0] if reset else [9]) * 3

    simulate(ResetInserter(clear)(module), process)
