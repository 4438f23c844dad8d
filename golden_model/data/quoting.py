"""How messages show many names."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

_quoting = reprlib.Repr()
_quoting.maxstring = 24


def listed(names: Sequence[str], most: int = 8) -> str:
    """The first ``most`` names in quotation marks, long ones shortened, and how many there are."""
    shown = ", ".join(_quoting.repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown}, … ({len(names):,} in all)"
