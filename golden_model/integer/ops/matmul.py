"""Exact integer matrix products, on CPU and GPU, without a floating-point detour.

Two-dimensional int8 products go through ``torch._int_mm`` (int8 x int8 -> int32). Some processors' int8
kernels saturate pairs of products at 16 bits; :func:`fast_kernel_is_exact` probes for that once per device
with the operands that would show it, and the plain integer product takes over where the probe fails.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from golden_model.numerics import OPERAND_MAX

_CUDA_MULTIPLE = 8
"""``torch._int_mm`` on CUDA wants K and N to be multiples of 8 ..."""
_CUDA_LEAST_ROWS = 17
"""... and more than 16 rows."""
_CHUNK_ELEMENTS = 1 << 26
"""Most products held at once by the elementwise batched form on a GPU (256 MB of int32)."""


def matmul(x: Tensor, weight: Tensor) -> Tensor:
    """``x · weightᵀ``, exact.

    Args:
        x: int8 [rows, K].
        weight: int8 [columns, K].

    Returns:
        int32 [rows, columns]. With K <= 4096 the contract's accumulator of 28 bits holds it.

    Raises:
        TypeError: an operand is not int8.
    """
    if x.dtype != torch.int8 or weight.dtype != torch.int8:
        raise TypeError(f"matmul of {x.dtype} and {weight.dtype}, expected int8 and int8")
    if x.shape[0] == 0 or not fast_kernel_pays(x.device):
        return _plain(x, weight)
    return _fast(x, weight)


def batched_matmul(a: Tensor, b: Tensor) -> Tensor:
    """``a · b`` for int32 [batch, M, K] and [batch, K, N]: int32 [batch, M, N], exact while sums fit 31 bits.

    PyTorch has no integer batched product on a GPU: there, products are formed elementwise and summed.
    """
    if a.device.type == "cpu":
        return torch.bmm(a, b)
    rows = max(1, _CHUNK_ELEMENTS // max(1, a.shape[1] * a.shape[2] * b.shape[2]))
    parts = [
        (x.unsqueeze(-1) * y.unsqueeze(1)).sum(dim=2, dtype=torch.int32)
        for x, y in zip(a.split(rows), b.split(rows), strict=True)
    ]
    return torch.cat(parts)


def _fast(x: Tensor, weight: Tensor) -> Tensor:
    if x.device.type != "cuda":
        return torch._int_mm(x, weight.t())
    rows, columns = x.shape[0], weight.shape[0]
    pad_k = -x.shape[1] % _CUDA_MULTIPLE
    pad_rows = max(0, _CUDA_LEAST_ROWS - rows)
    padded = torch.nn.functional.pad(x, (0, pad_k, 0, pad_rows))
    padded_weight = torch.nn.functional.pad(weight, (0, pad_k, 0, -columns % _CUDA_MULTIPLE))
    return torch._int_mm(padded.contiguous(), padded_weight.contiguous().t())[:rows, :columns]


def _plain(x: Tensor, weight: Tensor) -> Tensor:
    wide, other = x.to(torch.int32), weight.to(torch.int32)
    if x.device.type == "cpu":
        return wide @ other.t()
    return batched_matmul(wide.unsqueeze(0), other.t().unsqueeze(0)).squeeze(0)


@cache
def fast_kernel_pays(device: torch.device) -> bool:
    """Whether ``torch._int_mm`` is exact on ``device`` and faster than the plain integer product.

    On a processor without VNNI it is not: 1.1 against 6 G products a second were measured on one with AVX2.
    """
    if device.type == "cpu" and not torch.cpu._is_vnni_supported():
        return False
    return fast_kernel_is_exact(device)


@cache
def fast_kernel_is_exact(device: torch.device) -> bool:
    """Whether ``torch._int_mm`` on ``device`` sums extreme operands exactly (asked once per device)."""
    x = torch.full((32, 4096), OPERAND_MAX, dtype=torch.int8, device=device)
    x[1::2] = -OPERAND_MAX
    x[2::4, ::3] = -OPERAND_MAX
    weight = torch.full((16, 4096), OPERAND_MAX, dtype=torch.int8, device=device)
    weight[::2] = -OPERAND_MAX
    weight[3::4, 1::2] = -128
    try:
        product = _fast(x, weight)
    except RuntimeError:
        return False  # the build has no such kernel
    return torch.equal(product, _plain(x, weight))
