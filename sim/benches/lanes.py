"""Lane-wide port values: lists of integers to and from one packed integer."""

from __future__ import annotations

from collections.abc import Sequence


def pack(values: Sequence[int], width: int) -> int:
    """Signed or unsigned ``values`` of ``width`` bits as one value, the first lowest."""
    mask = (1 << width) - 1
    packed = 0
    for value in reversed(values):
        packed = packed << width | (value & mask)
    return packed


def unpack(packed: int, width: int, count: int, *, signed: bool = True) -> list[int]:
    """The ``count`` values of ``width`` bits in ``packed``, the lowest first."""
    mask, sign = (1 << width) - 1, (1 << (width - 1)) if signed else 0
    return [(((packed >> (width * i)) & mask) ^ sign) - sign for i in range(count)]
