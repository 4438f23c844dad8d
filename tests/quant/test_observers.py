"""Observers against direct computation on all the values they saw."""

from __future__ import annotations

import pytest
import torch

from quant.observers import BINS, ChannelObserver, Observer


def parts(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(500, generator=generator) * scale for scale in (0.1, 3.0, 0.5, 9.0)]


def test_max_is_the_largest_magnitude() -> None:
    observer = Observer("max")
    for part in parts():
        observer.update(part)
    assert observer.limit(127) == pytest.approx(float(torch.cat(parts()).abs().max()))


@pytest.mark.parametrize("share", [0.9, 0.99, 0.999])
def test_percentile_saturates_the_share_asked_for(share: float) -> None:
    observer = Observer("percentile", share)
    for part in parts():
        observer.update(part)
    values = torch.cat(parts()).abs()
    limit = observer.limit(127)
    assert float((values <= limit).double().mean()) >= share
    bin_width = observer.top / BINS
    assert float((values <= limit - bin_width).double().mean()) < share


def test_mse_is_close_to_the_best_limit() -> None:
    values = torch.cat([torch.randn(20000, generator=torch.Generator().manual_seed(1)), torch.tensor([40.0])])
    observer = Observer("mse")
    observer.update(values)

    def error(limit: float) -> float:
        scale = limit / 127
        return float((values - (values / scale).round().clamp(-127, 127) * scale).square().sum())

    best = min(error(40.0 * step / 100) for step in range(20, 101))
    assert error(observer.limit(127)) <= 1.05 * best
    assert observer.limit(7) <= observer.limit(127) <= 40.0


def test_the_order_of_updates_does_not_matter() -> None:
    for kind in ("percentile", "mse"):
        one, other = Observer(kind, 0.99), Observer(kind, 0.99)
        for part in parts():
            one.update(part)
        for part in reversed(parts()):
            other.update(part)
        assert one.top == other.top
        assert torch.equal(one.counts, other.counts)
        assert one.limit(127) == other.limit(127)


@pytest.mark.parametrize("kind", ["max", "percentile", "mse"])
def test_zeros_and_nothing_give_zero(kind: str) -> None:
    observer = Observer(kind)
    observer.update(torch.zeros(0))
    observer.update(torch.zeros(5))
    assert observer.limit(127) == 0.0


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="observer 'median' is not one of max, percentile, mse"):
        Observer("median")
    with pytest.raises(ValueError, match=r"percentile 1.5 is not in 0.5..1"):
        Observer("percentile", 1.5)
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="magnitude"):
            Observer().update(torch.tensor([1.0, wrong]))


def test_channels() -> None:
    observer = ChannelObserver()
    with pytest.raises(ValueError, match="nothing"):
        _ = observer.largest
    values = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(2)).double()
    for part in values:
        observer.update(part)
    flat = values.view(-1, 3)
    assert torch.equal(observer.largest, flat.abs().amax(0))
    assert torch.equal(observer.highest, flat.amax(0))
    assert torch.allclose(observer.mean, flat.mean(0))
    assert observer.rows == 20
