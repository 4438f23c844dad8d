"""The compiled kernels as functions on tensors, split over threads by rows."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from golden_model.integer.fused.build import load
from golden_model.integer.ops.matmul import fast_kernel_pays

_BYTES = {torch.int8: 1, torch.int16: 2, torch.int32: 4}
_LEAST_ROWS = 24
"""Rows for which another thread is worth its start."""


class _Channels(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("offset", "multiplier", "shift")]


class _Output(ctypes.Structure):
    _fields_ = [
        ("low", ctypes.c_int32),
        ("high", ctypes.c_int32),
        ("table", ctypes.c_void_p),
        ("table_mask", ctypes.c_int32),
        ("residual", ctypes.c_void_p),
        ("residual_high", ctypes.c_int32),
        ("bytes", ctypes.c_int32),
        ("values", ctypes.c_void_p),
    ]


class _Norm(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("gamma", "beta", "shift")),
        *((name, ctypes.c_int32) for name in ("limit", "fraction_bits", "norm_high", "root_bits")),
    ]


class _Attention(ctypes.Structure):
    _fields_ = [
        ("heads", ctypes.c_int64),
        ("dim", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("query_start", "key_start", "query", "key", "value")),
        *((name, ctypes.c_int32) for name in ("score_multiplier", "score_shift", "score_high")),
        ("exponential", ctypes.c_void_p),
        *(
            (name, ctypes.c_int32)
            for name in (
                "exponential_shift",
                "exponential_last",
                "context_multiplier",
                "context_shift",
                "context_limit",
            )
        ),
        ("context", ctypes.c_void_p),
        ("longest_query", ctypes.c_int64),
        ("longest_key", ctypes.c_int64),
        ("scores", ctypes.c_void_p),
        ("exponentials", ctypes.c_void_p),
    ]


@dataclass(frozen=True)
class Channels:
    """Offset, multiplier and shift of every output channel: int32 [outputs] each, contiguous."""

    offset: Tensor
    multiplier: Tensor
    shift: Tensor


@dataclass(frozen=True)
class After:
    """What becomes of a requantised product.

    Members:
        low, high: Its saturation.
        dtype: Of the result.
        table: int8 [2^bits], looked up with the value modulo its size; the result is int8.
        residual: int16 [rows, outputs] hidden state that is added.
        residual_high: Largest sum; the least is one below minus this.
    """

    low: int
    high: int
    dtype: torch.dtype
    table: Tensor | None = None
    residual: Tensor | None = None
    residual_high: int = 0


class Weight:
    """A matmul's weight int8 [outputs, inputs], packed for the kernels; 2 bytes a weight."""

    def __init__(self, weight: Tensor) -> None:
        """Packs; ``weight`` is kept as well where the processor multiplies bytes."""
        self.outputs, self.inputs = weight.shape
        self.whole = weight.contiguous() if fast_kernel_pays(weight.device) else None
        self.packed: Tensor | None = None
        if self.whole is None:
            functions = _functions()
            size = functions.elbert_packed_size(self.outputs, self.inputs)
            self.packed = torch.empty(size, dtype=torch.int16)
            weight = weight.contiguous()
            functions.elbert_pack(_at(weight), _int64(self.outputs), _int64(self.inputs), _at(self.packed))


def linear(x: Tensor, weight: Weight, channels: Channels, after: After) -> Tensor:
    """``requantize(x · weightᵀ)`` and what comes after: [rows, outputs] from int8 ``x`` [rows, inputs]."""
    x = _checked(x, torch.int8)
    rows, residual = x.shape[0], after.residual
    if x.shape[1] != weight.inputs:
        raise ValueError(f"operand {tuple(x.shape)} for a weight of {weight.inputs} inputs")
    made = torch.empty((rows, weight.outputs), dtype=torch.int8 if after.table is not None else after.dtype)
    if residual is not None:
        residual = _checked(residual, torch.int16)
        if residual.shape != made.shape:
            raise ValueError(f"residual {tuple(residual.shape)} is not {tuple(made.shape)}")
    per_channel = _Channels(
        *(_resident(t, torch.int32) for t in (channels.offset, channels.multiplier, channels.shift))
    )
    functions, product = _functions(), None
    if weight.whole is not None:
        product = (
            torch._int_mm(x, weight.whole.t())
            if rows
            else x.new_empty((0, weight.outputs), dtype=torch.int32)
        )

    def part(first: int, last: int) -> None:
        to = _Output(
            after.low,
            after.high,
            None if after.table is None else _resident(after.table, torch.int8),
            0 if after.table is None else after.table.numel() - 1,
            None if residual is None else _at(residual, first),
            after.residual_high,
            _BYTES[made.dtype],
            _at(made, first),
        )
        sizes = (_int64(last - first), _int64(weight.inputs), _int64(weight.outputs))
        if product is not None:
            functions.elbert_requantize(
                _at(product, first), sizes[0], sizes[2], per_channel_ref, ctypes.byref(to)
            )
        else:
            assert weight.packed is not None
            functions.elbert_linear(
                _at(x, first), *sizes, _at(weight.packed), per_channel_ref, ctypes.byref(to)
            )

    per_channel_ref = ctypes.byref(per_channel)
    _over_rows(rows, part)
    return made


def operand(hidden: Tensor, shift: int, limit: int) -> Tensor:
    """What a matmul reads of int16 hidden states: int8, round half up of hidden / 2^shift within ±limit."""
    hidden = _checked(hidden, torch.int16)
    made = torch.empty(hidden.shape, dtype=torch.int8)
    _functions().elbert_operand(
        _at(hidden), _int64(hidden.numel()), ctypes.c_int32(shift), ctypes.c_int32(limit), _at(made)
    )
    return made


@dataclass(frozen=True)
class Norm:
    """A LayerNorm's channels, int32 [n] each, and the contract's widths."""

    gamma: Tensor
    beta: Tensor
    shift: Tensor
    fraction_bits: int
    norm_bits: int
    root_bits: int


def layernorm(y: Tensor, norm: Norm, limit: int, dtype: torch.dtype) -> Tensor:
    """LayerNorm of int32 [rows, n], saturated to ±limit, as int8 or int16."""
    y = _checked(y, torch.int32)
    made = torch.empty(y.shape, dtype=dtype)
    rows, n = y.shape
    given = _Norm(
        *(_resident(t, torch.int32) for t in (norm.gamma, norm.beta, norm.shift)),
        limit,
        norm.fraction_bits,
        (1 << (norm.norm_bits - 1)) - 1,
        norm.root_bits,
    )

    def part(first: int, last: int) -> None:
        _functions().elbert_layernorm(
            _at(y, first),
            _int64(last - first),
            _int64(n),
            ctypes.byref(given),
            ctypes.c_int32(_BYTES[dtype]),
            _at(made, first),
        )

    _over_rows(rows, part)
    return made


@dataclass(frozen=True)
class Softmax:
    """Attention's rescalings and its table of exponentials (uint8), by distance from the largest score."""

    score_multiplier: int
    score_shift: int
    score_bits: int
    exponential: Tensor
    exponential_shift: int
    context_multiplier: int
    context_shift: int
    context_limit: int


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_lengths: Tensor,
    key_lengths: Tensor,
    heads: int,
    softmax: Softmax,
    grids: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Context of packed queries, and the grids where asked for.

    Args:
        query: int8 [query rows, heads · dim], the sentences one after the other.
        key: int8 [key rows, heads · dim].
        value: The same.
        query_lengths: int64 [sentences]: how many query rows each has.
        key_lengths: The same of keys.
        heads: How many.
        softmax: Rescalings and exponentials.
        grids: Whether scores and exponentials are wanted.

    Returns:
        context int8 like ``query``; scores int16 and exponentials uint8 [sentences, heads, longest query,
        longest key], unused keys with the least score and an exponential of 0.
    """
    query, key, value = (_checked(t, torch.int8) for t in (query, key, value))
    sentences = query_lengths.numel()
    starts = [torch.nn.functional.pad(n.cumsum(0), (1, 0)).contiguous() for n in (query_lengths, key_lengths)]
    context = torch.empty_like(query)
    longest = (int(query_lengths.max()), int(key_lengths.max()))
    scores = exponentials = None
    least = -(1 << (softmax.score_bits - 1))
    if grids:
        shape = (sentences, heads, *longest)
        scores = torch.full(shape, least, dtype=torch.int16)
        exponentials = torch.zeros(shape, dtype=torch.uint8)
    given = _Attention(
        heads,
        query.shape[1] // heads,
        *(_at(start) for start in starts),
        _at(query),
        _at(key),
        _at(value),
        softmax.score_multiplier,
        softmax.score_shift,
        -least - 1,
        _resident(softmax.exponential, torch.uint8),
        softmax.exponential_shift,
        softmax.exponential.numel() - 1,
        softmax.context_multiplier,
        softmax.context_shift,
        softmax.context_limit,
        _at(context),
        *longest,
        None if scores is None else _at(scores),
        None if exponentials is None else _at(exponentials),
    )

    def part(first: int, last: int) -> None:
        _functions().elbert_attention(ctypes.byref(given), _int64(first), _int64(last))

    _over_rows(sentences, part, least=2)
    return context, scores, exponentials


@cache
def _functions() -> ctypes.CDLL:
    functions = load().functions
    functions.elbert_packed_size.restype = ctypes.c_int64
    functions.elbert_packed_size.argtypes = [ctypes.c_int64, ctypes.c_int64]
    return functions


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "golden")


def _over_rows(rows: int, part: Callable[[int, int], None], least: int = _LEAST_ROWS) -> None:
    """Calls ``part(first, last)`` for stretches of rows, as many at once as PyTorch has threads."""
    threads = min(torch.get_num_threads(), max(1, rows // least))
    if threads <= 1:
        if rows:
            part(0, rows)
        return
    ends = [rows * i // threads for i in range(threads + 1)]
    for done in [_pool(torch.get_num_threads()).submit(part, a, b) for a, b in pairwise(ends)]:
        done.result()


def _checked(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Contiguous on the CPU and of a type: the kernels see addresses alone."""
    if tensor.dtype != dtype or tensor.device.type != "cpu":
        raise TypeError(f"kernel argument of {tensor.dtype} on {tensor.device}, expected {dtype} on the CPU")
    return tensor.contiguous()


def _resident(tensor: Tensor, dtype: torch.dtype) -> ctypes.c_void_p:
    """Address of a parameter: a copy of it would be gone before the kernel reads it."""
    if not tensor.is_contiguous():
        raise ValueError(f"kernel parameter of strides {tensor.stride()} is not contiguous")
    return _at(_checked(tensor, dtype))


def _at(tensor: Tensor, row: int = 0) -> ctypes.c_void_p:
    """Address of a row."""
    return ctypes.c_void_p(
        tensor.data_ptr() + row * tensor.stride(0) * tensor.element_size() if tensor.numel() else None
    )


def _int64(value: int) -> ctypes.c_int64:
    return ctypes.c_int64(value)
