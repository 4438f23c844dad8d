"""Where PyTorch computes: on which device, and as which of the processes that were launched."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import Any

import torch

PATIENCE = timedelta(hours=2)
"""Longest that one process waits for another."""


def process_count() -> int:
    """Processes the launcher started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def shared_state(cpu: bool) -> Any:
    """Accelerate's state of the launched processes; joins them on the first call.

    Raises:
        ValueError: accelerate is not installed.
    """
    try:
        from accelerate import PartialState
    except ImportError as missing:
        raise ValueError(
            f"{process_count()} processes were launched, and the package accelerate is not installed: "
            f"install the extra 'train'"
        ) from missing
    return PartialState(cpu=cpu, timeout=PATIENCE)


def find_device(name: str) -> torch.device:
    """The device of a name: ``cpu``, ``cuda``, ``cuda:1``, or ``auto`` (CUDA where there is any).

    Of several launched processes each gets a GPU of its own.

    Raises:
        ValueError: for another name, and for a GPU that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if not re.fullmatch(r"cuda(:\d+)?", name):
        raise ValueError(f"device {name!r} is not one of cpu, cuda, cuda:N, auto")
    if process_count() > 1 and name != "cuda":
        raise ValueError(f"device {name!r} is one for {process_count()} processes: name cuda")
    found = torch.device(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (found.index or 0) >= count:
        raise ValueError(f"device {name!r}: there are {count} CUDA devices")
    if process_count() > 1:
        own: torch.device = shared_state(cpu=False).device
        return own
    return found
