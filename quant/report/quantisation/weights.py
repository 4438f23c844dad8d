"""The stored weights: how their integers lie on their grid, and how far the channels' scales differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.contract import signed_limit
from golden_model.integer.scales import scale_of
from quant.report.quantisation.cells import digits
from quant.schemes import Scheme

SHOWN = 256
"""Most bins of a weight's histogram."""
QUARTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def describe_weights(checkpoint: IntegerCheckpoint, decibels: dict[str, float]) -> dict[str, dict[str, Any]]:
    """Every stored weight, for JSON.

    Args:
        checkpoint: With its scales.
        decibels: SQNR by name (``quality.weight_sqnr``).

    Returns:
        By name: ``shape``; ``sqnr_db``; ``bits``, ``limit`` and ``grouped`` of its :class:`Range`;
        ``rails``, share of integers at ±limit (None where ``grouped``); ``zeros``, of 0; ``histogram`` of
        the integers (``start``, ``width``, ``counts``); ``scales``: ``channels``, quartiles ``quantiles`` of
        their LSBs in real units (the largest where it differs over a channel's inputs), and ``spread``, the
        largest over the smallest.

    Raises:
        ValueError: as ``scales.scale_of``; the metadata describe no scheme.
    """
    return {
        name: {
            "shape": list(checkpoint.tensors[name].shape),
            "sqnr_db": round(value, 2),
            **describe_integers(checkpoint.tensors[name], Range.of(checkpoint, name)),
            "scales": describe_scales(scale_of(checkpoint, name)),
        }
        for name, value in decibels.items()
    }


@dataclass(frozen=True)
class Range:
    """Where a stored weight's integers may lie.

    Members:
        bits: Of its scheme.
        limit: Largest integer.
        grouped: Whether the integers hold their groups' multipliers, which move the ends of each group's own
            range: ``limit`` then is that of the least symmetric range of whole bits that holds them all.
    """

    bits: int
    limit: int
    grouped: bool = False

    @classmethod
    def of(cls, checkpoint: IntegerCheckpoint, name: str) -> Range:
        """That of a stored weight or embedding table."""
        stored = checkpoint.tensors[name]
        if not name.endswith(".weight"):
            bits = torch.iinfo(stored.dtype).bits
            return cls(bits, signed_limit(bits))
        scheme = Scheme.from_dict(checkpoint.metadata.get("scheme", {})).weights(name.removesuffix(".weight"))
        if scheme.granularity != "group":
            return cls(scheme.weight_bits, scheme.weight_levels)
        largest = max(1, int(stored.to(torch.int32).abs().max()))
        return cls(scheme.weight_bits, signed_limit(largest.bit_length() + 1), True)


def describe_integers(integers: Tensor, within: Range) -> dict[str, Any]:
    """``bits``, ``limit``, ``grouped``, ``rails``, ``zeros``, ``histogram`` of :func:`describe_weights`."""
    magnitudes = integers.to(torch.int32).abs()
    limit, width = within.limit, 1
    while (2 * limit + 1) / width > SHOWN:
        width *= 2
    # bins are centred on 0: one of width w holds -w/2..w/2 - 1 around every multiple of w
    low = -((limit + width // 2) // width)
    places = torch.div(integers.flatten().to(torch.int64) + width // 2, width, rounding_mode="floor") - low
    counts = torch.bincount(places, minlength=1 - 2 * low)
    return {
        "bits": within.bits,
        "limit": limit,
        "grouped": within.grouped,
        "rails": None if within.grouped else float((magnitudes == limit).double().mean()),
        "zeros": float((magnitudes == 0).double().mean()),
        "histogram": {"start": low * width - width // 2, "width": width, "counts": counts.tolist()},
    }


def describe_scales(scale: Tensor) -> dict[str, Any]:
    """``scales`` of :func:`describe_weights`, of a scale that broadcasts against the weight."""
    channels = scale.amax(1) if scale.dim() == 2 else scale.reshape(1)
    quantiles = torch.quantile(channels.double(), torch.tensor(QUARTILES, dtype=torch.float64)).tolist()
    return {
        "channels": len(channels),
        "quantiles": [digits(value) for value in quantiles],
        "spread": digits(quantiles[-1] / quantiles[0]),
    }
