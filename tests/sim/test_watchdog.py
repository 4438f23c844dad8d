"""The default watchdog: above what a sentence takes, and not far above it."""

from __future__ import annotations

from fractions import Fraction

import pytest

from golden_model.config import PRESETS
from hw.cycles.memory import MemoryTiming
from hw.params import Machine
from sim.watchdog import NEVER, default_watchdog, longest_sentence


def machine(preset: str, rows: int, columns: int) -> Machine:
    return Machine(model=PRESETS[preset], rows=rows, columns=columns)


def work(machine: Machine) -> int:
    """Cycles of a full sentence whose array never waits."""
    model = machine.model
    length = model.max_position_embeddings
    products = model.embedding_products(length) + model.num_hidden_layers * model.layer_products(length)
    return products // (machine.rows * machine.columns)


@pytest.mark.parametrize(
    ("preset", "rows", "columns", "most"),
    [
        ("nano", 4, 4, 30),  # a small model's time is what surrounds the tiles
        ("small", 8, 16, 8),
        ("small", 4, 32, 8),
        ("base", 4, 4, 8),
        ("base", 32, 32, 8),
        ("large", 8, 16, 8),
    ],
)
def test_it_is_a_few_times_the_arrays_work(preset: str, rows: int, columns: int, most: int) -> None:
    m = machine(preset, rows, columns)
    assert 2 * work(m) < longest_sentence(m, MemoryTiming()) < most * work(m)
    assert default_watchdog(m, MemoryTiming()) == longest_sentence(m, MemoryTiming())


def test_a_hundred_million_cycles_would_end_the_larger_presets() -> None:
    assert (
        100_000_000
        < work(machine("large", 8, 16))
        < default_watchdog(machine("large", 8, 16), MemoryTiming())
    )
    assert 100_000_000 < work(machine("base", 4, 4)) < default_watchdog(machine("base", 4, 4), MemoryTiming())


def test_the_longest_measured_sentence_of_nano_is_far_below() -> None:
    """As ``elbert simulate`` prints it for 16 tokens."""
    assert longest_sentence(machine("nano", 4, 4), MemoryTiming()) / 10 > 44_927


def test_a_slow_memory_gives_more_time() -> None:
    m = machine("small", 8, 16)
    fast = longest_sentence(m, MemoryTiming())
    half = Fraction(1, 2)
    slow = longest_sentence(m, MemoryTiming(bandwidth=half))
    weights = 4 * 384 * 384 + 2 * 384 * 1536
    assert slow - fast > m.model.num_hidden_layers * weights * (1 / half - Fraction(1, 16))
    assert longest_sentence(m, MemoryTiming(), stalled=True) > fast
    assert longest_sentence(m, MemoryTiming(latency=400)) > fast


def test_what_the_register_cannot_hold_is_no_limit() -> None:
    assert default_watchdog(machine("large", 4, 4), MemoryTiming()) == NEVER
