"""The cycle model against schedules made by hand; tests/sim/test_performance.py: against the machine."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import pytest

from golden_model.config import PRESETS
from hw.bus.axi import AXI_BOUNDARY
from hw.cycles.memory import MemoryTiming
from hw.cycles.reads import Reads
from hw.cycles.sentence import EMBEDDING, EXIT, bytes_read, predict
from hw.engine.program import build_program
from hw.params import Machine

NANO = Machine(model=PRESETS["nano"], rows=4, columns=4)
SMALL = Machine(model=PRESETS["small"], rows=8, columns=16)


def test_bursts_end_at_pages_and_at_the_longest():
    reads = Reads(16, MemoryTiming())
    assert reads.bursts(0, 1600) == [64, 36]
    assert reads.bursts(AXI_BOUNDARY - 32, 16 * 70) == [2, 64, 4]
    assert reads.bursts(AXI_BOUNDARY, 16) == [1]


@pytest.mark.parametrize("bandwidth", [None, Fraction(16), Fraction(43, 10), Fraction(1, 2)])
def test_a_long_read_takes_its_bytes_over_the_bandwidth(bandwidth):
    reads = Reads(16, MemoryTiming(7, bandwidth))
    first = Reads(16, MemoryTiming(7, bandwidth)).read(0, 0, 16, 0)
    last = reads.read(0, 0, 16 * 1000, 0)
    assert last - first == math.floor(999 * (1 if bandwidth is None else 16 / bandwidth))


def test_latency_shows_once_where_bursts_in_flight_hide_it_and_else_per_four_bursts():
    def cycles(latency: int) -> int:
        return Reads(16, MemoryTiming(latency)).read(0, 0, 16 * 64 * 40, 0)

    assert cycles(100) - cycles(20) == 80
    # four bursts of 64 beats are in flight: 256 cycles of latency are hidden, and ten times what is beyond
    assert cycles(1000) - cycles(500) == pytest.approx(10 * 500, rel=0.02)


def test_a_consumer_of_several_cycles_a_beat_sets_the_pace():
    assert (
        Reads(16, MemoryTiming()).read(0, 0, 16 * 100, 0, 4, 3)
        == Reads(16, MemoryTiming()).read(0, 0, 16, 0, 4, 3) + 4 * 99
    )


def test_counters_add_up_and_parts_too():
    for length in (1, 5, 16):
        found = predict(NANO, length, MemoryTiming(20, Fraction(3)))
        assert sum(found.spent.values()) == found.cycles
        assert sum(count for _, count in found.parts) == found.cycles
    names = [d.name for d in build_program(NANO).descriptors if d.tiles or d.attention]
    once, layer = names[:1], [*names[1:], EXIT]
    assert [name for name, _ in found.parts] == [EMBEDDING, *once, *layer * NANO.model.num_hidden_layers]


def test_active_cycles_are_those_of_the_loop_nests():
    model, length = SMALL.model, 27
    found = predict(SMALL, length, MemoryTiming(), iterations=1)
    h, i, e, d = model.hidden_size, model.intermediate_size, model.embedding_size, model.head_dim
    blocks, words, q, groups = 4, 2, 16, 2
    weights = blocks * (3 * h * h + 2 * h * i) // q + words * groups * h * h // q
    attention = model.num_attention_heads * blocks * (words * d + d // q * length)
    answer = h * h // q + h
    assert found.spent["active"] == blocks * e * h // q + weights + attention + answer


def test_a_slow_memory_sets_the_pace():
    bandwidth = Fraction(1, 4)
    found = predict(SMALL, 5, MemoryTiming(20, bandwidth), iterations=2)
    assert found.cycles == pytest.approx(float(bytes_read(SMALL, 5, 2) / bandwidth), rel=0.01)


def test_more_bandwidth_and_less_latency_never_cost_more_than_a_beat():
    bandwidths = [Fraction(1, 2), Fraction(2), Fraction(43, 10), Fraction(16), None]
    cycles = [predict(SMALL, 12, MemoryTiming(20, b), iterations=2).cycles for b in bandwidths]
    assert all(slow >= fast for slow, fast in pairwise(cycles))
    assert (
        predict(SMALL, 12, MemoryTiming(400, Fraction(4))).cycles
        >= predict(SMALL, 12, MemoryTiming(20, Fraction(4))).cycles
    )


def test_what_the_machine_cannot_do_is_refused():
    with pytest.raises(ValueError, match=r"length 17 is outside 1\.\.16"):
        predict(NANO, 17, MemoryTiming())
    with pytest.raises(ValueError, match=r"iterations 5 is outside 1\.\.4"):
        predict(NANO, 3, MemoryTiming(), iterations=5)
