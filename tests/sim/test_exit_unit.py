"""Exit unit and its two parts in Verilator against their golden definitions."""

from __future__ import annotations

import pytest

from golden_model.exits import ExitMode
from hw.units.exit_arithmetic import ExitArithmetic
from hw.units.exit_decision import ExitDecision
from hw.units.exit_unit import ExitUnit
from sim.ecp5 import ECP5_CELLS
from sim.run import run_component


@pytest.mark.parametrize(
    "num_labels", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(6, marks=pytest.mark.slow), 8]
)
def test_exit_unit_equals_the_golden_definition(num_labels: int) -> None:
    unit = ExitUnit(num_labels)
    result = run_component(
        unit,
        f"exit_unit_{num_labels}",
        "sim.benches.exit_unit_bench",
        test_args={"num_labels": num_labels, "latency": unit.latency, "sentences": 210},
        seed=num_labels,
    )
    assert len(result.tests) == 6
    outcomes = result.metrics["outcomes"]
    for mode in ExitMode:  # the stimulus reaches both decisions of every policy
        assert outcomes[f"{mode.name}.stay"] >= 5, outcomes
        if mode != ExitMode.none:
            assert outcomes[f"{mode.name}.exit"] >= 3, outcomes


@pytest.mark.parametrize(
    ("num_labels", "technology"),
    [pytest.param(2, "ecp5", marks=pytest.mark.slow), (5, "generic"), (8, "ecp5")],
)
def test_exit_arithmetic(num_labels: int, technology: str) -> None:
    block = ExitArithmetic(num_labels, technology)
    result = run_component(
        block,
        f"exit_arithmetic_{num_labels}_{technology}",
        "sim.benches.exit_arithmetic_bench",
        extra_sources=ECP5_CELLS if technology == "ecp5" else None,
        test_args={"num_labels": num_labels, "latency": block.latency, "count": 200},
        seed=num_labels,
    )
    assert len(result.tests) == 3


def test_exit_decision() -> None:
    block = ExitDecision()
    result = run_component(
        block,
        "exit_decision",
        "sim.benches.exit_decision_bench",
        test_args={"latency": block.latency, "sentences": 210},
        seed=5,
    )
    assert len(result.tests) == 4
    outcomes = result.metrics["outcomes"]
    for mode in ExitMode:  # the stimulus reaches both decisions of every policy
        assert outcomes[f"{mode.name}.stay"] >= 5, outcomes
        if mode != ExitMode.none:
            assert outcomes[f"{mode.name}.exit"] >= 3, outcomes
    assert all(result.metrics["ties"][name] > 5 for name in ("margin", "delta", "range")), result.metrics
