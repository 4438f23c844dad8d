"""The study's figure, drawn from its result alone: the same result gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from golden_model.progress import Bars, silent
from quant.studies.slowdown.run import TEXTS
from quant.style import BLACK, BLUE, GREY, ORANGE, VERMILLION, save_figures

STYLES: dict[str, dict[str, Any]] = {
    "clean": {"color": BLUE, "marker": "o"},
    "random": {"color": ORANGE, "marker": "^", "linestyle": "--"},
    "attacked": {"color": VERMILLION, "marker": "s"},
}


def draw(
    result: Mapping[str, Any],
    folder: Path,
    suffixes: Sequence[str] = (".svg", ".png"),
    bars: Bars = silent,
) -> list[Path]:
    """Writes ``slowdown`` in every format of ``quant.style.SUFFIXES`` asked for; returns the files.

    Per policy: mean cost and accuracy against the cap, and the exits without one.
    """
    return save_figures({"slowdown": _figure}, result, folder, suffixes, bars)


def _figure(result: Mapping[str, Any]) -> Figure:
    policies = result["policies"]
    figure = Figure(figsize=(2.7 * len(policies) + 0.9, 6.4), layout="constrained")
    grid = figure.subplots(3, len(policies), sharey="row", squeeze=False)
    for column, (name, found) in enumerate(policies.items()):
        _costs(grid[0, column], found)
        _accuracies(grid[1, column], found)
        _exits(grid[2, column], found, result["iterations"])
        grid[0, column].set_title(name)
    for row, label in enumerate(("mean multiply-adds,\n% of full depth", "accuracy, %", "sentences, %")):
        grid[row, 0].set_ylabel(label)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


def _costs(axes: Axes, found: Mapping[str, Any]) -> None:
    caps = [entry["cap"] for entry in found["caps"]]
    worst = [100 * entry["worst_cost_macs"] for entry in found["caps"]]
    axes.plot(caps, worst, color=GREY, linestyle=":", label="worst case: all run to the cap")
    for kind in TEXTS:
        axes.plot(
            caps,
            [100 * entry[kind]["cost_macs"] for entry in found["caps"]],
            label=kind,
            markersize=3.5,
            **STYLES[kind],
        )
    axes.set_ylim(bottom=0)
    _over_caps(axes)


def _accuracies(axes: Axes, found: Mapping[str, Any]) -> None:
    caps = [entry["cap"] for entry in found["caps"]]
    for kind in TEXTS:
        values = [100 * entry[kind]["accuracy"] for entry in found["caps"]]
        axes.plot(caps, values, markersize=3.5, **STYLES[kind])
    _over_caps(axes)


def _over_caps(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("iterations at most")


def _exits(axes: Axes, found: Mapping[str, Any], depth: int) -> None:
    for offset, kind in zip((-0.27, 0, 0.27), TEXTS, strict=True):
        counts = np.array(found[kind]["exits"], dtype=float)
        places = np.arange(1, depth + 1) + offset
        axes.bar(places, 100 * counts / counts.sum(), width=0.27, color=STYLES[kind]["color"])
        axes.axvline(
            found[kind]["mean_exit_iteration"], color=STYLES[kind]["color"], linewidth=0.9, linestyle="--"
        )
    axes.axhline(0, color=BLACK, linewidth=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("leaves after iteration, no cap; dashed: means")
