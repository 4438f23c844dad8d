"""The page of the study of widths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from golden_model.files import write_text
from quant.report.page import render

SCRIPTS = ("points.js",)
"""Parts of the page's script, in the order they are joined."""


def render_page(result: Mapping[str, Any]) -> str:
    """The page of a study's result, as ``elbert study bits`` writes it, as HTML text."""
    data = {
        **result,
        "model": {"name": result["model"], "iterations": result["iterations"], "classes": result["classes"]},
    }
    return render(__package__, SCRIPTS, data)


def write_page(result: Mapping[str, Any], path: Path | str) -> None:
    """Writes the page, whole or not at all."""
    write_text(path, render_page(result))
