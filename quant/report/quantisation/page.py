"""The page of the reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from golden_model.files import write_text
from quant.report.decisions.page import policy_line
from quant.report.page import render

SCRIPTS = ("heatmap.js", "cell.js", "weights.js", "exits.js", "ablation.js", "main.js")
"""Parts of the page's script, in the order they are joined."""


def render_page(data: dict[str, Any]) -> str:
    """The page of ``record.describe`` as HTML text."""
    first = data["checkpoints"][0]
    return render(
        __package__,
        SCRIPTS,
        data,
        source="/".join(Path(data["data"]["source"]).parts[-2:]),
        policy=None if first["exits"] is None else policy_line(first["exits"]["policy"]),
        schemes={each["name"]: scheme_line(each) for each in data["checkpoints"]},
    )


def scheme_line(checkpoint: dict[str, Any]) -> str:
    """A checkpoint's scheme, and whether its contract is the hardware's, as a line of text."""
    parts = [f"{name} {_plain(value)}" for name, value in (checkpoint["scheme"] or {}).items()]
    if checkpoint["contract"]:
        parts.append("a study's widths, not the hardware's")
    return ", ".join(parts) or "not said"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {_plain(each)}" for name, each in value.items()) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)


def write_page(data: dict[str, Any], path: Path | str) -> None:
    """Writes the page, whole or not at all."""
    write_text(path, render_page(data))
