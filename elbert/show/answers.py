"""Answers of ``elbert run`` as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from elbert.tables import print_table
from elbert.terminal import shorten

if TYPE_CHECKING:
    from sim.answers import Answer

SHOWN_TEXT = 35
"""Characters of a sentence that its row shows."""


def print_answers(answers: list[Answer], backend: str) -> None:
    """A row a sentence; of hardware also what was compared and what the exit saved."""
    columns = ["sentence", "class", "conf.", "exit"]
    hardware = backend == "rtl"
    if hardware:
        columns += ["cycles", "without exit", "saved", "tensors", "integers", "unequal"]
    rows = []
    for a in answers:
        row: list[object] = [
            shorten(a.text, SHOWN_TEXT),
            a.label_name,
            f"{max(a.probabilities):.3f}",
            f"{a.exit_iteration}/{a.iterations}",
        ]
        if hardware:
            assert a.cycles is not None
            assert a.cycles_full is not None
            row += [
                f"{a.cycles:,}",
                f"{a.cycles_full:,}",
                f"{a.cycles_full / a.cycles:.1f}x",
                a.checkpoints,
                f"{a.elements:,}",
                a.mismatches,
            ]
        rows.append(row)
    print_table(f"{len(answers)} sentence{'s' * (len(answers) != 1)}, {backend}", columns, rows)
    if not hardware:
        return
    total = sum(a.cycles or 0 for a in answers)
    full = sum(a.cycles_full or 0 for a in answers)
    unequal = sum(a.mismatches or 0 for a in answers)
    tensors, integers = sum(a.checkpoints or 0 for a in answers), sum(a.elements or 0 for a in answers)
    verdict = "all equal" if unequal == 0 else f"{unequal} UNEQUAL"
    typer.echo(
        f"{tensors:,} named tensors, {integers:,} integers compared, golden model to RTL: {verdict}.\n"
        f"{total:,} cycles with exit, {full:,} without: {full / total:.2f}x fewer."
    )
