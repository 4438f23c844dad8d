"""Delay by registers, or by a small memory."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.memory import Memory

SHORTEST_RING = 6
"""Cycles from which on a wide delay is cheaper in distributed memory: four of its bits take as many cells as
four registers, however deep (to 16)."""

RING_BITS = 32
"""Bits of a delay in one such memory, with an address of its own."""


def delay(m: Module, value, cycles: int, name: str) -> Signal:
    """``value`` after ``cycles`` registers without reset (``value`` itself for 0)."""
    for i in range(cycles):
        later = Signal(value.shape(), reset_less=True, name=f"{name}_{i + 1}")
        m.d.sync += later.eq(value)
        value = later
    return value


def delay_in_memory(m: Module, value: Value, cycles: int, name: str) -> Value:
    """As :func:`delay`, of many bits: rings of ``cycles`` - 1 words in distributed memory and a register.

    Its contents, like registers without reset, survive a reset.
    """
    value = Value.cast(value)
    if cycles < SHORTEST_RING:
        return delay(m, value, cycles, name)
    depth = cycles - 1
    later = Signal(len(value), reset_less=True, name=f"{name}_later")
    for low in range(0, len(value), RING_BITS):
        bits = slice(low, low + RING_BITS)
        memory = Memory(shape=len(value[bits]), depth=depth, init=[])
        m.submodules[f"{name}_{low}"] = memory
        write, read = memory.write_port(), memory.read_port(domain="comb")
        # Rings need not agree on their places; equal registers would be made one and drive all of them.
        place = Signal(range(depth), reset_less=True, name=f"{name}_{low}_place", attrs={"keep": 1})
        m.d.comb += [write.addr.eq(place), write.en.eq(1), write.data.eq(value[bits]), read.addr.eq(place)]
        m.d.sync += [place.eq(Mux(place == depth - 1, 0, place + 1)), later[bits].eq(read.data)]
    return later
