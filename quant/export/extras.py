"""Packages that only some exports need."""

from __future__ import annotations

import importlib.util


def check_onnx() -> None:
    """Raises ValueError where the package that writes graphs is not installed."""
    if importlib.util.find_spec("onnx") is None:
        raise ValueError("the package onnx is not installed: install the extra 'export'")
