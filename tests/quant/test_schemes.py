"""Schemes and the quantisation of weights."""

from __future__ import annotations

import pytest
import torch

from quant.schemes import Scheme
from quant.weights import quantize_weight


def weight() -> torch.Tensor:
    w = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    w[2] = 0
    w[3, 7] = 30
    return w


@pytest.mark.parametrize(("bits", "levels"), [(8, 127), (4, 7)])
@pytest.mark.parametrize("observer", ["max", "mse"])
def test_weights_are_symmetric_per_channel(bits: int, levels: int, observer: str) -> None:
    scheme = Scheme(weight_bits=bits, weight_observer=observer)
    assert scheme.weight_levels == levels
    found = quantize_weight(weight(), scheme)
    integers, scale = found.integers, found.scale
    assert integers.dtype == torch.int8
    assert int(integers.abs().max()) == levels
    assert not integers[2].any()
    assert bool((scale > 0).all())
    error = (integers.double() * scale.unsqueeze(1) - weight().double()).abs()
    if observer == "max":
        assert bool((error <= scale.unsqueeze(1) / 2 + 1e-12).all())


def test_least_error_is_no_worse_than_the_maximum() -> None:
    w = weight().double()
    errors = {}
    for observer in ("max", "mse"):
        found = quantize_weight(w, Scheme(weight_bits=4, weight_observer=observer))
        errors[observer] = (found.integers.double() * found.scale.unsqueeze(1) - w).square().sum(1)
    assert bool((errors["mse"] <= errors["max"]).all())
    assert float(errors["mse"][0]) < float(errors["max"][0])


def test_a_least_scale_is_kept() -> None:
    assert float(quantize_weight(weight(), Scheme(), torch.full((6,), 0.5)).scale.min()) == 0.5


def test_wrong_members_are_named() -> None:
    with pytest.raises(ValueError, match="weight_bits 5"):
        Scheme(weight_bits=5)
    with pytest.raises(ValueError, match="weight_observer 'percentile'"):
        Scheme(weight_observer="percentile")
    with pytest.raises(ValueError, match="observer 'x'"):
        Scheme(observer="x")
    with pytest.raises(ValueError, match=r"percentile 0\.1"):
        Scheme(percentile=0.1)
    with pytest.raises(ValueError, match="not finite"):
        quantize_weight(torch.tensor([[float("nan")]]), Scheme())
