"""Answer first: the same bits from fewer rows, and the rows that are saved are really not computed."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from golden_model.config import PRESETS, ElbertConfig
from golden_model.exits import Confidence, ExitMode, FixedExitPolicy, earliest_exit, exit_iterations
from golden_model.integer import model as golden
from golden_model.integer.confidence import integer_confidence
from golden_model.integer.model import GoldenModel, Layout, SentenceResult, Trace
from golden_model.integer.synthetic import random_checkpoint, random_sentence, random_sentences
from golden_model.numerics import ONE

NANO = PRESETS["nano"]
GEOMETRIES = {
    "nano": NANO,
    "three classes": ElbertConfig(
        vocab_size=97,
        embedding_size=12,
        hidden_size=24,
        num_attention_heads=3,
        intermediate_size=40,
        num_hidden_layers=5,
        max_position_embeddings=23,
        num_labels=3,
        hidden_act="gelu",
    ),
    "one iteration": NANO.model_copy(update={"num_hidden_layers": 1}),
    "one token": NANO.model_copy(update={"max_position_embeddings": 1, "num_hidden_layers": 3}),
    "one head": NANO.model_copy(update={"num_attention_heads": 1, "num_hidden_layers": 2}),
}
ROWS = ("query", "context", "residual", "hidden", "activation")
GRIDS = ("scores", "exponentials")
POLICIES = st.builds(
    FixedExitPolicy,
    mode=st.sampled_from(list(ExitMode)),
    delta=st.sampled_from([0, 1, 20000, 45000, 65535]),
    window=st.integers(1, 4),
    patience=st.integers(0, 4),
    margin=st.sampled_from([0, 3000, ONE // 2]),
    range=st.sampled_from([2000, ONE]),
)


@cache
def model_of(name: str) -> GoldenModel:
    return GoldenModel(random_checkpoint(GEOMETRIES[name], 1))


def existing(name: str, full: Tensor, exit_iteration: int) -> Tensor:
    """What docs/numerics.md says exists of a named tensor, given all its rows."""
    if name.startswith(f"iteration.{exit_iteration}."):
        part = name.rsplit(".", 1)[1]
        if part in ROWS:
            return full[:1]
        if part in GRIDS:
            return full[:, :1]
    return full


def check(results: list[SentenceResult], expected: list[SentenceResult]) -> None:
    for a, b in zip(results, expected, strict=True):
        assert (a.label, a.exit_iteration) == (b.label, b.exit_iteration)
        for name in ("logits", "probabilities", "entropy", "entropy_raw"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
        assert list(a.taps) == list(b.taps)
        for name, tensor in a.taps.items():
            assert torch.equal(tensor, existing(name, b.taps[name], b.exit_iteration)), name


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_every_answer_and_every_existing_row_is_that_of_the_old_order(data: st.DataObject) -> None:
    """Any geometry, lengths from 1 on, policy and batch: equal bits; rows nothing reads do not exist."""
    name = data.draw(st.sampled_from(list(GEOMETRIES)))
    model = model_of(name)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    lengths = data.draw(st.lists(st.integers(1, model.config.max_position_embeddings), max_size=7))
    sentences = [random_sentence(model.config, length, generator) for length in lengths]
    policy, batch = data.draw(POLICIES), data.draw(st.integers(1, 200))
    expected = model.run(sentences, policy, Trace(), answer_first=False)
    check(model.run(sentences, policy, Trace(), batch_tokens=batch), expected)


@pytest.mark.parametrize("name", list(GEOMETRIES))
def test_logits_of_all_iterations_are_those_of_the_old_order(name: str) -> None:
    model = model_of(name)
    sentences = random_sentences(model.config, 20, seed=3)
    assert torch.equal(model.all_iterations(sentences), model.all_iterations(sentences, answer_first=False))


def test_a_trace_of_some_names_is_that_part_of_the_whole() -> None:
    model = model_of("nano")
    sentences = random_sentences(NANO, 8, seed=5)
    policy = FixedExitPolicy(mode=ExitMode.entropy, delta=45000)
    patterns = ("iteration.*.attention.scores", "*.hidden")
    whole = model.run(sentences, policy, Trace())
    for part, all_taps in zip(model.run(sentences, policy, Trace(patterns)), whole, strict=True):
        wanted = {n: t for n, t in all_taps.taps.items() if Trace(patterns).wants(n)}
        assert list(part.taps) == list(wanted)
        assert all(torch.equal(part.taps[n], wanted[n]) for n in wanted)


class Counting(GoldenModel):
    """Counts the rows and the calls of every matmul."""

    def __init__(self, model: GoldenModel) -> None:
        super().__init__(model.checkpoint)
        self.row_count: Counter[str] = Counter()
        self.call_count: Counter[str] = Counter()

    def linear(self, name: str, iteration: int, x: Tensor, low: int, high: int) -> Tensor:
        self.row_count[name] += x.shape[0]
        self.call_count[name] += 1
        return super().linear(name, iteration, x, low, high)


@given(POLICIES, st.integers(0, 99), st.sampled_from(["nano", "three classes", "one iteration"]))
@settings(max_examples=30, deadline=None)
def test_rows_that_nothing_reads_are_not_computed(policy: FixedExitPolicy, seed: int, name: str) -> None:
    """Every row once: L keys and values per iteration, and one other row in the iteration of the exit."""
    model = Counting(model_of(name))
    sentences = random_sentences(model.config, 9, seed=seed)
    results = model.run(sentences, policy, batch_tokens=60)
    facts = [(len(s[0]), r.exit_iteration) for s, r in zip(sentences, results, strict=True)]
    every = sum(length * last for length, last in facts)
    needed = sum(length * (last - 1) + 1 for length, last in facts)
    answers = sum(last for _, last in facts)
    assert model.row_count == {
        "embedding.projection": sum(length for length, _ in facts),
        "attention.key": every,
        "attention.value": every,
        "attention.query": needed,
        "attention.output": needed,
        "ffn.intermediate": needed,
        "ffn.output": needed,
        "pooler": answers,
        "classifier": answers,
    }


@pytest.mark.parametrize("length", [1, 2, 9, 16])
@pytest.mark.parametrize("delta", [0, 30000, 65535])
def test_multiply_adds_are_those_of_the_formula(
    length: int, delta: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """e - 1 whole iterations and the answer: counted where the products are formed, attention included."""
    products = 0

    def counted(x: Tensor, weight: Tensor) -> Tensor:
        nonlocal products
        products += x.shape[0] * weight.numel()
        return matmul(x, weight)

    def counted_batch(a: Tensor, b: Tensor) -> Tensor:
        nonlocal products
        products += a.numel() * b.shape[2]
        return batched_matmul(a, b)

    matmul, batched_matmul = golden.matmul, golden.batched_matmul
    monkeypatch.setattr(golden, "matmul", counted)
    monkeypatch.setattr(golden, "batched_matmul", counted_batch)
    sentence = random_sentence(NANO, length, torch.Generator().manual_seed(length))
    policy = FixedExitPolicy(mode=ExitMode.entropy, delta=delta)
    (result,) = model_of("nano").run([sentence], policy)
    full = (result.exit_iteration - 1) * NANO.layer_products(length)
    assert products == NANO.embedding_products(length) + full + NANO.answer_products(length)
    products = 0
    model_of("nano").run([sentence], policy, answer_first=False)
    assert products == NANO.embedding_products(length) + full + NANO.layer_products(length)


def test_the_answer_costs_a_fifth_of_an_iteration_at_25_tokens() -> None:
    small = PRESETS["small"]
    layer = small.layer_products(25)
    keys_values = 2 * 25 * small.hidden_size**2
    assert round(keys_values / layer, 3) == 0.164
    assert round((small.answer_products(25) - keys_values) / layer, 3) == 0.037
    assert small.answer_products(1) == small.layer_products(1)


def test_sentences_are_computed_together_in_two_passes_at_most() -> None:
    """One batch: row 0 of all, then the other rows of all that stay; one pass where nobody can leave."""
    sentences = random_sentences(NANO, 12, seed=2)
    iterations = NANO.num_hidden_layers
    for policy, calls in (
        (FixedExitPolicy(), iterations),
        (FixedExitPolicy(mode=ExitMode.entropy, delta=1), 2 * iterations - 1),
        (FixedExitPolicy(mode=ExitMode.patience, patience=1), 2 * (iterations - 1)),
    ):
        model = Counting(model_of("nano"))
        results = model.run(sentences, policy, batch_tokens=1 << 20)
        assert max(r.exit_iteration for r in results) == iterations  # somebody runs them all
        assert model.call_count["ffn.output"] == calls
        assert model.call_count["attention.key"] == iterations


@given(POLICIES, st.integers(0, 999))
@settings(max_examples=80, deadline=None)
def test_nobody_leaves_before_the_earliest_exit(policy: FixedExitPolicy, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(-6000, 6000, (6, 40, 2), generator=generator)
    earliest = earliest_exit(policy)
    assert int(exit_iterations(policy, integer_confidence(logits)).min()) >= min(earliest or 6, 6)


@pytest.mark.parametrize("mode", list(ExitMode), ids=lambda mode: mode.name)
@pytest.mark.parametrize("delta", [0, 30000])
def test_a_certain_sentence_leaves_at_the_earliest_exit(mode: ExitMode, delta: int) -> None:
    certain = torch.tensor([0, 9000]).expand(6, 1, 2)
    policy = FixedExitPolicy(mode=mode, delta=delta, window=3, patience=3)
    exits: Confidence = integer_confidence(certain)
    assert int(exit_iterations(policy, exits)) == (earliest_exit(policy) or 6)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_first_rows_and_the_rest_are_all_rows(lengths: list[int]) -> None:
    layout = Layout(torch.tensor(lengths))
    packed = torch.arange(sum(lengths) * 2).view(-1, 2)
    first, others = packed[layout.first], packed[layout.others]
    assert torch.equal(layout.join(first, others), packed)
    assert torch.equal(first, torch.stack([part[0] for part in packed.split(lengths)]))
    for part, rows in ((layout.cls, first), (layout.rest, others)):
        assert torch.equal(part.pack(part.pad(rows)), rows)
