"""A study's result as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elbert.tables import print_table
from quant.studies.exits.comparison import BUDGETS, LOSSES, POINTS
from quant.studies.exits.verdict import TITLES


def print_study(result: Mapping[str, Any]) -> None:
    """Prints score per iteration, headline, equal cost, quantisation and the verdict."""
    _print_iterations(result)
    _print_headline(result["headline"])
    _print_at_cost(result["at_cost"])
    if result["quantisation"] is not None:
        _print_quantisation(result["quantisation"]["families"])
    print("\n".join(f"- {line}" for line in result["verdict"]))


def _print_iterations(result: Mapping[str, Any]) -> None:
    lists = result["accuracy_per_iteration"]
    rows = [
        [
            i,
            *(
                None if values[i - 1] is None else f"{POINTS * values[i - 1]:.2f}"
                for values in lists.values()
            ),
        ]
        for i in range(1, result["iterations"] + 1)
    ]
    title = f"{result['task']}: {result['metric']} x 100 if all sentences left after the iteration"
    print_table(title, ["iteration", *lists], rows)


def _print_headline(headline: Mapping[str, Any]) -> None:
    rows = []
    for name in headline["loss_0"]:
        row: list[Any] = [TITLES[name]]
        for key in LOSSES:
            entry = headline[key][name]
            row += (
                [None, None] if entry is None else [f"{entry['speedup']:.2f}x", f"{entry['points_lost']:.2f}"]
            )
        rows.append(row)
    columns = [text for points in LOSSES.values() for text in (f"≤ {points:g} pt", "lost")]
    print_table(
        "Fastest for the points that may be lost on the picking half; speedup and loss on the other half",
        ["method", *columns],
        rows,
    )


def _print_at_cost(at_cost: Mapping[str, Any]) -> None:
    rows = []
    for name in at_cost["2x"]:
        row: list[Any] = [TITLES[name]]
        for key in BUDGETS:
            entry = at_cost[key][name]
            if entry is None:
                row += [None, None, None]
                continue
            row += [
                f"{entry['speedup']:.2f}x",
                f"{POINTS * entry['accuracy']:.2f}",
                _difference(entry["difference"]),
            ]
        rows.append(row)
    columns = [text for key in BUDGETS for text in (f"for {key}", "score", "ELBERT - it")]
    print_table(
        "Best at equal cost on the picking half; speedup and score on the other half",
        ["method", *columns],
        rows,
    )


def _print_quantisation(families: Mapping[str, Any]) -> None:
    rows = []
    for name, at in families.items():
        row: list[Any] = [name]
        for key in BUDGETS:
            entry = at[key]
            shares = (100 * entry[what] for what in ("exit_flips", "answer_flips"))
            row += [f"{share:.1f}" for share in shares] if entry["in_band"] else [None, None]
            row.append(f"{entry['exit_difference']:.2f}" if entry["in_band"] else None)
        rows.append(row)
    columns = [text for key in BUDGETS for text in (f"{key}: exits, %", "answers, %", "by")]
    print_table(
        "Quantisation, integers against float near each speedup: exits moved, answers changed, mean move",
        ["policy", *columns],
        rows,
    )


def _difference(difference: Mapping[str, Any] | None) -> str | None:
    if difference is None:
        return None
    low, high = difference["interval"]
    return f"{difference['points']:+.1f} [{low:.1f}, {high:.1f}]"
