"""Eight registers behind the project's AXI4-Lite slave, for the tests of the AXI4-Lite master."""

from typing import Any

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.bus.axi import Axi4Lite
from hw.bus.axi_lite import AxiLiteSlave


class RegisterFile(wiring.Component):
    """Registers at byte addresses 0 to 28; any other address answers SLVERR."""

    s_axil: In(Axi4Lite())

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.slave = slave = AxiLiteSlave()
        wiring.connect(m, wiring.flipped(self.s_axil), slave.s_axil)
        bus = slave.bus
        registers = Array(Signal(32, name=f"register_{n}") for n in range(8))
        with m.If(bus.read):
            m.d.sync += [
                bus.read_data.eq(registers[bus.read_address[:3]]),
                bus.read_error.eq(bus.read_address >= 8),
            ]
        m.d.comb += bus.write_error.eq(bus.write_address >= 8)
        with m.If(bus.write & ~bus.write_error):
            for byte in range(4):
                with m.If(bus.write_strobe[byte]):
                    part = slice(8 * byte, 8 * byte + 8)
                    m.d.sync += registers[bus.write_address[:3]][part].eq(bus.write_data[part])
        return m
