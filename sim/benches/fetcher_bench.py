"""Fetcher against the list of reads that the memory image is laid out by: every read, every beat's place.

Arguments (``bench_args``): machine (`hw.params.Machine` as JSON). The bench plays the AxiReader and whoever
uses the weight tiles. Reported: reads and writes checked, cycles of a run with nothing in its way.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from golden_model.numerics import CHANNEL_PARAMETER_BYTES
from hw.engine.fetcher import QUEUE
from hw.engine.program import HEADER_SLOTS, FetchItem, Prefetch, build_program, fetch_items
from hw.params import Machine
from sim.agents import clock
from sim.run import bench_args, report

IMAGE = random.Random(7).randbytes((1 << 16) + 7)
ADDRESSES = 1 << 32
BANKS = 2
TABLE_WORD_BYTES = 4
WORD_BITS = 8 * CHANNEL_PARAMETER_BYTES


def image_bytes(address: int, count: int) -> bytes:
    """What lies at ``address``: the image repeats through the whole address space."""
    start = address % len(IMAGE)
    return (IMAGE[start:] + IMAGE)[:count]


@dataclass(frozen=True)
class Read:
    """One read and what comes of it.

    Attributes:
        address, bytes: of the command.
        writes: (kind, place, value) in order; kind is "bank", "header", "norm", "table" or "attention".
        fills: it completes a weight tile.
    """

    address: int
    bytes: int
    writes: list[tuple[str, tuple[int, ...], int]]
    fills: bool


class Reads:
    """The definition: `fetch_items`, its two streams, and where each word belongs."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.program = build_program(machine)
        self.parameters = 0
        """Address of the next parameter; goes on from run to run."""

    def run(self, name: str, weights: int) -> Iterator[Read]:
        """All reads of a run."""
        tiles = headers = 0
        for item in fetch_items(self.program, getattr(self.program, name), self.machine):
            if item.kind == "weights":
                address, weights = weights, weights + item.bytes
                writes = self.tile(item, address, tiles)
                tiles += 1
            else:
                address, self.parameters = self.parameters, self.parameters + item.bytes
                writes = self.words(item, address, headers)
                headers += item.kind == "header"
            yield Read(address % ADDRESSES, item.bytes, writes, item.kind == "weights")

    def tile(self, item: FetchItem, address: int, number: int) -> list[tuple[str, tuple[int, ...], int]]:
        """A weight tile: a beat a k, the banks in turn."""
        content, q = image_bytes(address % ADDRESSES, item.bytes), self.machine.columns
        return [
            ("bank", (number % BANKS, k), int.from_bytes(content[k * q : (k + 1) * q], "little"))
            for k in range(item.descriptor.depth)
        ]

    def words(self, item: FetchItem, address: int, headers: int) -> list[tuple[str, tuple[int, ...], int]]:
        """Channel parameters, LayerNorm parameters, a table, the attention's two channels."""
        content = image_bytes(address % ADDRESSES, item.bytes)
        kind = "header" if item.kind == "header" else item.descriptor.prefetch.name.lower()
        size = TABLE_WORD_BYTES if item.descriptor.prefetch == Prefetch.TABLE else CHANNEL_PARAMETER_BYTES
        if kind == "header":
            size = CHANNEL_PARAMETER_BYTES
        words = [int.from_bytes(content[i : i + size], "little") for i in range(0, len(content), size)]
        if kind == "attention":
            return [("attention", (), words[0] | words[1] << WORD_BITS)]
        place = (headers % HEADER_SLOTS,) if kind == "header" else ()
        return [(kind, (*place, i), word) for i, word in enumerate(words)]


@dataclass
class Weather:
    """How the neighbours behave, as probabilities in a cycle."""

    command: float = 1.0
    """The reader takes a command."""
    data: float = 1.0
    """A beat is there."""
    release: float = 1.0
    """A weight tile that is there is used up."""
    latency: int = 1
    meet: bool = False
    """A weight tile is also used up in the very cycle in which the next one is complete."""


CALM = Weather(latency=20)
STORMS = (
    Weather(command=0.1, data=0.9, release=0.9),
    Weather(command=0.8, data=0.3, release=0.05, latency=30),
    Weather(command=0.5, data=0.6, release=0.01, latency=3),
    Weather(release=0.002, meet=True),
)


class Bench:
    """Reader, user of the tiles, and the list that is walked along."""

    def __init__(self, dut: Any, seed: int) -> None:
        self.dut, self.rng = dut, random.Random(seed)
        self.machine = Machine.model_validate(bench_args()["machine"])
        self.reads = Reads(self.machine)
        self.program = self.reads.program
        self.beat_bytes = self.machine.columns
        self.writes: Counter[str] = Counter()
        self.commands = 0

    async def begin(self) -> None:
        """Clock and reset; all inputs at rest."""
        self.rest()
        await clock.start(self.dut)

    def rest(self) -> None:
        """Nothing happens."""
        dut = self.dut
        for name in ("start", "load_parameters", "tile_release", "command__ready", "data__valid"):
            getattr(dut, name).value = 0
        self.noise()

    def noise(self) -> None:
        """What is taken with a pulse means nothing without it."""
        dut, rng = self.dut, self.rng
        dut.weights_base.value, dut.parameters_base.value = rng.getrandbits(32), rng.getrandbits(32)
        dut.first.value = dut.last.value = rng.randrange(len(self.program.descriptors))

    def base(self) -> int:
        """Of a stream: anywhere, and often where a carry runs far."""
        page = self.rng.choice((self.rng.randrange(1 << 20), 0x0FFFF, 0xFFFFF, 0))
        return page << 12

    async def load(self) -> None:
        """A sentence begins."""
        dut = self.dut
        self.reads.parameters = self.base()
        dut.parameters_base.value, dut.load_parameters.value = self.reads.parameters, 1
        await RisingEdge(dut.clk)
        dut.load_parameters.value = 0
        self.noise()

    async def run(self, name: str, weather: Weather, cut: int | None = None) -> int:
        """One run, checked; its cycles. ``cut``: given up after so many."""
        dut, weights = self.dut, self.base()
        bounds = getattr(self.program, name)
        dut.start.value, dut.first.value, dut.last.value = 1, bounds[0], bounds[1]
        dut.weights_base.value = weights
        await RisingEdge(dut.clk)
        assert int(dut.idle.value)
        dut.start.value = 0
        self.noise()
        return await Walk(self, name, weights, weather).follow(cut)


class Walk:
    """One run."""

    def __init__(self, bench: Bench, name: str, weights: int, weather: Weather) -> None:
        self.bench, self.dut, self.rng, self.weather = bench, bench.dut, bench.rng, weather
        self.name = name
        self.expected = deque(bench.reads.run(name, weights))
        """Reads that have not been asked for."""
        self.writes: deque[tuple[str, tuple[int, ...], int]] = deque()
        """That have been, in order."""
        self.beats: deque[tuple[int, int, int, Read]] = deque()
        """(earliest cycle, data, is last, read)"""
        self.receiving = 0
        self.cycle = self.filled = self.started = self.released = 0
        self.fill_seen = False

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.name}, cycle {self.cycle}"

    async def follow(self, cut: int | None) -> int:
        """Until the fetcher is idle again and the tiles are used up."""
        dut, limit = self.dut, 100_000 if cut is None else cut
        edge = RisingEdge(dut.clk)
        offered: int | None = None
        while self.cycle < limit:
            ready, release = self.drive()
            await edge
            self.cycle += 1
            available = self.filled > self.released
            assert bool(int(dut.tile_available.value)) == available, (
                f"tile_available is not {available}, {self.where}"
            )
            if int(dut.command__valid.value):
                payload = int(dut.command__payload.value)
                assert offered is None or offered == payload, f"a waiting command changed, {self.where}"
                offered = payload
                if ready:
                    self.take(payload)
                    offered = None
            else:
                assert offered is None, f"command.valid fell before ready, {self.where}"
            self.check_writes()
            self.take_beat()
            self.released += release
            if int(dut.idle.value) and self.finished():
                self.bench.rest()
                await edge
                assert int(dut.idle.value)
                return self.cycle
            if self.expected or self.beats:
                assert not int(dut.idle.value), f"idle, but there is more, {self.where}"
        assert cut is not None, f"{self.where}: not idle, {len(self.expected)} reads to come"
        return self.cycle

    def finished(self) -> bool:
        """Everything asked for, written and used."""
        done = not (self.expected or self.beats or self.released < self.filled)
        assert not done or not self.writes, f"idle before {self.writes[0]}, {self.where}"
        return done

    def drive(self) -> tuple[int, int]:
        """The neighbours in the coming cycle; whether a command is taken and a tile released."""
        dut, rng, weather = self.dut, self.rng, self.weather
        ready = int(rng.random() < weather.command)
        release = int(self.filled > self.released and rng.random() < weather.release)
        self.beat = None
        if self.beats and self.beats[0][0] <= self.cycle and (self.offering or rng.random() < weather.data):
            self.beat = self.beats[0]
        self.offering = self.beat is not None
        if weather.meet and self.beat is not None and self.filled == self.released + 1:
            release |= int(self.beat[2] and self.beat[3].fills)
        dut.command__ready.value, dut.tile_release.value = ready, release
        dut.data__valid.value = int(self.offering)
        width = 8 * self.bench.beat_bytes
        if self.beat is None:  # nothing may depend on it
            dut.data__payload.value = rng.getrandbits(width + 1)
        else:
            dut.data__payload.value = self.beat[1] | self.beat[2] << width
        return ready, release

    offering = False
    beat: tuple[int, int, int, Read] | None = None

    def take(self, payload: int) -> None:
        """A command: the list's next read."""
        assert self.expected, f"a read after the last, {self.where}"
        read = self.expected.popleft()
        got = payload & (ADDRESSES - 1), payload >> 32
        assert got == (read.address, read.bytes), (
            f"read: expected {read.bytes} bytes at {read.address:#x}, "
            f"got {got[1]} at {got[0]:#x}, {self.where}, {len(self.expected)} to come"
        )
        size = self.bench.beat_bytes
        content = image_bytes(read.address, read.bytes)
        count = read.bytes // size
        for i in range(count):
            data = int.from_bytes(content[i * size : (i + 1) * size], "little")
            self.beats.append((self.cycle + self.weather.latency, data, int(i == count - 1), read))
        self.writes.extend(read.writes)
        self.receiving += 1
        assert self.receiving <= QUEUE + 2, f"{self.receiving} reads on their way, {self.where}"
        self.bench.commands += 1

    def take_beat(self) -> None:
        """The reader's side of the data stream."""
        if self.beat is None or not int(self.dut.data__ready.value):
            return
        _, _, last, read = self.beats.popleft()
        self.offering = False
        self.receiving -= last
        self.filled += last and read.fills

    def check_writes(self) -> None:
        """What is written in this cycle is what comes next."""
        dut = self.dut
        if int(dut.bank_write_enable.value):
            tile = self.filled
            assert tile < self.released + BANKS, f"a bank in use is overwritten, {self.where}"
            place = int(dut.bank_write_bank.value), int(dut.bank_write_address.value)
            self.check("bank", place, int(dut.bank_write_data.value))
        if int(dut.header_write_enable.value):
            place = int(dut.header_write_slot.value), int(dut.header_write_index.value)
            self.check("header", place, int(dut.word.value))
        if int(dut.norm_write_enable.value):
            self.check("norm", (int(dut.norm_write_index.value),), int(dut.word.value))
        if int(dut.table_write_enable.value):
            self.check("table", (int(dut.table_write_address.value),), int(dut.table_write_data.value))
        if int(dut.attention_loaded.value):
            self.loaded = True
        elif self.loaded:  # complete with the pulse, or a cycle later
            self.check("attention", (), int(dut.attention_parameters.value))
            self.loaded = False

    loaded = False

    def check(self, kind: str, place: tuple[int, ...], value: int) -> None:
        """One write."""
        assert self.writes, f"{kind} {place}: a write after the last, {self.where}"
        want = self.writes.popleft()
        assert (kind, place, value) == want, (
            f"expected {want[0]} {want[1]} = {want[2]:#x}, got {kind} {place} = {value:#x}, {self.where}"
        )
        self.bench.writes[kind] += 1


SENTENCE = ("norm", "projection", "layer", "layer")


@cocotb.test
async def whole_sentences(dut: Any) -> None:
    """All runs, nothing in the way: parameters go on from run to run, weights begin anew."""
    bench = Bench(dut, 1)
    await bench.begin()
    cycles: dict[str, int] = {}
    for _ in range(2):
        await bench.load()
        for name in SENTENCE:
            cycles[name] = await bench.run(name, CALM)
    report(commands=bench.commands, writes=dict(bench.writes), cycles=cycles)


@cocotb.test
async def stalls(dut: Any) -> None:
    """Commands, beats and releases as late as they like."""
    bench = Bench(dut, 2)
    await bench.begin()
    for weather in STORMS:
        await bench.load()
        for name in SENTENCE[:3]:
            await bench.run(name, weather)
            await clock.cycles(dut, bench.rng.choice((0, 1, 9)))


@cocotb.test
async def reset_at_any_time(dut: Any) -> None:
    """The engine resets it to drop a sentence: the next one runs as if nothing had been."""
    bench = Bench(dut, 3)
    await bench.begin()
    for turn in range(12):
        await bench.load()
        await bench.run("layer", STORMS[turn % len(STORMS)], cut=1 + bench.rng.randrange(1500))
        dut.rst.value = 1
        bench.rest()
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        await RisingEdge(dut.clk)
        assert int(dut.idle.value)
        assert not int(dut.tile_available.value)
        assert not int(dut.command__valid.value)
        await bench.load()
        await bench.run("norm", CALM)
        await bench.run("projection", STORMS[0])
