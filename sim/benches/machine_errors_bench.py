"""Everything that can go wrong ends in an error code, and the next sentence is right (cocotb side).

Arguments (``bench_args``): good (registers of a sentence), expected (its answer), illegal, bad_tokens,
regions, stall_mode, abort_step (cycles between two places at which the sentence is aborted).
"""

from __future__ import annotations

import cocotb
from cocotb.triggers import RisingEdge

from hw.bus.registers.model import ERROR_CODES
from sim.agents import clock, system
from sim.driver import Driver
from sim.run import bench_args, report

FAULTS = {"SLVERR": 0, "an early RLAST": 1, "no RLAST": 2, "a short burst": 3}
"""`last_fault` of sim/agents/axi_memory.v."""


async def _begin(dut):  # type: ignore[no-untyped-def]
    args = bench_args()
    driver = Driver(dut)
    await system.start(dut, stall_mode=args["stall_mode"])
    return args, driver


async def _idle(driver: Driver) -> None:
    """Until nothing runs and no read is outstanding."""
    for _ in range(2000):
        if not await driver.read("STATUS", field="busy"):
            return
    raise AssertionError("busy for ever")


async def _expect_good(driver: Driver, args: dict) -> None:
    """The good sentence, with the golden model's answer, all cycles accounted for."""
    assert await driver.run(args["good"]) == "NONE"
    results = await driver.results()
    for name, expected in args["expected"].items():
        assert results[name] == expected, f"{name} is {results[name]}, golden {expected}"
    assert abs(sum(results["counters"].values()) - results["cycles"]) <= 2


async def _times(driver: Driver) -> tuple[int, int]:
    """(CYCLES, sum of the counters)."""
    results = await driver.results()
    return results["cycles"], sum(results["counters"].values())


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
    """SLVERR, or a wrong RLAST, in every region the machine reads, early and late in the sentence."""
    args, driver = await _begin(dut)
    for name, base, size in args["regions"]:
        for fault, code in FAULTS.items():
            dut.last_fault.value = code
            dut.error_base.value = base
            dut.error_size.value = size
            error = await driver.run(args["good"])
            assert error == "BUS", f"{fault} in {name} ended with {error}"
            dut.error_size.value = 0
            cycles, counted = await _times(driver)
            assert 0 < counted <= cycles, f"after {fault} in {name} {counted} of {cycles} cycles are counted"
            await _expect_good(driver, args)


@cocotb.test
async def dead_bus(dut):  # type: ignore[no-untyped-def]
    """The watchdog ends a sentence whose memory never answers; when it answers again, so does the machine."""
    args, driver = await _begin(dut)
    for wait in (0, 50, 700):
        await driver.start(args["good"] | {"WATCHDOG": 8000})
        await driver.write("WATCHDOG", 5)  # the next sentence's
        await clock.cycles(dut, wait + 1)
        dut.hang.value = 1
        assert await driver.finish(10_000) == "WATCHDOG"
        cycles, counted = await _times(driver)
        assert cycles == 8001, "the watchdog was not the one of the start"
        assert abs(cycles - counted) <= 2, f"{counted} of {cycles} cycles are counted"
        dut.hang.value = 0
        await _idle(driver)
        await _expect_good(driver, args)


@cocotb.test
async def start_while_busy(dut):  # type: ignore[no-untyped-def]
    """A second start is refused and harms nothing, ERROR and STATUS.done included."""
    args, driver = await _begin(dut)
    await driver.start(args["good"])
    await driver.start(args["good"])
    assert await driver.read("STATUS", field="busy") == 1
    assert await driver.read("STATUS", field="refused") == 1
    assert await driver.finish(args["good"]["WATCHDOG"]) == "NONE"
    results = await driver.results()
    assert results["logits"] == args["expected"]["logits"]
    await _expect_good(driver, args)
    assert await driver.read("STATUS", field="refused") == 0


@cocotb.test
async def abort_at_every_cycle(dut):  # type: ignore[no-untyped-def]
    """Wherever a sentence is when it is aborted or reset: the reads drain, the next sentence is right."""
    args, driver = await _begin(dut)
    await driver.start(args["good"])
    assert await driver.finish(args["good"]["WATCHDOG"]) == "NONE"
    length = await driver.read("CYCLES_LO")
    places = range(1, length, args["abort_step"])
    for number, wait in enumerate(places):
        action = "reset" if number % 8 == 7 else "abort"
        await driver.start(args["good"])
        await clock.cycles(dut, wait)
        if not await driver.read("STATUS", field="busy"):
            break
        await driver.control(action)
        assert await driver.read("ERROR") == ERROR_CODES["ABORTED" if action == "abort" else "NONE"]
        if action == "abort":
            await driver.finish(2000)
            cycles, counted = await _times(driver)
            assert cycles > wait
            assert abs(cycles - counted) <= 2, f"{counted} of {cycles} cycles are counted"
        else:
            assert await driver.read("STATUS", field="done") == 0
            assert await driver.read("LENGTH") == 0
        await _idle(driver)
        await _expect_good(driver, args)
    report(aborts=len(places), cycles=length)


@cocotb.test
async def reset_with_reads_outstanding(dut):  # type: ignore[no-untyped-def]
    """The reset line of machine and memory in the middle of a sentence; the next one is right."""
    args, driver = await _begin(dut)
    for wait in (3, 40, 333, 1000):
        await driver.start(args["good"])
        await clock.cycles(dut, wait)
        dut.rst.value = 1
        for _ in range(2):
            await RisingEdge(dut.clk)
        dut.rst.value = 0
        await RisingEdge(dut.clk)
        assert await driver.read("STATUS") == 0
        await _expect_good(driver, args)
