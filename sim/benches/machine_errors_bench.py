"""Everything that can go wrong ends in an error code, and the next sentence is right (cocotb side)."""

from __future__ import annotations

import cocotb
from cocotb.triggers import ClockCycles

from sim.agents import system
from sim.driver import Driver
from sim.run import bench_args


async def _begin(dut):  # type: ignore[no-untyped-def]
    args = bench_args()
    driver = Driver(dut)
    await system.start(dut)
    return args, driver


async def _expect_good(driver: Driver, args: dict) -> None:
    """The good sentence, with the golden model's answer."""
    assert await driver.run(args["good"]) == "NONE"
    results = await driver.results()
    for name, expected in args["expected"].items():
        assert results[name] == expected, f"{name} is {results[name]}, golden {expected}"


@cocotb.test
async def illegal_settings(dut):  # type: ignore[no-untyped-def]
    """Refused at the start, without touching the engine."""
    args, driver = await _begin(dut)
    for changes, error in args["illegal"]:
        await driver.start(args["good"] | changes)
        assert await driver.finish(1000) == error, f"{changes} did not end with {error}"
        await _expect_good(driver, args)


@cocotb.test
async def bad_token(dut):  # type: ignore[no-untyped-def]
    """A token id or type outside the vocabulary."""
    args, driver = await _begin(dut)
    for base in args["bad_tokens"]:
        assert await driver.run(args["good"] | {"TOKENS_BASE": base}) == "TOKEN"
        await _expect_good(driver, args)


@cocotb.test
async def bus_error(dut):  # type: ignore[no-untyped-def]
    """SLVERR in every region the machine reads, early and late in the sentence."""
    args, driver = await _begin(dut)
    for name, base, size in args["regions"]:
        dut.error_base.value = base
        dut.error_size.value = size
        error = await driver.run(args["good"])
        assert error == "BUS", f"SLVERR in {name} ended with {error}"
        dut.error_size.value = 0
        await _expect_good(driver, args)


@cocotb.test
async def dead_bus(dut):  # type: ignore[no-untyped-def]
    """The watchdog ends a sentence whose memory never answers; when it answers again, so does the machine."""
    args, driver = await _begin(dut)
    for wait in (0, 50, 3000):
        await driver.start(args["good"] | {"WATCHDOG": 20_000})
        await ClockCycles(dut.clk, wait + 1)
        dut.hang.value = 1
        assert await driver.finish(25_000) == "WATCHDOG"
        dut.hang.value = 0
        while await driver.read("STATUS", field="busy"):
            pass
        await _expect_good(driver, args)


@cocotb.test
async def start_while_busy_and_abort(dut):  # type: ignore[no-untyped-def]
    """A second start is refused and harms nothing; an abort at any time leaves a working machine."""
    args, driver = await _begin(dut)
    await driver.start(args["good"])
    await driver.start(args["good"])
    assert await driver.read("STATUS", field="busy") == 1
    await driver.finish(args["good"]["WATCHDOG"])
    results = await driver.results()
    assert results["logits"] == args["expected"]["logits"]
    for wait in (1, 200, 1500, 4001):
        await driver.start(args["good"])
        await ClockCycles(dut.clk, wait)
        await driver.write("CONTROL", 2)
        assert await driver.finish(2000) == "ABORTED"
        while await driver.read("STATUS", field="busy"):
            pass
        await _expect_good(driver, args)
