"""What a quantisation costs, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from elbert.tables import print_table
from quant.quality import Quality, full_name


def print_quantisation(record: Mapping[str, Any], quality: Quality, folder: Path) -> None:
    """Quality per tensor and weight, worst first; accuracy where it was compared; what was written."""
    rows: list[tuple[object, ...]] = [
        (
            name,
            full_name(name, row),
            f"{decibels:.1f}",
            f"{100 * saturated:.2f}",
            f"{100 * max(quality.used[name]):.0f}",
        )
        for name, row, decibels, saturated in quality.worst()
    ]
    print_table(
        f"Integers against floats on {quality.sentences} sentences, {quality.tokens} tokens, worst first",
        ["tensor", "worst at", "SQNR there, dB", "saturated at most, %", "range used at most, %"],
        rows,
    )
    weights = sorted(quality.weights.items(), key=lambda item: item[1])
    print_table("Weights", ["weight", "SQNR, dB"], [(name, f"{value:.1f}") for name, value in weights])
    if record["evaluation"] is not None:
        _print_accuracy(record["evaluation"])
    where = "the accelerator runs it" if record["runs_on_hardware"] else "the golden model alone runs it"
    typer.echo(
        f"matmuls' weights packed: {record['weight_bytes'] / 1e6:.2f} MB, everything: "
        f"{record['packed_bytes'] / 1e6:.2f} MB; {where}"
    )
    typer.echo(
        f"{folder}: {record['bytes'] / 1e6:.1f} MB of integers, "
        f"sha256 {record['header']['checkpoint_sha256'][:16]}; float and integers give "
        f"{100 * quality.agreement[-1]:.1f} % of the {quality.sentences} sentences the same answer"
    )


def _print_accuracy(evaluation: Mapping[str, Any]) -> None:
    pairs = zip(evaluation["float"], evaluation["golden"], strict=True)
    rows = [
        (i, round(100 * real, 2), round(100 * golden, 2), round(100 * (golden - real), 2))
        for i, (real, golden) in enumerate(pairs, start=1)
    ]
    columns = ["iteration", "float", "golden", "difference"]
    print_table(f"Accuracy on {evaluation['samples']} sentences, %", columns, rows)
    classes = evaluation["classes"]
    found = ", ".join(f"{word} = {number}" for word, number in classes["of"].items())
    typer.echo(f"classes of the data = of the model, by {classes['by']}: {found}")
