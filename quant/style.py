"""Colours and matplotlib settings of every figure.

The palette is safe for colour-blind readers: M. Okabe, K. Ito, Color Universal Design (2008). Right and wrong
never wear the colours of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from golden_model.files import replacing
from golden_model.progress import Bars, silent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")

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
    "pdf.fonttype": 42,  # TrueType, which publishers ask for; text can be searched
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

_METADATA: dict[str, dict[str, str | None]] = {
    ".svg": {"Date": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}
"""What each format would otherwise say of day and versions."""

SUFFIXES = tuple(_METADATA)
"""Formats of figures."""


@contextmanager
def paper_style() -> Iterator[None]:
    """Within it matplotlib draws in the house style, whatever the user's own settings are."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def check_suffix(path: Path | str) -> str:
    """The suffix of a figure's file, in small letters.

    Raises:
        ValueError: it is none of :data:`SUFFIXES`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"figure {path} ends in {suffix!r}, not in {', '.join(SUFFIXES)}")
    return suffix


def figure_suffixes(formats: str) -> list[str]:
    """Suffixes of formats with commas between (``svg,png``), each once; raises ValueError for another."""
    found = [f".{name.strip().lower()}" for name in formats.split(",")]
    for suffix in found:
        if suffix not in SUFFIXES:
            known = ", ".join(each[1:] for each in SUFFIXES)
            raise ValueError(f"figures {formats!r}: {suffix[1:]!r} is not one of {known}")
    return list(dict.fromkeys(found))


def save_figures(
    drawn: Mapping[str, Callable[[T], Figure]],
    data: T,
    folder: Path | str,
    suffixes: Sequence[str],
    bars: Bars = silent,
) -> list[Path]:
    """Draws figures in the house style, each in every format.

    Args:
        drawn: By the name of its file what makes it of the data.
        data: What is drawn.
        folder: Made if needed.
        suffixes: Of :data:`SUFFIXES`.
        bars: Shows how far it is.

    Returns:
        The files written.
    """
    paths = []
    with paper_style(), bars("figures", len(drawn) * len(suffixes)) as progress:
        for name, make in drawn.items():
            figure = make(data)
            for suffix in suffixes:
                paths.append(Path(folder) / f"{name}{suffix}")
                save_figure(figure, paths[-1])
                progress(1)
    return paths


def save_figure(figure: Figure, path: Path | str) -> None:
    """Writes a figure as its file's suffix says, whole or not at all, within ``paper_style``.

    The same figure gives the same bytes.

    Raises:
        ValueError: as :func:`check_suffix`.
    """
    suffix = check_suffix(path)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], dpi=200, metadata=_METADATA[suffix])
