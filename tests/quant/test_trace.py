"""The float tracer against the float model's own outputs and against softmax and GELU computed here."""

from __future__ import annotations

import torch

from golden_model.exits import Confidence
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.model import GoldenModel, Sentence, Trace
from golden_model.integer.scales import named_tensors
from golden_model.integer.synthetic import random_checkpoint
from quant.trace import trace_float


def test_names_and_shapes_are_the_golden_models(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    config = float_model.config
    golden = GoldenModel(random_checkpoint(config)).run(sentences[:3], trace=Trace(), answer_first=False)
    for real, result in zip(trace_float(float_model, sentences[:3]), golden, strict=True):
        assert sorted(real) == sorted(named_tensors(config))
        assert {name: v.shape for name, v in real.items()} == {n: v.shape for n, v in result.taps.items()}
        assert {v.dtype for v in real.values()} == {torch.float64}


@torch.inference_mode()
def test_values_are_the_float_models(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    hooks = [len(m._forward_hooks) for m in float_model.modules()]
    ids, types = max(sentences, key=lambda s: len(s[0]))
    (real,) = trace_float(float_model, [(ids, types)])
    assert hooks == [len(m._forward_hooks) for m in float_model.modules()]
    logits, states = float_model(
        torch.tensor([list(ids)]), token_type_ids=torch.tensor([list(types)]), hidden_states=True
    )
    count, heads = float_model.config.num_hidden_layers, float_model.config.num_attention_heads
    torch.testing.assert_close(real["embedding.hidden"].float(), states[0, 0], rtol=1e-4, atol=1e-4)
    decisions = []
    for i in range(1, count + 1):
        tensors = {
            name.removeprefix(f"iteration.{i}."): values
            for name, values in real.items()
            if name.startswith(f"iteration.{i}.")
        }
        torch.testing.assert_close(tensors["hidden"].float(), states[i, 0], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(tensors["logits"].float(), logits[i - 1, 0], rtol=1e-3, atol=1e-3)
        weights = tensors["attention.exponentials"]
        assert bool((weights.amax(-1) == 1).all())
        torch.testing.assert_close(
            weights / weights.sum(-1, keepdim=True), tensors["attention.scores"].softmax(-1)
        )
        value = tensors["attention.value"].view(len(ids), heads, -1).transpose(0, 1)
        context = (weights / weights.sum(-1, keepdim=True)) @ value
        torch.testing.assert_close(
            context.transpose(0, 1).reshape(len(ids), -1), tensors["attention.context"]
        )
        confidence = Confidence.from_logits(tensors["logits"])
        torch.testing.assert_close(tensors["exit.probabilities"], confidence.probabilities)
        torch.testing.assert_close(tensors["exit.entropy"], confidence.entropy)
        assert int(tensors["exit.label"]) == int(logits[i - 1, 0].argmax())
        decisions.append(int(tensors["exit.decision"]))
    assert decisions == [0] * (count - 1) + [1]


def test_only_what_is_wanted_is_kept(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    for real in trace_float(float_model, sentences[:2], Trace(("iteration.2.attention.scores", "*.logits"))):
        count = float_model.config.num_hidden_layers
        wanted = ["iteration.2.attention.scores", *(f"iteration.{i}.logits" for i in range(1, count + 1))]
        assert sorted(real) == sorted(wanted)
