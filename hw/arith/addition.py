"""Registered adder trees."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Module, Signal, Value


def tree_levels(addends: int) -> int:
    """Cycles of :func:`adder_tree` for that many addends."""
    return max(addends - 1, 0).bit_length()


def adder_tree(m: Module, addends: Sequence[Value], shape, name: str) -> Value:
    """Sum of ``addends`` in ``shape``, pairwise with a register per level: ``tree_levels`` cycles."""
    level = list(addends)
    depth = 0
    while len(level) > 1:
        sums = []
        for i in range(0, len(level), 2):
            register = Signal(shape, reset_less=True, name=f"{name}_{depth}_{i // 2}")
            m.d.sync += register.eq(sum(level[i : i + 2]))
            sums.append(register)
        level, depth = sums, depth + 1
    return level[0]
