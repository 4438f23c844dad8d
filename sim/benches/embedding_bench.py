"""Embedding unit with its AXI reader against ``embedding.sum`` of docs/numerics.md, exact equality.

Arguments (``bench_args``): data_width, max_burst, outstanding, rows, word int8 [V, E], position_type int16
[types, max length, E]. Reported: features checked, and cycles of the longest sentence at a latency of 30.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
import torch
from cocotb.triggers import RisingEdge

from golden_model.integer.ops.fixed import saturate_signed
from golden_model.numerics import EMBEDDING_SHIFT, RESIDUAL_BITS
from sim.agents import clock
from sim.benches.axi_reader_bench import LATENCY, SLVERR, Memory
from sim.run import bench_args, report

TOKENS_BASE, WORD_BASE, POSITION_BASE = 0x1240, 0x8000_0F40, 0x4010_0FC0
"""Multiples of 64, close below 4 KB boundaries."""


def index_bits(count: int) -> int:
    """Width of an index below ``count`` at the port."""
    return max(1, (count - 1).bit_length())


class Bench:
    """Memory image, sentence driver and checker."""

    def __init__(self, dut: Any, seed: int) -> None:
        args = bench_args()
        self.dut, self.rng = dut, random.Random(seed)
        self.word, self.position = args["word"], args["position_type"]
        self.rows: int = args["rows"]
        self.types, self.max_length, self.features = self.position.shape
        self.vocab = self.word.shape[0]
        self.blocks = -(-self.max_length // self.rows)
        self.regions = {
            WORD_BASE: self.word.astype("<i1").tobytes(),
            POSITION_BASE: self.position.astype("<i2").tobytes(),
        }
        self.memory = Memory(dut, self.rng, self.beat)
        self.sink_stall = 0.0
        self.checked = 0

    def beat(self, address: int, count: int) -> int:
        """Content of the memory; random beyond the regions, where only padding may be read."""
        for base, content in self.regions.items():
            offset = address - base
            if 0 <= offset < len(content):
                part = content[offset : offset + count]
                return int.from_bytes(part + self.rng.randbytes(count - len(part)), "little")
        raise AssertionError(f"a read at {address:#x} is in no region")

    async def begin(self) -> None:
        """Clock, reset, memory."""
        dut = self.dut
        for name in ("start", "abort", "clear", "out__ready", "m_axi__arready", "m_axi__rvalid"):
            getattr(dut, name).value = 0
        dut.length.value = 1
        dut.tokens_base.value, dut.word_base.value = TOKENS_BASE, WORD_BASE
        dut.position_base.value = POSITION_BASE
        await clock.start(dut)
        cocotb.start_soon(self.memory.run())

    def sentence(self, length: int) -> list[tuple[int, int]]:
        """(id, type), the vocabulary's ends often."""
        rng = self.rng
        ids = [rng.choice((0, self.vocab - 1, rng.randrange(self.vocab))) for _ in range(length)]
        return [(i, rng.randrange(self.types)) for i in ids]

    def expected(self, tokens: list[tuple[int, int]]) -> np.ndarray:
        """``embedding.sum`` [L, E]."""
        ids, kinds = (torch.tensor(column) for column in zip(*tokens, strict=True))
        word = torch.from_numpy(self.word).to(torch.int64)[ids]
        position = torch.from_numpy(self.position).to(torch.int64)[kinds, torch.arange(len(tokens))]
        return saturate_signed((word << EMBEDDING_SHIFT) + position, RESIDUAL_BITS).numpy()

    async def start(self, tokens: list[tuple[int, int]]) -> None:
        """Writes the sentence to memory and starts."""
        words = np.array([i | kind << 24 for i, kind in tokens], "<u4")
        self.regions[TOKENS_BASE] = words.tobytes()
        self.dut.length.value = len(tokens)
        self.dut.start.value = 1
        await RisingEdge(self.dut.clk)
        self.dut.start.value = 0

    def unpack(self, payload: int) -> dict[str, int]:
        """The fields of ``embedding_feature``."""
        widths = {
            "lane": self.rows,
            "block": index_bits(self.blocks),
            "feature": index_bits(self.features),
            "value": RESIDUAL_BITS,
            "first": 1,
            "last": 1,
        }
        fields = {}
        for name, width in widths.items():
            fields[name] = payload & ((1 << width) - 1)
            payload >>= width
        if fields["value"] >> (RESIDUAL_BITS - 1):
            fields["value"] -= 1 << RESIDUAL_BITS
        return fields

    async def collect(self, limit: int = 40000) -> tuple[list[int], int]:
        """Payloads until ``done``, and the cycles that took."""
        dut = self.dut
        payloads: list[int] = []
        held: int | None = None
        for cycle in range(1, limit):
            ready = int(self.rng.random() >= self.sink_stall)
            dut.out__ready.value = ready
            await RisingEdge(dut.clk)
            if int(dut.out__valid.value):
                payload = int(dut.out__payload.value)
                assert held is None or held == payload, "a waiting feature changed"
                held = payload
                if ready:
                    payloads.append(payload)
                    held = None
            else:
                assert held is None, "out.valid fell before ready"
            if int(dut.done.value):
                assert not int(dut.busy.value)
                return payloads, cycle
        raise AssertionError(f"no done after {limit} cycles, {len(payloads)} features came")

    async def round_trip(self, tokens: list[tuple[int, int]]) -> int:
        """One sentence, checked; its cycles."""
        await self.start(tokens)
        payloads, cycles = await self.collect()
        assert not int(self.dut.token_error.value)
        wanted = self.expected(tokens)
        for i, payload in enumerate(payloads):
            token, feature = divmod(i, self.features)
            assert token < len(tokens), f"{len(payloads)} features, expected {wanted.size}"
            want = {
                "lane": 1 << token % self.rows,
                "block": token // self.rows,
                "feature": feature,
                "value": int(wanted[token, feature]),
                "first": int(feature == 0),
                "last": int(feature == self.features - 1),
            }
            got = self.unpack(payload)
            assert got == want, f"token {token} {tokens[token]} feature {feature}: expected {want}, got {got}"
        assert len(payloads) == wanted.size, f"{len(payloads)} features, expected {wanted.size}"
        self.checked += wanted.size
        return cycles


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def every_length_and_stall(dut: Any) -> None:
    """Lengths from 1 to the maximum, memory stalls against back-pressure."""
    bench = Bench(dut, 1)
    await bench.begin()
    matrix = [(memory, sink) for memory in (0.0, 0.6) for sink in (0.0, 0.6)]
    lengths = sorted({1, 2, bench.rows, bench.rows + 1, bench.max_length - 1, bench.max_length})
    for turn, length in enumerate(lengths + lengths):
        stall, bench.sink_stall = matrix[turn % len(matrix)]
        bench.memory.latency = bench.rng.choice((1, 7, LATENCY))
        bench.memory.address_stall = bench.memory.data_stall = stall
        await bench.round_trip(bench.sentence(min(length, bench.max_length)))
    report(features=bench.checked)


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def extreme_rows(dut: Any) -> None:
    """The largest and smallest sums: row 0 of the test's tables holds +max, row 1 -max."""
    bench = Bench(dut, 2)
    await bench.begin()
    tokens = [(0, 0), (1, bench.types - 1), (0, bench.types - 1), (1, 0)]
    tokens = tokens[: bench.max_length]
    await bench.round_trip(tokens)


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def keeps_one_feature_per_cycle(dut: Any) -> None:
    """The longest sentence at a latency of 30 cycles within the documented bound."""
    bench = Bench(dut, 3)
    await bench.begin()
    bench.memory.latency = LATENCY
    cycles = await bench.round_trip(bench.sentence(bench.max_length))
    beats = bench.features // bench.memory.beat_bytes
    tokens = bench.max_length * (bench.features + beats + 2)
    report(cycles=cycles, bound=tokens, features_longest=bench.max_length * bench.features)
    # tokens in one by one, then two memory latencies; short rows cannot hide the memory's latency
    start = 2 * bench.max_length + 2 * (LATENCY + 12)
    if bench.features + beats >= LATENCY + 16:
        assert cycles <= start + tokens, f"{cycles} cycles, expected at most {start + tokens}"


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def a_bad_token_is_refused(dut: Any) -> None:
    """An id or a type out of range, at any place: ``token_error``, no feature, the next one works."""
    bench = Bench(dut, 4)
    await bench.begin()
    for turn in range(10):
        tokens = bench.sentence(bench.rng.randint(1, bench.max_length))
        place = bench.rng.choice((0, len(tokens) - 1, bench.rng.randrange(len(tokens))))
        ids = (bench.vocab, (1 << 24) - 1, bench.vocab | 1 << 23)
        tokens[place] = (bench.rng.choice(ids), 0) if turn % 2 else (0, bench.rng.choice((bench.types, 255)))
        await bench.start(tokens)
        payloads, _ = await bench.collect()
        assert int(dut.token_error.value)
        assert not payloads
        await clock.cycles(dut, 10)
        assert int(dut.token_error.value)
        assert int(dut.idle.value)
        await bench.round_trip(bench.sentence(2))


@cocotb.test(timeout_time=2, timeout_unit="ms")  # 200,000 cycles
async def abort_and_bus_error(dut: Any) -> None:
    """Aborted at any time, or after a bus error: not busy, no ``done``, and the next sentence works."""
    bench = Bench(dut, 5)
    await bench.begin()
    span = bench.max_length * bench.features
    for turn in range(16):
        bench.memory.latency = bench.rng.choice((1, 9))
        await bench.start(bench.sentence(bench.max_length))
        dut.out__ready.value = turn % 3 != 0
        if turn % 4 == 3:
            bench.memory.response = lambda address: SLVERR
            for _ in range(2000):
                await RisingEdge(dut.clk)
                if int(dut.error.value):
                    break
            assert int(dut.error.value)
            bench.memory.response = lambda address: 0
        else:
            await clock.cycles(dut, 1 + bench.rng.randrange(max(1, span // 2)))
        dut.abort.value = dut.clear.value = 1
        await RisingEdge(dut.clk)
        dut.abort.value = dut.clear.value = 0
        await RisingEdge(dut.clk)
        assert not int(dut.busy.value)
        for _ in range(400):
            await RisingEdge(dut.clk)
            assert not int(dut.done.value)
            assert not int(dut.out__valid.value)
        assert int(dut.idle.value)
        await bench.round_trip(bench.sentence(2))
