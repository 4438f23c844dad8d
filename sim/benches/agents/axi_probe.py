"""A tiny AXI read master with a trace, to try the memory model and the trace monitor."""

from typing import Any

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

COMMAND = StructLayout(
    {"address": unsigned(32), "length": unsigned(8), "size": unsigned(3), "burst": unsigned(2)}
)


class AxiProbe(wiring.Component):
    """Issues each command as one burst, as fast as the bus takes them, and traces every beat.

    The trace's tag is the response, its index the beat's number.
    """

    def __init__(self, data_width: int) -> None:
        self.data_width = data_width
        super().__init__(
            {
                "command": In(stream.Signature(COMMAND)),
                "m_axi": Out(
                    wiring.Signature(
                        {
                            "araddr": Out(32),
                            "arlen": Out(8),
                            "arsize": Out(3),
                            "arburst": Out(2),
                            "arvalid": Out(1),
                            "arready": In(1),
                            "rdata": In(data_width),
                            "rresp": In(2),
                            "rlast": In(1),
                            "rvalid": In(1),
                            "rready": Out(1),
                        }
                    )
                ),
                "trace": Out(
                    wiring.Signature(
                        {"valid": Out(1), "tag": Out(8), "index": Out(24), "data": Out(data_width)}
                    )
                ),
                "refuse": In(1),
                "beats_done": Out(32),
                "bursts_done": Out(32),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        axi, command = self.m_axi, self.command
        m.d.comb += [
            axi.araddr.eq(command.payload.address),
            axi.arlen.eq(command.payload.length),
            axi.arsize.eq(command.payload.size),
            axi.arburst.eq(command.payload.burst),
            axi.arvalid.eq(command.valid),
            command.ready.eq(axi.arready),
            axi.rready.eq(~self.refuse),
        ]
        taken = Signal()
        m.d.comb += [
            taken.eq(axi.rvalid & axi.rready),
            self.trace.valid.eq(taken),
            self.trace.tag.eq(axi.rresp),
            self.trace.index.eq(self.beats_done),
            self.trace.data.eq(axi.rdata),
        ]
        with m.If(taken):
            m.d.sync += self.beats_done.eq(self.beats_done + 1)
            with m.If(axi.rlast):
                m.d.sync += self.bursts_done.eq(self.bursts_done + 1)
        return m
