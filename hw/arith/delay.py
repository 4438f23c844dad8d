"""Delay by registers."""

from __future__ import annotations

from amaranth.hdl import Module, Signal


def delay(m: Module, value, cycles: int, name: str) -> Signal:
    """``value`` after ``cycles`` registers without reset (``value`` itself for 0)."""
    for i in range(cycles):
        later = Signal(value.shape(), reset_less=True, name=f"{name}_{i + 1}")
        m.d.sync += later.eq(value)
        value = later
    return value
