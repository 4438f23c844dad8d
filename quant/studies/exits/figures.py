"""The study's figures, drawn from its result alone: the same result gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from golden_model.progress import Bars, silent
from quant.studies.exits.comparison import BUDGETS, POINTS
from quant.studies.exits.contenders import (
    ABLATIONS,
    ALBERT,
    ALL_ROWS,
    ANSWER_FIRST,
    BIASES,
    ELBERT,
    ELBERT_FLOAT,
    ELBERT_GOLDEN,
    ELBERT_PUBLISHED,
    LINES,
    ORACLE,
    OWN_POLICY,
)
from quant.studies.exits.verdict import ABLATED, RIVALS, TITLES
from quant.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, save_figures

STYLES: dict[str, dict[str, Any]] = {
    ELBERT: {"color": BLUE, "marker": "o", "linewidth": 2.2, "zorder": 5},
    ANSWER_FIRST: {"color": BLUE, "marker": "o", "markerfacecolor": "white", "linestyle": "--", "zorder": 4},
    ELBERT_PUBLISHED: {"color": SKY, "marker": "v", "linestyle": "--", "zorder": 4},
    ALL_ROWS: {"color": SKY, "marker": "v", "linestyle": "--", "zorder": 4},
    "deebert": {"color": ORANGE, "marker": "s"},
    "fastbert": {"color": GREEN, "marker": "^"},
    "pabee": {"color": VERMILLION, "marker": "D"},
    ALBERT: {"color": BLACK, "marker": "X", "linestyle": ":"},
    "elbert-bias_1": {"color": BLUE, "marker": "o"},
    "elbert-bias_2": {"color": PURPLE, "marker": "P"},
    "elbert-bias_3": {"color": SKY, "marker": "v"},
    "elbert-entropy": {"color": GREEN, "marker": "^", "linestyle": "--"},
    "elbert-patience": {"color": VERMILLION, "marker": "D", "linestyle": "--"},
    ELBERT_FLOAT: {"color": BLACK, "marker": "x"},
    ELBERT_GOLDEN: {"color": GREY, "marker": "s", "linestyle": ":"},
}
TICKS = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)
METRICS = {"accuracy": "accuracy, %", "f1": "F1, %", "mcc": "Matthews correlation × 100"}
SHOWN_LOSS = 15.0
"""Points below ELBERT's full depth where the Pareto figure ends."""

SHOWN_BUDGET = "3x"
"""The equal cost at which exits and confusions are shown."""


def draw(
    result: Mapping[str, Any],
    folder: Path,
    suffixes: Sequence[str] = (".svg", ".png"),
    bars: Bars = silent,
) -> list[Path]:
    """Writes every figure in every format; those whose data are missing are left out.

    Args:
        result: Of ``run.study``.
        folder: Made if needed.
        suffixes: Of ``quant.style.SUFFIXES``.
        bars: Shows how far it is.

    Returns:
        The files written.
    """
    drawn = {"pareto": _pareto, "differences": _differences, "exits": _exits}
    if result["quantisation"] is not None:
        drawn["quantisation"] = _confusions
    return save_figures(drawn, result, folder, suffixes, bars)


def _pareto(result: Mapping[str, Any]) -> Figure:
    """Score against the speedup asked for: the methods, and ELBERT's own policies with the ablations."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    variants = [f"{ELBERT}-{variant}" for variant in (*BIASES, *ABLATIONS)]
    draw_curves(left, result, [ELBERT, *LINES, *OWN_POLICY, ALBERT], band=ELBERT)
    draw_curves(right, result, [*variants, ELBERT_FLOAT, ELBERT_GOLDEN])
    for axes in (left, right):
        handles, labels = axes.get_legend_handles_labels()
        short = [label.removeprefix("ELBERT, ") if axes is right else label for label in labels]
        axes.legend(
            handles, short, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, columnspacing=1.4
        )
    left.set_ylabel(METRICS[result["metric"]])
    left.set_title("Methods, each by its own policy")
    right.set_title("ELBERT's policies, and ablations on its weights")
    figure.supxlabel(
        "Best setting of that speedup, picked on one half of the data and scored on the other; "
        f"mean of {result['options']['splits']} splits.\nBand: ELBERT's 95 % over sentences; differences are "
        "paired and surer, see their own figure.",
        fontsize=7.5,
        color=GREY,
    )
    return figure


def draw_curves(axes: Axes, result: Mapping[str, Any], names: Sequence[str], band: str | None = None) -> None:
    """Curves of the contenders that are there, the bound and the full depth, all labelled."""
    scores = [POINTS * result["accuracy_full"]]
    for name in names:
        points = result["curves"].get(name)
        if not points:
            continue
        asked = [p["asked"] for p in points]
        values = [POINTS * p["accuracy"] for p in points]
        style = {"linewidth": 1.4, "linestyle": "-", "markersize": 4, **STYLES[name]}
        axes.plot(asked, values, label=TITLES[name], **style)
        scores += values
        if name == band:
            low, high = ([POINTS * p["interval"][end] for p in points] for end in (0, 1))
            axes.fill_between(asked, low, high, color=style["color"], alpha=0.1, linewidth=0)
            scores += low + high
    limited = [p for p in result["points"] if p["method"] == ORACLE and p["variant"] != ORACLE]
    axes.plot(
        [p["speedup_macs"] for p in limited],
        [POINTS * p["score"] for p in limited],
        color=GREY,
        linestyle=(0, (5, 3)),
        linewidth=1.2,
        label="oracle on ELBERT's exits",
    )
    axes.axhline(scores[0], color=GREY, linewidth=0.8, zorder=0, label="ELBERT, all iterations")
    # the oracle may leave the picture at the top, and what is of no use to anybody at the bottom
    lowest = max(min(scores), scores[0] - SHOWN_LOSS)
    room = 0.06 * max(max(scores) - lowest, 1.0)
    axes.set_ylim(lowest - room, max(scores) + room)
    axes.set_xscale("log")
    axes.set_xlim(TICKS[0] * 0.95, TICKS[-1] * 1.05)
    axes.set_xticks(TICKS)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.set_xlabel("speedup asked for: multiply-adds of plain ALBERT at full depth / those computed")
    axes.grid(color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)


def _differences(result: Mapping[str, Any]) -> Figure:
    """ELBERT minus each other at equal cost, paired on the same sentences."""
    at_cost = result["at_cost"]
    names = [n for n in (*LINES, *RIVALS, *ABLATED) if any(at_cost[key].get(n) for key in BUDGETS)]
    figure = Figure(figsize=(7, 1.2 + 0.9 * max(1, len(names))), layout="constrained")
    axes = figure.subplots()
    marks = zip(
        BUDGETS, np.linspace(-0.36, 0.36, len(BUDGETS)), np.linspace(0, 0.9, len(BUDGETS)), strict=True
    )
    for key, offset, shade in marks:
        entries = [(row, at_cost[key].get(name)) for row, name in enumerate(names)]
        shown = [(row + offset, e["difference"]) for row, e in entries if e is not None and e["difference"]]
        rows, points = [row for row, _ in shown], [difference["points"] for _, difference in shown]
        low, high = ([difference["interval"][end] for _, difference in shown] for end in (0, 1))
        color = colormaps["viridis"](shade)
        axes.hlines(rows, low, high, color=color, linewidth=1.4)
        axes.plot(points, rows, "o", color=color, markersize=3.5, label=key)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    axes.set_yticks(range(len(names)), [TITLES[name] for name in names])
    axes.invert_yaxis()
    axes.grid(axis="x", color="#E6E6E6", linewidth=0.6)
    axes.set_xlabel("ELBERT minus the other, points; right of 0: ELBERT is better (95 % paired bootstrap)")
    axes.set_title("Difference at equal multiply-adds")
    if names:
        axes.legend(title="asked for", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _exits(result: Mapping[str, Any]) -> Figure:
    """Where sentences leave at the same budget."""
    entries = {
        name: entry
        for name in (ELBERT, ELBERT_GOLDEN, *OWN_POLICY, *ABLATED)
        if (entry := result["at_cost"][SHOWN_BUDGET].get(name)) is not None
    }
    columns = min(4, max(1, len(entries)))
    rows = max(1, -(-len(entries) // columns))
    figure = Figure(figsize=(2.4 * columns + 0.6, 1.9 * rows + 0.5), layout="constrained")
    grid = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)).flatten()
    iterations = np.arange(1, result["iterations"] + 1)
    for axes, (name, entry) in zip(grid, entries.items(), strict=False):
        axes.bar(
            iterations, [100 * share for share in entry["exits"]], color=STYLES[name]["color"], width=0.8
        )
        axes.axvline(entry["mean_exit"], color=BLACK, linewidth=0.9, linestyle="--")
        axes.set_title(f"{TITLES[name]}\n{POINTS * entry['accuracy']:.1f} at {entry['speedup_macs']:.1f}x")
        axes.title.set_fontsize(8)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.tick_params(labelbottom=True)
    for axes in grid[len(entries) :]:
        axes.set_visible(False)
    figure.supxlabel(
        f"iteration after which a sentence leaves, asked for {SHOWN_BUDGET}; dashed: mean", fontsize=8
    )
    figure.supylabel("sentences, %", fontsize=8)
    return figure


def _confusions(result: Mapping[str, Any]) -> Figure:
    """Float exit against golden exit, per policy."""
    families = result["quantisation"]["families"]
    figure = Figure(figsize=(2.1 * len(families) + 0.8, 2.9), layout="constrained")
    grid = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    depth = result["iterations"]
    image = None
    for axes, (name, entry) in zip(grid, families.items(), strict=True):
        at = entry[SHOWN_BUDGET]
        counts = np.array(at["nearest"]["confusion"], dtype=float)
        shares = 100 * counts / counts.sum()
        image = axes.imshow(
            np.ma.masked_equal(shares, 0),
            norm="log",
            vmin=0.1,
            vmax=100,
            cmap="cividis",
            origin="lower",
            extent=(0.5, depth + 0.5, 0.5, depth + 0.5),
        )
        axes.set_title(f"{name}\n{100 * at['exit_flips']:.1f} % moved")
        axes.title.set_fontsize(8)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("exit in integers")
    grid[0].set_ylabel("exit in float")
    if image is not None:
        figure.colorbar(image, ax=list(grid), label="sentences, %", shrink=0.8)
    return figure
