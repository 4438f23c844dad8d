"""Colours and matplotlib settings of every figure.

The palette is safe for colour-blind readers: M. Okabe, K. Ito, Color Universal Design (2008). Right and wrong
never wear the colours of classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golden_model.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, SKY, GREEN, YELLOW = "#0072B2", "#56B4E9", "#009E73", "#F0E442"
ORANGE, VERMILLION, PURPLE, GREY, BLACK = "#E69F00", "#D55E00", "#CC79A7", "#767676", "#000000"

RIGHT, WRONG = BLUE, VERMILLION
"""Of answers."""
RIGHT_DARK, WRONG_DARK = SKY, "#FF8A3D"
"""The same on a dark ground; vermillion made lighter, for contrast."""
CLASSES = (GREEN, PURPLE, ORANGE, SKY, BLUE, YELLOW, VERMILLION, GREY)
"""Of up to 8 classes."""

_SETTINGS: Any = {
    "svg.hashsalt": "elbert",  # ids inside the SVG: the same picture, the same bytes
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 8.0,
    "text.parse_math": False,  # a sentence's dollars are dollars
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.4,
    "figure.constrained_layout.use": True,
}

_METADATA: dict[str, dict[str, str | None]] = {".svg": {"Date": None}, ".png": {"Software": None}}
"""What each format would otherwise say of day and versions."""


@contextmanager
def paper_style() -> Iterator[None]:
    """Within it matplotlib draws in the house style, whatever the user's own settings are."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def save_figure(figure: Figure, path: Path | str) -> None:
    """Writes a figure as its file's suffix says (svg, png), whole or not at all, within ``paper_style``.

    The same figure gives the same bytes.

    Raises:
        ValueError: the file's suffix is another.
    """
    suffix = Path(path).suffix
    if suffix not in _METADATA:
        raise ValueError(f"figure {path} ends in {suffix!r}, not in {' or '.join(_METADATA)}")
    with replacing(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], dpi=200, metadata=_METADATA[suffix])
