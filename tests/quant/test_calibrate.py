"""From float to integers: close to the float model, within the contract, and reproducible."""

from __future__ import annotations

import copy
import dataclasses
import re

import pytest
import torch

from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.model import GoldenModel, Sentence, Trace
from golden_model.integer.synthetic import random_sentences
from quant.calibrate import calibrate
from quant.observe import observe
from quant.schemes import Scheme


@torch.inference_mode()
def float_logits(model: ElbertForSequenceClassification, sentences: list[Sentence]) -> torch.Tensor:
    """[iterations, sentences, classes], one sentence at a time."""
    each = [model(torch.tensor([ids]), token_type_ids=torch.tensor([types])) for ids, types in sentences]
    return torch.cat(each, 1).double()


def error(checkpoint: IntegerCheckpoint, exact: torch.Tensor, sentences: list[Sentence]) -> float:
    """Root mean square of the logits' error over the spread of the float logits."""
    golden = GoldenModel(checkpoint).all_iterations(sentences).double() / 1024
    return float((golden - exact).square().mean().sqrt() / exact.std())


@pytest.mark.parametrize(
    ("scheme", "bound"),
    [
        (Scheme(), 0.2),
        (Scheme(observer="percentile"), 0.2),
        (Scheme(observer="mse", weight_observer="mse"), 0.2),
        (Scheme(equalize=False), 0.25),
        (Scheme(correct_bias=True), 0.2),
        (Scheme(weight_bits=4, weight_observer="mse"), 0.9),
    ],
    ids=["max", "percentile", "mse", "plain", "bias correction", "W4"],
)
def test_golden_follows_float(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence], scheme: Scheme, bound: float
) -> None:
    unseen = random_sentences(float_model.config, 40, seed=2)
    exact = float_logits(float_model, unseen)
    checkpoint = calibrate(float_model, sentences, scheme)
    assert error(checkpoint, exact, unseen) < bound
    if scheme.weight_bits == 8:
        golden = GoldenModel(checkpoint).all_iterations(unseen)
        agreement = (golden.argmax(-1) == exact.argmax(-1)).double().mean()
        assert float(agreement) > 0.9
    else:
        assert int(checkpoint.tensors["attention.query.weight"].abs().max()) == 7


def test_hidden_states_mean_what_their_scales_say(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    checkpoint = calibrate(float_model, sentences)
    scales = checkpoint.metadata["scales"]
    ids, types = max(sentences, key=lambda s: len(s[0]))
    (result,) = GoldenModel(checkpoint).run([(ids, types)], trace=Trace(("*hidden",)), answer_first=False)
    with torch.inference_mode():
        _, states = float_model(
            torch.tensor([list(ids)]), token_type_ids=torch.tensor([list(types)]), hidden_states=True
        )
    names = ["embedding.hidden"]
    names += [f"iteration.{i}.hidden" for i in range(1, float_model.config.num_hidden_layers + 1)]
    for name, exact in zip(names, states[:, 0].double(), strict=True):
        got = result.taps[name].double() * scales[name]
        assert float((got - exact).square().mean().sqrt() / exact.std()) < 0.15, name


def test_calibration_is_reproducible_and_leaves_the_model_alone(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    before = copy.deepcopy(float_model.state_dict())
    hooks = [len(m._forward_hooks) for m in float_model.modules()]
    a = calibrate(float_model, sentences, Scheme(correct_bias=True), {"why": "test"})
    b = calibrate(float_model, sentences, Scheme(correct_bias=True), {"why": "test"})
    assert a.sha256 == b.sha256
    assert a.metadata == b.metadata
    assert a.metadata["provenance"] == {"why": "test"}
    assert all(torch.equal(v, before[k]) for k, v in float_model.state_dict().items())
    assert hooks == [len(m._forward_hooks) for m in float_model.modules()]


def test_scales_differ_from_iteration_to_iteration(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    tensors = calibrate(float_model, sentences).tensors
    for name in ("attention.query.multiplier", "ffn.output.multiplier", "ffn.norm.gamma", "ffn.table"):
        assert not torch.equal(tensors[name][0], tensors[name][1]), name


def test_observation_sees_no_padding_and_every_iteration(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    progress: list[int] = []
    seen = observe(float_model, sentences, Scheme(), batch_size=4, progress=progress.append)
    assert sum(progress) == len(sentences) == seen.sentences
    tokens = sum(len(ids) for ids, _ in sentences)
    assert seen.tokens == tokens
    last = float_model.config.num_hidden_layers
    assert f"iteration.{last + 1}.hidden" not in seen.channels
    for name in ("embedding.normalized", "iteration.1.hidden", f"iteration.{last}.ffn.index"):
        assert seen.channels[name].rows == tokens
    assert seen.channels[f"iteration.{last}.logits"].rows == len(sentences)


def test_bias_correction_matches_the_means(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    exact = float_logits(float_model, sentences).mean(1)
    scheme = Scheme(weight_bits=4, correct_bias=True)
    deviation = {}
    for correct in (False, True):
        checkpoint = calibrate(float_model, sentences, dataclasses.replace(scheme, correct_bias=correct))
        golden = GoldenModel(checkpoint).all_iterations(sentences).double() / 1024
        deviation[correct] = float((golden.mean(1) - exact).abs().max())
    assert deviation[True] < 2 / 1024 < deviation[False]


def test_extreme_weights_stay_within_the_contract(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    """A dead channel, a channel that is all bias, positions far larger than words."""
    model = copy.deepcopy(float_model)
    layer = model.model.albert.encoder.albert_layer_groups[0].albert_layers[0]
    with torch.no_grad():
        layer.ffn.weight[0] = 0
        layer.ffn.bias[0] = 0
        layer.attention.dense.weight[1] *= 1e-9
        layer.attention.dense.bias[1] = 3.0
        layer.attention.LayerNorm.weight[2] = 0
        model.model.albert.embeddings.position_embeddings.weight *= 50
    checkpoint = calibrate(model, sentences)
    position = checkpoint.tensors["embedding.position_type"].long().abs().max()
    assert int(position) <= 32767
    exact = float_logits(model, sentences)
    assert error(checkpoint, exact, sentences) < 0.3


def damaged(
    model: ElbertForSequenceClassification, name: str, value: float
) -> ElbertForSequenceClassification:
    """A copy of the model with ``value`` at the named tensor's index 0, or throughout it where it is 0."""
    broken = copy.deepcopy(model)
    with torch.no_grad():
        tensor = broken.model.get_parameter(name)
        if value:
            tensor.view(-1)[0] = value
        else:
            tensor.zero_()
    return broken


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("classifier.weight", "[0, 0]"),
        ("albert.embeddings.word_embeddings.weight", "[0, 0]"),  # whether or not a sentence holds that piece
        ("albert.pooler.bias", "[0]"),
    ],
)
def test_weights_that_are_not_finite_are_named(
    float_model: ElbertForSequenceClassification, name: str, index: str, value: float
) -> None:
    broken = damaged(float_model, name, value)
    with pytest.raises(ValueError, match=re.escape(f"weight {name}{index} of the float model is {value}")):
        calibrate(broken, random_sentences(broken.config, 3))


def test_activations_that_are_not_finite_are_named(float_model: ElbertForSequenceClassification) -> None:
    broken = copy.deepcopy(float_model).double()
    layer = broken.model.albert.encoder.albert_layer_groups[0].albert_layers[0]
    with torch.no_grad():
        layer.ffn_output.weight *= 1e308
    with pytest.raises(
        ValueError, match=r"iteration\.1\.ffn\.(update|residual) of the float model is -?(inf|nan)"
    ):
        calibrate(broken, random_sentences(broken.config, 3))


def test_embeddings_of_zeros_are_named(float_model: ElbertForSequenceClassification) -> None:
    broken = float_model
    for part in ("word", "position", "token_type"):
        broken = damaged(broken, f"albert.embeddings.{part}_embeddings.weight", 0.0)
    sentences = random_sentences(broken.config, 3)
    with pytest.raises(ValueError, match="word, position and token type embeddings of the float"):
        calibrate(broken, sentences)
    with torch.no_grad():  # no spread between features, and no bias: LayerNorm gives zeros
        broken.model.get_parameter("albert.embeddings.word_embeddings.weight").fill_(1.0)
        broken.model.get_parameter("albert.embeddings.LayerNorm.bias").zero_()
    with pytest.raises(
        ValueError, match=r"embedding\.normalized of the float model is 0 throughout calibration"
    ):
        calibrate(broken, sentences)


def test_calibration_needs_sentences(float_model: ElbertForSequenceClassification) -> None:
    with pytest.raises(ValueError, match="at least one sentence"):
        calibrate(float_model, [])
