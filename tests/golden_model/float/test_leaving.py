"""The float model's early exits: what leaves is not computed further, and answers as the trajectory does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from golden_model.config import PRESETS
from golden_model.evaluation.backends import FloatBackend
from golden_model.exits import Confidence, ExitPolicy, exit_iterations
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.float.leaving import answer_leaving
from golden_model.float.logits import sentence_logits
from golden_model.float.methods.model import ExitModel
from golden_model.text.tokenizer import ElbertTokenizer

POLICIES = (
    {"mode": "entropy", "delta": 0.9},
    {"mode": "entropy_raw", "delta": 0.6},
    {"mode": "patience", "patience": 1},
    {"mode": "bias_1", "window": 2, "margin": 0.05, "delta": 0.5},
    {"mode": "bias_2", "window": 2, "margin": 0.05},
    {"mode": "bias_3", "window": 2, "margin": 0.05, "range": 0.2},
)


def make_model(method: str) -> ElbertForSequenceClassification | ExitModel:
    """A nano model whose answers differ between sentences and iterations."""
    torch.manual_seed(3)
    model = ElbertForSequenceClassification.from_config(PRESETS["nano"])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval() if method == "elbert" else ExitModel(model, method, seed=2).eval()


def make_sentences() -> list[tuple[list[int], list[int]]]:
    generator = torch.Generator().manual_seed(7)
    found = []
    for _ in range(90):
        length = int(torch.randint(2, 17, (1,), generator=generator))
        ids = torch.randint(1, 64, (length,), generator=generator).tolist()
        found.append((ids, [0] * (length // 2) + [1] * (length - length // 2)))
    return found


@pytest.mark.parametrize("answer_first", [False, True])
@pytest.mark.parametrize("method", ["elbert", "pabee", "deebert", "fastbert"])
@pytest.mark.parametrize("values", POLICIES, ids=lambda values: values["mode"])
def test_steps_and_exits_are_those_of_the_trajectory(
    method: str, values: dict[str, Any], answer_first: bool, one_thread: None
) -> None:
    model, sentences, policy = make_model(method), make_sentences(), ExitPolicy.model_validate(values)
    trajectory = Confidence.from_logits(sentence_logits(model, sentences, 0))
    expected = exit_iterations(policy, trajectory)
    told: list[int] = []
    steps = answer_leaving(model, sentences, 0, policy, told.append, answer_first=answer_first)
    assert [len(each) for each in steps] == expected.tolist()
    for i, each in enumerate(steps):
        torch.testing.assert_close(each, trajectory.probabilities[: len(each), i], rtol=0, atol=1e-6)
    assert sum(told) == len(sentences)
    if method == "elbert":
        assert len(expected.unique()) > 1  # some left and some stayed


def test_the_layer_runs_for_nobody_who_left(one_thread: None) -> None:
    model, sentences = make_model("elbert"), make_sentences()
    assert isinstance(model, ElbertForSequenceClassification)
    rows: list[int] = []
    handle = model.layer.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    for values, left in ((POLICIES[0], None), ({"mode": "entropy", "delta": 1.0}, 1)):
        rows.clear()
        policy = ExitPolicy.model_validate(values)
        steps = answer_leaving(model, sentences, 0, policy, answer_first=False)
        exits = [len(each) for each in steps]
        assert sum(rows) == sum(exits) < len(sentences) * PRESETS["nano"].num_hidden_layers
        assert left is None or exits == [left] * len(sentences)
    handle.remove()


@pytest.mark.parametrize("values", POLICIES, ids=lambda values: values["mode"])
def test_the_backend_answers_alike_and_has_logits_only_without_a_policy(
    values: dict[str, Any], tmp_path: Path, make_full: Callable[[], Any], one_thread: None
) -> None:
    model = make_model("elbert")
    assert isinstance(model, ElbertForSequenceClassification)
    model.save_pretrained(tmp_path)
    ElbertTokenizer(make_full()).save(tmp_path)
    backend, sentences = FloatBackend(tmp_path), make_sentences()
    whole = backend.answer(sentences, ExitPolicy())
    assert whole.logits is not None
    policy = ExitPolicy.model_validate(values)
    trajectory = Confidence.from_logits(whole.logits)
    exits = exit_iterations(policy, trajectory)
    final = trajectory[exits - 1, torch.arange(len(sentences))]
    found = backend.answer(sentences, policy)
    assert found.logits is None
    assert torch.equal(found.exits, exits)
    assert torch.equal(found.labels, final.label)
    torch.testing.assert_close(found.confidences, final.confidence, rtol=0, atol=1e-6)


def test_a_sentence_too_long_is_refused() -> None:
    policy = ExitPolicy.model_validate(POLICIES[0])
    with pytest.raises(ValueError, match=r"length 17 is not in 1\.\.16"):
        answer_leaving(make_model("elbert"), [([1] * 17, [0] * 17)], 0, policy)
