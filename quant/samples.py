"""Which rows of a data set a calibration runs."""

from __future__ import annotations

import torch


def choose_samples(count: int, samples: int, seed: int) -> list[int]:
    """Numbers of ``samples`` different rows of ``count``, or of all rows where there are not that many.

    The order is drawn by a generator of its own: the same arguments give the same list.

    Raises:
        ValueError: there are no rows, or ``samples`` is below 1.
    """
    if samples < 1:
        raise ValueError(f"samples {samples} is below 1")
    if count < 1:
        raise ValueError("there are no rows to calibrate on")
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:samples].tolist()
