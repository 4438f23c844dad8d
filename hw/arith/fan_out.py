"""Fan-out by registers: a tree of copies, so that no register drives more than a few loads."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value

from hw.arith.check import check_int
from hw.arith.widths import ceil_div


def fan_out_levels(loads: int, limit: int) -> int:
    """The least registers in a row with which ``loads`` loads hang on copies of at most ``limit`` each."""
    check_int("limit", limit, 2, 1 << 16)
    levels = 0
    while loads > limit:
        loads, levels = ceil_div(loads, limit), levels + 1
    return levels


def register_each(m: Module, value: Value, loads: int, name: str, *, reset: bool = False) -> list[Signal]:
    """``value`` a cycle later, for each of ``loads`` loads in a register of its own: each drives one part
    alone, and can lie beside it. Marked ``keep`` as those of :func:`fan_out`.

    Args:
        reset: they are cleared, as what starts something has to be.
    """
    return [_kept_register(m, value, f"{name}_{i}", reset=reset) for i in range(loads)]


def fan_out(m: Module, value: Value, loads: int, *, limit: int, cycles: int, name: str) -> list[Value]:
    """What each of ``loads`` neighbouring loads is to use: ``value``, ``cycles`` cycles ago.

    A tree of registers without reset: every copy, and ``value`` itself, serves at most ``limit`` loads or
    copies. Its flip-flops are marked ``keep``, since to a synthesiser equal ones are one.

    Raises:
        ValueError: the tree is deeper than ``cycles``.
    """
    levels = fan_out_levels(loads, limit)
    if cycles < levels:
        raise ValueError(f"{loads} loads at {limit} a register take {levels} cycles, not {cycles}")
    value = Value.cast(value)
    widths = [loads]
    for _ in range(levels):
        widths.append(ceil_div(widths[-1], limit))
    sources = [value]
    for stage in range(cycles):
        # The tree comes last: what only delays needs one copy.
        copies = widths[cycles - stage] if cycles - stage <= levels else 1
        registers = []
        for i in range(copies):
            source = sources[i * len(sources) // copies]
            registers.append(_kept_register(m, source, f"{name}_{stage}_{i}"))
        sources = registers
    return [sources[i * len(sources) // loads] for i in range(loads)]


def _kept_register(m: Module, value: Value, name: str, *, reset: bool = False) -> Signal:
    """``value`` a cycle later; to a synthesiser another register than one that holds the same."""
    register = Signal(value.shape(), reset_less=not reset, name=name, attrs={"keep": 1})
    m.d.sync += register.eq(value)
    return register
