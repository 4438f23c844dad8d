"""The reasons as files for a paper, drawn by matplotlib from the numbers of ``record.describe``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from golden_model.progress import Bars, silent
from quant.style import BLACK, BLUE, GREY, ORANGE, SKY, VERMILLION, save_figures

WIDTH = 7.0
"""Inches: the text width of a page."""
ROW = 0.165
"""Inches of a tensor's row."""
DECIBELS = (10.0, 50.0)
"""Ends of the colours of an SQNR."""
SMALLEST_SHARE = 1e-5
"""Clipped shares below are the palest."""
LEAST_DIFFERENCE = 2.0
"""dB at the ends of a difference's colours, at least."""
ITERATION = "iteration"
SMALL: tuple[tuple[str, str, str, Callable[[np.ndarray], np.ndarray], float, float], ...] = (
    ("this iteration's noise", "share of the noise", "made_share", np.asarray, 0.0, 1.0),
    ("own grid's noise", "share of the noise", "own_share", np.asarray, 0.0, 1.0),
    (
        "clipped",
        "share of the values, log10",
        "clipped",
        lambda shares: np.log10(np.maximum(shares, SMALLEST_SHARE)),
        math.log10(SMALLEST_SHARE),
        -1.0,
    ),
    ("range used", "share of the range", "range_used", np.asarray, 0.0, 1.0),
)
"""Maps without numbers: title, what the colours are, key of the cells, what is drawn of it, the ends."""
SCALES: dict[str, tuple[str, str, Any, str]] = {
    "per_iteration": (BLUE, "o", "-", "scales per iteration"),
    "shared": (VERMILLION, "s", "--", "shared scales"),
}
"""Of an ablation's rows: colour, mark, line and name."""


def draw_all(
    data: dict[str, Any], folder: Path | str, suffixes: Sequence[str] = (".svg",), bars: Bars = silent
) -> list[Path]:
    """Writes every figure there are data for into a folder; returns the files.

    Args:
        data: Of ``record.describe``.
        folder: Made if needed.
        suffixes: Of ``quant.style.SUFFIXES``.
        bars: Shows how far it is.
    """
    drawn: dict[str, Callable[[dict[str, Any]], Figure]] = {"heatmap": heatmap, "weights": weights}
    if data["difference"]:
        drawn["difference"] = difference
    if any(each["exits"] for each in data["checkpoints"]):
        drawn["exits"] = exits
    if data["ablation"]:
        drawn["ablation"] = ablation
    return save_figures(drawn, data, folder, suffixes, bars)


def _grid(data: dict[str, Any], values: dict[str, list[float]]) -> np.ndarray:
    """[tensors, iterations]; what is made once fills its row."""
    count = data["model"]["iterations"]
    rows = [found * count if data["tensors"][name]["once"] else found for name, found in values.items()]
    return np.array(rows, dtype=np.float64)


def _of(data: dict[str, Any], key: str) -> dict[str, list[float]]:
    """A number of every cell of the first checkpoint, by tensor; NaN where it has none."""
    cells = data["checkpoints"][0]["tensors"]
    return {
        name: [math.nan if cell[key] is None else cell[key] for cell in cells[name]]
        for name in data["tensors"]
    }


def _map(
    axes: Axes, data: dict[str, Any], grid: np.ndarray, names: bool, labels: int = 12, **colours: Any
) -> AxesImage:
    """A map, with the tensors' names or without, and about so many iterations named."""
    image = axes.imshow(grid, aspect="auto", **colours)
    count = data["model"]["iterations"]
    every = max(1, math.ceil(count / labels))
    axes.set_xticks(range(0, count, every), [str(i + 1) for i in range(0, count, every)])
    axes.set_yticks(range(len(data["tensors"])), list(data["tensors"]) if names else [""] * len(grid))
    axes.tick_params(labelsize=6.5, length=0)
    axes.grid(False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xlabel(ITERATION)
    return image


def _numbers(axes: Axes, data: dict[str, Any], image: AxesImage, grid: np.ndarray, form: str) -> None:
    """The cells' numbers, in black or white, whichever is read better on the colour."""
    for row, name in enumerate(data["tensors"]):
        once = data["tensors"][name]["once"]
        columns = [(grid.shape[1] - 1) / 2] if once else list(range(grid.shape[1]))
        for column in columns:
            value = grid[row, 0 if once else int(column)]
            red, green, blue, _ = image.to_rgba(value)
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            text = format(round(value) or 0, form) + (" (made once)" if once else "")  # no -0
            axes.text(
                column, row, text, ha="center", va="center", fontsize=5, color="white" if dark else BLACK
            )


def _bar(figure: Figure, image: AxesImage, axes: Axes, label: str, extend: Any = "neither") -> None:
    bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.9, aspect=30, pad=0.02, extend=extend)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(labelsize=6)
    bar.set_label(label, fontsize=6.5)


def heatmap(data: dict[str, Any]) -> Figure:
    """Tensor by iteration: SQNR with its numbers, and :data:`SMALL`."""
    tall = ROW * len(data["tensors"])
    figure = Figure(figsize=(WIDTH, 2 * tall + 2.4))
    parts: Any = figure.subfigures(2, 1)
    top, bottom = parts
    axes = top.subplots()
    decibels = _grid(data, _of(data, "sqnr_db"))
    image = _map(axes, data, decibels, True, cmap="cividis", vmin=DECIBELS[0], vmax=DECIBELS[1])
    _numbers(axes, data, image, decibels, ".0f")
    for row, name in enumerate(data["tensors"]):
        for column, cell in enumerate(data["checkpoints"][0]["tensors"][name]):
            if cell["below_bound"]:
                wide = data["model"]["iterations"] if data["tensors"][name]["once"] else 1
                axes.add_patch(
                    Rectangle(
                        (column - 0.5, row - 0.5), wide, 1, fill=False, edgecolor=VERMILLION, linewidth=1.2
                    )
                )
    axes.set_title("(a) SQNR against float, dB; framed: below its bound")
    _bar(top, image, axes, "dB", "both")
    panels = bottom.subplots(1, len(SMALL))
    for place, (axes, (title, label, key, change, low, high)) in enumerate(zip(panels, SMALL, strict=True)):
        grid = change(_grid(data, _of(data, key)))
        image = _map(axes, data, grid, place == 0, 4, cmap="cividis_r", vmin=low, vmax=high)
        axes.set_title(f"({'bcde'[place]}) {title}", fontsize=7.5)
        _bar(bottom, image, axes, label)
    return figure


def difference(data: dict[str, Any]) -> Figure:
    """SQNR of every other checkpoint minus the first's; colours end at the largest of what is no exit."""
    grids = {name: _grid(data, values) for name, values in data["difference"].items()}
    shown = [row for row, name in enumerate(data["tensors"]) if not name.startswith("exit.")]
    figure = Figure(figsize=(WIDTH, len(grids) * (ROW * len(data["tensors"]) + 1.0)))
    panels = figure.subplots(len(grids), 1, squeeze=False)[:, 0]
    for axes, (name, grid) in zip(panels, grids.items(), strict=True):
        most = max(LEAST_DIFFERENCE, float(np.abs(grid[shown]).max()))
        image = _map(axes, data, grid, True, cmap=colormaps["PuOr"], vmin=-most, vmax=most)
        _numbers(axes, data, image, grid, "+.0f")
        axes.set_title(f"{name} minus {data['model']['name']}")
        _bar(figure, image, axes, "SQNR, dB; above 0: less noise", "both")
    return figure


def weights(data: dict[str, Any]) -> Figure:
    """Every stored weight's integers, and its channels' scales."""
    entries = data["checkpoints"][0]["weights"]
    columns = 3
    rows = math.ceil(len(entries) / columns)
    figure = Figure(figsize=(WIDTH, 1.25 * rows + 1.7))
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.25 * rows, 1.7))
    top, bottom = parts
    panels = top.subplots(rows, columns, squeeze=False)
    for axes in list(panels.flat)[len(entries) :]:
        axes.set_axis_off()
    for axes, (name, entry) in zip(panels.flat, entries.items(), strict=False):
        found = entry["histogram"]
        left = [found["start"] + found["width"] * i for i in range(len(found["counts"]) + 1)]
        axes.stairs(found["counts"], [edge - 0.5 for edge in left], fill=True, color=BLUE, linewidth=0)
        for end in () if entry["grouped"] else (-entry["limit"], entry["limit"]):
            axes.axvline(end, color=VERMILLION, linewidth=0.8, linestyle=(0, (3, 2)))
        axes.set_yticks([])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.tick_params(labelsize=6)
        axes.grid(False)
        axes.set_title(name, fontsize=6.5)
        facts = f"{entry['sqnr_db']:.1f} dB"
        if not entry["grouped"]:
            rails = "<0.01 %" if 0.0 < entry["rails"] < 5e-5 else f"{100 * entry['rails']:.2f} %"
            facts += f"\n{rails} at ±{entry['limit']}"
        axes.annotate(facts, (0.98, 0.95), xycoords="axes fraction", ha="right", va="top", fontsize=5.5)
    top.supxlabel("integer", fontsize=7)
    axes = bottom.subplots()
    several = {name: entry["scales"] for name, entry in entries.items() if entry["scales"]["channels"] > 1}
    for row, scales in enumerate(several.values()):
        low, q1, median, q3, high = (value / scales["quantiles"][2] for value in scales["quantiles"])
        axes.plot([low, high], [row, row], color=SKY, linewidth=1.2)
        axes.plot([q1, q3], [row, row], color=BLUE, linewidth=4, solid_capstyle="butt")
        axes.plot(median, row, "o", color="white", markeredgecolor=BLUE, markersize=3.5)
    axes.set_yticks(range(len(several)), list(several), fontsize=6.5)
    axes.invert_yaxis()
    axes.set_xscale("log", base=2)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.set_xlabel("LSB of an output channel / the median one's: all, the middle half, the median")
    axes.tick_params(labelsize=6.5)
    return figure


def exits(data: dict[str, Any]) -> Figure:
    """Golden exit minus float exit under the policy, and speedups at equal loss, of every checkpoint."""
    shown = [each for each in data["checkpoints"] if each["exits"] is not None]
    figure = Figure(figsize=(WIDTH, 2.3 * len(shown) + 0.3))
    panels = figure.subplots(len(shown), 2, squeeze=False)
    for (left, right), each in zip(panels, shown, strict=True):
        found = each["exits"]
        moved = found["as_set"]["difference"]
        x = [moved["from"] + i for i in range(len(moved["counts"]))]
        left.bar(x, moved["counts"], color=[GREY if i == 0 else BLUE for i in x], width=0.8)
        left.set_yscale("symlog", linthresh=1)
        left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        left.set_ylim(0, 2 * found["sentences"])
        far = max((abs(i) for i, count in zip(x, moved["counts"], strict=True) if count), default=0)
        left.set_xlim(-max(2, far) - 0.7, max(2, far) + 0.7)
        left.set_xlabel("exit of the integers minus that in float")
        left.set_ylabel("sentences")
        flips = 100 * found["as_set"]["exit_flips"]["mean"]
        left.set_title(f"{each['name']}: {flips:.1f} % leave elsewhere")
        left.grid(False, axis="x")
        for name, colour, marker in (
            ("float", GREY, "o"),
            ("kept", ORANGE, "s"),
            ("recalibrated", BLUE, "D"),
        ):
            entries = [entry[name] for entry in (found["equal_loss"] or {}).values() if entry[name]]
            right.plot(
                [entry["points_lost_float"] for entry in entries],
                [entry["speedup_macs"] for entry in entries],
                marker=marker, color=colour, markersize=4, linewidth=0.8,
            )  # fmt: skip
        right.set_xlabel("points lost against float at full depth")
        right.set_ylabel("speedup, multiply-adds")
        right.set_title("thresholds picked on one half")
    handles = [
        Line2D([], [], color=colour, marker=marker, label=label, markersize=4)
        for colour, marker, label in (
            (GREY, "o", "float"),
            (ORANGE, "s", "integers, float's thresholds"),
            (BLUE, "D", "integers, recalibrated"),
        )
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=3)
    return figure


def ablation(data: dict[str, Any]) -> Figure:
    """Accuracy and SQNR by bits, scales per iteration against shared ones, a column per scope."""
    rows = data["ablation"]
    scopes = list(dict.fromkeys(row["scope"] for row in rows))
    measures = (("accuracy", "accuracy"), ("sqnr_db", "SQNR, dB"))
    figure = Figure(figsize=(WIDTH, 4.0))
    panels = figure.subplots(len(measures), len(scopes), squeeze=False, sharex=True, sharey="row")
    for line, (key, label) in zip(panels, measures, strict=True):
        for axes, scope in zip(line, scopes, strict=True):
            for scales, (colour, marker, style, _) in SCALES.items():
                found = sorted(
                    (r["bits"], r[key]) for r in rows if r["scope"] == scope and r["scales"] == scales
                )
                bits, values = [b for b, _ in found], [v for _, v in found]
                axes.plot(bits, values, style, color=colour, marker=marker, markersize=4)
            axes.set_xticks(sorted({row["bits"] for row in rows}))
            axes.grid(False, axis="x")
        line[0].set_ylabel(label)
    for axes, scope in zip(panels[0], scopes, strict=True):
        axes.set_title(scope)
        axes.invert_xaxis()
    for axes in panels[-1]:
        axes.set_xlabel("bits of the activations")
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle=style, label=label, markersize=4)
        for colour, marker, style, label in SCALES.values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
