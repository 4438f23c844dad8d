"""cocotb side of test_run.py: reports the value of a register that nothing writes."""

from __future__ import annotations

import cocotb
from cocotb.triggers import RisingEdge

from sim.run import report


@cocotb.test
async def reads(dut):
    await RisingEdge(dut.clk)
    report(value=int(dut.value.value))
