"""Whole sentences on the accelerator: the cocotb side. Comparing is the business of `sim.checker`."""

from __future__ import annotations

import json
from pathlib import Path

import cocotb
from cocotb.triggers import RisingEdge

from sim.agents import system
from sim.driver import Driver
from sim.run import bench_args


@cocotb.test
async def sentences(dut):  # type: ignore[no-untyped-def]
    """Runs every job and appends what the registers say to ``results.jsonl``."""
    args = bench_args()
    driver = Driver(dut)
    traced = hasattr(dut, "flush")  # a netlist has no trace ports
    await system.start(dut, stall_mode=args["stall_mode"])
    with Path(args["results"]).open("w") as results:
        for number, settings in enumerate(args["jobs"]):
            if traced:
                dut.sentence.value = number
            error = await driver.run(settings)
            answer = {"error": error, **(await driver.results() if error == "NONE" else {})}
            if traced:
                dut.flush.value = 1
                for _ in range(2):  # the edge that sees it, and the one after the files are written
                    await RisingEdge(dut.clk)
                dut.flush.value = 0
            results.write(json.dumps(answer) + "\n")
            results.flush()
            assert error == "NONE", f"sentence {number} ended with error {error}"
