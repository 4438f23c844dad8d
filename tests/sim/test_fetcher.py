"""Fetcher in Verilator against the list of reads that the memory image is laid out by."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hw.engine.fetcher import Fetcher
from hw.params import Machine
from sim.run import run_component


@pytest.mark.parametrize(
    ("geometry", "rows", "columns"),
    [
        # 4 rows are in the odd geometry, 16 columns in the long one, and the whole machine is 4 x 4 elsewhere
        pytest.param("nano", 4, 4, marks=pytest.mark.slow),
        ("nano", 2, 8),
        pytest.param("nano", 4, 16, marks=pytest.mark.slow),
        ("odd", 4, 8),
        ("long", 1, 16),
    ],
)
def test_every_beat_goes_to_its_place(
    make_machine: Callable[[str, int, int], Machine], geometry: str, rows: int, columns: int
) -> None:
    machine = make_machine(geometry, rows, columns)
    result = run_component(
        Fetcher(machine),
        f"fetcher_{machine.model.hidden_size}_{rows}x{columns}",
        "sim.benches.fetcher_bench",
        test_args={"machine": machine.model_dump(mode="json")},
        seed=columns,
    )
    assert len(result.tests) == 3
    assert set(result.metrics["writes"]) == {"bank", "header", "norm", "table", "attention"}
