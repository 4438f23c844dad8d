"""Score against speedup, a panel for every task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from quant.report.exits.table import title_of
from quant.studies.exits.contenders import ALBERT, ELBERT, ELBERT_GOLDEN, LINES, OWN_POLICY
from quant.studies.exits.figures import METRICS, draw_curves
from quant.style import paper_style, save_figure

DRAWN = (ELBERT, *LINES, ELBERT_GOLDEN, *OWN_POLICY, ALBERT)
"""Curves of a panel, as far as they are there."""

COLUMNS = 2
"""Panels side by side at most."""

LEGEND_COLUMNS = {1: 3, 2: 4}
"""Of the legend, by panels side by side: what fits under them."""


def draw(studies: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the picture of several studies' results as the file's suffix says (``quant.style.SUFFIXES``)."""
    with paper_style():
        save_figure(make_figure(studies), path)


def make_figure(studies: Sequence[Mapping[str, Any]]) -> Figure:
    """A panel for every study, and one legend of all that is in any of them."""
    columns = min(COLUMNS, len(studies))
    rows = -(-len(studies) // columns)
    lines = -(-(len(DRAWN) + 2) // LEGEND_COLUMNS[columns])  # oracle and full depth beside them
    figure = Figure(figsize=(5 * columns, 3.6 * rows + 0.2 * lines), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in panels[len(studies) :]:
        axes.set_visible(False)
    entries: dict[str, Artist] = {}
    for axes, study in zip(panels, studies, strict=False):
        draw_curves(axes, study, DRAWN, band=ELBERT)
        axes.set_title(f"{title_of(study['task'])}, {study['data']['samples']:,} sentences")
        axes.set_ylabel(METRICS[study["metric"]])
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(
        list(entries.values()), list(entries), loc="outside lower center", ncols=LEGEND_COLUMNS[columns]
    )
    return figure
