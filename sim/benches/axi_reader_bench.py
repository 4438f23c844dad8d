"""AXI reader against its definition: the bytes of each command in order, whatever bus and sink do.

Arguments (``bench_args``): data_width, max_burst, outstanding. The memory is a model with latency, stalls,
errors and hangs that checks the rules of AXI4's read channels; one test uses cocotbext-axi's slave instead.
Reported: beats checked, and the streaming efficiency at a latency of 30 cycles.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiReadBus, AxiSlaveRead, Region

from hw.bus.axi import AXI_BOUNDARY, AXI_CACHE, AXI_PROTECTION
from hw.bus.axi_reader import QUIET
from sim.agents import clock
from sim.run import bench_args, report

IMAGE = random.Random(7).randbytes(1 << 16)
ADDRESSES = 1 << 32
LATENCY = 30
SLVERR, DECERR = 2, 3


def image_beat(address: int, beat_bytes: int) -> int:
    """The beat at ``address``: the image repeats through the whole address space."""
    start = address % len(IMAGE)
    return int.from_bytes(IMAGE[start : start + beat_bytes], "little")


def expected_beats(address: int, count: int, beat_bytes: int) -> list[tuple[int, int]]:
    """(data, last) of a command."""
    beats = []
    for offset in range(0, count, beat_bytes):
        beats.append((image_beat(address + offset, beat_bytes), 0))
    if beats:
        beats[-1] = (beats[-1][0], 1)
    return beats


class Memory:
    """The bus's other side. Asserts: bursts within 4 KB and max_burst, aligned, ``ar`` stable until taken,
    no more bursts in flight than promised.
    """

    def __init__(self, dut: Any, rng: random.Random, beat: Callable[[int, int], int] = image_beat) -> None:
        """``beat(address, bytes of a beat)`` is the content."""
        args = bench_args()
        self.dut, self.rng, self.beat = dut, rng, beat
        self.beat_bytes: int = args["data_width"] // 8
        self.max_burst: int = args["max_burst"]
        self.outstanding: int = args["outstanding"]
        self.latency, self.address_stall, self.data_stall = 1, 0.0, 0.0
        self.hang = False
        self.response: Callable[[int], int | None] = lambda address: 0
        """RRESP of the beat at an address; None is OKAY."""
        self.last: Callable[[int, bool], bool] = lambda address, last: last
        """RLAST of the beat at an address, given the right one."""
        self.short = False
        """A wrong RLAST ends the burst for the memory too."""
        self.waiting: deque[tuple[int, int, int, int]] = deque()
        """(earliest cycle, address, is last of its burst, response)"""
        self.bursts: list[tuple[int, int]] = []
        self.cycle = 0
        self.in_flight = self.most_in_flight = 0

    def check_burst(self, address: int, beats: int) -> None:
        """The address phase's rules."""
        dut, size = self.dut, self.beat_bytes
        assert 1 <= beats <= self.max_burst, f"burst of {beats} beats, at most {self.max_burst}"
        assert address % size == 0, f"address {address:#x} is no multiple of {size}"
        end = address + beats * size - 1
        assert address // AXI_BOUNDARY == end // AXI_BOUNDARY, f"{address:#x}..{end:#x} crosses 4 KB"
        assert 1 << int(dut.m_axi__arsize.value) == size
        assert int(dut.m_axi__arburst.value) == 1
        assert int(dut.m_axi__arid.value) == 0
        assert int(dut.m_axi__arprot.value) == AXI_PROTECTION
        assert int(dut.m_axi__arcache.value) == AXI_CACHE

    async def run(self) -> None:
        """Never ends."""
        dut, rng = self.dut, self.rng
        offered: tuple[int, int] | None = None
        dut.m_axi__rid.value = 0
        ready = valid = 0
        while True:
            dut.m_axi__arready.value = ready
            dut.m_axi__rvalid.value = valid
            if valid:
                _, address, last, response = self.waiting[0]
                dut.m_axi__rdata.value = self.beat(address, self.beat_bytes)
                dut.m_axi__rlast.value = int(self.last(address, bool(last)))
                dut.m_axi__rresp.value = response
            else:  # nothing may depend on these
                dut.m_axi__rdata.value = rng.getrandbits(8 * self.beat_bytes)
                dut.m_axi__rlast.value = rng.getrandbits(1)
                dut.m_axi__rresp.value = rng.getrandbits(2)
            await RisingEdge(dut.clk)
            self.cycle += 1
            if int(dut.m_axi__arvalid.value):
                now = int(dut.m_axi__araddr.value), int(dut.m_axi__arlen.value) + 1
                assert offered is None or offered == now, f"ar changed from {offered} to {now} before arready"
                offered = now
                if ready:
                    self.take(*now)
                    offered = None
            else:
                assert offered is None, f"arvalid fell before arready, burst {offered}"
            if valid and int(dut.m_axi__rready.value):
                self.in_flight -= self.waiting.popleft()[2]
                valid = 0
            ready = int(not self.hang and rng.random() >= self.address_stall)
            if not valid and self.waiting and not self.hang and self.waiting[0][0] <= self.cycle:
                valid = int(rng.random() >= self.data_stall)

    def take(self, address: int, beats: int) -> None:
        """A burst was accepted."""
        self.check_burst(address, beats)
        self.bursts.append((address, beats))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        assert self.in_flight <= self.outstanding
        for i in range(beats):
            at = address + i * self.beat_bytes
            last = i == beats - 1
            cut = self.short and not last and self.last(at, False)
            self.waiting.append((self.cycle + self.latency - 1, at, int(last or cut), self.response(at) or 0))
            if cut:
                break


class Bench:
    """Source, sink and memory around the block."""

    def __init__(self, dut: Any, seed: int) -> None:
        self.dut, self.rng = dut, random.Random(seed)
        self.memory = Memory(dut, self.rng)
        self.beat_bytes = self.memory.beat_bytes
        self.received: list[tuple[int, int]] = []
        self.arrivals: list[int] = []
        """The cycle of each received beat."""
        self.sink_stall = 0.0
        self.may_withdraw = False
        self.checked = 0

    async def begin(self, *, own_memory: bool = True) -> None:
        """Clock, reset, and the agents."""
        dut = self.dut
        for name in ("command__valid", "data__ready", "clear", "abort"):
            getattr(dut, name).value = 0
        if own_memory:
            dut.m_axi__arready.value = dut.m_axi__rvalid.value = 0
        await clock.start(dut)
        if own_memory:
            cocotb.start_soon(self.memory.run())
        cocotb.start_soon(self.sink())

    async def sink(self) -> None:
        """Takes beats; a beat that waits must not change."""
        dut, width = self.dut, 8 * self.beat_bytes
        held: int | None = None
        cycle = 0
        while True:
            ready = int(self.rng.random() >= self.sink_stall)
            dut.data__ready.value = ready
            await RisingEdge(dut.clk)
            cycle += 1
            if int(dut.data__valid.value):
                payload = int(dut.data__payload.value)
                assert held is None or held == payload or self.may_withdraw, "a waiting beat changed"
                held = payload
                if ready:
                    self.received.append((payload & ((1 << width) - 1), payload >> width))
                    self.arrivals.append(cycle)
                    held = None
            else:
                assert held is None or self.may_withdraw, "data.valid fell before ready"
                held = None

    async def send(self, address: int, count: int) -> None:
        """Hands over one command of ``count`` bytes."""
        dut = self.dut
        dut.command__payload.value = address | count << 32
        dut.command__valid.value = 1
        for _ in range(20000):
            await RisingEdge(dut.clk)
            if int(dut.command__ready.value):
                break
        else:
            raise AssertionError(f"command at {address:#x} was not taken in 20000 cycles")
        dut.command__valid.value = 0
        dut.command__payload.value = self.rng.getrandbits(56)

    async def until_idle(self, limit: int = 40000) -> int:
        """Cycles until ``idle``."""
        for count in range(limit):
            await RisingEdge(self.dut.clk)
            if int(self.dut.idle.value):
                return count
        raise AssertionError(f"not idle after {limit} cycles")

    def random_command(self, longest: int) -> tuple[int, int]:
        """Often just below a 4 KB boundary."""
        rng, size = self.rng, self.beat_bytes
        address = rng.randrange(0, ADDRESSES // 2, size)
        if rng.random() < 0.5:
            address = address // AXI_BOUNDARY * AXI_BOUNDARY + AXI_BOUNDARY - size * rng.randint(1, 5)
        return address, size * rng.choice((1, 1, 2, 3, rng.randint(1, longest)))

    def check(self, commands: list[tuple[int, int]]) -> None:
        """Everything received is everything asked for."""
        wanted = [beat for command in commands for beat in expected_beats(*command, self.beat_bytes)]
        for i, (got, want) in enumerate(zip(self.received, wanted, strict=False)):
            assert got == want, (
                f"beat {i}: expected data {want[0]:#x} last {want[1]}, got {got[0]:#x} {got[1]}"
            )
        assert len(self.received) == len(wanted), f"{len(self.received)} beats, expected {len(wanted)}"
        self.checked += len(wanted)
        self.received.clear()
        self.arrivals.clear()

    async def round_trip(self, commands: list[tuple[int, int]], source_stall: float = 0.0) -> None:
        """Sends, waits, checks."""
        for command in commands:
            if self.rng.random() < source_stall:
                await clock.cycles(self.dut, self.rng.randint(1, 20))
            await self.send(*command)
        await self.until_idle()
        self.check(commands)


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def stall_matrix(dut: Any) -> None:
    """Random commands, idle sources against back-pressure, in every combination."""
    bench = Bench(dut, 1)
    await bench.begin()
    memory = bench.memory
    for source in (0.0, 0.7):
        for sink in (0.0, 0.3, 0.8):
            for stall in (0.0, 0.3, 0.8):
                memory.latency = bench.rng.choice((1, 4, LATENCY))
                memory.address_stall, memory.data_stall, bench.sink_stall = stall, stall, sink
                await bench.round_trip([bench.random_command(40) for _ in range(15)], source)
    assert memory.most_in_flight == memory.outstanding
    report(beats=bench.checked)


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def bursts_are_as_long_as_allowed(dut: Any) -> None:
    """A command becomes the fewest bursts that 4 KB and max_burst allow; the last address works."""
    bench = Bench(dut, 2)
    await bench.begin()
    size, most = bench.beat_bytes, min(bench.memory.max_burst, AXI_BOUNDARY // bench.beat_bytes)
    for address, count in (
        (0, 2 * AXI_BOUNDARY + size),
        (AXI_BOUNDARY - size, 2 * size),
        (0x7FFF_F000 - 3 * size, most * size),
        (ADDRESSES - AXI_BOUNDARY, AXI_BOUNDARY),
        (ADDRESSES - size, size),
    ):
        bench.memory.bursts.clear()
        await bench.round_trip([(address, count)])
        wanted, at = [], address
        while at < address + count:
            page_end = (at // AXI_BOUNDARY + 1) * AXI_BOUNDARY
            end = min(page_end, address + count, at + most * size)
            wanted.append((at, (end - at) // size))
            at = end
        assert bench.memory.bursts == wanted


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def nothing_is_read_for_zero_bytes(dut: Any) -> None:
    """Zero bytes between two commands leave no trace."""
    bench = Bench(dut, 3)
    await bench.begin()
    size = bench.beat_bytes
    await bench.round_trip([(0x100, size), (0x4000, 0), (0x200, 2 * size), (0, 0)])
    assert [address for address, _ in bench.memory.bursts] == [0x100, 0x200]


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def streams_back_to_back(dut: Any) -> None:
    """One beat per cycle across commands at a latency of 30 cycles."""
    bench = Bench(dut, 4)
    await bench.begin()
    memory, size = bench.memory, bench.beat_bytes
    memory.latency = LATENCY
    length = min(memory.max_burst, AXI_BOUNDARY // size) * size
    commands = [(i * length, length) for i in range(8)]
    for command in commands:
        await bench.send(*command)
    await bench.until_idle()
    cycles = bench.arrivals[-1] - bench.arrivals[0] + 1
    beats = len(bench.received)
    bench.check(commands)
    report(streaming=beats / cycles)
    in_flight_beats = memory.outstanding * length // size
    if in_flight_beats >= LATENCY + 8:
        assert cycles == beats, f"{beats} beats took {cycles} cycles"


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def a_bus_error_stops_and_is_survived(dut: Any) -> None:
    """Beats before the error arrive, none after; then idle, clear, and the next command works."""
    bench = Bench(dut, 5)
    await bench.begin()
    memory, rng, size = bench.memory, bench.rng, bench.beat_bytes
    for turn in range(12):
        memory.latency = rng.choice((1, 5, LATENCY))
        bench.sink_stall = memory.data_stall = rng.choice((0.0, 0.4))
        base, count = 0x10000 * (turn + 1), 150
        bad = base + size * rng.randrange(count)
        code = (SLVERR, DECERR)[turn % 2]
        memory.response = {bad: code}.get
        bench.may_withdraw = True
        await bench.send(base, count * size)
        await bench.send(0x8000_0000, 40 * size)
        for _ in range(3000):
            await RisingEdge(dut.clk)
            if int(dut.error.value):
                break
        assert int(dut.error.value)
        await bench.until_idle()
        await clock.cycles(dut, 50)
        assert int(dut.error.value), "error is not sticky"
        assert not int(dut.command__ready.value), "a command would be taken before clear"
        before = expected_beats(base, count * size, size)[: (bad - base) // size]
        assert bench.received == before[: len(bench.received)]
        assert len(bench.received) >= len(before) - 3  # two wait in the block, one may be withdrawn
        bench.received.clear()
        assert memory.in_flight == 0
        dut.clear.value = 1
        await RisingEdge(dut.clk)
        dut.clear.value = 0
        bench.may_withdraw = False
        await bench.round_trip([bench.random_command(20) for _ in range(3)])
        assert not int(dut.error.value)


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def a_wrong_last_is_an_error_and_is_survived(dut: Any) -> None:
    """RLAST too early, with and without the rest behind it, or missing; the next commands are right."""
    bench = Bench(dut, 9)
    await bench.begin()
    memory, rng, size = bench.memory, bench.rng, bench.beat_bytes
    most = min(memory.max_burst, AXI_BOUNDARY // size)
    for turn in range(18):
        memory.latency = rng.choice((1, 5, LATENCY))
        memory.data_stall = bench.sink_stall = rng.choice((0.0, 0.4))
        base, count = 0x10000 * (turn + 1), 3 * most
        fault = ("early", "missing", "short")[turn % 3]
        place = rng.randrange(2) * most + (
            most - 1 if fault == "missing" else rng.randrange(max(1, most - 1))
        )
        bad = base + size * place
        memory.short = fault == "short"

        def last(address: int, right: bool, bad: int = bad, fault: str = fault) -> bool:
            return right if address != bad else fault != "missing"

        memory.last = last
        bench.may_withdraw = True
        await bench.send(base, count * size)
        await bench.send(0x8000_0000, 40 * size)
        for _ in range(3000):
            await RisingEdge(dut.clk)
            if int(dut.error.value):
                break
        assert int(dut.error.value), f"rlast {fault} at beat {place} was not seen"
        waited = await bench.until_idle()
        assert waited >= QUIET // 2
        before = expected_beats(base, count * size, size)[:place]
        assert bench.received == before[: len(bench.received)]
        assert len(bench.received) >= len(before) - 3
        bench.received.clear()
        assert not memory.waiting, "idle while beats are to come"
        memory.in_flight = 0
        memory.last, memory.short = (lambda address, right: right), False
        dut.clear.value = 1
        await RisingEdge(dut.clk)
        dut.clear.value = 0
        bench.may_withdraw, bench.sink_stall = False, 0.0
        await bench.round_trip([bench.random_command(20) for _ in range(3)])
        assert not int(dut.error.value)


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def abort_at_any_time(dut: Any) -> None:
    """Abort in every phase, errors among the swallowed beats included; the next commands are right."""
    bench = Bench(dut, 6)
    await bench.begin()
    memory, rng = bench.memory, bench.rng
    for turn in range(60):
        memory.latency = rng.choice((1, 3, 12))
        memory.address_stall = memory.data_stall = rng.choice((0.0, 0.5))
        bench.sink_stall = rng.choice((0.0, 0.5, 1.0))
        bench.may_withdraw = True
        for _ in range(rng.randint(0, 2)):
            await bench.send(*bench.random_command(60))
        await clock.cycles(dut, turn % 30)
        memory.response = lambda address: SLVERR  # of bursts still to come, which would be a mistake
        dut.abort.value = 1
        await RisingEdge(dut.clk)
        dut.abort.value = 0
        await RisingEdge(dut.clk)
        pending = int(dut.m_axi__arvalid.value)
        bursts = len(memory.bursts)
        await bench.until_idle()
        assert len(memory.bursts) <= bursts + pending + 1, "bursts were issued after abort"
        assert not int(dut.error.value)
        assert memory.in_flight == 0
        memory.response = lambda address: 0
        bench.received.clear()
        bench.may_withdraw, bench.sink_stall = False, 0.0
        await bench.round_trip([bench.random_command(20) for _ in range(2)])


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def a_hanging_bus_is_not_idle(dut: Any) -> None:
    """While the memory hangs ``idle`` stays low after an abort; when it answers, all goes on."""
    bench = Bench(dut, 7)
    await bench.begin()
    memory, size = bench.memory, bench.beat_bytes
    memory.latency = 10
    await bench.send(0, 100 * size)
    await clock.cycles(dut, 12)
    memory.hang = True
    await clock.cycles(dut, 5)
    bench.may_withdraw = True
    dut.abort.value = 1
    await RisingEdge(dut.clk)
    dut.abort.value = 0
    for _ in range(300):
        await RisingEdge(dut.clk)
        assert not int(dut.idle.value)
        assert not int(dut.command__ready.value)
    memory.hang = False
    await bench.until_idle()
    bench.received.clear()
    bench.may_withdraw = False
    await bench.round_trip([(0x1000, 5 * size)])


class ImageRegion(Region):
    """Memory for cocotbext-axi; reads above ``limit`` fail."""

    def __init__(self, limit: int) -> None:
        super().__init__(ADDRESSES)
        self.limit = limit

    async def _read(self, address: int, length: int, **kwargs: Any) -> bytes:
        if address >= self.limit:
            raise OSError(f"no memory at {address:#x}")
        start = address % len(IMAGE)
        return IMAGE[start : start + length]


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def against_cocotbext_axi(dut: Any) -> None:
    """An independent AXI slave, with pauses; its SLVERR raises ``error``."""
    bench = Bench(dut, 8)
    size = bench.beat_bytes
    dut.m_axi__arready.value = dut.m_axi__rvalid.value = 0
    slave = AxiSlaveRead(AxiReadBus.from_prefix(dut, "m_axi_"), dut.clk, dut.rst, ImageRegion(1 << 20))
    slave.log.setLevel("WARNING")
    await bench.begin(own_memory=False)

    def pauses(seed: int) -> Any:
        rng = random.Random(seed)
        while True:
            yield rng.random() < 0.3

    commands = [(bench.rng.randrange(0, 1 << 19, size), size * bench.rng.randint(1, 90)) for _ in range(12)]
    await bench.round_trip(commands[:6])
    slave.ar_channel.set_pause_generator(pauses(1))
    slave.r_channel.set_pause_generator(pauses(2))
    bench.sink_stall = 0.3
    await bench.round_trip(commands[6:])
    bench.sink_stall, bench.may_withdraw = 0.0, True
    await bench.send((1 << 20) - 2 * size, 4 * size)
    await bench.until_idle()
    assert int(dut.error.value)
    assert bench.received == [(data, 0) for data, _ in expected_beats((1 << 20) - 2 * size, 2 * size, size)]
