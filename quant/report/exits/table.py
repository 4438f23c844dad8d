"""The gathered comparison as rows of tables, and as Markdown for a README."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from golden_model.data.tasks import TASKS
from quant.report.exits.gather import HEADLINE
from quant.studies.exits.comparison import BUDGETS, LOSSES, POINTS
from quant.studies.exits.verdict import TITLES


def title_of(task: str) -> str:
    """A task as people read it; its folder's name, or what it is called where it is none of ours."""
    return TASKS[task].folder if task in TASKS else task


COLUMNS = (
    "method",
    "added parameters",
    "all iterations",
    *(f"at {key}" for key in BUDGETS),
    f"≤ {LOSSES[HEADLINE]:g} points lost",
)
"""Of :func:`rows`: the last is the headline's speedup, and what is really lost."""


def rows(task: Mapping[str, Any]) -> Iterator[list[str]]:
    """One per contender of a gathered task."""
    for name, row in task["rows"].items():
        picked = row[HEADLINE]
        yield [
            TITLES[name],
            f"{row['added_parameters']:,}",
            "" if row["full"] is None else f"{POINTS * row['full']:.1f}",
            *(
                "" if e is None else f"{POINTS * e['accuracy']:.1f} ({e['speedup']:.1f}x)"
                for e in row["at"].values()
            ),
            "" if picked is None else f"{picked['speedup']:.1f}x, {picked['points_lost']:.1f}",
        ]


def mean_rows(gathered: Mapping[str, Any]) -> Iterator[list[str]]:
    """Per rival ELBERT's mean difference at every speedup, and on how many tasks it is above."""
    for name in next(iter(gathered["mean"].values())):
        row = [TITLES[name]]
        for key in BUDGETS:
            entry, where = gathered["mean"][key][name], gathered["above"][key][name]
            if entry is None:
                row += ["", ""]
                continue
            low, high = entry["interval"]
            row += [
                f"{entry['points']:+.1f} [{low:.1f}, {high:.1f}]",
                f"{len(where['above'])} of {len(entry['tasks'])}, surely {len(where['surely_above'])}",
            ]
        yield row


def mean_columns() -> list[str]:
    """Of :func:`mean_rows`."""
    return ["ELBERT against", *(text for key in BUDGETS for text in (f"{key}: points", f"{key}: above on"))]


def markdown(gathered: Mapping[str, Any]) -> str:
    """All tasks in one table, and the means."""
    lines = [
        [title_of(task) if i == 0 else "", *row]
        for task, found in gathered["tasks"].items()
        for i, row in enumerate(rows(found))
    ]
    parts = ((["task", *COLUMNS], lines), (mean_columns(), list(mean_rows(gathered))))
    return "\n".join("\n".join(_markdown(names, each)) + "\n" for names, each in parts)


def _markdown(names: list[str], lines: list[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for line in lines:
        yield f"| {' | '.join(line)} |"
