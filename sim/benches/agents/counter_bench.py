"""cocotb side of test_run.py and test_build.py: a counter, and tests that are asked to misbehave."""

from __future__ import annotations

import time

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, Timer

from sim.agents import clock
from sim.run import bench_args, report


@cocotb.test
async def counts(dut):
    args = bench_args()
    mode = args.get("mode", "pass")
    await clock.start(dut)
    dut.en.value = 1
    begin = int(dut.count.value)
    await clock.cycles(dut, args["cycles"])
    seen = int(dut.count.value) - begin
    report(seen=seen)
    if mode == "hang":
        await Timer(10, "sec")
    if mode == "sleep":
        time.sleep(60)
    expected = args["cycles"] - 1 + (7 if mode == "fail" else 0)
    assert seen == expected, f"counted {seen}, expected {expected}"
    if "table" in args:
        assert args["table"].dtype == np.int16
        report(total=int(args["table"].sum()))


@cocotb.test
async def samples_before_the_edge(dut):
    """RisingEdge reads old values; a write after it is seen by the next edge only."""
    dut.en.value = 0
    await clock.start(dut)
    dut.en.value = 1
    for expected in range(5):
        await RisingEdge(dut.clk)
        assert int(dut.count.value) == expected  # the next edge shows what this one counts
    dut.en.value = 0
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    stopped = int(dut.count.value)
    await clock.cycles(dut, 10)
    assert int(dut.count.value) == stopped == 5
