"""Why a quantisation loses what it loses, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elbert.tables import print_table


def print_reasons(result: Mapping[str, Any], written: Sequence[Path]) -> None:
    """Per checkpoint the noisiest tensors and why, the weights, and the exits; then the files written."""
    data = result["data"]
    for each in result["checkpoints"]:
        print_table(
            f"{each['name']}: noisiest tensors on {data['sentences']} sentences, {data['tokens']} tokens",
            ["why", "tensor", "SQNR, dB"],
            [(entry["reason"], entry["tensor"], f"{entry['sqnr_db']:.1f}") for entry in each["worst"]],
        )
        weights = sorted(each["weights"].items(), key=lambda item: item[1]["sqnr_db"])
        print_table(
            f"{each['name']}: weights",
            ["weight", "SQNR, dB", "bits", "at the rails, %", "scales, largest / smallest"],
            [
                (
                    name,
                    f"{entry['sqnr_db']:.1f}",
                    entry["bits"],
                    None if entry["grouped"] else f"{100 * entry['rails']:.3f}",
                    f"{entry['scales']['spread']:.2f}",
                )
                for name, entry in weights
            ],
        )
        if each["exits"] is not None:
            _print_exits(each["name"], each["exits"])
    print_table("Written", ["file", "kB"], [(path, f"{path.stat().st_size / 1000:.0f}") for path in written])


def _print_exits(name: str, exits: Mapping[str, Any]) -> None:
    set_ = exits["as_set"]
    rows: list[tuple[object, ...]] = [
        (
            "thresholds as they are",
            *_reached(set_["float"]),
            *_reached(set_["golden"]),
            None,
            None,
        )
    ]
    for entry in (exits["equal_loss"] or {}).values():
        rows.append(
            (
                f"at most {entry['points']:g} points lost",
                *_reached(entry["float"]),
                *_reached(entry["kept"]),
                *_reached(entry["recalibrated"]),
            )
        )
    print_table(
        f"{name}: exits of {exits['sentences']} sentences; "
        f"{100 * set_['exit_flips']['mean']:.1f} % leave elsewhere, "
        f"{100 * set_['answer_flips']['mean']:.1f} % answer otherwise",
        ["policy", "float", "lost", "integers", "lost", "recalibrated", "lost"],
        rows,
    )


def _reached(entry: Mapping[str, Any] | None) -> tuple[str | None, str | None]:
    """Speedup in multiply-adds, and points lost against the float model's full depth."""
    if entry is None:
        return None, None
    return f"{entry['speedup_macs']:.2f}x", f"{entry['points_lost_float']:.2f}"
