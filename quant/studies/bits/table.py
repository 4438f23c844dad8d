"""The points as CSV, a line each."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from golden_model.files import replacing

COLUMNS = (
    "name",
    "source",
    "accuracy",
    "score",
    "agreement",
    "sqnr",
    "weight_bytes",
    "packed_bytes",
    "products_x_bits",
    "predicted_cycles",
    "runs_on_hardware",
    "pareto",
)
EXIT = ("accuracy", "mean_exit_iteration", "speedup", "speedup_macs", "flips", "changed")
"""Of the exit, as ``exit_…``."""


def write_csv(path: Path | str, points: Sequence[Mapping[str, Any]]) -> None:
    """Writes the points, whole or not at all; empty where a point failed."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([*COLUMNS, *(f"exit_{name}" for name in EXIT), "seconds", "scheme", "error"])
        for point in points:
            left = point["exit"] or {}
            seconds = None if point["seconds"] is None else sum(point["seconds"].values())
            writer.writerow(
                [
                    *(point[name] for name in COLUMNS),
                    *(left.get(name) for name in EXIT),
                    seconds,
                    json.dumps(point["scheme"]),
                    point["error"],
                ]
            )
