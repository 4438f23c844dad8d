"""The study's figure, drawn from its result alone: the same result gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from golden_model.progress import Bars, silent
from quant.studies.peers.run import table_of
from quant.style import BLUE, GREY, ORANGE, save_figures


def draw(
    result: Mapping[str, Any],
    folder: Path,
    suffixes: Sequence[str] = (".svg", ".png"),
    bars: Bars = silent,
) -> list[Path]:
    """Writes ``peers`` in every format of ``quant.style.SUFFIXES`` asked for; returns the files.

    Accuracy and speed against the bytes that are stored.
    """
    return save_figures({"peers": _figure}, result, folder, suffixes, bars)


def _figure(result: Mapping[str, Any]) -> Figure:
    rows = table_of(result)
    figure = Figure(figsize=(7.4, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, key, scale, label in (
        (left, "accuracy", 100, f"accuracy on {result['samples']} sentences, %"),
        (right, "ratio", 1, "sentences a second, float32 = 1"),
    ):
        for number, row in enumerate(rows, start=1):
            place = row["bytes"] / 1e6, scale * row[key]
            colour = ORANGE if row["integers"] else GREY if number == 1 else BLUE
            axes.scatter(*place, s=34, color=colour, marker="s" if row["integers"] else "o", zorder=3)
            axes.annotate(
                str(number),
                place,
                xytext=(4, 4 if number % 2 else -9),
                textcoords="offset points",
                fontsize=7,
            )
        axes.set_xlabel("MB stored")
        axes.set_ylabel(label)
        axes.margins(y=0.15)
        axes.set_xlim(0, 1.1 * max(row["bytes"] for row in rows) / 1e6)
    right.set_yscale("log")
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_minor_locator(NullLocator())
    right.yaxis.set_major_formatter(lambda value, place: f"{value:g}x")
    names = "    ".join(f"{number} {row['title']}" for number, row in enumerate(rows, start=1))
    figure.supxlabel(_folded(names, 110) + "\nsquares: integers throughout", fontsize=7)
    return figure


def _folded(text: str, width: int) -> str:
    lines, line = [], ""
    for part in text.split("    "):
        if line and len(line) + len(part) > width:
            lines.append(line)
            line = ""
        line = f"{line}    {part}" if line else part
    return "\n".join([*lines, line])
