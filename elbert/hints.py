"""One line on stderr where a command does what was asked and the user would want to know more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from golden_model.exits import ExitPolicy


def hint(text: str, kind: str = "note") -> None:
    """Says it on stderr: a ``note``, or a ``warning``."""
    typer.echo(f"{kind}: {text}", err=True)


def hint_policy(policy: ExitPolicy, iterations: int) -> None:
    """Says which thresholds can never let a sentence go."""
    from golden_model.exits import never_fires

    reason = never_fires(policy, iterations)
    if reason is not None:
        hint(reason)


def hint_truncated(cut: int, sentences: int, longest: int) -> None:
    """Says how many sentences were cut to the model's longest."""
    from golden_model.text.tokenizer import cut_note

    note = cut_note(cut, sentences, longest)
    if note is not None:
        hint(note)
