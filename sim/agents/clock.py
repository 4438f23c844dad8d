"""Clock and reset of a bench."""

from __future__ import annotations

import os
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer


def period_ns() -> float:
    """Clock period of this run in nanoseconds: ``clock_ns`` of ``run_bench``, or 10 where that is None."""
    return float(os.environ.get("ELBERT_BENCH_CLOCK_NS", "10"))


async def start(dut: Any, *, reset_cycles: int = 2) -> None:
    """Makes sure ``dut.clk`` runs, holds ``dut.rst`` (if there is one) for ``reset_cycles``, and returns
    after an edge.

    The simulator's main loop drives the clock of a ``run_bench`` with ``clock_ns`` (4.1 M cycles/s on a
    counter); otherwise cocotb's clock is started (0.72 M cycles/s).
    """
    if "ELBERT_BENCH_CLOCK_NS" not in os.environ:
        Clock(dut.clk, period_ns(), "ns").start(start_high=False)
    has_reset = hasattr(dut, "rst")
    if has_reset:
        dut.rst.value = 1
    for _ in range(max(reset_cycles, 1)):
        await RisingEdge(dut.clk)
    if has_reset:
        dut.rst.value = 0
        await RisingEdge(dut.clk)


async def cycles(dut: Any, count: int) -> None:
    """Waits ``count`` clock edges with two awaits whatever the count (an await per edge costs 4 us).

    Raises:
        ValueError: ``count`` is negative.
    """
    if count < 0:
        raise ValueError(f"count {count} is negative")
    if count == 0:
        return
    await RisingEdge(dut.clk)
    if count > 1:
        # to just past the edge before the last one wanted, then that one: exact in both clock sources
        await Timer(round((count - 1) * period_ns() * 1000 - period_ns() * 500), "ps")
        await RisingEdge(dut.clk)
