"""Registered adder trees and multiplication by constants, both without DSP cells."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Const, Module, Mux, Signal, Value


def signed_digits(constant: int) -> list[tuple[int, int]]:
    """Canonic signed digits of ``constant`` >= 1: [(sign, shift)] with constant = sum sign·2^shift.

    No two neighbouring digits are set, so that their number is the least possible.
    Source: Reitwiesner 1960, "Binary arithmetic".
    """
    if constant < 1:
        raise ValueError(f"constant {constant} is below 1")
    digits, shift = [], 0
    while constant:
        if constant & 1:
            sign = 2 - (constant & 3)
            digits.append((sign, shift))
            constant -= sign
        constant >>= 1
        shift += 1
    return digits


def constant_products(value: Value, constants: Sequence[int], select: Value) -> list[Value]:
    """Addends whose sum is value · constants[select].

    As many as the longest of the constants' signed digits needs; ``select`` is taken where it is used.
    """
    digits = [signed_digits(constant) for constant in constants]
    addends: list[Value] = []
    for position in range(max(len(d) for d in digits)):
        term: Value | None = None
        for i, d in enumerate(digits):
            if position < len(d):
                sign, shift = d[position]
                one = (value << shift) if sign > 0 else -(value << shift)
            else:
                one = Const(0, 1)
            term = one if term is None else Mux(select == i, one, term)
        assert term is not None
        addends.append(term)
    return addends


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
