"""Sequencer in Verilator against the loop nest of its bench, for several geometries and lengths."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hw.engine.sequencer import Sequencer
from hw.params import Machine
from sim.run import BenchResult, run_component


def check(machine: Machine, lengths: list[int], test_filter: str | None = None) -> BenchResult:
    return run_component(
        Sequencer(machine),
        f"sequencer_{machine.model.hidden_size}_{machine.rows}x{machine.columns}",
        "sim.benches.sequencer_bench",
        test_args={"machine": machine.model_dump(mode="json"), "lengths": lengths},
        seed=machine.columns,
        test_filter=test_filter,
    )


@pytest.mark.parametrize(
    ("geometry", "rows", "columns"),
    [
        pytest.param("nano", 4, 4, marks=pytest.mark.slow),
        pytest.param("nano", 2, 8, marks=pytest.mark.slow),
        ("nano", 1, 4),
        ("nano", 8, 16),
        ("odd", 4, 8),
    ],
)
def test_steps_and_tiles_are_those_of_the_loop_nest(
    make_machine: Callable[[str, int, int], Machine], geometry: str, rows: int, columns: int
) -> None:
    machine = make_machine(geometry, rows, columns)
    longest = machine.model.max_position_embeddings
    lengths = {1, columns - 1, columns, columns + 1, longest}
    result = check(machine, sorted(length for length in lengths if length <= longest))
    assert len(result.tests) == 3
    assert result.metrics["tiles"] > 100
    storm = result.metrics["storm"]  # each wait is met
    assert all(storm[reason] > 0 for reason in ("WEIGHTS", "DRAIN", "SOFTMAX", "LAYERNORM")), storm


def test_the_longest_sentence_of_all(make_machine: Callable[[str, int, int], Machine]) -> None:
    result = check(make_machine("long", 16, 16), [512], test_filter="whole_sentences")
    assert result.metrics["steps"] > 60_000
