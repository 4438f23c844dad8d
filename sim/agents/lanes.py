"""Vectors of small integers as the one wide integer of a port, and back."""

from __future__ import annotations

from collections.abc import Iterable


def pack(values: Iterable[int], width: int) -> int:
    """Lanes of ``width`` bits in two's complement, lane 0 in the lowest bits.

    Raises:
        ValueError: a value fits neither a signed nor an unsigned lane.
    """
    low, high = -(1 << (width - 1)), 1 << width
    mask = high - 1
    packed = 0
    for lane, value in enumerate(values):
        number = int(value)
        if not low <= number < high:
            raise ValueError(f"lane {lane}: {number} does not fit {width} bits")
        packed |= (number & mask) << (lane * width)
    return packed


def unpack(packed: int, width: int, count: int, *, signed: bool = True) -> list[int]:
    """The ``count`` lanes of ``width`` bits in ``packed``, lane 0 lowest."""
    packed = int(packed)
    mask, sign = (1 << width) - 1, (1 << (width - 1)) if signed else 0
    return [(((packed >> (lane * width)) & mask) ^ sign) - sign for lane in range(count)]
