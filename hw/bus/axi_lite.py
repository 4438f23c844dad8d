"""AXI4-Lite slave: the bus protocol in front of a plain register file."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.bus.axi import LITE_ADDRESS_BITS, LITE_DATA_BITS, Axi4Lite

OKAY = 0
SLVERR = 2


class RegisterBus(wiring.Signature):
    """One access at a time to a register file, from the bus's side.

    Members
    -------
    read_address : Out(10)
        Word address; stable from ``read`` on.
    read : Out(1)
        Pulse.
    read_data, read_error : In(32), In(1)
        Valid in the cycle after ``read``.
    write_address, write_data, write_strobe : Out(10), Out(32), Out(4)
        Valid with ``write``; strobe bit i enables byte i.
    write : Out(1)
        Pulse.
    write_error : In(1)
        Valid in the cycle of ``write``.
    """

    def __init__(self) -> None:
        words = LITE_ADDRESS_BITS - 2
        super().__init__(
            {
                "read_address": Out(words),
                "read": Out(1),
                "read_data": In(LITE_DATA_BITS),
                "read_error": In(1),
                "write_address": Out(words),
                "write_data": Out(LITE_DATA_BITS),
                "write_strobe": Out(LITE_DATA_BITS // 8),
                "write": Out(1),
                "write_error": In(1),
            }
        )


class AxiLiteSlave(wiring.Component):
    """Serves reads and writes independently; an error becomes SLVERR.

    Address and data of a write may come in either order; every ``ready`` and ``valid`` is a
    register or depends on registers only. The low two address bits are ignored, as the bus is one
    word wide. Latency: 3 cycles from ``arvalid`` to ``rvalid``, 2 from the later of ``awvalid`` and
    ``wvalid`` to ``bvalid``.

    Members
    -------
    s_axil : In(Axi4Lite())
    bus : Out(RegisterBus())
    """

    def __init__(self) -> None:
        super().__init__({"s_axil": In(Axi4Lite()), "bus": Out(RegisterBus())})

    def elaborate(self, platform) -> Module:
        m = Module()
        axi, bus = self.s_axil, self.bus

        address_held, data_held = Signal(), Signal()
        m.d.comb += [
            axi.awready.eq(~address_held),
            axi.wready.eq(~data_held),
            bus.write.eq(address_held & data_held & ~axi.bvalid),
        ]
        with m.If(axi.awvalid & axi.awready):
            m.d.sync += [address_held.eq(1), bus.write_address.eq(axi.awaddr[2:])]
        with m.If(axi.wvalid & axi.wready):
            m.d.sync += [data_held.eq(1), bus.write_data.eq(axi.wdata), bus.write_strobe.eq(axi.wstrb)]
        with m.If(bus.write):
            m.d.sync += [
                address_held.eq(0),
                data_held.eq(0),
                axi.bvalid.eq(1),
                axi.bresp.eq(Mux(bus.write_error, SLVERR, OKAY)),
            ]
        with m.Elif(axi.bready):
            m.d.sync += axi.bvalid.eq(0)

        with m.FSM():
            with m.State("ADDRESS"):
                m.d.comb += axi.arready.eq(1)
                m.d.sync += bus.read_address.eq(axi.araddr[2:])
                with m.If(axi.arvalid):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += bus.read.eq(1)
                m.next = "DATA"
            with m.State("DATA"):
                m.d.sync += [
                    axi.rvalid.eq(1),
                    axi.rdata.eq(bus.read_data),
                    axi.rresp.eq(Mux(bus.read_error, SLVERR, OKAY)),
                ]
                m.next = "ANSWER"
            with m.State("ANSWER"), m.If(axi.rready):
                m.d.sync += axi.rvalid.eq(0)
                m.next = "ADDRESS"
        return m
