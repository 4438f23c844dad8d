"""The hidden word: its two bytes and its value are the golden model's."""

from __future__ import annotations

from typing import Any

import torch
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.integer.ops.hidden import join_hidden as golden_join_hidden
from golden_model.integer.ops.hidden import split_hidden as golden_split_hidden
from golden_model.numerics import HIDDEN_MAX
from hw.memory.hidden import HIDDEN_WORD, join_hidden, split_hidden


class Pair(wiring.Component):
    """A value to its word and back."""

    def __init__(self) -> None:
        super().__init__({"value": In(signed(16)), "word": Out(HIDDEN_WORD), "joined": Out(signed(16))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.sync += Signal().eq(0)
        m.d.comb += [
            self.word.as_value().eq(split_hidden(m, self.value, "high")),
            self.joined.eq(join_hidden(self.word.as_value())),
        ]
        return m


def test_a_hidden_word_is_the_golden_pair(simulate: Any) -> None:
    around = torch.arange(-3, 4)
    values = torch.cat([around + 256 * i + half for i in range(-128, 128) for half in (0, 128)])
    values = values[values.abs() <= HIDDEN_MAX]
    assert {-HIDDEN_MAX, HIDDEN_MAX, -129, -128, 127, 128} <= set(values.tolist())
    hi, lo = golden_split_hidden(values)
    assert torch.equal(golden_join_hidden(hi, lo), values)
    pair = Pair()

    async def process(ctx: Any) -> None:
        for value, h, low in zip(values.tolist(), hi.tolist(), lo.tolist(), strict=True):
            ctx.set(pair.value, value)
            await ctx.delay(1e-9)
            assert (ctx.get(pair.word.hi), ctx.get(pair.word.lo)) == (h, low), value
            assert ctx.get(pair.joined) == value

    simulate(pair, process)
