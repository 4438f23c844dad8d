"""The smallest component with state, for the tests of the simulation's own machinery."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Counter(wiring.Component):
    """Counts the clock edges at which ``en`` is high, from 0 after reset."""

    en: In(1)
    count: Out(32)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        with m.If(self.en):
            m.d.sync += self.count.eq(self.count + 1)
        return m
