"""Multiplication by constants from shifts and adds, without DSP cells."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Const, Mux, Value


def times_constant(value, factor: int):
    """``value * factor`` in the same cycle, for ``factor`` >= 1: one addend per set bit.

    Of the binary digits, not the signed ones: sizes such as 384 or 768 have two of either, and addends to
    subtract would make an address signed.
    """
    terms = [value << bit for bit in range(factor.bit_length()) if factor >> bit & 1]
    return sum(terms[1:], terms[0])


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
