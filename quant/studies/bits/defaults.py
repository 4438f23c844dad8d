"""What the study does unless told otherwise; imports nothing, as ``--help`` shows it."""

from __future__ import annotations

SAMPLES = 256
"""Calibration sentences, as ``elbert quantize`` takes them."""
QUALITY = 8
"""Calibration sentences whose tensors are compared with float's: all rows of all iterations of each."""
WORKERS = 1
