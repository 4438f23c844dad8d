"""The integer golden model: exact rules, no floats, and results that do not depend on the batch."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scalar_model import ScalarModel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from golden_model.config import PRESETS, ElbertConfig
from golden_model.exits import ExitMode, ExitPolicy, FixedExitPolicy, exit_iterations
from golden_model.integer.confidence import integer_confidence
from golden_model.integer.model import GoldenModel, SentenceResult, Trace
from golden_model.integer.synthetic import random_checkpoint, random_sentences

NANO = PRESETS["nano"]
THREE_CLASSES = ElbertConfig(
    vocab_size=97,
    embedding_size=12,
    hidden_size=24,
    num_attention_heads=3,
    intermediate_size=40,
    num_hidden_layers=5,
    max_position_embeddings=23,
    num_labels=3,
    hidden_act="gelu",
)


@cache
def model_of(config: ElbertConfig, seed: int = 1) -> GoldenModel:
    return GoldenModel(random_checkpoint(config, seed))


def same(a: SentenceResult, b: SentenceResult) -> bool:
    """Everything equal, bit for bit."""
    return (
        (a.label, a.exit_iteration) == (b.label, b.exit_iteration)
        and all(
            torch.equal(getattr(a, name), getattr(b, name))
            for name in ("logits", "probabilities", "entropy", "entropy_raw")
        )
        and list(a.taps) == list(b.taps)
        and all(torch.equal(a.taps[name], b.taps[name]) for name in a.taps)
    )


@pytest.mark.parametrize("config", [NANO, THREE_CLASSES], ids=["nano", "three classes"])
def test_every_named_tensor_is_the_written_rule(config: ElbertConfig) -> None:
    """Each tensor of the contract, against a second implementation on Python integers."""
    model = model_of(config)
    sentences = [([5, 9, 2], [0, 1, 1]), ([7], [0]), *random_sentences(config, 2, seed=4, longest=9)]
    scalar = ScalarModel(model.checkpoint)
    results = model.run(sentences, trace=Trace(), answer_first=False)
    for sentence, result in zip(sentences, results, strict=True):
        expected = scalar.run(list(sentence[0]), list(sentence[1]))
        assert len(expected) == 3 + 13 * config.num_hidden_layers
        for name, values in expected.items():
            assert result.taps[name].tolist() == values, name


def test_taps_have_the_names_and_shapes_of_the_contract() -> None:
    config = THREE_CLASSES
    sentence = ([1, 2, 3, 4], [0, 0, 1, 1])
    (result,) = model_of(config).run([sentence], trace=Trace(), answer_first=False)
    e, h, a, i, c = 12, 24, 3, 40, 3
    shapes = {"embedding.sum": (4, e), "embedding.normalized": (4, e), "embedding.hidden": (4, h)}
    for n in range(1, config.num_hidden_layers + 1):
        tensors = {
            **{
                f"attention.{part}": (4, h)
                for part in ("query", "key", "value", "context", "residual", "hidden")
            },
            **{f"attention.{part}": (a, 4, 4) for part in ("scores", "exponentials")},
            **{"ffn.activation": (4, i), "ffn.residual": (4, h), "hidden": (4, h)},
            **{"pooler.output": (h,), "logits": (c,), "exit.probabilities": (c,)},
            **{f"exit.{part}": () for part in ("entropy", "entropy_raw", "decision", "label")},
        }
        shapes |= {f"iteration.{n}.{name}": shape for name, shape in tensors.items()}
    assert {name: tuple(t.shape) for name, t in result.taps.items()} == shapes
    assert all(t.dtype == torch.int64 for t in result.taps.values())


def test_trace_patterns_select() -> None:
    (result,) = model_of(NANO).run([([1, 2], [0, 0])], trace=Trace(("iteration.2.attention.*", "*.logits")))
    assert set(result.taps) == {f"iteration.{i}.logits" for i in range(1, 5)} | {
        f"iteration.2.attention.{part}"
        for part in ("query", "key", "value", "scores", "exponentials", "context", "residual", "hidden")
    }
    assert model_of(NANO).run([([1, 2], [0, 0])])[0].taps == {}


class NoFloats(TorchDispatchMode):
    """Refuses every operation that reads or makes a floating-point tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, result)):
            if isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex()):
                raise AssertionError(f"{func} touches a {value.dtype} tensor")
        return result


def test_the_guard_against_floats_works() -> None:
    with NoFloats(), pytest.raises(AssertionError, match="float32"):
        torch.ones(2)
    with NoFloats(), pytest.raises(AssertionError, match="float"):
        torch.arange(3) / 2


@pytest.mark.parametrize("mode", list(ExitMode), ids=lambda mode: mode.name)
def test_no_floating_point_tensor_anywhere(mode: ExitMode) -> None:
    checkpoint = random_checkpoint(NANO, 1)
    sentences = random_sentences(NANO, 6, seed=2)
    policy = FixedExitPolicy(mode=mode, delta=20000, window=2, patience=1)
    with NoFloats():
        results = GoldenModel(checkpoint).run(sentences, policy, Trace())
    assert len(results) == 6


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_a_sentences_result_does_not_depend_on_the_batch(data: st.DataObject) -> None:
    """Any mix, any order, any batch size, any policy: the same bits as alone."""
    config = data.draw(st.sampled_from([NANO, THREE_CLASSES]))
    model = model_of(config)
    sentences = random_sentences(config, data.draw(st.integers(1, 7)), seed=data.draw(st.integers(0, 99)))
    policy = FixedExitPolicy(
        mode=data.draw(st.sampled_from(list(ExitMode))),
        delta=data.draw(st.sampled_from([0, 20000, 50000, 65535])),
        window=data.draw(st.integers(1, 4)),
        patience=data.draw(st.integers(0, 3)),
        margin=data.draw(st.sampled_from([0, 3000])),
        range=data.draw(st.sampled_from([2000, 65536])),
    )
    alone = [model.run([s], policy, Trace())[0] for s in sentences]
    order = data.draw(st.permutations(range(len(sentences))))
    together = model.run(
        [sentences[i] for i in order], policy, Trace(), batch_tokens=data.draw(st.integers(1, 200))
    )
    for place, i in enumerate(order):
        assert same(together[place], alone[i])


@pytest.mark.parametrize("mode", list(ExitMode), ids=lambda mode: mode.name)
def test_exits_agree_with_whole_trajectories(mode: ExitMode) -> None:
    """Leaving early changes nothing before the exit, and the exit is the policy's own."""
    model = model_of(NANO)
    sentences = random_sentences(NANO, 40, seed=6)
    full = model.all_iterations(sentences)
    assert full.shape == (4, 40, 2)
    policy = FixedExitPolicy(mode=mode, delta=45000, window=2, patience=1)
    exits = exit_iterations(policy, integer_confidence(full))
    results = model.run(sentences, policy, Trace(("*.exit.decision",)))
    assert [r.exit_iteration for r in results] == exits.tolist()
    if mode != ExitMode.none:
        assert len(set(exits.tolist())) > 1
    for n, result in enumerate(results):
        last = result.exit_iteration
        assert torch.equal(result.logits, full[:last, n])
        assert result.label == int(full[last - 1, n].argmax())
        decisions = [int(result.taps[f"iteration.{i}.exit.decision"]) for i in range(1, last + 1)]
        assert decisions == [0] * (last - 1) + [1]
        assert torch.equal(integer_confidence(result.logits).entropy, result.entropy)


def test_a_real_valued_policy_is_rounded_to_the_hardwares() -> None:
    model, sentences = model_of(NANO), random_sentences(NANO, 10, seed=3)
    policy = ExitPolicy(mode=ExitMode.bias_1, delta=0.6, window=2, margin=0.05)
    for a, b in zip(model.run(sentences, policy), model.run(sentences, policy.to_fixed()), strict=True):
        assert same(a, b)


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        (([], []), "has 0 tokens, not in 1..16"),
        (([1] * 17, [0] * 17), "has 17 tokens, not in 1..16"),
        (([1, 64], [0, 0]), "id 64 is not in 0..63"),
        (([1, -1], [0, 0]), "id -1 is not in 0..63"),
        (([1, 2], [0, 2]), "token type 2 is not in 0..1"),
        (([1, 2], [0]), "2 ids and 1 token types"),
    ],
)
def test_a_wrong_sentence_is_named(sentence: tuple[list[int], list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=f"sentence 1.*{message}"):
        model_of(NANO).run([([1], [0]), sentence])


def test_no_sentences_is_no_result() -> None:
    assert model_of(NANO).run([]) == []
    assert model_of(NANO).all_iterations([]).shape == (4, 0, 2)
    with pytest.raises(ValueError, match="batch_tokens 0"):
        model_of(NANO).run([([1], [0])], batch_tokens=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_bits() -> None:
    for config in (NANO, THREE_CLASSES):
        checkpoint, sentences = random_checkpoint(config, 1), random_sentences(config, 12, seed=8)
        policy = FixedExitPolicy(mode=ExitMode.entropy, delta=40000)
        cpu = GoldenModel(checkpoint).run(sentences, policy, Trace())
        gpu = GoldenModel(checkpoint, "cuda").run(sentences, policy, Trace())
        assert all(same(a, b) for a, b in zip(cpu, gpu, strict=True))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_checkpoints_fill_their_ranges(seed: int) -> None:
    """Neither vanishing nor all saturated, in every iteration: what benches rely on."""
    model = GoldenModel(random_checkpoint(NANO, seed))
    results = model.run(random_sentences(NANO, 30, seed=seed), trace=Trace())
    spreads = {
        "query": 20,
        "key": 20,
        "value": 20,
        "context": 15,
        "scores": 20,
        "hidden": 3000,
        "activation": 8,
    }
    for i in range(1, NANO.num_hidden_layers + 1):
        for name in [n for n in results[0].taps if n.startswith(f"iteration.{i}.")]:
            values = torch.cat([r.taps[name].flatten() for r in results]).double()
            least = spreads.get(name.rsplit(".", 1)[1])
            if least is not None:
                assert values.std() > least, name
                assert (values.abs() >= values.abs().max()).double().mean() < 0.1, name
    labels = torch.stack([r.logits.argmax(-1) for r in results])
    assert len(labels.unique()) == NANO.num_labels


def test_random_checkpoints_are_reproducible_and_leave_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    a, b, c = random_checkpoint(NANO, 3), random_checkpoint(NANO, 3), random_checkpoint(NANO, 4)
    assert a.sha256 == b.sha256 != c.sha256
    assert torch.equal(state, torch.random.get_rng_state())
