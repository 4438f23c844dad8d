"""The slow-down study as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elbert.tables import print_table
from quant.studies.slowdown.run import TEXTS


def print_slowdown(result: Mapping[str, Any]) -> None:
    """Prints clean, random and attacked texts without a cap, then under each, and what the search did."""
    depth = result["iterations"]
    rows = []
    for name, found in result["policies"].items():
        for kind in TEXTS:
            each = found[kind]
            rows.append(
                [
                    name,
                    kind,
                    f"{100 * each['accuracy']:.1f}",
                    f"{each['mean_exit_iteration']:.2f}",
                    f"{100 * each['cost_macs']:.1f} %",
                    f"{each['speedup_macs']:.2f}x",
                    f"{100 * each['full_depth']:.0f} %",
                ]
            )
    print_table(
        f"{result['samples']} sentences on the {result['backend']} model, no cap (full depth: {depth})",
        ["policy", "texts", "accuracy", "mean exit", "multiply-adds", "speedup", "at full depth"],
        rows,
    )
    capped = [
        [
            name,
            entry["cap"],
            f"{100 * entry['worst_cost_macs']:.1f} %",
            *(f"{100 * entry[kind]['cost_macs']:.1f} %" for kind in TEXTS),
            *(f"{100 * entry[kind]['accuracy']:.1f}" for kind in TEXTS),
        ]
        for name, found in result["policies"].items()
        for entry in found["caps"]
    ]
    print_table(
        "Iterations at most: multiply-adds (worst case, means), and accuracy",
        ["policy", "cap", "worst", *TEXTS, *(f"{kind}: right" for kind in TEXTS)],
        capped,
    )
    for name, found in result["policies"].items():
        changes, slowdown = found["changes"], found["slowdown"]
        cosine = "" if changes["cosine"] is None else f", mean cosine {changes['cosine']:.2f}"
        print(
            f"{name}: attacked texts cost {slowdown['macs']:.2f} times the multiply-adds "
            f"({slowdown['iterations']:.2f} times the iterations); {100 * found['slowed']:.0f} % of the "
            f"sentences leave later; {100 * changes['share']:.1f} % of the words changed{cosine}"
        )
    search = result["search"]
    print(
        f"search on the float model: {search['evaluations']:,} texts, {search['multiply_adds'] / 1e9:,.1f} G "
        f"multiply-adds, {search['evaluations_per_sentence']:.0f} texts a sentence; "
        f"{result['attackable']} of {result['samples']} sentences have words that may be substituted"
    )
