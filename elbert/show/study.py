"""A study's result as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elbert.tables import print_table
from quant.studies.exits.comparison import BUDGETS, LOSSES, POINTS
from quant.studies.exits.verdict import TITLES


def print_study(result: Mapping[str, Any]) -> None:
    """Prints score per iteration, headline, equal cost, quantisation and the verdict."""
    _print_iterations(result)
    saved = result["reference"]["cost_macs_answer_first"]
    print(
        f"multiply-adds are counted against plain ALBERT's at full depth with all rows, "
        f"{result['reference']['macs'] / 1e6:,.1f} million a sentence"
        + (
            ""
            if saved is None
            else f"; without the rows its answer does not read it takes {saved:.3f} of that"
        )
    )
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
            if entry is None:
                row += [None, None, None]
                continue
            row += [f"{entry[what]:.2f}x" for what in ("speedup_macs", "speedup_iterations")]
            row.append(f"{entry['points_lost']:.2f}")
        rows.append(row)
    columns = [text for points in LOSSES.values() for text in (f"≤ {points:g} pt", "iter.", "lost")]
    print_table(
        "Fastest for the points that may be lost on the picking half; on the other half its speedup in "
        "multiply-adds, in iterations, and its loss",
        ["method", *columns],
        rows,
    )


def _print_at_cost(at_cost: Mapping[str, Any]) -> None:
    for title, cell, most in (
        ("Best at equal multiply-adds on the picking half; score and speedup on the other half", _score, 4),
        ("The same in iterations", lambda entry: f"{entry['speedup_iterations']:.2f}x", len(BUDGETS)),
        ("ELBERT minus the other, points", lambda entry: _difference(entry["difference"]), 4),
    ):
        rows = {
            TITLES[name]: [
                None if at_cost[key][name] is None else cell(at_cost[key][name]) for key in BUDGETS
            ]
            for name in at_cost[next(iter(BUDGETS))]
        }
        print_by_budget(title, "method", rows, most)


def _print_quantisation(families: Mapping[str, Any]) -> None:
    rows: dict[str, list[str | None]] = {}
    for name, at in families.items():
        cells = rows[name] = []
        for key in BUDGETS:
            entry = at[key]
            exits, answers = (100 * entry[what] for what in ("exit_flips", "answer_flips"))
            cell = f"{exits:.1f} / {answers:.1f} / {entry['exit_difference']:.2f}"
            cells.append(cell if entry["in_band"] else None)
    title = "Quantisation, integers against float: exits moved, % / answers changed, % / mean move"
    print_by_budget(title, "policy", rows, 4)


def print_by_budget(title: str, first: str, rows: Mapping[str, Sequence[str | None]], most: int) -> None:
    """Prints a column for every speedup asked for, ``most`` in one table: more are wider than a terminal.

    Args:
        title: Above each table.
        first: Name of the column of the names.
        rows: Per name its cells.
        most: Speedups side by side.
    """
    keys = list(BUDGETS)
    for start in range(0, len(keys), most):
        part = slice(start, start + most)
        columns = [first, *(f"at {key}" for key in keys[part])]
        print_table(title, columns, [[name, *cells[part]] for name, cells in rows.items()])


def _score(entry: Mapping[str, Any]) -> str:
    return f"{POINTS * entry['accuracy']:.2f} ({entry['speedup_macs']:.1f}x)"


def _difference(difference: Mapping[str, Any] | None) -> str | None:
    if difference is None:
        return None
    low, high = difference["interval"]
    return f"{difference['points']:+.1f} [{low:.1f}, {high:.1f}]"
