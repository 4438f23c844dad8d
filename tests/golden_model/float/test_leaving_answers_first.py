"""Float answer first: the same answers and exits, from the rows that they need."""

from __future__ import annotations

import functools

import pytest
import torch

from elbert.bundled import BUNDLED
from golden_model.config import PRESETS
from golden_model.evaluation.backends import BACKENDS, open_backend
from golden_model.exits import ExitMode, ExitPolicy
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.float.leaving import answer_leaving
from golden_model.float.methods.model import ExitModel
from golden_model.integer.synthetic import random_sentences

NANO = PRESETS["nano"]
POLICIES = {
    "entropy": ExitPolicy(mode=ExitMode.entropy, delta=0.7),
    "raw": ExitPolicy(mode=ExitMode.entropy_raw, delta=0.5),
    "patience": ExitPolicy(mode=ExitMode.patience, patience=1),
    "window": ExitPolicy(mode=ExitMode.bias_1, delta=0.4, window=2, margin=0.05),
    "none": ExitPolicy(),
}
BEGINNINGS = (
    "the film is",
    "it is not",
    "i found it",
    "an hour in, this story becomes",
    "the acting, at least, is",
)
ENDINGS = (
    "dull",
    "gorgeous, witty, seductive",
    "bad at all",
    "moving but bleak, told with care from its first scene to its last",
    "uneven",
    "hard to look away from",
    "a waste of time",
)
TEXTS = [f"{beginning} {ending}." for beginning in BEGINNINGS for ending in ENDINGS]


@functools.cache
def model_of(method: str) -> ElbertForSequenceClassification | ExitModel:
    """Random weights, float64, of a size at which sentences leave at different iterations."""
    torch.manual_seed(3)
    backbone = ElbertForSequenceClassification.from_config(NANO)
    model = backbone if method == "elbert" else ExitModel(backbone, method)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval().double()


@pytest.mark.parametrize("policy", list(POLICIES))
@pytest.mark.parametrize("method", ["elbert", "deebert", "pabee", "fastbert"])
def test_every_method_answers_as_in_the_old_order(method: str, policy: str) -> None:
    sentences = random_sentences(NANO, 40, seed=8)
    answer = functools.partial(
        answer_leaving, model_of(method), sentences, 0, POLICIES[policy], batch_size=16
    )
    found, expected = answer(), answer(answer_first=False)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape  # as many iterations
        torch.testing.assert_close(a, b, rtol=0, atol=2e-7)  # logits are handed on as float32
    if policy != "none":
        assert len({len(steps) for steps in found}) > 1


@pytest.mark.parametrize("method", ["elbert", "deebert", "pabee", "fastbert"])
def test_rows_that_nothing_reads_are_not_computed(method: str) -> None:
    """One sentence: all rows before its exit and one in it; FastBERT's branches read them all."""
    model = model_of(method)
    backbone = model.backbone if isinstance(model, ExitModel) else model
    ffn = backbone.model.albert.encoder.albert_layer_groups[0].albert_layers[0].ffn
    rows: list[int] = []
    handle = ffn.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].shape[:2].numel()))
    exits = set()
    try:
        for sentence in random_sentences(NANO, 20, seed=8):
            rows.clear()
            (steps,) = answer_leaving(model, [sentence], 0, POLICIES["entropy"])
            last, length = len(steps), len(sentence[0])
            reads_all = method == "fastbert" and last < NANO.num_hidden_layers
            assert sum(rows) == length * (last - 1) + (length if reads_all else 1)
            exits.add(last)
    finally:
        handle.remove()
    assert len(exits) > 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_bundled_model_answers_as_in_the_old_order(backend: str, one_thread: None) -> None:
    first = open_backend(backend, BUNDLED)
    old = open_backend(backend, BUNDLED, answer_first=False)
    sentences = first.tokenizer.encode_many(TEXTS, 64, None)
    policy = ExitPolicy(mode=ExitMode.bias_1, delta=0.1, window=3, margin=0.1)
    a, b = first.answer(sentences, policy), old.answer(sentences, policy)
    assert a.labels.tolist() == b.labels.tolist()
    assert a.exits.tolist() == b.exits.tolist()
    assert len(set(a.exits.tolist())) > 1
    torch.testing.assert_close(a.confidences, b.confidences, rtol=0, atol=1e-5 if backend == "float" else 0.0)
