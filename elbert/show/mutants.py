"""What became of planted faults, as a table and the survivors by place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elbert.tables import print_table
from elbert.terminal import console


def print_mutants(result: Mapping[str, Any]) -> None:
    """A row a block of ``sim.mutants.campaign.summary``, then every survivor."""
    from sim.mutants.campaign import OUTCOMES

    columns = ["block", "mutants", *OUTCOMES, "explained", "killed share"]
    parts = {**result["blocks"], "all": result["all"]}
    rows = [
        (
            name,
            counts["mutants"],
            *(counts[outcome] for outcome in OUTCOMES),
            counts["explained"],
            "" if counts["share"] is None else f"{100 * counts['share']:.1f} %",
        )
        for name, counts in parts.items()
    ]
    print_table("Faults planted in the hardware's source, one at a time", columns, rows)
    for line in survivor_lines(result["mutants"]):
        console().print(line, markup=False, highlight=False, soft_wrap=True)


def survivor_lines(mutants: Sequence[Mapping[str, Any]]) -> list[str]:
    """``module:line: rule: before -> after`` of every survivor, with the reason where one is known."""
    lines = []
    for mutant in mutants:
        if mutant["outcome"] == "survived":
            why = f" ({mutant['reason']})" if mutant["reason"] else ""
            place = f"{mutant['module']}:{mutant['line']}"
            lines.append(f"survived: {place}: {mutant['rule']}: {mutant['before']} -> {mutant['after']}{why}")
    return lines
