"""The gathered comparison as rows of tables, and as Markdown for a README."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from golden_model.data.tasks import TASKS
from quant.report.exits.gather import HEADLINE
from quant.studies.exits.comparison import BUDGETS, LOSSES, POINTS
from quant.studies.exits.verdict import TITLES

TERA = 1e12


def title_of(task: str) -> str:
    """A task as people read it; its folder's name, or what it is called where it is none of ours."""
    return TASKS[task].folder if task in TASKS else task


FACTS = (
    *("added parameters", "training, 10^12 multiply-adds", "all iterations"),
    f"≤ {LOSSES[HEADLINE]:g} points lost",
)
"""Of :func:`fact_row`. Training: the method's + its teacher's answers. Last: headline, speedup and loss."""


def fact_row(row: Mapping[str, Any]) -> list[str]:
    """What a contender of a gathered task has and had, and its headline."""
    full, picked = row["full"], row[HEADLINE]
    return [
        f"{row['added_parameters']:,}",
        _training(row["training"]),
        "" if full is None else f"{POINTS * full:.1f}",
        "" if picked is None else f"{picked['speedup_macs']:.1f}x, {picked['points_lost']:.1f}",
    ]


def reached_cells(row: Mapping[str, Any]) -> list[str]:
    """Score and speedup in multiply-adds for every speedup asked for, empty where no setting is that fast."""
    entries = (row["at"][key] for key in BUDGETS)
    return ["" if e is None else f"{POINTS * e['accuracy']:.1f} ({e['speedup_macs']:.1f}x)" for e in entries]


def _training(training: Mapping[str, float] | None) -> str:
    """Multiply-adds where they were counted, else the time."""
    if training is None:
        return ""
    if "macs" not in training:
        return f"{training['seconds']:,.0f} s"
    teacher = training.get("teacher_macs")
    own = f"{training['macs'] / TERA:,.0f}"
    return own if teacher is None else f"{own} + {teacher / TERA:,.0f}"


def lead_cells(gathered: Mapping[str, Any]) -> dict[str, list[str]]:
    """Per other contender that some task has: ELBERT's mean lead for every speedup, with its interval."""
    return {name: [_lead(mean) for mean, _ in each] for name, each in _against(gathered)}


def above_cells(gathered: Mapping[str, Any]) -> dict[str, list[str]]:
    """The same for the tasks on which ELBERT is above the other, and surely so."""
    return {name: [_above(mean, where) for mean, where in each] for name, each in _against(gathered)}


def _against(gathered: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[Any, Any]]]]:
    for name in gathered["mean"][next(iter(BUDGETS))]:
        each = [(gathered["mean"][key][name], gathered["above"][key][name]) for key in BUDGETS]
        if any(mean is not None for mean, _ in each):
            yield TITLES[name], each


def _lead(mean: Mapping[str, Any] | None) -> str:
    if mean is None:
        return ""
    low, high = mean["interval"]
    return f"{mean['points']:+.1f} [{low:.1f}, {high:.1f}]"


def _above(mean: Mapping[str, Any] | None, where: Mapping[str, Any]) -> str:
    if mean is None:
        return ""
    return f"{len(where['above'])} of {len(mean['tasks'])}, surely {len(where['surely_above'])}"


def markdown(gathered: Mapping[str, Any]) -> str:
    """All tasks in one table, and the means."""
    asked = [f"at {key}" for key in BUDGETS]
    lines = []
    for task, found in gathered["tasks"].items():
        for i, (name, row) in enumerate(found["rows"].items()):
            parameters, training, full, picked = fact_row(row)
            cells = [parameters, training, full, *reached_cells(row), picked]
            lines.append([title_of(task) if i == 0 else "", TITLES[name], *cells])
    leads, above = lead_cells(gathered), above_cells(gathered)
    means = [[name, *map("<br>".join, zip(leads[name], above[name], strict=True))] for name in leads]
    parts = (
        (["task", "method", *FACTS[:-1], *asked, FACTS[-1]], lines),
        (["ELBERT against", *asked], [[cell.removesuffix("<br>") for cell in row] for row in means]),
    )
    return "\n".join("\n".join(_markdown(names, each)) + "\n" for names, each in parts)


def _markdown(names: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for line in lines:
        yield f"| {' | '.join(line)} |"
