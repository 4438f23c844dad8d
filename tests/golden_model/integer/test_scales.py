"""Scales: every name has one, what is derived follows from what is stored, and what is wrong is named."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from golden_model.config import PRESETS
from golden_model.integer.checkpoint import MATMULS, IntegerCheckpoint, tensor_specs
from golden_model.integer.model import GoldenModel, Trace
from golden_model.integer.scales import (
    complete,
    dequantize,
    input_name,
    limit_of,
    named_tensors,
    scale_of,
    short_name,
)
from golden_model.integer.synthetic import random_checkpoint, random_sentences

NANO = PRESETS["nano"]


@cache
def bare() -> IntegerCheckpoint:
    """A random checkpoint, which has no scales."""
    return random_checkpoint(NANO)


def scaled(**changes: Any) -> IntegerCheckpoint:
    """The random checkpoint with scales of our own, all different; ``changes`` go over them."""
    chosen: dict[str, Any] = {"embedding.sum": 0.25, "embedding.normalized": 0.5, "embedding.hidden": 0.75}
    names = ("hidden", "attention.query", "attention.key", "attention.value", "attention.context")
    names += ("attention.hidden", "ffn.activation", "ffn.index", "pooler.index")
    for i in range(1, NANO.num_hidden_layers + 1):
        chosen |= {f"iteration.{i}.{name}": i + place / 16 for place, name in enumerate(names)}
    scales = complete(chosen, NANO)
    for name in MATMULS:
        rows = bare().tensors[f"{name}.weight"].shape[0]
        scales[f"{name}.weight"] = [0.001 * (row + 1) for row in range(rows)]
    factors = {
        "embedding.normalized": [1.0 + c / 8 for c in range(NANO.embedding_size)],
        "attention.value": [1.0 + c / 4 for c in range(NANO.hidden_size)],
        "attention.context": [1.0 + c / 4 for c in range(NANO.hidden_size)],
    }
    return replace(bare(), metadata={"scales": {**scales, **changes}, "factors": factors})


def test_every_traced_tensor_has_a_name_a_scale_and_a_limit() -> None:
    checkpoint = scaled()
    (result,) = GoldenModel(checkpoint).run(random_sentences(NANO, 1), trace=Trace())
    assert sorted(result.taps) == sorted(named_tensors(NANO))
    for name, integers in result.taps.items():
        scale = scale_of(checkpoint, name)
        assert scale.dtype == torch.float64
        real = dequantize(checkpoint, name, integers)
        assert real.shape == integers.shape
        assert torch.equal(real, integers.double() * scale)
        assert 0 <= int(integers.abs().max()) <= limit_of(name), name


def test_every_stored_tensor_has_a_scale() -> None:
    checkpoint = scaled()
    for name, spec in tensor_specs(NANO).items():
        real = dequantize(checkpoint, name)
        assert tuple(real.shape) == spec.shape, name
        assert bool(real.isfinite().all())


def test_scales_that_follow_from_others() -> None:
    checkpoint = scaled()
    assert float(scale_of(checkpoint, "embedding.word")) == 64 * 0.25
    assert float(scale_of(checkpoint, "embedding.position_type")) == 0.25
    assert float(scale_of(checkpoint, "iteration.1.attention.residual")) == 0.75
    assert float(scale_of(checkpoint, "iteration.3.attention.residual")) == 2.0  # of iteration.2.hidden
    assert float(scale_of(checkpoint, "iteration.3.ffn.residual")) == 3 + 5 / 16  # of attention.hidden
    assert float(scale_of(checkpoint, "iteration.4.attention.scores")) == 1 / 32
    assert float(scale_of(checkpoint, "iteration.4.attention.exponentials")) == 1 / 255
    assert float(scale_of(checkpoint, "iteration.4.pooler.output")) == 1 / 127
    assert float(scale_of(checkpoint, "iteration.4.logits")) == 1 / 1024
    assert float(scale_of(checkpoint, "iteration.4.exit.entropy_raw")) == 2.0**-16
    assert float(scale_of(checkpoint, "iteration.4.ffn.index")) == 4 + 7 / 16
    value = scale_of(checkpoint, "iteration.2.attention.value")
    assert value[4] == (2 + 3 / 16) * 2.0
    # a weight that reads factored channels gives the factors back
    weight = scale_of(checkpoint, "attention.output.weight")
    assert weight[2, 4] == pytest.approx(0.003 / 2.0)
    assert scale_of(checkpoint, "ffn.intermediate.weight").shape == (NANO.intermediate_size, 1)
    # an offset is in its accumulator's unit: input LSB (of hi: 256 LSBs of hidden) by weight LSB
    assert scale_of(checkpoint, "attention.key.offset")[0, 6] == pytest.approx(256 * 0.75 * 0.007)
    assert scale_of(checkpoint, "attention.key.offset")[2, 6] == pytest.approx(256 * 2.0 * 0.007)
    assert scale_of(checkpoint, "ffn.output.offset")[2, 6] == pytest.approx((3 + 6 / 16) * 0.007)
    assert scale_of(checkpoint, "embedding.projection.offset").shape == (1, NANO.hidden_size)
    # query's channels by their own multipliers
    multiplier, shift = (
        checkpoint.tensors[f"attention.query.{kind}"][2, 6] for kind in ("multiplier", "shift")
    )
    factor = int(multiplier) / 2 ** int(shift)
    assert scale_of(checkpoint, "iteration.3.attention.query")[6] == pytest.approx(256 * 2.0 * 0.007 / factor)
    assert dequantize(checkpoint, "attention.query.multiplier")[2, 6] == pytest.approx(factor)
    shift = int(checkpoint.tensors["ffn.norm.shift"][1, 3])
    assert scale_of(checkpoint, "ffn.norm.beta")[1, 3] == pytest.approx(2.0 / 2**shift)
    assert scale_of(checkpoint, "ffn.norm.gamma")[1, 3] == pytest.approx(2.0 * 2**11 / 2**shift)


def test_a_channel_that_is_always_zero_has_its_tensors_scale() -> None:
    tensors = {name: tensor.clone() for name, tensor in bare().tensors.items()}
    tensors["attention.query.multiplier"][1, 5] = 0
    checkpoint = replace(scaled(), tensors=tensors)
    assert scale_of(checkpoint, "iteration.2.attention.query")[5] == 2 + 1 / 16


@pytest.mark.parametrize(
    "name",
    ["", "hidden", "iteration.1", "iteration.1.", "iteration.1.embedding.sum", "iteration.x.hidden",
     "iteration.1.attention.update", "ffn.index", "attention.query", "attention.query.scale", "x" * 5000],
)  # fmt: skip
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="no integer tensor is called") as error:
        scale_of(scaled(), name)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("name", ["iteration.0.hidden", "iteration.5.logits", "iteration.99999.ffn.index"])
def test_iterations_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not in 1\.\.4"):
        dequantize(scaled(), name, torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize(
    "name", [*named_tensors(NANO)[:8], "attention.query.weight", "ffn.table", "ffn.norm.beta"]
)
def test_a_checkpoint_without_scales_says_so(name: str) -> None:
    with pytest.raises(ValueError, match=r"metadata scales lacks .* not calibrated from a float model"):
        scale_of(bare(), name)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("iteration.2.hidden", "0.5", "iteration.2.hidden holds 0.5, not a finite number above 0"),
        ("iteration.2.hidden", 0.0, "holds 0.0, not"),
        ("iteration.2.hidden", -1, "holds -1, not"),
        ("iteration.2.hidden", float("inf"), "holds inf, not"),
        ("iteration.2.hidden", float("nan"), "holds nan, not"),
        ("iteration.2.hidden", True, "holds True, not"),
        ("iteration.2.hidden", None, "holds None, not"),
        ("iteration.2.hidden", [1.0], "is not a number"),
        ("pooler.weight", 1.0, "pooler.weight is not a list of 32 numbers"),
        ("pooler.weight", [1.0] * 31, "is not a list of 32 numbers"),
        ("pooler.weight", [1.0] * 31 + ["x" * 5000], "holds xxx"),
    ],
)  # fmt: skip
def test_damaged_scales_are_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        scale_of(scaled(**{name: value}), name)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("key", ["scales", "factors"])
def test_damaged_metadata_is_named(key: str) -> None:
    checkpoint = scaled()
    broken = replace(checkpoint, metadata={**checkpoint.metadata, key: [1.0]})
    with pytest.raises(ValueError, match=f"metadata {key} is not an object"):
        scale_of(broken, "embedding.normalized")


def test_values_that_do_not_fit_are_named() -> None:
    checkpoint = scaled()
    with pytest.raises(ValueError, match=r"shape \(3, 31\), its scale \(32,\)"):
        dequantize(checkpoint, "iteration.1.attention.value", torch.zeros(3, 31, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"shape \(\), its scale \(32,\)"):
        dequantize(checkpoint, "iteration.1.attention.value", torch.tensor(3))
    with pytest.raises(ValueError, match=r"are torch.float32, expected integers"):
        dequantize(checkpoint, "iteration.1.hidden", torch.zeros(3))
    with pytest.raises(ValueError, match="is not stored in the checkpoint"):
        dequantize(checkpoint, "iteration.1.hidden")


def test_names() -> None:
    assert [input_name(i) for i in (1, 2, 4)] == [
        "embedding.hidden",
        "iteration.1.hidden",
        "iteration.3.hidden",
    ]
    assert short_name("iteration.12.attention.query") == "attention.query"
    assert short_name("embedding.sum") == "embedding.sum"
    with pytest.raises(KeyError):
        complete({"embedding.sum": 1.0}, NANO)
