"""The study's figures, drawn from its result alone: the same result gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from golden_model.progress import Bars, silent
from quant.style import BLUE, GREY, ORANGE, save_figures

AXES: tuple[tuple[str, str, float], ...] = (
    ("weight_bytes", "weights,\nMB", 1e-6),
    ("products_x_bits", "products x bits,\n10^12", 1e-12),
    ("predicted_cycles", "cycles,\n10^6", 1e-6),
    ("sqnr", "SQNR,\ndB", 1.0),
    ("agreement", "answers as\nfloat's, %", 100.0),
    ("accuracy", "accuracy,\n%", 100.0),
)
"""Of the parallel coordinates: column, name and unit, factor."""
LONGEST_NAME = 24
"""Characters that the front has room for: a scheme's longer name is in the table alone."""


def draw(
    result: Mapping[str, Any],
    folder: Path,
    suffixes: Sequence[str] = (".svg", ".png"),
    bars: Bars = silent,
) -> list[Path]:
    """Writes ``pareto`` and ``parallel`` in every format of ``quant.style.SUFFIXES`` asked for; returns the
    files."""
    return save_figures({"pareto": pareto, "parallel": parallel}, result, folder, suffixes, bars)


def measured(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The points that did not fail."""
    return [point for point in result["points"] if point["error"] is None]


def pareto(result: Mapping[str, Any]) -> Figure:
    """Accuracy against the bytes of the weights; the line is the front of these two."""
    figure = Figure(figsize=(6.0, 3.6))
    axes = figure.subplots()
    points = measured(result)
    top, line = -1.0, []
    for point in sorted(points, key=lambda p: (p["weight_bytes"], -p["accuracy"])):
        if point["accuracy"] > top:
            top = point["accuracy"]
            line.append((point["weight_bytes"] / 1e6, 100 * top))
            if len(point["name"]) <= LONGEST_NAME:
                axes.annotate(point["name"], line[-1], (4, -9), textcoords="offset points", fontsize=7)
    axes.axhline(100 * result["float"]["accuracy"], color=GREY, linestyle=":", linewidth=1.0)
    axes.plot([x for x, _ in line], [y for _, y in line], color=GREY, drawstyle="steps-post", linewidth=0.9)
    for point in points:
        x, y = point["weight_bytes"] / 1e6, 100 * point["accuracy"]
        runs = point["runs_on_hardware"]
        axes.plot(x, y, "s" if runs else "o", color=BLUE if runs else ORANGE, markersize=5)
    axes.set_xlabel("weights of the matmuls, MB")
    axes.set_ylabel(f"accuracy on {result['samples']} sentences, %")
    marks = (
        Line2D([], [], marker="s", linestyle="", color=BLUE, label="the hardware runs it"),
        Line2D([], [], marker="o", linestyle="", color=ORANGE, label="golden model alone"),
        Line2D([], [], color=GREY, linestyle=":", label="float"),
        Line2D([], [], color=GREY, linewidth=0.9, label="front"),
    )
    figure.legend(handles=marks, loc="outside lower center", ncols=4)
    return figure


def parallel(result: Mapping[str, Any]) -> Figure:
    """Every point a line through its columns, each from its least to its largest value."""
    figure = Figure(figsize=(7.2, 3.4))
    axes = figure.subplots()
    points = measured(result)
    axes.grid(False)
    spans = []
    for place, (column, label, factor) in enumerate(AXES):
        values = [factor * p[column] for p in points if p[column] is not None]
        low, high = (min(values), max(values)) if values else (0.0, 0.0)
        spans.append((low, high))
        axes.plot([place, place], [0, 1], color=GREY, linewidth=0.6)
        for at, value in ((-0.06, low), (1.03, high)):
            axes.text(place, at, f"{value:.4g}" if values else "", ha="center", va="center", fontsize=7)
        axes.text(place, 1.16, label, ha="center", va="center")
    for point in points:
        known = [i for i, (column, _, _) in enumerate(AXES) if point[column] is not None]
        heights = [_share(AXES[i][2] * point[AXES[i][0]], *spans[i]) for i in known]
        colour = BLUE if point["runs_on_hardware"] else ORANGE
        best = point["pareto"]
        axes.plot(known, heights, color=colour, alpha=0.9 if best else 0.35, linewidth=1.4 if best else 0.8)
    axes.set_ylim(-0.12, 1.25)
    axes.set_axis_off()
    marks = (
        Line2D([], [], color=BLUE, label="the hardware runs it"),
        Line2D([], [], color=ORANGE, label="golden model alone: no cycles"),
        Line2D([], [], color=GREY, alpha=0.5, linewidth=0.8, label="thin: another is better in everything"),
    )
    figure.legend(handles=marks, loc="outside lower center", ncols=3)
    return figure


def _share(value: float, low: float, high: float) -> float:
    return 0.5 if high == low else (value - low) / (high - low)
