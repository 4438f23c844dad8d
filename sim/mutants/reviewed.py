"""Survivors that were looked at: why no bench can, or need, kill them.

Keyed by what stays the same while code moves: function, rule, the expression before and after. An entry that
matches no survivor any more is reported, so that the list does not outlive its reasons.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reviewed:
    """One survivor, or all alike, and the reason."""

    function: str
    rule: str
    before: str
    after: str
    reason: str


REVIEWED: tuple[Reviewed, ...] = ()


def reason_for(function: str, rule: str, before: str, after: str) -> str | None:
    """Why this mutant may survive; None: nobody has said."""
    for entry in REVIEWED:
        if (entry.function, entry.rule, entry.before, entry.after) == (function, rule, before, after):
            return entry.reason
    return None
