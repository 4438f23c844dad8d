"""A small stream component for the tests of the agents: four 8-bit lanes, each plus its number, four deep."""

from typing import Any

from amaranth.hdl import Cat, Module
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out


class StreamAdder(wiring.Component):
    """o = i with lane number + 1 added to each lane, modulo 256; up to four payloads wait inside.

    Args:
        broken: "" works; "drops" lowers valid while refused; "changes" changes the payload while refused.
    """

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        super().__init__({"i": In(stream.Signature(32)), "o": Out(stream.Signature(32))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.fifo = queue = fifo.SyncFIFOBuffered(width=32, depth=4)
        lanes = [(self.i.payload[8 * n : 8 * n + 8] + n + 1)[:8] for n in range(4)]
        m.d.comb += [
            queue.w_data.eq(Cat(*lanes)),
            queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
            self.o.payload.eq(queue.r_data),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.valid & self.o.ready),
        ]
        if self.broken:
            phase = m.submodules.phase = _Phase()
            if self.broken == "drops":
                m.d.comb += self.o.valid.eq(queue.r_rdy & phase.high)
            else:
                m.d.comb += self.o.payload.eq(queue.r_data ^ phase.high)
        return m


class _Phase(wiring.Component):
    high: Out(1)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.sync += self.high.eq(~self.high)
        return m
