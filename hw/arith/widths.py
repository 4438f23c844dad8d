"""Counts and widths, worked out when hardware is generated."""

from __future__ import annotations


def ceil_div(a: int, b: int) -> int:
    """The smallest integer not below a / b."""
    return -(-a // b)


def bits_for_index(count: int) -> int:
    """Width of an index 0..count-1, at least one bit."""
    return max(1, (count - 1).bit_length())
