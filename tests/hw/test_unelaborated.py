"""Asking a component for its geometry without Amaranth's warning that nobody elaborates it."""

from __future__ import annotations

import gc
import warnings

import pytest
from amaranth.hdl import UnusedElaboratable

from golden_model.config import PRESETS
from hw.emit import to_verilog
from hw.engine.engine import Engine
from hw.params import Machine
from hw.unelaborated import unelaborated
from hw.units.exit_unit import ExitUnit


@pytest.fixture(autouse=True)
def something_was_elaborated() -> None:
    """Before that Amaranth warns of nothing."""
    to_verilog(ExitUnit(2), "exit_unit")


def test_neither_the_component_nor_a_part_of_its_parts_is_missed() -> None:
    machine = Machine(model=PRESETS["nano"], rows=2, columns=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnusedElaboratable)
        assert unelaborated(Engine(machine)).exit_unit.latency > 0
        gc.collect()


def test_others_are_still_missed() -> None:
    unelaborated(ExitUnit(2))
    with warnings.catch_warnings(record=True) as missed:
        warnings.simplefilter("always", UnusedElaboratable)
        ExitUnit(3)
        gc.collect()
    assert any("ExitUnit" in str(warning.message) for warning in missed)


def test_it_can_be_elaborated_all_the_same() -> None:
    assert to_verilog(unelaborated(ExitUnit(2)), "exit_unit") == to_verilog(ExitUnit(2), "exit_unit")
