"""Studies of several tasks, gathered, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elbert.show.study import print_by_budget
from elbert.tables import print_table
from quant.report.exits.table import FACTS, above_cells, fact_row, lead_cells, reached_cells, title_of
from quant.studies.exits.figures import METRICS
from quant.studies.exits.verdict import TITLES


def print_gathered(gathered: Mapping[str, Any]) -> None:
    """Tables for every task, then the means."""
    for task, found in gathered["tasks"].items():
        rows = {TITLES[name]: row for name, row in found["rows"].items()}
        title = f"{title_of(task)}: {METRICS[found['metric']]}, {found['samples']:,} sentences"
        print_table(title, ["method", *FACTS], [[name, *fact_row(row)] for name, row in rows.items()])
        reached = {name: reached_cells(row) for name, row in rows.items()}
        print_by_budget(f"{title_of(task)}: in brackets the speedup in multiply-adds", "method", reached, 4)
    leads, above = lead_cells(gathered), above_cells(gathered)
    print_by_budget("ELBERT minus the other, points, mean over the tasks", "against", leads, 4)
    print_by_budget("Tasks on which ELBERT is above the other, surely: interval above 0", "against", above, 4)
