"""Weights as integers: ranges per tensor, channel or group, and the bytes that they take when packed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.integer.checkpoint import MATMULS, matmul_shape
from golden_model.numerics import CHANNEL_PARAMETER_BYTES, OFFSET_BITS
from quant.rounding.adaround import round_adaround
from quant.rounding.gptq import round_gptq
from quant.schemes import Grid, Scheme, WeightScheme

RANGES = [step / 100 for step in range(100, 9, -2)]
"""Shares of the largest magnitude that ``mse`` and ``hessian`` try as the end of the range."""


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight [out, in] as integers.

    Members:
        integers: int8 [out, in], multipliers of groups included: weight ~ integers · scale.
        scale: float64 [out], above 0.
        multipliers: Of the groups, int64 [out, groups]; None where there are none.
    """

    integers: Tensor
    scale: Tensor
    multipliers: Tensor | None = None


def quantize_weight(
    weight: Tensor,
    scheme: WeightScheme,
    least_scale: Tensor | None = None,
    hessian: Tensor | None = None,
) -> QuantizedWeight:
    """Symmetric quantisation of a weight.

    Args:
        weight: float [out, in].
        scheme: Gives bits, granularity, and how ranges and roundings are found.
        least_scale: [out]: the scale is at least this (a channel with a large bias and small weights).
        hessian: Second moments of the inputs, float64 [in, in], where the scheme asks for them.

    Raises:
        ValueError: a weight is not finite; or the scheme asks for second moments and none are given.
    """
    w = weight.detach().double()
    if not bool(w.isfinite().all()):
        raise ValueError("a weight is not finite")
    if hessian is None and (scheme.rounding != "nearest" or scheme.weight_observer == "hessian"):
        raise ValueError("rounding and ranges by the outputs' error need second moments of the inputs")
    importance = torch.ones(w.shape[1], dtype=torch.float64)
    if scheme.weight_observer == "hessian" and hessian is not None:
        importance = hessian.diagonal() / hessian.diagonal().mean().clamp(min=1e-300)
    floor = torch.full((len(w),), torch.finfo(torch.float32).tiny, dtype=torch.float64)
    if least_scale is not None:
        floor = least_scale.double()
    multipliers, multiplier = None, torch.ones(1, 1, dtype=torch.float64)
    if scheme.granularity == "group":
        scale, multipliers = _two_levels(w, scheme, importance, floor)
        multiplier = multipliers.repeat_interleave(scheme.group_size, 1)[:, : w.shape[1]].double()
    else:
        rows = w if scheme.granularity == "channel" else w.reshape(1, -1)
        weights = importance if scheme.granularity == "channel" else importance.repeat(len(w))
        scale = torch.maximum(_find_scale(rows, scheme, weights).expand(len(w)), floor)
    step = scale.unsqueeze(1) * multiplier
    if scheme.rounding == "nearest" or hessian is None:
        found = scheme.grid.nearest(w / step)
    elif scheme.rounding == "gptq":
        found = round_gptq(w, step, scheme.grid, hessian)
    else:
        found = round_adaround(w, step, scheme.grid, hessian)
    return QuantizedWeight((found * multiplier).to(torch.int8), scale, multipliers)


def _find_scale(w: Tensor, scheme: WeightScheme, importance: Tensor) -> Tensor:
    """Scale of every row [rows, n], float64 [rows]; 0 for a row of zeros."""
    grid = scheme.grid
    full = w.abs().amax(1) / grid.limit
    if scheme.weight_observer == "max":
        return full
    best, best_error = full.clone(), torch.full_like(full, float("inf"))
    for share in RANGES:
        candidate = (full * share).clamp(min=1e-30)
        error = _error(w, candidate.unsqueeze(1), grid, importance)
        better = error < best_error
        best = torch.where(better, candidate, best)
        best_error = torch.where(better, error, best_error)
    return torch.where(full > 0, best, full)


def _error(w: Tensor, step: Tensor, grid: Grid, importance: Tensor) -> Tensor:
    """Weighted square error of the nearest integers, per row."""
    return ((w - grid.nearest(w / step) * step).square() * importance).sum(-1)


def _two_levels(w: Tensor, scheme: WeightScheme, importance: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """Scale per channel, and multiplier per group: the larger or smaller neighbour, whichever is better."""
    out, inputs = w.shape
    padding = -inputs % scheme.group_size
    grouped = torch.nn.functional.pad(w, (0, padding)).view(out, -1, scheme.group_size)
    weights = torch.nn.functional.pad(importance, (0, padding)).view(-1, scheme.group_size)
    groups = grouped.shape[1]
    wanted = torch.stack(
        [_find_scale(grouped[:, g], scheme, weights[g]) for g in range(groups)], dim=1
    )  # [out, groups]
    scale = torch.maximum(wanted.amax(1) / scheme.group_limit, floor)
    ratio = wanted / scale.unsqueeze(1)
    below = ratio.floor().clamp(1, scheme.group_limit)
    above = ratio.ceil().clamp(1, scheme.group_limit)
    errors = [
        _error(grouped, (scale.unsqueeze(1) * each).unsqueeze(-1), scheme.grid, weights)
        for each in (below, above)
    ]
    return scale, torch.where(errors[0] < errors[1], below, above).long()


@dataclass(frozen=True)
class PackedBytes:
    """Bytes of a model's parameters when every integer takes its own bits and no more.

    Members:
        weights: Of the matmuls' weights, multipliers of groups included.
        scales: Of the matmuls' multipliers and shifts.
        others: Offsets, LayerNorms, tables, embeddings.
    """

    weights: int
    scales: int
    others: int

    @property
    def total(self) -> int:
        """Of everything."""
        return self.weights + self.scales + self.others


def packed_bytes(scheme: Scheme, config: ElbertConfig) -> PackedBytes:
    """What a checkpoint of a scheme needs at least; scales that iterations share are counted once."""
    sets = 1 if scheme.scales == "shared" else config.num_hidden_layers
    offset_bytes = OFFSET_BITS // 8
    weights = scales = others = 0
    for matmul in MATMULS:
        (out, inputs), own = matmul_shape(config, matmul), scheme.weights(matmul)
        times = 1 if matmul.startswith("embedding.") else sets
        weights += own.packed_bytes(out, inputs)
        # a tensor's one scale still meets outputs whose channels may have scales of their own
        scales += times * out * (CHANNEL_PARAMETER_BYTES - offset_bytes)
        others += times * out * offset_bytes
    features = sum(sets * config.hidden_size for _ in range(2)) + config.embedding_size
    others += features * CHANNEL_PARAMETER_BYTES
    contract = scheme.contract
    others += sets * ((1 << contract.ffn_index_bits) + (1 << contract.pooler_index_bits))
    others += config.vocab_size * config.embedding_size
    others += 2 * config.type_vocab_size * config.max_position_embeddings * config.embedding_size
    return PackedBytes(weights, scales, others)
