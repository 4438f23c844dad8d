"""Measured and predicted cycles, as a table and as a roofline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elbert.show.performance import IDLE_REASONS
from elbert.tables import print_table

if TYPE_CHECKING:
    from hw.cycles.memory import MemoryTiming
    from hw.params import Machine


def print_bench(title: str, document: Mapping[str, Any]) -> None:
    """A row a sentence and one for all: cycles, utilisation, and the share of the cycles each reason has."""
    measured = document["mismatches"] is not None
    columns = ["tokens", "iter.", "cycles", "predicted", "utilisation", "part filled", *IDLE_REASONS]
    columns += ["unequal"] if measured else []
    everything = {"tokens": None, "iterations": None, **document}
    rows = []
    for row in (*document["sentences"], everything):
        share = [f"{100 * row['idle'].get(reason, 0) / row['cycles']:.2f} %" for reason in IDLE_REASONS]
        rows.append(
            (
                row["tokens"],
                row["iterations"] if row is not everything else None,
                f"{row['cycles']:,}",
                f"{row['predicted_cycles']:,}",
                f"{100 * row['utilisation']:.1f} %",
                f"{100 * row['partly_filled'] / row['cycles']:.2f} %",
                *share,
                *([row["mismatches"]] if measured else []),
            )
        )
    print_table(title, columns, rows)
    if measured:
        error = document["predicted_cycles"] / document["cycles"] - 1
        print(
            f"predicted {100 * error:+.3f} % from measured; "
            f"{document['cycles_per_s']:,.0f} cycles/s of simulation, {document['wall_s']:.0f} s"
        )


def draw_roofline(
    machine: Machine, memory: MemoryTiming, rows: Sequence[Mapping[str, Any]], path: Path
) -> None:
    """Products a cycle over products a byte: the array's roof, the memory's slope, a point a sentence."""
    from matplotlib.figure import Figure

    from hw.cycles.sentence import bytes_read
    from quant.style import BLUE, GREY, VERMILLION, paper_style, save_figure

    roof = machine.rows * machine.columns
    bus = machine.axi_bits / 8
    speed = bus if memory.bandwidth is None else min(bus, float(memory.bandwidth))
    points = [
        (
            row["products"] / bytes_read(machine, row["tokens"], row["iterations"]),
            row["products"] / row["cycles"],
        )
        for row in rows
    ]
    ridge = roof / speed
    low = min(ridge, *(x for x, _ in points)) / 3
    high = max(ridge, *(x for x, _ in points)) * 3
    with paper_style():
        figure = Figure(figsize=(4.6, 3.0))
        axes = figure.add_subplot()
        axes.plot([low, ridge, high], [low * speed, roof, roof], color=GREY)
        axes.scatter([x for x, _ in points], [y for _, y in points], color=BLUE, s=16, zorder=3)
        for (x, y), row in zip(points, rows, strict=True):
            axes.annotate(str(row["tokens"]), (x, y), textcoords="offset points", xytext=(4, -9), fontsize=7)
        axes.annotate(f"{roof} multipliers", (high, roof), ha="right", va="bottom", color=GREY)
        axes.annotate(
            f"{speed:g} bytes a cycle", (low, low * speed), textcoords="offset points", xytext=(4, 12),
            color=VERMILLION,
        )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("products a byte read")
        axes.set_ylabel("products a cycle")
        axes.set_title(f"Array {machine.rows}x{machine.columns}; numbers are tokens")
        save_figure(figure, path)
