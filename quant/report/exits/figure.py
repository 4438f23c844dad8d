"""Score against speedup, a panel for every task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from quant.report.exits.table import title_of
from quant.studies.exits.contenders import ALBERT, ELBERT, ELBERT_GOLDEN, OWN_POLICY
from quant.studies.exits.figures import METRICS, draw_curves
from quant.style import paper_style, save_figure

COLUMNS = 2


def draw(studies: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the picture of several studies' results as the file's suffix says (svg, png)."""
    rows = -(-len(studies) // COLUMNS)
    with paper_style():
        figure = Figure(figsize=(5 * min(COLUMNS, len(studies)), 3.6 * rows + 0.4), layout="constrained")
        panels = figure.subplots(rows, min(COLUMNS, len(studies)), squeeze=False).flatten()
        for axes in panels[len(studies) :]:
            axes.set_visible(False)
        for axes, study in zip(panels, studies, strict=False):
            draw_curves(axes, study, [ELBERT, ELBERT_GOLDEN, *OWN_POLICY, ALBERT], band=ELBERT)
            axes.set_title(f"{title_of(study['task'])}, {study['data']['samples']:,} dev sentences")
            axes.set_ylabel(METRICS[study["metric"]])
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        save_figure(figure, path)
