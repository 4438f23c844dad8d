"""Registers over AXI4-Lite, driven by cocotbext-axi, with the engine's side played by the bench.

Arguments (``bench_args``): config (the ElbertConfig), rows, cols, axi_bits.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from golden_model.config import MAX_ITERATIONS, MAX_LABELS, ElbertConfig
from golden_model.exits import MAX_WINDOW
from golden_model.numerics import ENTROPY_BITS, LOGIT_BITS, PROBABILITY_BITS
from hw.bus.axi import LITE_ADDRESS_BITS
from hw.bus.registers.model import (
    ERROR_CODES,
    EXIT_MODES,
    REGISTERS,
    Field,
    Register,
    machine_registers,
)
from hw.interfaces import COUNTERS, Command, Counters, Record, Result
from sim.agents import clock
from sim.run import bench_args, report

WORD_MASK = (1 << 32) - 1
BASES = tuple(name.upper() for name in Command.members if name.endswith("_base"))
GOOD = {"LENGTH": 3, "ITERATIONS": 2, "POLICY": 4, "WINDOW": 2} | dict.fromkeys(BASES, 0x1000)
COMMAND_LATENCY = 3
"""Most cycles from a write of CONTROL to what the engine sees of it."""
RESULTS = ("LABEL", "EXIT_ITERATION", "ENTROPY", "LOGIT", "PROBABILITY", *COUNTERS)


class Bench:
    """The bus master, and a record of what the engine's side saw."""

    def __init__(self, dut: Any, seed: int) -> None:
        args = bench_args()
        self.dut, self.rng, self.args = dut, random.Random(seed), args
        self.config = ElbertConfig.model_validate(args["config"])
        self.starts: list[Any] = []
        """The settings of each start pulse."""
        self.aborts = 0

    async def begin(self) -> None:
        """Clock, reset, bus master, monitor; the engine is idle."""
        dut = self.dut
        for name in ("done", "error", "result", "counters", "record_valid", "record"):
            getattr(dut, f"result__{name}").value = 0
        dut.result__idle.value = 1
        bus = AxiLiteBus.from_prefix(dut, "s_axil_")
        self.master = AxiLiteMaster(bus, dut.clk, dut.rst)
        for part in (self.master.read_if, self.master.write_if):
            part.log.setLevel("WARNING")
        await clock.start(dut)
        cocotb.start_soon(self.monitor())

    async def monitor(self) -> None:
        """Collects the pulses to the engine."""
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            if int(dut.command__start.value):
                assert int(dut.result__idle.value), "a start came while the engine was not idle"
                self.starts.append(Command.from_bits(int(dut.command__settings.value)))
            self.aborts += int(dut.command__abort.value)

    async def read_at(self, address: int) -> tuple[int, AxiResp]:
        """Word and response."""
        answer = await self.master.read(address, 4)
        return int.from_bytes(answer.data, "little"), answer.resp

    async def write_at(self, address: int, value: int) -> AxiResp:
        """The response."""
        answer = await self.master.write(address, value.to_bytes(4, "little"))
        return AxiResp(answer.resp)

    async def read(self, name: str, index: int = 0) -> int:
        """A register; asserts OKAY."""
        word, response = await self.read_at(REGISTERS[name].address(index))
        assert response == AxiResp.OKAY, f"read of {name}[{index}]: {response.name}"
        return word

    async def write(self, name: str, value: int) -> None:
        """A register; asserts OKAY."""
        response = await self.write_at(REGISTERS[name].offset, value)
        assert response == AxiResp.OKAY, f"write of {name}: {response.name}"

    async def field(self, register: str, name: str = "value", index: int = 0) -> int:
        """One field's value."""
        return REGISTERS[register].field(name).extract(await self.read(register, index))

    async def clear(self, flag: str) -> None:
        """Writes 1 to a flag of STATUS."""
        await self.write("STATUS", REGISTERS["STATUS"].field(flag).mask)

    async def status(self) -> tuple[int, int, str]:
        """busy, done and the error's name."""
        word, status = await self.read("STATUS"), REGISTERS["STATUS"]
        code = await self.field("ERROR", "code")
        busy, done, error = (status.field(name).extract(word) for name in ("busy", "done", "error"))
        assert error == (code != 0)
        return busy, done, next(name for name, value in ERROR_CODES.items() if value == code)

    async def set(self, **values: int) -> None:
        """Good settings but for ``values``."""
        for name, value in (GOOD | values).items():
            await self.write(name, value)

    async def control(self, *names: str, wait: int = COMMAND_LATENCY) -> None:
        """Writes CONTROL, and gives the engine's side time to see it."""
        await self.write("CONTROL", sum(REGISTERS["CONTROL"].field(name).mask for name in names))
        await clock.cycles(self.dut, wait)

    async def writes(self, *writes: tuple[str, int]) -> None:
        """As fast as the bus takes them, none waiting for the answer to the one before."""
        events = [
            self.master.init_write(REGISTERS[name].offset, value.to_bytes(4, "little"))
            for name, value in writes
        ]
        for event in events:
            await event.wait()
            assert event.data.resp == AxiResp.OKAY

    async def pulse(self, name: str, **values: int) -> None:
        """A one-cycle pulse of ``result__<name>`` with values beside it."""
        for port, value in values.items():
            getattr(self.dut, f"result__{port}").value = value
        getattr(self.dut, f"result__{name}").value = 1
        await RisingEdge(self.dut.clk)
        getattr(self.dut, f"result__{name}").value = 0

    async def cycles(self) -> int:
        """CYCLES, both words."""
        return await self.read("CYCLES_LO") | await self.read("CYCLES_HI") << 32

    async def finish(self, error: str = "NONE") -> None:
        """The engine ends its sentence."""
        await self.pulse("done", error=ERROR_CODES[error])
        self.dut.result__error.value = self.rng.getrandbits(4)
        await RisingEdge(self.dut.clk)


def settable(register: Register) -> list[Field]:
    """The register's plain fields."""
    return [field for field in register.fields if field.access == "rw"]


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def constants_and_resets(dut: Any) -> None:
    """Every register after reset, the geometry included."""
    bench = Bench(dut, 1)
    await bench.begin()
    config, args = bench.config, bench.args
    assert (await bench.read("ID")).to_bytes(4, "big") == b"ELBT"
    assert await bench.field("GEOMETRY", "axi_bits") == args["axi_bits"]
    assert await bench.field("LAYER", "labels") == config.num_labels
    assert await bench.field("MAX_LENGTH") == config.max_position_embeddings
    for register in machine_registers(config, args["rows"], args["cols"], args["axi_bits"]).values():
        if register.external:
            continue
        for index in range(register.count):
            wanted = 0
            for field in register.fields:
                wanted = field.insert(field.reset, wanted)
            got = await bench.read(register.name, index)
            assert got == wanted, f"{register.name}[{index}] resets to {got:#x}, expected {wanted:#x}"


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def settings_hold_what_is_written(dut: Any) -> None:
    """All settings at once, then every byte strobe: each word keeps its own bits and no other."""
    bench = Bench(dut, 2)
    await bench.begin()
    settings = [register for register in REGISTERS.values() if settable(register)]
    model = {register.name: 0 for register in settings}
    masks = {register.name: sum(field.mask for field in settable(register)) for register in settings}
    assert len(settings) == 16
    for pattern in (WORD_MASK, 0, None):
        for register in settings:
            value = bench.rng.getrandbits(32) if pattern is None else pattern
            await bench.write(register.name, value)
            model[register.name] = value & masks[register.name]
        for register in settings:
            assert await bench.read(register.name) == model[register.name], register.name
    for register in settings:
        for first in range(4):
            for count in range(1, 5 - first):
                data = bench.rng.randbytes(count)
                answer = await bench.master.write(register.offset + first, data)
                assert answer.resp == AxiResp.OKAY
                strobed = ((1 << 8 * count) - 1) << 8 * first
                value = int.from_bytes(data, "little") << 8 * first
                old = model[register.name]
                model[register.name] = ((old & ~strobed) | value) & masks[register.name]
                got = await bench.read(register.name)
                assert got == model[register.name], f"{register.name} bytes {first}+{count}: {got:#x}"
    for name, value in model.items():
        assert await bench.read(name) == value
    assert not bench.starts


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def every_address(dut: Any) -> None:
    """All 1024 words: SLVERR exactly where the map has nothing (or nothing writable), and no effect."""
    bench = Bench(dut, 3)
    await bench.begin()
    await bench.set()
    known = {register.address(i): register for register in REGISTERS.values() for i in range(register.count)}
    before = {at: (await bench.read_at(at))[0] for at in known if not known[at].external}
    for address in range(0, 1 << LITE_ADDRESS_BITS, 4):
        register = known.get(address)
        _, response = await bench.read_at(address)
        assert response == (AxiResp.OKAY if register else AxiResp.SLVERR), f"read of {address:#x}"
        if register and register.writable:
            continue
        response = await bench.write_at(address, WORD_MASK)
        assert response == AxiResp.SLVERR, f"write of {address:#x}: {response.name}"
    assert {at: (await bench.read_at(at))[0] for at in before} == before
    assert not bench.starts
    assert not bench.aborts


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def a_sentence(dut: Any) -> None:
    """Settings reach the engine and stay; results, counters, cycles, done and interrupt come back."""
    bench = Bench(dut, 4)
    await bench.begin()
    rng, config = bench.rng, bench.config
    for turn in range(6):
        values = {
            "LENGTH": rng.randint(1, config.max_position_embeddings),
            "ITERATIONS": rng.randint(1, config.num_hidden_layers),
            "POLICY": turn,
            "WINDOW": rng.randint(1, MAX_WINDOW),
        }
        beat = bench.args["axi_bits"] // 8
        for register in REGISTERS.values():
            if settable(register) and register.name not in (*values, "WATCHDOG", "IRQ_ENABLE"):
                value = rng.getrandbits(settable(register)[0].width)
                values[register.name] = value // beat * beat if register.name in BASES else value
        await bench.set(**values)
        assert (await bench.status())[0] == 0
        await bench.control("start", wait=0)
        assert (await bench.status())[:2] == (1, 0), "not busy, or still done"
        for name in values:  # the next sentence's settings
            await bench.write(name, rng.getrandbits(32))
        assert len(bench.starts) == turn + 1
        settings = bench.starts[-1]
        assert settings == Command.from_bits(int(dut.command__settings.value)), "the settings did not stay"
        names = {"POLICY": "mode"}
        for name, value in values.items():
            got = settings[names.get(name, name.lower())]
            got = got if isinstance(got, int) else got.value
            assert got == value, f"{name}: the engine saw {got}, expected {value}"

        answer = {
            "label": rng.randrange(MAX_LABELS),
            "exit_iteration": rng.randint(1, MAX_ITERATIONS),
            "logits": [rng.randrange(-(1 << LOGIT_BITS - 1), 1 << LOGIT_BITS - 1) for _ in range(MAX_LABELS)],
            "probabilities": [rng.getrandbits(PROBABILITY_BITS) for _ in range(MAX_LABELS)],
            "entropy": rng.getrandbits(ENTROPY_BITS),
        }
        counters = {name: rng.getrandbits(32) for name in COUNTERS.values()}
        dut.result__result.value = Result.const(answer).as_bits()
        dut.result__counters.value = Counters.const(counters).as_bits()
        await bench.finish()
        assert await bench.status() == (0, 1, "NONE")
        wanted = {
            "LABEL": [answer["label"]],
            "EXIT_ITERATION": [answer["exit_iteration"]],
            "ENTROPY": [answer["entropy"]],
            "LOGIT": answer["logits"],
            "PROBABILITY": answer["probabilities"],
        } | {name: [counters[counter]] for name, counter in COUNTERS.items()}
        assert set(wanted) == set(RESULTS)
        for name, expected in wanted.items():
            got = [await bench.field(name, index=i) for i in range(REGISTERS[name].count)]
            assert got == expected, f"{name}: {got}, expected {expected}"
        await bench.clear("done")
        assert await bench.status() == (0, 0, "NONE")
    assert bench.aborts == 0


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def cycles_are_counted(dut: Any) -> None:
    """CYCLES is the time from start to done, and stands still afterwards."""
    bench = Bench(dut, 5)
    await bench.begin()
    await bench.set()
    for wait in (1, 7, 200):
        task = cocotb.start_soon(bench.control("start"))
        for _ in range(100):
            await RisingEdge(dut.clk)
            if int(dut.command__start.value):
                break
        await clock.cycles(dut, wait)
        await bench.pulse("done", error=0)
        await task
        await clock.cycles(dut, 20)
        cycles = await bench.cycles()
        assert cycles == wait + 2, f"{cycles} cycles, expected {wait + 2}: start and done included"


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def bad_settings_are_refused(dut: Any) -> None:
    """Each bad setting gives its error, at once, and leaves the engine alone; limits are legal."""
    bench = Bench(dut, 6)
    await bench.begin()
    config = bench.config
    most, longest = config.num_hidden_layers, config.max_position_embeddings
    bad = [
        ("LENGTH", {"LENGTH": value})
        for value in (0, longest + 1, 1 << 10, (1 << 10) + 1, WORD_MASK, 1 << 31)
    ]
    bad += [("MODE", {"POLICY": value}) for value in (7, 8, 12, 1 << 16, WORD_MASK)]
    bad += [("ITERATIONS", {"ITERATIONS": value}) for value in (0, most + 1, 64, 65, WORD_MASK)]
    for mode in ("BIAS_1", "BIAS_2", "BIAS_3"):
        for window in (0, MAX_WINDOW + 1, 32, 33, WORD_MASK):
            bad.append(("WINDOW", {"POLICY": EXIT_MODES[mode], "WINDOW": window}))
    beat = bench.args["axi_bits"] // 8
    bad += [("ALIGNMENT", {name: 0x1000 + off}) for name in BASES for off in (1, beat // 2, beat + 2)]
    bad.append(("WINDOW", {"POLICY": 5, "WINDOW": 0, "LAYER_BASE": 1}))
    bad.append(("LENGTH", {"LENGTH": 0, "POLICY": 9, "ITERATIONS": 0, "WINDOW": 0}))
    for error, values in bad:
        await bench.set(**values)
        await bench.control("start", wait=0)
        assert await bench.status() == (0, 1, error), f"{values} was not refused with {error}"
        await bench.clear("done")
        assert (await bench.status())[1] == 0
    assert not bench.starts
    good = [{"LENGTH": 1}, {"LENGTH": longest}, {"ITERATIONS": 1}, {"ITERATIONS": most}]
    good += [{"WINDOW": 1}, {"WINDOW": MAX_WINDOW}]
    good += [{"POLICY": mode, "WINDOW": 0} for mode in (0, 1, 2, 3)]
    good += [{name: WORD_MASK // beat * beat} for name in BASES] + [{name: beat} for name in BASES]
    for number, values in enumerate(good):
        await bench.set(**values)
        await bench.control("start")
        assert await bench.status() == (1, 0, "NONE"), f"{values} was refused"
        await bench.finish()
        assert len(bench.starts) == number + 1


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def commands_on_the_heels_of_settings(dut: Any) -> None:
    """Writes as fast as they come: a start knows the setting before it, the one behind it is not copied."""
    bench = Bench(dut, 15)
    await bench.begin()
    start, abort, reset = (REGISTERS["CONTROL"].field(name).mask for name in ("start", "abort", "reset"))
    await bench.set()
    bad = {"LENGTH": 0, "POLICY": 9, "ITERATIONS": 0, "WINDOW": 0, "LAYER_BASE": 0x1001}
    errors = ("LENGTH", "MODE", "ITERATIONS", "WINDOW", "ALIGNMENT")
    for (name, value), error in zip(bad.items(), errors, strict=True):
        await bench.writes((name, value), ("CONTROL", start))
        assert await bench.status() == (0, 1, error)
        await bench.writes((name, GOOD[name]), ("CONTROL", start), (name, value))
        assert await bench.status() == (1, 0, "NONE")
        await bench.finish()
        copied = "mode" if name == "POLICY" else name.lower()
        got = bench.starts[-1][copied]
        assert (got if isinstance(got, int) else got.value) == GOOD[name], f"{name} of the next sentence"
        await bench.write(name, GOOD[name])
    starts, aborts = len(bench.starts), bench.aborts
    await bench.writes(("CONTROL", start), ("CONTROL", abort))
    assert await bench.status() == (0, 1, "ABORTED")
    assert (len(bench.starts), bench.aborts) == (starts + 1, aborts + 1)
    await bench.writes(("CONTROL", start), ("CONTROL", start), ("CONTROL", abort))
    assert await bench.field("STATUS", "refused") == 1
    await bench.writes(("CONTROL", reset), ("CONTROL", start))
    assert await bench.status() == (0, 1, "LENGTH"), "a start behind a reset finds no settings"
    assert len(bench.starts) == starts + 2


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def engine_errors_and_busy(dut: Any) -> None:
    """Errors of the engine; a start while one runs, or while the engine drains, is refused and survived."""
    bench = Bench(dut, 7)
    await bench.begin()
    await bench.set()
    for error in ("BUS", "TOKEN", "NONE"):
        await bench.control("start")
        await bench.finish(error)
        assert await bench.status() == (0, 1, error)
    starts = len(bench.starts)
    await bench.control("start")
    for length in (0, 1):  # refused before the settings are checked
        await bench.write("LENGTH", length)
        await bench.control("start")
        assert await bench.status() == (1, 0, "NONE"), "a refused start disturbs the sentence's ERROR"
        assert await bench.field("STATUS", "refused") == 1
        await bench.clear("refused")
        assert await bench.field("STATUS", "refused") == 0
    await bench.control("start")
    await bench.finish()
    assert await bench.status() == (0, 1, "NONE")
    assert await bench.field("STATUS", "refused") == 1
    assert len(bench.starts) == starts + 1
    await bench.control("start")
    assert await bench.status() == (1, 0, "NONE")
    assert await bench.field("STATUS", "refused") == 0, "an accepted start clears the flag"
    await bench.finish("TOKEN")
    await bench.clear("done")
    dut.result__idle.value = 0
    await bench.control("start")
    assert await bench.status() == (1, 0, "TOKEN")
    assert await bench.field("STATUS", "refused") == 1
    dut.result__idle.value = 1
    await bench.control("start")
    assert await bench.status() == (1, 0, "NONE")
    assert len(bench.starts) == starts + 3


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def interrupts(dut: Any) -> None:
    """The line is high while an enabled flag is, whatever comes first, the flag or its enable."""
    bench = Bench(dut, 12)
    await bench.begin()
    enables, flags = REGISTERS["IRQ_ENABLE"], REGISTERS["STATUS"]
    await bench.set()
    await bench.control("start")
    await bench.control("start")
    await bench.finish()
    for enabled in range(4):
        await bench.write("IRQ_ENABLE", enabled)
        assert int(dut.irq.value) == int(enabled != 0), f"enable {enabled:02b}, both flags"
    await bench.clear("done")
    for enabled in range(4):
        await bench.write("IRQ_ENABLE", enabled)
        wanted = enables.field("refused").extract(enabled)
        assert int(dut.irq.value) == wanted, f"enable {enabled:02b}, refused alone"
    await bench.write("STATUS", flags.field("refused").mask | 0xFFFFFFF4)
    assert int(dut.irq.value) == 0
    await bench.control("start")
    assert int(dut.irq.value) == 0
    await bench.finish()
    assert int(dut.irq.value) == 1


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def a_snapshot_is_of_one_cycle(dut: Any) -> None:
    """Cycles and counters change every cycle of a sentence; what is read belongs together, and stays."""
    bench = Bench(dut, 13)
    await bench.begin()
    await bench.set()
    names = list(COUNTERS.values())

    async def count() -> None:
        now = 0
        while True:
            now += 1
            values = {name: (now + i) & WORD_MASK for i, name in enumerate(names)}
            dut.result__counters.value = Counters.const(values).as_bits()
            await RisingEdge(dut.clk)

    async def seen() -> tuple[int, list[int]]:
        return await bench.cycles(), [await bench.read(name) for name in COUNTERS]

    counting = cocotb.start_soon(count())
    await bench.control("start")
    first = await seen()
    assert first == (0, [0] * len(COUNTERS)), "nothing was taken yet"
    offset = None
    for _ in range(5):
        await bench.control("snapshot")
        cycles, counters = await seen()
        assert (cycles, counters) == await seen(), "the copy moves"
        assert counters == [counters[0] + i for i in range(len(counters))], (
            f"counters of several cycles: {counters}"
        )
        offset = counters[0] - cycles if offset is None else offset
        assert counters[0] - cycles == offset, "cycles and counters of different cycles"
        assert cycles > first[0]
        first = cycles, counters
    await bench.finish()
    cycles, counters = await seen()
    assert cycles > first[0], "the end takes a copy by itself"
    assert offset is not None
    assert counters[0] - cycles in (offset, offset + 1)
    counting.cancel()


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def reset(dut: Any) -> None:
    """In a sentence and out of one: the engine is told to drop it, registers are as after power-on."""
    bench = Bench(dut, 14)
    await bench.begin()
    fresh = {name: await bench.read(name) for name, r in REGISTERS.items() if r.count == 1}
    for running in (False, True):
        await bench.set(DELTA=5, WATCHDOG=77_000, IRQ_ENABLE=3)
        if running:
            await bench.control("start")
            await bench.control("start")
            await bench.control("snapshot")
        aborts = bench.aborts
        await bench.control("reset", "start", "snapshot")
        assert bench.aborts == aborts + 1
        assert {name: await bench.read(name) for name in fresh} == fresh
        assert len(bench.starts) == int(running)
    await bench.set()
    await bench.control("start")
    await bench.finish()
    assert await bench.status() == (0, 1, "NONE")


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def abort(dut: Any) -> None:
    """Abort ends a sentence at once; a late ``done`` of the engine is ignored; abort wins over start."""
    bench = Bench(dut, 8)
    await bench.begin()
    await bench.set()
    await bench.control("start")
    dut.result__idle.value = 0
    await bench.control("abort")
    assert bench.aborts == 1
    assert await bench.status() == (1, 1, "ABORTED"), "busy until the engine has drained"
    await bench.finish("BUS")
    assert await bench.status() == (1, 1, "ABORTED")
    dut.result__idle.value = 1
    assert await bench.status() == (0, 1, "ABORTED")
    await bench.control("start", "abort")
    assert bench.aborts == 2
    assert len(bench.starts) == 1
    await bench.control("start")
    assert await bench.status() == (1, 0, "NONE")
    await bench.finish()
    assert await bench.status() == (0, 1, "NONE")


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def watchdog(dut: Any) -> None:
    """An engine that never answers ends after WATCHDOG cycles; 0 is never; the next command works."""
    bench = Bench(dut, 9)
    await bench.begin()
    await bench.set(WATCHDOG=500)
    await bench.control("start")
    dut.result__idle.value = 0
    await bench.write("WATCHDOG", 50)  # the next sentence's
    await clock.cycles(dut, 380)
    assert await bench.status() == (1, 0, "NONE")
    await clock.cycles(dut, 140)
    assert bench.aborts == 1
    assert await bench.status() == (1, 1, "WATCHDOG")
    assert await bench.read("CYCLES_LO") == 501
    dut.result__idle.value = 1
    await bench.control("start")
    await clock.cycles(dut, 100)
    assert (await bench.status())[2] == "WATCHDOG"
    await bench.write("WATCHDOG", 10_000)
    await bench.control("start")
    await bench.write("WATCHDOG", 1)
    await bench.finish()
    assert await bench.status() == (0, 1, "NONE")
    await bench.write("WATCHDOG", 0)
    await bench.control("start")
    await clock.cycles(dut, 1500)
    assert await bench.status() == (1, 0, "NONE")
    await bench.finish()
    assert bench.aborts == 2


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def records(dut: Any) -> None:
    """The confidence tables: all entries, in any order, reads in between."""
    bench = Bench(dut, 10)
    await bench.begin()
    rng = bench.rng
    order = list(range(1, MAX_ITERATIONS + 1))
    for _ in range(2):
        rng.shuffle(order)
        wanted = {}
        for iteration in order:
            record = {
                "iteration": iteration,
                "label": rng.randrange(MAX_LABELS),
                "confidence": rng.getrandbits(PROBABILITY_BITS),
                "entropy": rng.getrandbits(ENTROPY_BITS),
            }
            wanted[iteration] = record
            await bench.pulse("record_valid", record=Record.const(record).as_bits())
            dut.result__record.value = rng.getrandbits(Record.size)
            if rng.random() < 0.2:
                assert await bench.field("ENTROPY_AT", index=iteration - 1) == record["entropy"]
        for iteration, record in wanted.items():
            for name in ("confidence", "label"):
                got = await bench.field("CONFIDENCE", name, index=iteration - 1)
                assert got == record[name], f"{name} of iteration {iteration}: {got}, expected {record[name]}"
            assert await bench.field("ENTROPY_AT", index=iteration - 1) == record["entropy"]


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def back_pressure(dut: Any) -> None:
    """Reads and writes at once, every channel pausing at random: nothing is lost, mixed up or stuck."""
    bench = Bench(dut, 11)
    await bench.begin()

    def pauses(seed: int, share: float) -> Iterator[bool]:
        rng = random.Random(seed)
        while True:
            yield rng.random() < share

    write, read = bench.master.write_if, bench.master.read_if
    channels = (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)
    names = ("DELTA", "MARGIN", "TOKENS_BASE", "LAYER_BASE", "PARAMETERS_BASE", "WATCHDOG")
    accesses = 0
    for shares in ((0, 0, 0, 0, 0), (0.9, 0, 0, 0, 0), (0, 0.9, 0, 0, 0), (0.5, 0.5, 0.8, 0.5, 0.8)):
        for number, (channel, share) in enumerate(zip(channels, shares, strict=True)):
            channel.set_pause_generator(pauses(number, share))

        async def writer() -> None:
            for _ in range(60):
                name = bench.rng.choice(names)
                width = REGISTERS[name].fields[0].width
                value = bench.rng.getrandbits(width)
                await bench.write(name, value)
                assert await bench.read(name) == value

        async def reader() -> None:
            for _ in range(60):
                if bench.rng.random() < 0.3:
                    assert (await bench.read_at(0xFFC))[1] == AxiResp.SLVERR
                else:
                    assert await bench.read("VERSION") == 0x000200
                assert await bench.write_at(0xFF8, WORD_MASK) == AxiResp.SLVERR

        tasks = [cocotb.start_soon(writer()), cocotb.start_soon(reader())]
        for task in tasks:
            await task
        accesses += 240
    report(accesses=accesses)
