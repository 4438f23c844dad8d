"""The integer operations against exact arithmetic on Python integers and fractions."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.integer.ops import matmul as matmul_module
from golden_model.integer.ops.fixed import quantize_multiplier, requantize, round_shift, saturate_signed
from golden_model.integer.ops.hidden import join_hidden, saturate_hidden, split_hidden
from golden_model.integer.ops.layernorm import layernorm, normalize, reciprocal_sqrt, statistics
from golden_model.integer.ops.matmul import batched_matmul, fast_kernel_is_exact, matmul
from golden_model.integer.ops.softmax import bit_length, exp_table, exponentials, row_scale
from golden_model.integer.ops.table import FUNCTIONS, activation_table, lookup
from golden_model.numerics import HIDDEN_MAX, NORM_FRACTION_BITS, TABLE_INDEX_BITS


def exact_requantize(acc: int, offset: int, multiplier: int, shift: int, low: int, high: int) -> int:
    """The rule of docs/numerics.md on fractions."""
    value = math.floor(Fraction((acc + offset) * multiplier, 1 << shift) + Fraction(1, 2) * (shift > 0))
    return max(low, min(high, value))


@given(
    st.integers(-(1 << 27), (1 << 27) - 1),
    st.integers(-(1 << 27) + 1, (1 << 27) - 1),
    st.one_of(st.just(0), st.integers(1 << 15, (1 << 16) - 1)),
    st.integers(0, 63),
    st.sampled_from([8, 10, 12, 18]),
)
@settings(max_examples=300, deadline=None)
def test_requantize_is_the_written_rule(
    acc: int, offset: int, multiplier: int, shift: int, bits: int
) -> None:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    got = requantize(torch.tensor([acc]), offset, multiplier, shift, low, high)
    assert int(got) == exact_requantize(acc, offset, multiplier, shift, low, high)


def test_requantize_broadcasts_channel_parameters() -> None:
    generator = random.Random(0)
    acc = torch.tensor([[generator.randrange(-(1 << 20), 1 << 20) for _ in range(7)] for _ in range(5)])
    offset = torch.tensor([generator.randrange(-1000, 1000) for _ in range(7)])
    multiplier = torch.tensor([generator.randrange(1 << 15, 1 << 16) for _ in range(7)])
    shift = torch.tensor([generator.randrange(20, 40) for _ in range(7)])
    got = requantize(acc, offset, multiplier, shift, -127, 127)
    for row in range(5):
        for channel in range(7):
            parts = (int(t[channel]) for t in (offset, multiplier, shift))
            assert int(got[row, channel]) == exact_requantize(int(acc[row, channel]), *parts, -127, 127)


@pytest.mark.parametrize(
    ("value", "shift", "expected"), [(3, 1, 2), (-3, 1, -1), (5, 0, 5), (-5, 2, -1), (6, 2, 2)]
)
def test_round_half_goes_up(value: int, shift: int, expected: int) -> None:
    assert int(round_shift(torch.tensor([value]), shift)) == expected


@given(st.floats(2.0**-40, 65535.0))
@settings(deadline=None)
def test_quantize_multiplier_is_normalised_and_close(factor: float) -> None:
    multiplier, shift = quantize_multiplier(factor)
    assert 1 << 15 <= multiplier < 1 << 16
    assert 0 <= shift < 64
    assert abs(Fraction(multiplier, 1 << shift) / Fraction(factor) - 1) <= Fraction(1, 1 << 15)


def test_quantize_multiplier_bounds() -> None:
    assert quantize_multiplier(0.0) == (0, 0)
    assert quantize_multiplier(2.0**-60) == (0, 0)
    for factor in (-1.0, 65536.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="outside"):
            quantize_multiplier(factor)


def test_hidden_pair_covers_its_whole_range() -> None:
    hidden = torch.arange(-HIDDEN_MAX, HIDDEN_MAX + 1)
    hi, lo = split_hidden(hidden)
    assert (int(hi.min()), int(hi.max()), int(lo.min()), int(lo.max())) == (-127, 127, -128, 127)
    assert torch.equal(join_hidden(hi, lo), hidden)
    assert torch.equal(saturate_hidden(hidden * 2).abs().amax(), torch.tensor(HIDDEN_MAX))


def test_bit_length_is_pythons() -> None:
    values = [0, 1, 2, 3, (1 << 62), (1 << 62) - 1, (1 << 32), (1 << 32) - 1]
    values += [random.Random(1).getrandbits(i) for i in range(1, 63)]
    assert bit_length(torch.tensor(values)).tolist() == [v.bit_length() for v in values]


def test_reciprocal_sqrt_equals_the_integer_square_root() -> None:
    """Every mantissa, exactly; then the exponent over the whole range of variances."""
    mantissas = torch.arange(1 << 14, 1 << 16)
    root, exponent = reciprocal_sqrt(mantissas)
    for m, r, e in zip(mantissas.tolist(), root.tolist(), exponent.tolist(), strict=True):
        shifted = (m << 14) >> (2 * e) if e < 7 else m >> (2 * e - 14)
        assert r == min(math.isqrt((1 << 46) // shifted), 65535)
    generator = random.Random(2)
    values = [1, 2, 3, 4, (1 << 57) - 1] + [generator.randrange(1, 1 << i) for i in range(2, 58)]
    root, exponent = reciprocal_sqrt(torch.tensor(values))
    for v, r, e in zip(values, root.tolist(), exponent.tolist(), strict=True):
        assert e == (v.bit_length() - 1) // 2
        m = math.floor(Fraction(v * (1 << 14), 4**e))
        assert 1 << 14 <= m < 1 << 16
        assert r == min(math.isqrt((1 << 46) // m), 65535)
        assert r * r * m <= 1 << 46
        assert abs(r / 2.0 ** (16 + e) * math.sqrt(v) - 1) < 2**-13.9


def test_statistics_are_exact_at_the_extremes() -> None:
    top = (1 << 17) - 1
    y = torch.tensor([[top, -top - 1] * 512])
    s1, s2, variance = statistics(y)
    values = y[0].tolist()
    assert (int(s1), int(s2)) == (sum(values), sum(v * v for v in values))
    assert int(variance) == 1024 * sum(v * v for v in values) - sum(values) ** 2
    assert int(statistics(torch.full((1, 8), 5))[2]) == 1


@pytest.mark.parametrize("features", [8, 33, 384, 1024])
@pytest.mark.parametrize("spread", [3, 500, 40000])
def test_normalize_follows_real_arithmetic(features: int, spread: int) -> None:
    generator = torch.Generator().manual_seed(features + spread)
    y = saturate_signed((torch.randn(20, features, generator=generator) * spread).long(), 18)
    real = y.double()
    real = (real - real.mean(-1, keepdim=True)) / real.std(-1, keepdim=True, unbiased=False)
    error = normalize(y).double() / (1 << NORM_FRACTION_BITS) - real
    assert float(error.abs().max()) < 2e-3


def test_layernorm_of_a_constant_row_is_beta() -> None:
    y = torch.full((2, 16), 77)
    beta = torch.arange(16) * 100
    out = layernorm(y, torch.full((16,), 3000), beta, torch.full((16,), 4), -127, 127)
    assert torch.equal(out[0], ((beta + 8) >> 4).clamp(max=127))


def test_layernorm_takes_negative_gamma() -> None:
    y = torch.tensor([[-100, 100] * 8])
    out = layernorm(
        y, torch.full((16,), -2048), torch.zeros(16, dtype=torch.int64), torch.full((16,), 17), -127, 127
    )
    assert out[0, 0] > 0 > out[0, 1]
    assert int(out[0, 0]) == 32


def test_exp_table_ends() -> None:
    table = exp_table()
    assert len(table) == 256
    assert (table[0], table[-1]) == (255, 0)
    assert table == sorted(table, reverse=True)


def test_exponentials_use_the_row_maximum() -> None:
    scores = torch.tensor([[10, -2048, 2047, 2015], [5, 5, 5, 5]])
    maximum, e = exponentials(scores)
    assert maximum.tolist() == [2047, 5]
    assert e.tolist() == [[0, 0, 255, exp_table()[32]], [255] * 4]


@pytest.mark.parametrize("keys", [1, 2, 17, 512])
def test_row_scale_divides_by_the_sum(keys: int) -> None:
    total = torch.arange(255, 255 * keys + 1, max(1, 255 * keys // 97))
    multiplier, shift = row_scale(total, 40000, 20)
    for s, m, r in zip(total.tolist(), multiplier.tolist(), shift.tolist(), strict=True):
        bits = s.bit_length()
        assert (m, r) == ((40000 << (bits - 1)) // s, 20 + bits - 1)
        assert m < 1 << 16
        assert abs(m / 2.0**r / (40000 / 2.0**20 / s) - 1) < 2**-14


def test_softmax_follows_real_arithmetic() -> None:
    scores = torch.randint(-150, 150, (64, 20), generator=torch.Generator().manual_seed(3))
    _, e = exponentials(scores)
    real = torch.softmax(scores.double() / 32, -1)
    assert float((e.double() / e.sum(-1, keepdim=True) - real).abs().max()) < 0.01


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_activation_table_is_addressed_in_twos_complement(name: str) -> None:
    table = activation_table(name, 4 / 512, 4 / 127)
    index = torch.arange(-512, 512)
    values = lookup(table, index)
    for i, got in zip(index.tolist(), values.tolist(), strict=True):
        expected = math.floor(FUNCTIONS[name](i * 4 / 512) / (4 / 127) + 0.5)
        assert got == max(-127, min(127, expected))
    assert len(table) == 1 << TABLE_INDEX_BITS


def test_activation_table_refuses_an_unknown_function() -> None:
    with pytest.raises(KeyError):
        activation_table("relu", 1.0, 1.0)


@pytest.mark.parametrize(
    ("rows", "columns", "k"), [(1, 2, 16), (5, 3, 384), (33, 17, 31), (2, 8, 4096), (0, 4, 8)]
)
def test_matmul_is_exact(rows: int, columns: int, k: int) -> None:
    generator = torch.Generator().manual_seed(k)
    x = torch.randint(-128, 128, (rows, k), generator=generator, dtype=torch.int8)
    w = torch.randint(-127, 128, (columns, k), generator=generator, dtype=torch.int8)
    got = matmul(x, w)
    assert got.dtype == torch.int32
    assert torch.equal(got.long(), x.long() @ w.long().t())


@pytest.mark.parametrize("sign", [-1, 1])
def test_matmul_of_extremes_does_not_saturate(sign: int) -> None:
    x = torch.full((40, 4096), 127, dtype=torch.int8)
    assert torch.equal(
        matmul(x, sign * x[:8]), torch.full((40, 8), sign * 127 * 127 * 4096, dtype=torch.int32)
    )


def test_matmul_without_the_fast_kernel_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randint(-127, 128, (9, 40), dtype=torch.int8, generator=torch.Generator().manual_seed(5))
    fast = matmul(x, x)
    monkeypatch.setattr(matmul_module, "fast_kernel_is_exact", lambda device: False)
    assert torch.equal(matmul(x, x), fast)


def test_matmul_refuses_other_types() -> None:
    x = torch.zeros(2, 2, dtype=torch.int8)
    with pytest.raises(TypeError, match="int32"):
        matmul(x.int(), x)


def test_batched_matmul_takes_exponentials_up_to_255() -> None:
    e = torch.full((3, 2, 512), 255, dtype=torch.int32)
    v = torch.full((3, 512, 4), -127, dtype=torch.int32)
    assert torch.equal(batched_matmul(e, v), torch.full((3, 2, 4), -255 * 127 * 512, dtype=torch.int32))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_matmul_on_a_gpu_is_exact() -> None:
    assert fast_kernel_is_exact(torch.device("cuda"))
    x = torch.randint(-127, 128, (5, 31), dtype=torch.int8, generator=torch.Generator().manual_seed(5))
    assert torch.equal(matmul(x.cuda(), x.cuda()).cpu(), matmul(x, x))
    wide = x.int().unsqueeze(0)
    other = wide.transpose(1, 2)
    assert torch.equal(batched_matmul(wide.cuda(), other.cuda()).cpu(), batched_matmul(wide, other))
