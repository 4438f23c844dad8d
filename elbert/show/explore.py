"""Machines compared, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elbert.tables import print_table


def print_explored(document: Mapping[str, Any]) -> None:
    """A row a machine and memory; a star marks those that none with as few multipliers is as fast as."""
    rows = [
        (
            f"{point['array']}{' *' if point['best'] else ''}",
            point["device"],
            point["bandwidth"],
            f"{point['cycles']['mean']:,.0f}",
            *(f"{point['milliseconds'][name]:.2f} ms" for name in ("mean", "p50", "p99")),
            point["block_ram"],
            point["dsp"],
            {True: "yes", False: ", ".join(point["short"] or ()), None: None}[point["fits"]],
        )
        for point in document["machines"]
    ]
    title = (
        f"{document['preset']}: {document['sentences']} sentences of {document['sample']}, "
        f"{document['mean_tokens']:.1f} tokens, leaving after {document['mean_exit_iteration']:.2f}; "
        f"{document['clock_mhz']:g} MHz"
    )
    columns = ["array", "device", "bytes/cycle", "cycles", "mean", "p50", "p99", "block RAM", "DSP", "fits"]
    print_table(title, columns, rows)


def draw_explored(points: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Mean latency over multipliers, a line a memory along its best machines; hollow: does not fit."""
    from matplotlib.figure import Figure

    from quant.style import CLASSES, paper_style, save_figure

    with paper_style():
        figure = Figure(figsize=(4.6, 3.2))
        axes = figure.add_subplot()
        memories = list(dict.fromkeys((p["bandwidth"], p["device"]) for p in points))
        several = len({device for _, device in memories}) > 1
        for (bandwidth, device), colour in zip(memories, CLASSES * len(memories), strict=False):
            mine = [p for p in points if (p["bandwidth"], p["device"]) == (bandwidth, device)]
            best = sorted((p["multipliers"], p["milliseconds"]["mean"]) for p in mine if p["best"])
            label = f"{bandwidth} bytes a cycle" + (f", {device}" if several else "")
            axes.plot([x for x, _ in best], [y for _, y in best], color=colour, label=label)
            for point in mine:
                axes.scatter(
                    [point["multipliers"]],
                    [point["milliseconds"]["mean"]],
                    s=18,
                    edgecolors=colour,
                    facecolors="none" if point["fits"] is False else colour,
                    zorder=3,
                )
        for array, x in dict.fromkeys((p["array"], p["multipliers"]) for p in points):
            low = min(p["milliseconds"]["mean"] for p in points if p["array"] == array)
            axes.annotate(array, (x, low), textcoords="offset points", xytext=(4, -9), fontsize=7)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("multipliers of the array")
        axes.set_ylabel("mean latency, ms")
        axes.legend()
        save_figure(figure, path)
