"""The exit unit's latency and what it is built from."""

from __future__ import annotations

import pytest

from hw.emit import to_verilog
from hw.units.exit_unit import ExitUnit


@pytest.mark.parametrize("num_labels", [2, 3, 4, 5, 6, 7, 8])
def test_exit_unit_elaborates_for_every_number_of_classes(num_labels: int) -> None:
    unit = ExitUnit(num_labels)
    assert unit.latency == 34 * num_labels + 35  # the docstrings' formulas
    assert unit.arithmetic.latency == 34 * num_labels + 15
    assert unit.decision.latency == 20
    text = to_verilog(unit, "exit_unit")
    assert text.count(" * ") == 1  # one multiplier
