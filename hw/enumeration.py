"""Hardware enumerations made from ones that exist elsewhere, so that no code is typed twice."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

from amaranth.lib import enum


def hardware_enum(name: str, members: Mapping[str, int], width: int, doc: str) -> Any:
    """A shaped enumeration of ``width`` bits with these members, as ``class name(enum.Enum, shape=width)``.

    Raises:
        ValueError: a member's value does not fit.
    """
    for member, value in members.items():
        if not 0 <= value < 1 << width:
            raise ValueError(f"{name}.{member}: {value} is outside 0..{(1 << width) - 1}")
    return types.new_class(
        name, (enum.Enum,), {"shape": width}, lambda namespace: namespace.update({"__doc__": doc, **members})
    )
