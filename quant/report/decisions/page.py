"""The page of the decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from golden_model.files import write_text
from quant.report.page import render

SCRIPTS = ("sentences.js", "aggregates.js", "attention.js", "projection.js", "main.js")
"""Parts of the page's script, in the order they are joined."""


def policy_line(policy: dict[str, Any]) -> str:
    """A policy as a line of text, with the thresholds its mode uses only."""
    parts = [policy["mode"]]
    if policy["mode"] == "patience":
        parts.append(f"patience {policy['patience']}")
    elif policy["mode"] != "none":
        parts.append(f"delta {policy['delta']:g}")
    if policy["mode"].startswith("bias"):
        parts += [f"window {policy['window']}", f"margin {policy['margin']:g}"]
    if policy["mode"] == "bias_3":
        parts.append(f"range {policy['range']:g}")
    return ", ".join(parts)


def render_page(data: dict[str, Any]) -> str:
    """The page of ``figures.decisions`` as HTML text. Whatever the sentences hold is text, never markup."""
    return render(
        __package__,
        SCRIPTS,
        data,
        policy=policy_line(data["policy"]),
        source="/".join(Path(data["data"]["source"]).parts[-2:]),
    )


def write_page(data: dict[str, Any], path: Path | str) -> None:
    """Writes the page, whole or not at all."""
    write_text(path, render_page(data))
