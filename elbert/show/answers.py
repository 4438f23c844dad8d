"""Answers of ``elbert run`` as a table."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from elbert.classification import Classification
from elbert.tables import print_table
from elbert.terminal import shorten

SHOWN_TEXT = 35
"""Characters of a sentence that its row shows."""


def print_answers(answers: Sequence[Classification], backend: str, certified: str | None = None) -> None:
    """A row a sentence; of hardware also what was compared and what the exit saved.

    ``certified`` says in a line what a certificate promises of the policy; None: none does.
    """
    columns = ["sentence", "class", "conf.", "exit"]
    runs = [answer.hardware for answer in answers if answer.hardware is not None]
    if runs:
        columns += ["cycles", "without exit", "saved", "tensors", "integers", "unequal"]
    rows = []
    for answer in answers:
        row: list[object] = [
            shorten(answer.text, SHOWN_TEXT),
            answer.label,
            f"{max(answer.probabilities):.3f}",
            f"{answer.exit_iteration}/{answer.iterations}",
        ]
        if (run := answer.hardware) is not None:
            row += [
                f"{run.cycles:,}",
                f"{run.cycles_full:,}",
                f"{run.cycles_full / run.cycles:.1f}x",
                run.checkpoints,
                f"{run.elements:,}",
                run.mismatches,
            ]
        rows.append(row)
    print_table(f"{len(answers)} sentence{'s' * (len(answers) != 1)}, {backend}", columns, rows)
    if certified is not None:
        typer.echo(certified)
    if not runs:
        return
    total, full = sum(run.cycles for run in runs), sum(run.cycles_full for run in runs)
    unequal = sum(run.mismatches for run in runs)
    tensors, integers = sum(run.checkpoints for run in runs), sum(run.elements for run in runs)
    verdict = "all equal" if unequal == 0 else f"{unequal} UNEQUAL"
    typer.echo(
        f"{tensors:,} named tensors, {integers:,} integers compared, golden model to RTL: {verdict}.\n"
        f"{total:,} cycles with exit, {full:,} without: {full / total:.2f}x fewer."
    )
