"""The integers do not depend on threads or batches, and what is rounded is rounded as said."""

from __future__ import annotations

import pytest
import torch

from golden_model.config import ElbertConfig
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.synthetic import random_sentences
from quant.assemble import assemble
from quant.calibrate import calibrate, observed_means
from quant.observe import observe
from quant.reproducible import exact_copy, one_thread, round_bits, round_up
from quant.scales import choose_scales
from quant.schemes import Scheme

CONFIG = ElbertConfig(
    vocab_size=97,
    embedding_size=64,
    hidden_size=256,
    num_attention_heads=4,
    intermediate_size=1024,
    num_hidden_layers=2,
    max_position_embeddings=64,
)
"""Large enough for PyTorch to split products between threads: float32 gave each of 1, 2, 4 its own model."""


@pytest.fixture(scope="module")
def wide_model() -> ElbertForSequenceClassification:
    torch.manual_seed(3)
    model = ElbertForSequenceClassification.from_config(CONFIG).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() > 1:
                spread = 1.0 if "embeddings" in name else value.shape[-1] ** -0.5
                value.copy_(spread * torch.randn(value.shape))
    return model


@pytest.mark.parametrize(
    "scheme",
    [Scheme(), Scheme(observer="mse", weight_observer="mse", correct_bias=True)],
    ids=["max", "mse, bias correction"],
)
def test_threads_do_not_change_the_integers(
    wide_model: ElbertForSequenceClassification, scheme: Scheme
) -> None:
    sentences = random_sentences(CONFIG, 8, seed=1)
    before = torch.get_num_threads()
    hashes = []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            hashes.append(calibrate(wide_model, sentences, scheme).sha256)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(set(hashes)) == 1


@pytest.mark.parametrize("observer", ["max", "percentile", "mse"])
def test_batches_do_not_change_the_integers(
    wide_model: ElbertForSequenceClassification, observer: str
) -> None:
    scheme = Scheme(observer=observer)
    sentences = random_sentences(CONFIG, 24, seed=1, longest=12)
    found = []
    for batch_size in (1, 5, 16):
        seen = observe(wide_model, sentences, scheme, batch_size)
        scales = choose_scales(wide_model, seen, scheme)
        means = observed_means(wide_model, seen, scales)
        found.append((assemble(wide_model, scales, scheme).sha256, means))
    assert len({sha256 for sha256, _ in found}) == 1
    for key, means in found[0][1].items():
        assert all(torch.equal(means, other[key]) for _, other in found[1:]), key


def test_one_thread_ends_with_its_block() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
        with pytest.raises(ValueError, match="sentence"), one_thread():
            raise ValueError("no sentence")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_copy_is_exact_and_apart(wide_model: ElbertForSequenceClassification) -> None:
    copy = exact_copy(wide_model)
    for name, value in wide_model.state_dict().items():
        other = copy.state_dict()[name]
        assert other.data_ptr() != value.data_ptr()
        assert other.dtype == (torch.float64 if value.is_floating_point() else value.dtype)
        assert torch.equal(other, value.to(other.dtype))


def test_rounding() -> None:
    values = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1e-9
    for bits in (4, 16):
        near = round_bits(values, bits)
        up = torch.tensor([round_up(v, bits) for v in values.tolist()], dtype=torch.float64)
        assert float((near / values - 1).abs().max()) <= 2.0**-bits
        assert bool((up >= values).all())
        assert float((up / values - 1).max()) <= 2.0 ** (1 - bits)
        assert torch.equal(round_bits(near, bits), near)
        assert [round_up(v, bits) for v in up.tolist()] == up.tolist()
    assert round_up(0.0) == 0.0
    assert round_up(3.0, 2) == 3.0
    assert round_up(3.1, 2) == 4.0
    assert round_bits(torch.tensor([1.0, -5.0, 0.0]), 2).tolist() == [1.0, -4.0, 0.0]
