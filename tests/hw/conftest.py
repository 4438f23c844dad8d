"""Running and elaborating single blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Elaboratable, Fragment
from amaranth.sim import Simulator


def _simulate(component: Any, process: Any) -> None:
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()


@pytest.fixture
def simulate() -> Callable[[Any, Any], None]:
    """Runs the testbench ``process(ctx)`` on a clocked component."""
    return _simulate


def _elaborated(component: Any) -> Any:
    assert isinstance(component, Elaboratable)
    Fragment.get(component, None)
    return component


@pytest.fixture
def elaborated() -> Callable[[Any], Any]:
    """The component, after a proof that it and its parts elaborate."""
    return _elaborated
