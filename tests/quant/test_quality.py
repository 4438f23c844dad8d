"""Real units of every tensor, and the report of what a quantisation costs."""

from __future__ import annotations

import copy
import json
import math
from functools import cache
from pathlib import Path

import pytest
import torch

from golden_model.config import PRESETS
from golden_model.float.albert import ElbertForSequenceClassification, load_float
from golden_model.integer.checkpoint import MATMULS, IntegerCheckpoint
from golden_model.integer.model import Sentence
from golden_model.integer.ops.table import FUNCTIONS
from golden_model.integer.scales import dequantize, input_name, named_tensors, scale_of, short_name
from golden_model.integer.synthetic import random_checkpoint, random_sentences
from quant.calibrate import calibrate
from quant.modules import as_float64, embedding_tables, linears, norms
from quant.quality import (
    ANSWERS,
    LEAST_TENSOR,
    MOST_DECIBELS,
    Fit,
    Quality,
    measure,
    sqnr,
    tensor_sqnr,
)
from quant.schemes import Scheme

BUNDLED = Path(__file__).parents[2] / "models" / "elbert-small-sst2"
TEXTS = (
    "it 's a charming and often affecting journey .",
    "unflinchingly bleak and desperate",
    "allows us to hope that nolan is poised to embark a major career as a commercial yet inventive filmmaker",
    "the acting , costumes , music , cinematography and sound are all astounding",
    "it 's slow -- very , very slow .",
)


@cache
def bundled() -> tuple[ElbertForSequenceClassification, IntegerCheckpoint, list[Sentence]]:
    model, tokenizer, config = load_float(BUNDLED / "float")
    sentences = tokenizer.encode_many(list(TEXTS), config.max_position_embeddings)
    return model, IntegerCheckpoint.load(BUNDLED / "integer"), sentences


def check_stored_units(
    model: ElbertForSequenceClassification, checkpoint: IntegerCheckpoint, least: float
) -> None:
    """Everything stored means what the float model has, to ``least`` dB."""
    config = checkpoint.config
    word, both = embedding_tables(model, checkpoint.metadata["scheme"]["equalize"])
    real = {"embedding.word": word, "embedding.position_type": both}
    for name, module in linears(model).items():
        real[f"{name}.weight"] = as_float64(module.weight)
        real[f"{name}.offset"] = as_float64(module.bias)
    for name, norm in norms(model).items():
        real[f"{name}.gamma"], real[f"{name}.beta"] = as_float64(norm.weight), as_float64(norm.bias)
    for name, values in real.items():
        got = dequantize(checkpoint, name)
        if bool(values.any()):
            assert tensor_sqnr(values.expand(got.shape), got) > least, name
        else:
            assert not bool(got.any()), name
    index = ((torch.arange(1024) + 512) % 1024 - 512).double()
    for table, address, function in (
        ("ffn.table", "ffn.index", config.hidden_act),
        ("pooler.table", "pooler.index", "tanh"),
    ):
        got = dequantize(checkpoint, table)
        for i in range(1, config.num_hidden_layers + 1):
            inputs = (index * scale_of(checkpoint, f"iteration.{i}.{address}")).tolist()
            exact = torch.tensor([FUNCTIONS[function](x) for x in inputs], dtype=torch.float64)
            top = 127 * float(scale_of(checkpoint, table)[i - 1])  # inputs that are seen stay below it
            assert tensor_sqnr(exact.clamp(-top, top), got[i - 1]) > least, (table, i)
    # a multiplier leads from the accumulator's unit, which is the offset's, to that of what is made
    made = {
        "embedding.projection": lambda i: "embedding.hidden",
        "attention.value": lambda i: f"iteration.{i}.attention.value",
        "attention.output": input_name,
        "ffn.intermediate": lambda i: f"iteration.{i}.ffn.index",
        "ffn.output": lambda i: f"iteration.{i}.attention.hidden",
        "pooler": lambda i: f"iteration.{i}.pooler.index",
        "classifier": lambda i: f"iteration.{i}.logits",
    }
    assert set(MATMULS) - set(made) == {"attention.query", "attention.key"}
    for name, output in made.items():
        factor, unit = dequantize(checkpoint, f"{name}.multiplier"), scale_of(checkpoint, f"{name}.offset")
        for row in range(len(factor)):
            wanted = scale_of(checkpoint, output(row + 1)).expand(factor[row].shape)
            torch.testing.assert_close(unit[row] / factor[row], wanted, rtol=2.0**-14, atol=0.0)
    products = dequantize(checkpoint, "attention.score.multiplier")
    averages = dequantize(checkpoint, "attention.context.multiplier")
    for i in range(1, config.num_hidden_layers + 1):
        query, key, value, context = (
            scale_of(checkpoint, f"iteration.{i}.attention.{part}")
            for part in ("query", "key", "value", "context")
        )
        exact = query * key * config.head_dim**-0.5 * 32
        torch.testing.assert_close(products[i - 1].expand(exact.shape), exact, rtol=2.0**-13, atol=0.0)
        torch.testing.assert_close(
            averages[i - 1].expand(value.shape), value / context, rtol=2.0**-14, atol=0.0
        )


@pytest.mark.parametrize(
    "scheme",
    [Scheme(), Scheme(equalize=False), Scheme(observer="mse", weight_observer="mse", correct_bias=True)],
    ids=["equalised", "plain", "mse, bias correction"],
)
def test_every_tensor_is_close_to_the_float_models_own(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence], scheme: Scheme
) -> None:
    """22 dB: a noise of 8 % of the signal; attention's scores, which sum the noises of two, are the worst."""
    checkpoint = calibrate(float_model, sentences, scheme)
    if not scheme.correct_bias:  # which moves offsets and betas away from the float model's on purpose
        check_stored_units(float_model, checkpoint, 30.0)
    unseen = random_sentences(float_model.config, 12, seed=2)
    quality = measure(float_model, checkpoint, unseen)
    names = {short_name(name) for name in named_tensors(float_model.config)}
    assert set(quality.sqnr) == names - set(ANSWERS)
    for name, values in quality.sqnr.items():
        assert len(values) == (1 if name.startswith("embedding.") else float_model.config.num_hidden_layers)
        assert min(values) > 22.0, name
        assert max(quality.saturated[name]) < 0.01, name
        assert 0 < min(quality.used[name]) <= max(quality.used[name]) <= 1, name
    assert min(quality.weights.values()) > 30.0
    assert quality.warnings() == []


def test_the_bundled_model_is_close_to_its_float_form() -> None:
    """Its worst tensors are attention's scores in the last iterations, which hardly differ there."""
    model, checkpoint, sentences = bundled()
    assert checkpoint.sha256 == "aed199feec99e9d807e5e62b9337d6d19fd85119feb15f68d7c6e0ef109ebcc7"
    check_stored_units(model, checkpoint, 30.0)
    quality = measure(model, checkpoint, sentences)
    assert quality.warnings() == []
    for name, values in quality.sqnr.items():
        assert min(values) > (11.0 if name == "attention.scores" else 16.0), name
    assert min(quality.sqnr["logits"]) > 30.0
    assert min(quality.weights.values()) > 33.0
    assert quality.agreement == [1.0] * 12


def damage(model: ElbertForSequenceClassification, kind: str) -> ElbertForSequenceClassification:
    """A copy of the model that integers can follow well, badly or not at all."""
    broken = copy.deepcopy(model)
    albert = broken.model.albert
    layer = albert.encoder.albert_layer_groups[0].albert_layers[0]
    with torch.no_grad():
        if kind == "FFN row":
            layer.ffn.weight[3] *= 1000
        elif kind == "FFN output row":
            layer.ffn_output.weight[3] *= 1000
        elif kind == "epsilon":
            for part in ("word", "position", "token_type"):
                broken.model.get_parameter(f"albert.embeddings.{part}_embeddings.weight").mul_(0.1)
            for module in broken.modules():
                if isinstance(module, torch.nn.LayerNorm):
                    module.eps = 0.1
        elif kind == "word of zeros":
            albert.embeddings.word_embeddings.weight[5] = 0
    return broken


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("FFN row", "iteration.1.ffn.activation"),
        ("FFN output row", "iteration.1.ffn.activation"),
        ("epsilon", "embedding.normalized"),
    ],
)
def test_what_integers_cannot_follow_is_told(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence], kind: str, first: str
) -> None:
    broken = damage(float_model, kind)
    quality = measure(broken, calibrate(broken, sentences), sentences[:16])
    assert min(quality.sqnr["logits"]) < 15.0
    warnings = quality.warnings()
    assert len(warnings) <= 3
    assert "named tensors have an SQNR below their bound" in warnings[0]
    assert f"first {first}, " in warnings[0]
    assert all(len(line) < 250 for line in warnings)


def test_a_word_of_zeros_is_nothing_to_tell(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    model = damage(float_model, "word of zeros")
    quality = measure(model, calibrate(model, sentences), [([5, 5, 5], [0, 0, 0]), *sentences[:16]])
    assert quality.warnings() == []


def test_attention_finer_than_its_unit_is_nothing_to_tell() -> None:
    """Fresh weights: scores far below 1/32 nat, logits of a few LSBs: neither is the calibration's fault."""
    config = PRESETS["nano"]
    torch.manual_seed(0)
    model = ElbertForSequenceClassification.from_config(config)
    sentences = random_sentences(config, 16, seed=1)
    quality = measure(model, calibrate(model, sentences), sentences)
    assert max(quality.sqnr["attention.scores"]) < 10.0
    assert max(quality.error["attention.scores"]) < 1.0
    assert not [line for line in quality.warnings() if "SQNR" in line]


def test_saturation_is_told(float_model: ElbertForSequenceClassification, sentences: list[Sentence]) -> None:
    checkpoint = calibrate(float_model, sentences, Scheme(observer="percentile", percentile=0.9))
    quality = measure(float_model, checkpoint, sentences[:16])
    assert quality.saturated["attention.query"][0] > 0.05
    assert quality.saturated["attention.exponentials"] == [0.0] * float_model.config.num_hidden_layers
    (line,) = [line for line in quality.warnings() if "saturate in more than 1% of their values" in line]
    assert "first embedding.normalized, " in line


def test_coarse_weights_are_measured(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    found = {
        bits: measure(float_model, calibrate(float_model, sentences, Scheme(weight_bits=bits)), sentences[:4])
        for bits in (8, 4)
    }
    for name in MATMULS:
        lost = found[8].weights[f"{name}.weight"] - found[4].weights[f"{name}.weight"]
        assert 20.0 < lost < 30.0, name  # 6 dB for each of four bits
    assert found[4].weights["embedding.word"] == found[8].weights["embedding.word"]
    assert found[8].least_weight - found[4].least_weight == 24.0


def test_the_report_is_json_and_its_summary_worst_first(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    quality = measure(float_model, calibrate(float_model, sentences), sentences[:4])
    assert quality.tokens == sum(len(ids) for ids, _ in sentences[:4])
    record = json.loads(json.dumps(quality.as_dict(), allow_nan=False))
    assert record["sentences"] == 4
    assert record["warnings"] == []
    assert set(record["tensors"]["attention.query"]) == {"sqnr_db", "error_lsb", "saturated", "range_used"}
    assert record["tensors"]["hidden"]["sqnr_db"] == pytest.approx(quality.sqnr["hidden"], abs=0.01)
    assert record["bounds"]["tensor_db"] == LEAST_TENSOR
    rows = quality.worst()
    assert [value for _, _, value, _ in rows] == sorted(min(values) for values in quality.sqnr.values())
    for name, row, value, saturated in rows:
        assert quality.sqnr[name][row] == value
        assert saturated == max(quality.saturated[name])


def test_warnings_name_what_broke_first_and_worst() -> None:
    quality = Quality(10, 50, agreement=[1.0, 0.8])
    quality.sqnr = {
        "embedding.sum": [30.0],
        "attention.key": [30.0, 5.5],
        "hidden": [14.0, 20.0],
        "exit.entropy": [5.1, 5.1],  # within its own bound
        "logits": [1.0, 1.0],  # below an LSB, which is not the calibration's choice
    }
    quality.error = {name: [9.0, 9.0] for name in quality.sqnr} | {"logits": [1.0, 0.9]}
    quality.saturated = {
        "embedding.sum": [0.0],
        "attention.key": [0.02, 0.0],
        "hidden": [0.0, 0.5],
        "exit.entropy": [0.0, 0.0],
        "logits": [0.0, 0.0],
    }
    quality.weights = {"pooler.weight": 24.9, "embedding.word": 40.0, "classifier.weight": 25.0}
    assert quality.warnings() == [
        "pooler.weight has an SQNR of 24.9 dB, below 25",
        "2 of 5 named tensors have an SQNR below their bound: first iteration.1.hidden, 14.0 dB, below 15; "
        "worst iteration.2.attention.key, 5.5 dB",
        "2 of 5 named tensors saturate in more than 1% of their values: "
        "first iteration.1.attention.key, 2.0%; worst iteration.2.hidden, 50.0%",
        "float and golden agree on 80.0% of 10 sentences, below 90%",
    ]


def test_signal_to_noise() -> None:
    real = torch.tensor([3.0, 4.0])
    assert tensor_sqnr(real, real + torch.tensor([0.3, 0.4])) == pytest.approx(20.0, abs=1e-5)
    assert tensor_sqnr(real, real) == MOST_DECIBELS
    assert sqnr(0.0, 0.0) == MOST_DECIBELS
    assert sqnr(0.0, 1.0) == -MOST_DECIBELS
    assert sqnr(1.0, 1e-30) == MOST_DECIBELS
    assert sqnr(1e300, 1e-300) == MOST_DECIBELS
    assert sqnr(2.0, 1.0) == pytest.approx(10 * math.log10(2))


def test_a_fit_counts_what_saturates() -> None:
    fit, scale = Fit(), torch.tensor([1.0, 2.0], dtype=torch.float64)
    integers = torch.tensor([[127, -127], [126, 127], [-127, 5]])
    # at the end of the range: within an LSB, beyond it, and beyond a channel's own LSB
    real = torch.tensor([[127.9, -260.0], [200.0, 255.9], [-129.0, 10.0]], dtype=torch.float64)
    fit.add(real, integers, scale, limit=127, saturates=True)
    assert (fit.values, fit.saturated, fit.largest) == (6, 2, 127)
    assert fit.share_saturated == pytest.approx(1 / 3)
    fit.add(real, integers, scale, limit=127, saturates=False)
    assert (fit.values, fit.saturated) == (12, 2)
    noise = 2 * (0.9**2 + 6.0**2 + 74.0**2 + 1.9**2 + 2.0**2)
    assert fit.noise == pytest.approx(noise)
    steps = 2 * (0.9**2 + 3.0**2 + 74.0**2 + 0.95**2 + 2.0**2) / 12
    assert fit.error == pytest.approx(math.sqrt(steps))
    assert fit.sqnr == pytest.approx(10 * math.log10(2 * float(real.square().sum()) / noise))


def test_what_cannot_be_measured_is_named(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    with pytest.raises(ValueError, match="at least one sentence"):
        measure(float_model, calibrate(float_model, sentences[:2]), [])
    with pytest.raises(ValueError, match=r"metadata scales lacks embedding\.sum"):
        measure(float_model, random_checkpoint(float_model.config), sentences)
