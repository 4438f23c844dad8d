"""What the memory behind the bus gives: latency, and bytes a cycle. The simulated memory and the cycle
model take the same description."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

UNLIMITED = "unlimited"
MAX_LATENCY = 1 << 20
MAX_BANDWIDTH = 1024
"""Bytes a cycle; no bus of the machine takes more than 32."""
MAX_DENOMINATOR = 1_000_000
"""Of a bandwidth, so that the memory's counter of credit stays within 64 bits."""


def parse_bandwidth(text: str) -> Fraction | None:
    """Bytes a cycle of ``"0.5"``, ``"4.3"`` or ``"4/3"``; None for ``"unlimited"``.

    Raises:
        ValueError: anything else, zero, or out of bounds.
    """
    if text.strip().lower() == UNLIMITED:
        return None
    if not re.fullmatch(r"\s*\d+(\.\d+|/0*[1-9]\d*)?\s*", text):
        raise ValueError(f"bandwidth {text!r} is neither bytes a cycle, such as 0.5, nor {UNLIMITED!r}")
    return check_bandwidth(Fraction(text.strip()))


def check_bandwidth(value: Fraction) -> Fraction:
    """``value``; raises ValueError where it is out of bounds."""
    if not 0 < value <= MAX_BANDWIDTH:
        raise ValueError(f"bandwidth {value} is outside 0 (exclusive) to {MAX_BANDWIDTH} bytes a cycle")
    if value.denominator > MAX_DENOMINATOR:
        raise ValueError(f"bandwidth {value} has a denominator above {MAX_DENOMINATOR}")
    return value


def format_bandwidth(value: Fraction | None) -> str:
    """The shortest text that :func:`parse_bandwidth` reads as ``value``."""
    if value is None:
        return UNLIMITED
    decimal = f"{float(value):g}"
    return decimal if "e" not in decimal and Fraction(decimal) == value else str(value)


@dataclass(frozen=True)
class MemoryTiming:
    """When beats come.

    Attributes:
        latency: Cycles from the one in which a burst's address is taken to its first beat, at the earliest.
        bandwidth: Bytes a cycle over any stretch of time, None: a beat a cycle. A token bucket that holds one
            beat: after a pause beat n (from 0), Q bytes, comes floor(n·Q / bandwidth) cycles after beat 0.

    Raises:
        ValueError: a value is out of bounds.
    """

    latency: int = 20
    bandwidth: Fraction | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.latency <= MAX_LATENCY:
            raise ValueError(f"latency {self.latency} is outside 1..{MAX_LATENCY} cycles")
        if self.bandwidth is not None:
            check_bandwidth(self.bandwidth)

    def __str__(self) -> str:
        return f"{format_bandwidth(self.bandwidth)} bytes a cycle, latency {self.latency}"
