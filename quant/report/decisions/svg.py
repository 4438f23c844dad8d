"""The figures as files for a paper, drawn by matplotlib from the numbers of ``figures.decisions``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from golden_model.progress import Bars, silent
from quant.report.decisions.choose import evenly
from quant.style import CLASSES, GREY, RIGHT, WRONG, save_figures

WIDTH = 7.0
"""Inches: the text width of a page."""
LINES = 60
"""Sentences drawn as lines in one panel."""
POINTS = 400
"""Sentences in one panel of the projection."""
MAPS = 4
"""Sentences with an attention map."""
ITERATION = "iteration"
TRUE_CLASS = "probability of the true class"
_PLATE = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8}
"""Behind text that stands among lines."""


def draw_all(
    data: dict[str, Any], folder: Path | str, suffixes: Sequence[str] = (".svg",), bars: Bars = silent
) -> list[Path]:
    """Writes every figure into a folder; returns the files. The same data give the same bytes.

    Args:
        data: Of ``figures.decisions``.
        folder: Made if needed.
        suffixes: Of ``quant.style.SUFFIXES``.
        bars: Shows how far it is.
    """
    return save_figures(FIGURES, data, folder, suffixes, bars)


def _iterations(data: dict[str, Any]) -> range:
    return range(1, data["model"]["iterations"] + 1)


def _iteration_axis(axes: Axes, data: dict[str, Any]) -> None:
    axes.set_xlim(0.6, data["model"]["iterations"] + 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12, min_n_ticks=1))
    axes.set_xlabel(ITERATION)
    axes.grid(False, axis="x")


def _probability_axis(axes: Axes, label: str) -> None:
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel(label)


def _colour(sentence: dict[str, Any]) -> str:
    return RIGHT if sentence["answer"] == sentence["label"] else WRONG


def _outside_key(
    figure: Figure,
    entries: dict[str, dict[str, Any]],
    where: Literal["outside lower center", "outside upper center"],
) -> None:
    """A legend of line styles above or below all panels."""
    handles = [Line2D([], [], label=name, **style) for name, style in entries.items()]
    figure.legend(handles=handles, loc=where, ncols=len(entries))


def trajectories(data: dict[str, Any]) -> Figure:
    """Probability of the true class, and entropy, of single sentences; the exit is a dot."""
    figure = Figure(figsize=(WIDTH, 2.9))
    left, right = figure.subplots(1, 2)
    every = max(1, math.ceil(len(data["sentences"]) / LINES))
    x = list(_iterations(data))
    policy = data["policy"]
    for sentence in data["sentences"][::every]:
        colour, leave = _colour(sentence), sentence["exit"]
        true = [p[sentence["label"]] for p in sentence["probabilities"]]
        for axes, y in ((left, true), (right, sentence["entropy"])):
            axes.plot(x[:leave], y[:leave], color=colour, alpha=0.55, linewidth=0.8)
            axes.plot(x[leave - 1 :], y[leave - 1 :], color=colour, alpha=0.16, linewidth=0.6)
            axes.plot(leave, y[leave - 1], "o", color=colour, markersize=2.6, alpha=0.85, markeredgewidth=0)
    for axes in (left, right):
        _iteration_axis(axes, data)
    _probability_axis(left, TRUE_CLASS)
    left.set_title("(a) confidence")
    if policy["length"] and policy["mode"] != "patience" and len(data["model"]["classes"]) == 2:
        low, high = 0.5 - policy["margin"], 0.5 + policy["margin"]
        left.axhspan(low, high, color="#EFEFEF", zorder=0, linewidth=0)
        left.annotate(
            f"0.5 ± m, m = {policy['margin']:g}", (data["model"]["iterations"] + 0.3, 0.5),
            ha="right", va="center", fontsize=6.5, color="#444444", bbox=_PLATE,
        )  # fmt: skip
    raw = policy["mode"] == "entropy_raw"
    right.set_ylabel("entropy, nat" if raw else "entropy U, normalised")
    right.set_ylim(bottom=-0.02)
    right.set_title("(b) uncertainty")
    if policy["stage_one"]:
        right.axhline(policy["delta"], color="#444444", linewidth=0.9, linestyle=(0, (4, 2)))
        right.annotate(
            f"δ = {policy['delta']:g}", (data["model"]["iterations"] + 0.3, policy["delta"]),
            xytext=(0, 3), textcoords="offset points", ha="right", fontsize=6.5, color="#444444", bbox=_PLATE,
        )  # fmt: skip
    entries: dict[str, dict[str, Any]] = {
        "right at its exit": {"color": RIGHT},
        "wrong at its exit": {"color": WRONG},
        "exit": {"color": GREY, "marker": "o", "linestyle": "", "markersize": 3.5},
        "if it had stayed": {"color": GREY, "alpha": 0.35, "linewidth": 0.8},
    }
    _outside_key(figure, entries, "outside lower center")
    return figure


def exits(data: dict[str, Any]) -> Figure:
    """Sentences leaving after each iteration, right and wrong stacked."""
    figure = Figure(figsize=(WIDTH / 2, 2.4))
    axes = figure.subplots()
    x = list(_iterations(data))
    right, wrong = data["exits"]["right"], data["exits"]["wrong"]
    axes.bar(x, right, color=RIGHT, label="right", width=0.75)
    axes.bar(x, wrong, bottom=right, color=WRONG, label="wrong", width=0.75, hatch="////",
             edgecolor="white", linewidth=0)  # fmt: skip
    for i, total in zip(x, map(sum, zip(right, wrong, strict=True)), strict=True):
        if total:
            axes.annotate(str(total), (i, total), xytext=(0, 1.5), textcoords="offset points", ha="center",
                          va="bottom", fontsize=6.5, color="#444444", bbox=_PLATE)  # fmt: skip
    mean = data["with_exit"]["mean_exit_iteration"]
    axes.axvline(mean, color="#444444", linewidth=0.9, linestyle=(0, (4, 2)), zorder=0)
    axes.annotate(f"mean {mean:.2f}", (mean, 1), xycoords=("data", "axes fraction"), xytext=(3, -6),
                  textcoords="offset points", fontsize=6.5, color="#444444")  # fmt: skip
    _iteration_axis(axes, data)
    axes.margins(y=0.2)
    axes.set_ylabel("sentences leaving")
    axes.legend(loc="upper right")
    return figure


def accuracy(data: dict[str, Any]) -> Figure:
    """Accuracy and mean confidence per iteration: of all sentences, and of those leaving there."""
    figure = Figure(figsize=(WIDTH, 2.6))
    panels = figure.subplots(1, 2, sharey=True)
    x = list(_iterations(data))
    leaving = data["accuracy"]["leaving"]
    here = [i for i in x if leaving["count"][i - 1]]
    most = max(leaving["count"])
    for axes, key, title in (
        (panels[0], "all", "(a) all sentences, if all left here"),
        (panels[1], "leaving", "(b) the sentences that leave here"),
    ):
        at = x if key == "all" else here
        if key == "leaving":  # few sentences leave late: no line leads from one such mark to the next
            ends = (data["accuracy"][key][name] for name in ("accuracy", "confidence"))
            low, high = ([values[i - 1] for i in at] for values in ends)
            axes.vlines(at, low, high, color="#BBBBBB", linewidth=1.0)
        for name, colour, style in (("confidence", "#444444", "--"), ("accuracy", RIGHT, "-")):
            y = [data["accuracy"][key][name][i - 1] for i in at]
            sizes = 14.0 if key == "all" else [8 + 70 * leaving["count"][i - 1] / most for i in at]
            inside = colour if name == "accuracy" else "white"
            axes.scatter(at, y, s=sizes, c=inside, edgecolors=colour, linewidths=0.9, marker="o", zorder=3)
            if key == "all":
                axes.plot(at, y, style, color=colour, linewidth=1.2)
        _iteration_axis(axes, data)
        axes.set_title(title)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    panels[0].set_ylabel("accuracy, mean confidence")
    entries: dict[str, dict[str, Any]] = {
        "accuracy": {"color": RIGHT, "marker": "o", "markersize": 4},
        "mean confidence": {"color": "#444444", "linestyle": "--", "marker": "o", "markersize": 4,
                            "markerfacecolor": "white"},
        "area in (b): sentences leaving": {"color": GREY, "marker": "o", "linestyle": "", "markersize": 6},
    }  # fmt: skip
    _outside_key(figure, entries, "outside lower center")
    return figure


def quadrants(data: dict[str, Any]) -> Figure:
    """(Answer at the exit) x (answer at the last iteration): typical and single trajectories."""
    figure = Figure(figsize=(WIDTH, 4.0))
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    x = list(_iterations(data))
    for index, (axes, entry) in enumerate(zip(panels.flat, data["quadrants"], strict=True)):
        colour = RIGHT if index < 2 else WRONG
        mean = entry["mean_exit_iteration"]
        facts = f"{entry['count']} ({100 * entry['share']:.1f} %)"
        axes.set_title(f"{entry['name']}: {facts}" + ("" if mean is None else f", mean exit {mean:.2f}"))
        _iteration_axis(axes, data)
        _probability_axis(axes, TRUE_CLASS if index % 2 == 0 else "")
        if index < 2:
            axes.set_xlabel("")
        axes.axhline(0.5, color="#999999", linewidth=0.6)
        if entry["quartiles"] is None:
            axes.annotate("no sentence", (0.5, 0.6), xycoords="axes fraction", ha="center", color="#777777")
            continue
        members = [s for s in data["sentences"] if s["quadrant"] == index]
        every = max(1, math.ceil(len(members) / (LINES // 2)))
        for sentence in members[::every]:
            true = [p[sentence["label"]] for p in sentence["probabilities"]]
            axes.plot(x, true, color=colour, alpha=0.18, linewidth=0.6)
            leave = sentence["exit"]
            axes.plot(leave, true[leave - 1], "o", color=colour, markersize=2.2, alpha=0.7, markeredgewidth=0)
        quartiles = entry["quartiles"]
        axes.fill_between(x, quartiles["low"], quartiles["high"], color=colour, alpha=0.2, linewidth=0)
        axes.plot(x, quartiles["median"], color=colour, linewidth=1.8)
    entries: dict[str, dict[str, Any]] = {
        "median": {"color": GREY, "linewidth": 1.8},
        "quartiles": {"color": GREY, "linewidth": 6, "alpha": 0.3},
        "exit of a sentence": {"color": GREY, "marker": "o", "linestyle": "", "markersize": 3},
    }
    _outside_key(figure, entries, "outside lower center")
    return figure


def attention(data: dict[str, Any]) -> Figure:
    """Attention of [CLS] over the tokens, mean of the heads, iterations downwards.

    Colours end where most words do (``figures.darkest``); what is beyond has the last one.
    """
    maps = data["attention"][:MAPS]
    rows = math.ceil(len(maps) / 2)
    figure = Figure(figsize=(WIDTH, 2.75 * rows))
    panels = figure.subplots(rows, 2, squeeze=False)
    sentences = {sentence["row"]: sentence for sentence in data["sentences"]}
    last = data["model"]["iterations"]
    for axes in list(panels.flat)[len(maps) :]:
        axes.set_axis_off()
    for axes, entry in zip(panels.flat, maps, strict=False):
        top = entry["top"]["mean"]
        image = axes.imshow(entry["mean"], aspect="auto", cmap="cividis", vmin=0, vmax=top)
        image.set_extent((0.5, len(entry["tokens"]) + 0.5, last + 0.5, 0.5))
        sentence = sentences[entry["row"]]
        axes.axhline(sentence["exit"] + 0.5, color="white", linewidth=1.4)
        axes.axhline(sentence["exit"] + 0.5, color=_colour(sentence), linewidth=1.0, linestyle=(0, (3, 1.5)))
        axes.set_xticks(range(1, len(entry["tokens"]) + 1), entry["tokens"], rotation=60, ha="right",
                        rotation_mode="anchor", fontsize=5.5)  # fmt: skip
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=12, min_n_ticks=1))
        axes.grid(False)
        verdict = "right" if sentence["answer"] == sentence["label"] else "wrong"
        answer = data["model"]["classes"][sentence["answer"]]
        axes.set_title(f"{answer} ({verdict}), left after iteration {sentence['exit']}")
        axes.set_ylabel(ITERATION)
        beyond = any(value > top for row in entry["mean"] for value in row)
        bar = figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02, extend="max" if beyond else "neither")
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(labelsize=6)
        bar.set_label("attention of [CLS]", fontsize=6.5)
    return figure


def projection(data: dict[str, Any]) -> Figure:
    """[CLS] states in the plane of the first two principal components, one panel per iteration.

    Shows POINTS sentences, evenly chosen; the shares above the panels are of all.
    """
    found = data["projection"]
    count = data["model"]["iterations"]
    columns = min(4, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(WIDTH, 1.55 * rows + 0.5))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in list(panels.flat)[count:]:
        axes.set_axis_off()
    shown = evenly(range(len(found["rows"])), POINTS)
    for index, axes in enumerate(list(panels.flat)[:count]):
        for label in range(len(data["model"]["classes"])):
            for wrong, marker, size in ((0, ".", 12.0), (1, "x", 7.0)):
                chosen = [
                    found["points"][index][n]
                    for n in shown
                    if found["labels"][n] == label and found["wrong"][index][n] == wrong
                ]
                axes.scatter(
                    [p[0] for p in chosen], [p[1] for p in chosen], s=size, marker=marker,
                    color=CLASSES[label], alpha=0.6 if not wrong else 0.9,
                    linewidths=0 if not wrong else 0.7,
                )  # fmt: skip
        share = data["accuracy"]["all"]["accuracy"][index]
        axes.set_title(f"iteration {index + 1}, {100 * share:.1f} % right", fontsize=7)
        axes.set_xlim(found["limits"]["all"][0])
        axes.set_ylim(found["limits"]["all"][1])
        axes.tick_params(labelsize=6)
    figure.supxlabel(f"first component ({100 * found['explained'][0]:.1f} % of the variance)", fontsize=8)
    figure.supylabel(f"second component ({100 * found['explained'][1]:.1f} %)", fontsize=8)
    entries: dict[str, dict[str, Any]] = {
        name: {"color": CLASSES[i], "marker": ".", "linestyle": ""}
        for i, name in enumerate(data["model"]["classes"])
    }
    entries["wrong at this iteration"] = {"color": GREY, "marker": "x", "linestyle": "", "markersize": 4}
    _outside_key(figure, entries, "outside upper center")
    return figure


FIGURES: dict[str, Callable[[dict[str, Any]], Figure]] = {
    "trajectories": trajectories,
    "exits": exits,
    "accuracy": accuracy,
    "quadrants": quadrants,
    "attention": attention,
    "projection": projection,
}
"""File name (without suffix) to what draws it."""
