"""cocotb side of test_agents.py: two independent AXI4-Lite masters on the same registers."""

from __future__ import annotations

import cocotb
import pytest
from cocotbext.axi import AxiLiteBus
from cocotbext.axi import AxiLiteMaster as ReferenceMaster

from sim.agents import clock
from sim.agents.axi_lite import AxiLiteError, AxiLiteMaster


@cocotb.test
async def reads_and_writes(dut):
    master = AxiLiteMaster(dut)
    await clock.start(dut)
    for number, order in enumerate(("together", "address_first", "data_first")):
        for delay in (0, 1, 5):
            value = 0xDEAD0000 + 16 * number + delay
            assert await master.write(4 * number, value, order=order, delay=delay) == 0
            assert await master.read(4 * number, delay=delay) == value
    assert [await master.read(4 * n) & 0xFF for n in range(4)] == [5, 21, 37, 0]
    await master.write(0, 0x11223344, strobe=0b0101)
    assert await master.read(0) == 0xDE220044
    with pytest.raises(ValueError, match="sideways"):
        await master.write(0, 0, order="sideways")


@cocotb.test
async def errors_are_named(dut):
    master = AxiLiteMaster(dut, limit_cycles=20)
    await clock.start(dut)
    assert await master.write(32, 1, expected=2) == 2
    assert await master.read(64, expected=None) in range(2**32)
    with pytest.raises(AxiLiteError, match="write of 0x1 to 0x20: response SLVERR, expected OKAY"):
        await master.write(32, 1)
    with pytest.raises(AxiLiteError, match="read of 0x4: response OKAY, expected SLVERR"):
        await master.read(4, expected=2)
    dut.rst.value = 1
    await clock.cycles(dut, 3)
    cocotb.log.info("a slave in reset takes the address once, then stays silent")
    with pytest.raises(AxiLiteError, match="no rvalid within 20 cycles"):
        await master.read(0)


@cocotb.test
async def agrees_with_the_reference_master(dut):
    mine = AxiLiteMaster(dut)
    await clock.start(dut)
    await mine.write(8, 0x01020304)
    reference = ReferenceMaster(AxiLiteBus.from_prefix(dut, "s_axil_"), dut.clk, dut.rst)
    assert await reference.read_dword(8) == 0x01020304
    await reference.write_dword(12, 0x55667788)
    await reference.write(14, b"\xaa")
    assert await reference.read_dword(12) == 0x55AA7788
