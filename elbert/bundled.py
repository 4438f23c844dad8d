"""The model that comes with the project."""

from pathlib import Path

from golden_model.provenance import ROOT

_INSTALLED = Path(__file__).parent / "models"

BUNDLED = (_INSTALLED if _INSTALLED.is_dir() else ROOT / "models") / "elbert-small-sst2"
"""A folder with ``float`` and ``integer`` checkpoints and the names of the classes: a wheel holds it beside
this file, a checkout in ``models``."""

BUNDLED_TASK = "sst2"
"""What it was trained on."""
