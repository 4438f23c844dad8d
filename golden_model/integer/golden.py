"""Which form of the golden model computes: compiled kernels where they can be made, else the plain one."""

from __future__ import annotations

import logging
import os

import torch

from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.fused.build import NoCompilerError
from golden_model.integer.fused.model import FusedGoldenModel
from golden_model.integer.model import GoldenModel

KERNELS = ("auto", "fused", "plain")
VARIABLE = "ELBERT_KERNELS"
"""Environment variable that names the form where the caller leaves it to ``auto``."""

_log = logging.getLogger(__name__)
_told: set[str] = set()


def open_golden(
    checkpoint: IntegerCheckpoint, device: torch.device | str = "cpu", kernels: str = "auto"
) -> GoldenModel:
    """The golden model of a checkpoint; every form gives the same integers.

    Args:
        checkpoint: A validated integer checkpoint.
        device: Where to compute; the compiled kernels are the CPU's.
        kernels: ``fused``, ``plain``, or ``auto``: what ``$ELBERT_KERNELS`` says, else fused on the CPU where
            there is a compiler (one line of log says so once where there is none).

    Raises:
        ValueError: ``kernels``, or the environment variable, is none of KERNELS; ``fused`` on another device.
        NoCompilerError: ``fused`` is asked for and cannot be made.
    """
    place = torch.device(device)
    origin = "kernels"
    if kernels == "auto" and os.environ.get(VARIABLE):
        kernels, origin = os.environ[VARIABLE], VARIABLE
    if kernels not in KERNELS:
        raise ValueError(f"{origin} {kernels!r} is not one of {', '.join(KERNELS)}")
    if kernels == "fused" and place.type != "cpu":
        raise ValueError(f"{origin} 'fused' on {place}: the compiled kernels are the CPU's")
    if kernels == "plain" or place.type != "cpu":
        return GoldenModel(checkpoint, place)
    try:
        return FusedGoldenModel(checkpoint)
    except NoCompilerError as error:
        if kernels == "fused":
            raise
        _say(f"the golden model runs without its compiled kernels, slowly: {error}")
        return GoldenModel(checkpoint, place)


def _say(line: str) -> None:
    if line not in _told:
        _told.add(line)
        _log.warning("%s", line)
