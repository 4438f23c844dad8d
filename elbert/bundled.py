"""The model that comes with the project."""

from golden_model.provenance import ROOT

BUNDLED = ROOT / "models" / "elbert-small-sst2"
"""A folder with ``float`` and ``integer`` checkpoints and the names of the classes."""
