"""Scores: against plain counting, many vectors at once, and resampled."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.data.metrics import METRICS, Scores, influences, scores, scores_many


def counted(answers: list[int], labels: list[int], classes: int) -> Scores:
    """The scores by their textbook definitions, sample by sample."""
    pairs = list(zip(answers, labels, strict=True))
    f1 = []
    for c in range(classes):
        hit = sum(a == c and b == c for a, b in pairs)
        wrong = sum((a == c) != (b == c) for a, b in pairs)
        f1.append(2 * hit / (2 * hit + wrong) if hit or wrong else 0.0)
    # Matthews correlation as the correlation of the one-hot answers with the one-hot labels
    n = len(pairs)
    share_a = [answers.count(c) / n for c in range(classes)]
    share_b = [labels.count(c) / n for c in range(classes)]

    def covariance(x: list[int], y: list[int], mx: list[float], my: list[float]) -> float:
        return sum(
            ((u == c) - mx[c]) * ((v == c) - my[c]) for u, v in zip(x, y, strict=True) for c in range(classes)
        )

    spread = covariance(answers, answers, share_a, share_a) * covariance(labels, labels, share_b, share_b)
    constant = len(set(answers)) == 1 or len(set(labels)) == 1
    mcc = 0.0 if constant else covariance(answers, labels, share_a, share_b) / math.sqrt(spread)
    return Scores(sum(a == b for a, b in pairs) / n, f1[1] if classes == 2 else sum(f1) / classes, mcc)


@st.composite
def answers_and_labels(draw: st.DrawFn) -> tuple[list[list[int]], list[int], int]:
    """S vectors of answers, labels, classes."""
    classes, samples = draw(st.integers(2, 6)), draw(st.integers(1, 20))
    vector = st.lists(st.integers(0, classes - 1), min_size=samples, max_size=samples)
    return draw(st.lists(vector, min_size=1, max_size=4)), draw(vector), classes


@settings(deadline=None)
@given(answers_and_labels())
def test_many_are_each_one_and_each_one_is_the_definition(case: tuple[list[list[int]], list[int], int]):
    answers, labels, classes = case
    many = scores_many(torch.tensor(answers), torch.tensor(labels), classes)
    assert tuple(many) == METRICS
    for i, each in enumerate(answers):
        one = scores(torch.tensor(each), torch.tensor(labels), classes).as_dict()
        assert {name: float(many[name][i]) for name in METRICS} == pytest.approx(one, abs=1e-12)
        assert one == pytest.approx(counted(each, labels, classes).as_dict(), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(answers_and_labels(), st.data())
def test_weights_are_samples_drawn_that_often(
    case: tuple[list[list[int]], list[int], int], data: st.DataObject
):
    answers, labels, classes = case
    draw = st.lists(st.integers(0, len(labels) - 1), min_size=1, max_size=12)
    draws = data.draw(st.lists(draw, min_size=1, max_size=3))
    weights = torch.stack([torch.bincount(torch.tensor(d), minlength=len(labels)) for d in draws])
    many = scores_many(torch.tensor(answers), torch.tensor(labels), classes, weights)
    assert many["accuracy"].shape == (len(answers), len(draws))
    assert many["mcc"].dtype == torch.float64
    for i, each in enumerate(answers):
        for j, d in enumerate(draws):
            one = counted([each[k] for k in d], [labels[k] for k in d], classes).as_dict()
            assert {name: float(many[name][i, j]) for name in METRICS} == pytest.approx(one, abs=1e-9)


def test_scores_by_name_keep_the_order_asked_for():
    found = Scores(accuracy=0.5, f1=0.25, mcc=-0.5)
    assert list(found.only(("f1", "accuracy")).items()) == [("f1", 0.25), ("accuracy", 0.5)]
    with pytest.raises(ValueError, match="metric 'bleu' is not one of accuracy, f1, mcc"):
        found.only(["f1", "bleu"])


def test_what_cannot_be_scored_is_named():
    answers, labels = torch.tensor([[0, 1, 1]]), torch.tensor([0, 1, 0])
    with pytest.raises(ValueError, match=r"predictions \(3,\) and labels \(3,\) are not \[S, N\] and \[N\]"):
        scores_many(answers[0], labels, 2)
    with pytest.raises(ValueError, match=r"predictions \(1, 3\) and labels \(2,\)"):
        scores_many(answers, labels[:2], 2)
    with pytest.raises(ValueError, match="hold nothing to score"):
        scores_many(answers[:0], labels, 2)
    with pytest.raises(ValueError, match=r"a prediction is outside 0\.\.0"):
        scores_many(answers, labels * 0, 1)
    with pytest.raises(ValueError, match=r"a label is outside 0\.\.1"):
        scores_many(answers, labels - 1, 2)
    with pytest.raises(ValueError, match=r"weights \(3,\) are not \[B, 3\]"):
        scores_many(answers, labels, 2, torch.ones(3))
    for bad in ([[0, 0, 0]], [[1, 1, -1]], [[1.0, 1.0, float("nan")]]):
        with pytest.raises(ValueError, match="a resample has a weight below 0, or none above it"):
            scores_many(answers, labels, 2, torch.tensor(bad))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("classes", [2, 4])
def test_influences_are_the_derivative_by_a_samples_weight(metric: str, classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    labels = torch.randint(0, classes, (60,), generator=generator)
    noise = torch.randint(0, classes, (5, 60), generator=generator)
    answers = torch.where(torch.rand(5, 60, generator=generator) < 0.6, labels, noise)
    weights = torch.randint(0, 3, (2, 60), generator=generator).double()
    found = influences(answers, labels, classes, weights, metric)
    assert found.shape == (5, 2, classes, classes)
    small = 1e-6
    for sample in range(0, 60, 7):
        more = weights.clone()
        more[:, sample] += small
        slope = scores_many(answers, labels, classes, more)[metric]
        slope = (slope - scores_many(answers, labels, classes, weights)[metric]) / small
        ours = torch.stack([found[s, :, labels[sample], answers[s, sample]] for s in range(5)])
        torch.testing.assert_close(ours, slope, rtol=1e-4, atol=1e-7)
    # a metric does not depend on the scale of the weights
    per_sample = torch.stack([found[s][:, labels, answers[s]] for s in range(5)])
    torch.testing.assert_close((per_sample * weights).sum(-1), torch.zeros(5, 2, dtype=torch.float64))


def test_influence_on_accuracy_and_on_constant_answers() -> None:
    labels, answers = torch.tensor([0, 0, 1, 1]), torch.tensor([[0, 0, 1, 0], [1, 1, 1, 1]])
    weights = torch.ones(1, 4, dtype=torch.float64)
    found = influences(answers, labels, 2, weights, "accuracy")
    assert found[0, 0].tolist() == [[(1 - 0.75) / 4, -0.75 / 4], [-0.75 / 4, (1 - 0.75) / 4]]
    assert not influences(answers, labels, 2, weights, "mcc")[1].any()
