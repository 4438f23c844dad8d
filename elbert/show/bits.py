"""The study of widths as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elbert.tables import print_table


def print_bits(result: Mapping[str, Any]) -> None:
    """Prints the schemes, best accuracy first, then the ablation's, and what was left out."""
    measured = [point for point in result["points"] if point["error"] is None]
    shown = [point for point in measured if point["source"] != "ablation" or not result["ablation"]]
    shown.sort(key=lambda point: (-point["accuracy"], point["weight_bytes"]))
    rows = [
        [
            f"{point['name']} *" if point["pareto"] else point["name"],
            f"{100 * point['accuracy']:.2f}",
            f"{100 * point['agreement']:.1f} %",
            f"{point['sqnr']:.1f}",
            f"{point['weight_bytes'] / 1e6:.2f}",
            f"{point['products_x_bits'] / 1e9:,.1f}",
            None if point["predicted_cycles"] is None else f"{point['predicted_cycles'] / 1e6:.2f}",
            f"{100 * point['exit']['accuracy']:.2f}",
            f"{point['exit']['speedup_macs']:.2f}x",
            f"{100 * point['exit']['flips']:.1f} %",
            f"{100 * point['exit']['changed']:.1f} %",
        ]
        for point in shown
    ]
    print_table(
        f"{result['samples']} sentences; float {100 * result['float']['accuracy']:.2f} %; "
        f"*: no other is better in everything",
        [
            "scheme",
            "accuracy",
            "as float",
            "SQNR dB",
            "weights MB",
            "G products x bits",
            "M cycles",
            "at exit",
            "speedup",
            "flips",
            "changed",
        ],
        rows,
    )
    if result["ablation"]:
        print_table(
            "Activation scales, one set per iteration against one for all",
            ["operands", "bits", "scales", "accuracy", "SQNR dB", "as float"],
            [
                [
                    row["scope"],
                    row["bits"],
                    row["scales"].replace("_", " "),
                    f"{100 * row['accuracy']:.2f}",
                    f"{row['sqnr_db']:.1f}",
                    f"{100 * row['agreement']:.1f} %",
                ]
                for row in result["ablation"]
            ],
        )
    failed = len(result["points"]) - len(measured)
    if failed:
        print(f"{failed} of {len(result['points'])} schemes could not be measured: each row says why")
    if result["left_out"]:
        print(f"{len(result['left_out'])} combinations of the grid are no scheme: left_out says why")
    machine = result["machine"]
    if machine["cycles"] is not None:
        print(
            f"cycles: full depth, {machine['tokens']} tokens (the median), array {machine['array']}, "
            f"memory of {machine['memory']}; the hardware stores every weight in a byte"
        )
