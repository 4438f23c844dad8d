"""The simulation's figure, drawn from its result alone: the same result gives the same bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from quant.guarantees.simulation import WAYS, WHO
from quant.style import BLACK, BLUE, VERMILLION, paper_style, save_figure

BINS = 48
"""About, from 0 to the largest risk seen; the risk allowed ends one of them."""

COLOURS = {"naive": VERMILLION, "guaranteed": BLUE}
"""Of who chose, in the order drawn."""


def draw(simulated: Mapping[str, Any], path: Path | str) -> None:
    """Writes a histogram of the chosen settings' true risks, chosen with a guarantee and without.

    Args:
        simulated: From ``quant.guarantees.simulation.validate``.
        path: Its suffix is one of ``quant.style.SUFFIXES``.

    Raises:
        ValueError: the suffix is another.
    """
    with paper_style():
        save_figure(_figure(simulated), path)


def _figure(simulated: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(6.8, 2.9), layout="constrained")
    largest = max(simulated[way][who]["largest_risk"] for way in WAYS for who in COLOURS)
    edges = bins(simulated["risk"], largest)
    for axes, (way, title) in zip(figure.subplots(1, len(WAYS), sharey=True), WAYS.items(), strict=True):
        _histograms(axes, simulated[way], edges)
        axes.axvline(
            simulated["risk"], color=BLACK, linestyle="--", linewidth=0.9, ymax=0.78, label="risk allowed"
        )
        axes.set_title(f"{title}, {simulated[way]['size']}")
        axes.set_xlabel("true risk of the setting chosen")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.axes[0].set_ylim(0, 1.25 * figure.axes[0].get_ylim()[1])  # room for what the texts say
    figure.axes[0].set_ylabel(f"share of {simulated['draws']} samples")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def bins(risk: float, largest: float) -> list[float]:
    """Edges from 0 to beyond ``largest``, evenly; what is exactly at ``risk`` is below its edge."""
    step = risk / max(1, round(BINS * risk / max(risk, largest)))
    return [i * step * (1 + 1e-9) for i in range(math.ceil(max(risk, largest) / step) + 1)]


def _histograms(axes: Axes, found: Mapping[str, Any], edges: Sequence[float]) -> None:
    for height, (who, colour) in zip((0.94, 0.84), COLOURS.items(), strict=True):
        each = found[who]
        risks, counts = np.array(each["risks"], dtype=float).T
        axes.hist(risks, bins=edges, weights=counts / counts.sum(), alpha=0.65, color=colour, label=WHO[who])
        line = f"{each['rate']:.1%} above, mean {each['mean_risk']:.2%}"
        axes.text(0.98, height, line, color=colour, ha="right", va="center", transform=axes.transAxes)
