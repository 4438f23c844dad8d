"""cocotb side of test_agents.py: lets the traces of a running counter be written, then flushes them."""

from __future__ import annotations

import cocotb
from cocotb.triggers import RisingEdge

from sim.agents import clock, system


@cocotb.test
async def counts(dut):
    await system.start(dut, sentence=3)
    await clock.cycles(dut, 2000)
    dut.flush.value = 1
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
