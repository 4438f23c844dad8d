"""Where the cycles of simulated sentences went, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elbert.tables import print_table

IDLE_REASONS = ("weights", "drain", "softmax", "layernorm", "exit", "fill")
"""Fields of the hardware's counters beside ``active``."""


def print_performance(title: str, sentences: Sequence[Mapping[str, Any]]) -> None:
    """A row a sentence of ``sim.performance.performance_rows``."""
    columns = ["tokens", "iter.", "cycles", "utilisation", "bound", *IDLE_REASONS, "tensors", "unequal"]
    rows = [
        (
            r["tokens"],
            r["iterations"],
            f"{r['cycles']:,}",
            f"{100 * r['utilisation']:.1f} %",
            f"{100 * r['bound']:.1f} %",
            *(f"{100 * r['idle'][reason] / r['cycles']:.2f} %" for reason in IDLE_REASONS),
            r["checkpoints"],
            r["mismatches"],
        )
        for r in sentences
    ]
    print_table(title, columns, rows)
