"""ELBERT: early-exit ALBERT as a bit-exact golden model and FPGA accelerator.

The door: command line and public Python API; everything below it is a library that does not know it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elbert.classification import Classification, HardwareRun
    from elbert.model import Model, Simulation, load
    from golden_model.errors import PromiseBroken
    from golden_model.exits import ExitPolicy

__all__ = [
    "Classification",
    "ExitPolicy",
    "HardwareRun",
    "Model",
    "PromiseBroken",
    "Simulation",
    "load",
]

_HOMES = {
    "Classification": "elbert.classification",
    "ExitPolicy": "golden_model.exits",
    "HardwareRun": "elbert.classification",
    "Model": "elbert.model",
    "PromiseBroken": "golden_model.errors",
    "Simulation": "elbert.model",
    "load": "elbert.model",
}


def __getattr__(name: str) -> Any:
    """Names are fetched when first used: the command line's help does not wait for PyTorch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'elbert' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
