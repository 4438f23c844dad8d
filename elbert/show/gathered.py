"""Studies of several tasks, gathered, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elbert.tables import print_table
from quant.report.exits.table import COLUMNS, mean_columns, mean_rows, rows, title_of
from quant.studies.exits.figures import METRICS


def print_gathered(gathered: Mapping[str, Any]) -> None:
    """A table for every task, then the means."""
    for task, found in gathered["tasks"].items():
        title = f"{title_of(task)}: {METRICS[found['metric']]}, {found['samples']:,} sentences"
        print_table(title, COLUMNS, rows(found))
    print_table("ELBERT minus the other, mean over the tasks", mean_columns(), mean_rows(gathered))
