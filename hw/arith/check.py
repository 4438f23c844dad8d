"""Argument checks shared by the blocks' constructors."""

from __future__ import annotations

TECHNOLOGIES = ("generic", "ecp5", "xilinx")
"""Forms of a multiplier: inferred, MULT18X18D instances, inferred with ``use_dsp``."""


def check_int(name: str, value: object, low: int, high: int) -> int:
    """Returns ``value`` if it is an int in ``low..high``.

    Raises:
        TypeError: ``value`` is not an int.
        ValueError: ``value`` is outside ``low..high``.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} {value} is outside {low}..{high}")
    return value


def check_technology(technology: str) -> str:
    """Returns ``technology`` if it is known; raises ValueError otherwise."""
    if technology not in TECHNOLOGIES:
        raise ValueError(f"technology {technology!r} is not one of {', '.join(TECHNOLOGIES)}")
    return technology
