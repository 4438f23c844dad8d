"""Fake quantisation is the golden model, integer by integer, and what gradients it gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.model import GoldenModel, Sentence, Trace
from golden_model.integer.ops.fixed import quantize_multiplier
from golden_model.integer.synthetic import random_sentences
from quant.assemble import assemble
from quant.fake.model import FakeElbert
from quant.fake.straight import as_multiplier, multipliers, round_half_up
from quant.observe import observe
from quant.reproducible import exact_copy
from quant.scales import Scales, choose_scales
from quant.schemes import Scheme

SCHEMES = {
    "W8A8": Scheme(),
    "W8A8, plain": Scheme(equalize=False),
    "W4A8, mse": Scheme(weight_bits=4, weight_observer="mse", observer="mse"),
    "W2A8": Scheme(weight_bits=2, weight_observer="mse"),
    "ternary": Scheme(weight_bits=2, ternary=True, weight_observer="mse", granularity="tensor"),
    "W4A4": Scheme(weight_bits=4, activation_bits=4, observer="mse", hidden_headroom=1),
    "groups": Scheme(weight_bits=3, granularity="group", group_size=5, group_bits=5),
    "shared": Scheme(scales="shared"),
    "asymmetric, migrated": Scheme(symmetric=False, migration=0.5),
    "tables and LayerNorm": Scheme(exp_index_bits=4, ffn_index_bits=6, norm_fraction_bits=6, rsqrt_bits=8),
    "mixed": Scheme(
        mixed=(("ffn.*", (("weight_bits", 4),)), ("classifier", (("weight_bits", 6),))),
        operand_bits=(("attention.exponentials", 5), ("ffn.activation", 6)),
    ),
}


def chosen(model: ElbertForSequenceClassification, scheme: Scheme, sentences: list[Sentence]) -> Scales:
    return choose_scales(model, observe(model, sentences, scheme), scheme)


def padded(sentences: list[Sentence]) -> tuple[Tensor, Tensor, Tensor]:
    """ids, mask, types [batch, longest]."""
    longest = max(len(ids) for ids, _ in sentences)
    rows = [(list(ids) + [0] * (longest - len(ids)), len(ids), list(types)) for ids, types in sentences]
    ids = torch.tensor([row for row, _, _ in rows])
    mask = torch.tensor([[1] * count + [0] * (longest - count) for _, count, _ in rows])
    types = torch.tensor([kinds + [0] * (longest - len(kinds)) for _, _, kinds in rows])
    return ids, mask, types


def own_rows(name: str, values: Tensor, number: int, length: int) -> Tensor:
    """A sentence's part of what the batch's tap was told."""
    part = values[number].to(torch.int64)
    if name.endswith(("scores", "exponentials")):
        return part[:, :length, :length]
    return part if name.endswith(("pooler.output", "logits")) else part[:length]


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_every_named_tensor_is_the_golden_models(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence], scheme: Scheme
) -> None:
    """In float64, padded batch and all; and its own checkpoint is the one that calibration assembles."""
    exact = exact_copy(float_model)
    scales = chosen(exact, scheme, sentences)
    checkpoint = assemble(exact, scales, scheme)
    fake = FakeElbert(exact, scheme, scales)
    unseen = random_sentences(float_model.config, 7, seed=3)
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        ids, mask, types = padded(unseen)
        logits = fake(ids, mask, types, tap=lambda name, values: found.__setitem__(name, values))
    results = GoldenModel(checkpoint).run(unseen, trace=Trace(), answer_first=False)
    names = [name for name in results[0].taps if ".exit." not in name]
    assert set(found) == set(names)
    for number, result in enumerate(results):
        for name in names:
            got = own_rows(name, found[name], number, len(unseen[number][0]))
            assert torch.equal(got, result.taps[name]), (name, number)
        assert torch.equal((logits[:, number] * 1024).long(), result.logits)
    assert fake.checkpoint().sha256 == checkpoint.sha256


@pytest.mark.parametrize("rounding", ["gptq", "adaround"])
def test_roundings_that_are_not_to_nearest_are_held(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence], rounding: str
) -> None:
    exact, scheme = exact_copy(float_model), Scheme(weight_bits=4, rounding=rounding)
    scales = chosen(exact, scheme, sentences)
    checkpoint = assemble(exact, scales, scheme)
    unseen = random_sentences(float_model.config, 4, seed=3)
    wanted = GoldenModel(checkpoint).all_iterations(unseen)
    ids, mask, types = padded(unseen)
    with torch.no_grad():
        held = FakeElbert(exact, scheme, scales, hold=True)
        assert torch.equal((held(ids, mask, types) * 1024).long(), wanted)
        assert held.checkpoint().sha256 == checkpoint.sha256
        nearest = FakeElbert(exact, scheme, scales)
        assert not torch.equal((nearest(ids, mask, types) * 1024).long(), wanted)


def test_float32_and_formulas_differ_by_roundings_alone(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    """float32 sums are short of a few bits, formulas know nothing of the contract's roots: close."""
    scheme = Scheme()
    scales = chosen(float_model, scheme, sentences)
    wanted = GoldenModel(assemble(float_model, scales, scheme)).all_iterations(sentences).double() / 1024
    ids, mask, types = padded(sentences)
    spread = float(wanted.std())
    for exact, bound in ((True, 0.02), (False, 0.06)):
        with torch.no_grad():
            got = FakeElbert(float_model, scheme, scales, exact=exact)(ids, mask, types).double()
        assert float((got - wanted).square().mean().sqrt()) < bound * spread, exact


def test_gradients_reach_weights_and_scales_and_point_downhill(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    scheme = Scheme(weight_bits=3, activation_bits=5, weight_observer="mse", observer="mse")
    fake = FakeElbert(float_model, scheme, chosen(float_model, scheme, sentences), exact=False)
    ids, mask, types = padded(sentences)
    with torch.no_grad():
        target = float_model(ids, attention_mask=mask, token_type_ids=types)

    def loss() -> Tensor:
        return (fake(ids, mask, types) - target).square().mean()

    before = loss()
    before.backward()
    trained = {name: value for name, value in fake.named_parameters() if value.grad is not None}
    assert {name for name in fake.steps if f"steps.{name}" not in trained} == set()
    assert all(bool(value.grad.isfinite().all()) for value in trained.values())
    assert any(bool(value.grad.any()) for name, value in trained.items() if "word_embeddings" in name)
    optimizer = torch.optim.Adam(fake.float_model.parameters(), lr=2e-3)
    for _ in range(8):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert float(loss()) < 0.7 * float(before)
    checkpoint = fake.checkpoint()  # what it has become is still a checkpoint
    assert int(checkpoint.tensors["ffn.output.weight"].abs().max()) <= 3


def test_a_steps_gradient_is_learned_step_size_quantisations() -> None:
    """d(q·s)/ds = q - x/s within the range, the end of the range beyond it."""
    x = torch.tensor([0.26, -0.9, 5.0, -7.0], dtype=torch.float64)
    s = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    values = round_half_up(x / s).clamp(-3, 3) * s
    for index, wanted in enumerate((1 - 0.52, -2 + 1.8, 3.0, -3.0)):
        (gradient,) = torch.autograd.grad(values[index], s, retain_graph=True)
        assert float(gradient) == pytest.approx(wanted)


def test_multipliers_are_those_of_the_contract() -> None:
    generator = torch.Generator().manual_seed(0)
    factors = torch.exp2(torch.rand(4000, generator=generator, dtype=torch.float64) * 90 - 74)
    ends = [
        0.0,
        65535.49,
        2.0**-48,
        2.0**-48 * (1 - 2.0**-18),
        2.0**-49,
        1.0,
        1 - 2.0**-20,
        32767.9999,
        3e-300,
    ]
    factors = torch.cat([factors, torch.tensor(ends, dtype=torch.float64)])
    multiplier, shift = multipliers(factors)
    assert list(zip(multiplier.tolist(), shift.tolist(), strict=True)) == [
        quantize_multiplier(factor) for factor in factors.tolist()
    ]
    held = as_multiplier(factors)
    assert torch.equal(held, multiplier.double() * torch.exp2(-shift.double()))
    for wrong in (-1.0, float("nan"), float("inf"), 65536.0, 65535.6):
        with pytest.raises(ValueError, match="65536"):
            multipliers(torch.tensor([1.0, wrong], dtype=torch.float64))
