"""What the study does unless told otherwise; imports nothing, as ``--help`` shows it."""

from __future__ import annotations

BATCH, TIMED, REPETITIONS, SAMPLES = 16, 64, 5, 256
"""Sentences of a batch; sentences that are timed; times each; calibration sentences."""
PEERS = (
    "float32",
    "torch-dynamic",
    "torchao-weights",
    "torchao-dynamic",
    "brevitas",
    "onnxruntime",
    "golden",
    "golden-exits",
)
"""Names, in the order of the table. The first is what the others are compared with."""
