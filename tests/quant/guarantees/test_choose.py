"""Which setting is certified, and that the promise holds at its rate in simulation."""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations_with_replacement

import pytest
import torch
from torch import Tensor

from golden_model.exits import ExitMode, FixedExitPolicy
from quant.guarantees.applied import Applied, apply
from quant.guarantees.choose import FULL_DEPTH, Rule, choose
from quant.guarantees.families import build_family
from quant.guarantees.losses import LOSSES, LossName
from quant.guarantees.simulation import draw, most_violations, naive, risks_of, validate
from quant.studies.exits.rows import read_labels
from quant.studies.exits.store import PUBLISHED
from quant.studies.exits.table import LogitTable

LOSS = LOSSES[LossName.disagreement]
DRAWS = 500


def made(*sequences: Tensor) -> Applied:
    """Settings with these losses [settings, N]; later ones of a sequence leave earlier."""
    family, exits = [], []
    for losses in sequences:
        count = len(losses)
        family.append([FixedExitPolicy(mode=ExitMode.entropy, delta=i + 1) for i in range(count)])
        exits.append(torch.arange(30, 30 - count, -1).unsqueeze(1).expand(losses.shape))
    losses = torch.cat(sequences).to(torch.int8)
    return Applied(family, LOSS, losses, torch.cat(exits).to(torch.uint8), 40)


def losing(sentences: int, *counts: int) -> Tensor:
    """A setting per count, which loses on the first so many sentences."""
    return torch.stack([torch.arange(sentences) < count for count in counts])


@cache
def population(loss: LossName) -> Applied:
    """The bundled task's published logits as all sentences there are."""
    table = LogitTable.load(PUBLISHED / "sst2" / "elbert-golden.safetensors")
    labels = read_labels(PUBLISHED / "sst2")
    assert labels is not None
    table = table.answering(labels.classes, labels.classes)
    family = build_family(ExitMode.bias_1, table.facts.iterations, table.facts.classes)
    return apply(table, family, LOSSES[loss], torch.tensor(labels.labels))


def test_the_last_setting_before_the_first_failure_is_certified():
    applied = made(losing(400, 0, 0, 1, 200, 0))
    rule = Rule.make("ltt", LOSS, 0.05, 0.95)
    choice = choose(applied, rule)
    passed = (choice.evidence[:, 0] <= 0.05).tolist()
    assert passed == [True, True, True, False, True]
    # not 3, the first that failed (whose risk is 0.5), and not 4, which was never tested
    assert choice.chosen.tolist() == [2]


def test_nothing_passes_and_everything_passes():
    rule = Rule.make("ltt", LOSS, 0.05, 0.95)
    assert choose(made(losing(400, 100, 0)), rule).chosen.tolist() == [FULL_DEPTH]
    assert choose(made(losing(400, 0, 0, 0)), rule).chosen.tolist() == [2]
    assert choose(made(losing(58, 0)), rule).chosen.tolist() == [FULL_DEPTH]  # 0.95^58 = 0.051
    assert choose(made(losing(59, 0)), rule).chosen.tolist() == [0]
    assert choose(made(losing(1, 0)), rule).chosen.tolist() == [FULL_DEPTH]


def test_a_p_value_at_its_level_passes():
    applied = made(losing(10, 0))
    level = float(choose(applied, Rule.make("ltt", LOSS, 0.5, 0.9)).evidence)
    at = Rule.make("ltt", LOSS, 0.5, 1 - level)
    assert choose(applied, at).chosen.tolist() == [0 if level <= at.level(1) else FULL_DEPTH]
    assert choose(applied, Rule.make("ltt", LOSS, 0.5, 1 - 0.99 * level)).chosen.tolist() == [FULL_DEPTH]


def test_sequences_share_the_confidence_and_the_fastest_certified_is_taken():
    rule = Rule.make("ltt", LOSS, 0.05, 0.95)
    short, long = losing(70, 0), losing(70, 0, 0, 0)
    assert choose(made(long), rule).chosen.tolist() == [2]
    assert choose(made(short, long), rule).chosen.tolist() == [FULL_DEPTH]  # 0.95^70 = 0.028 > 0.05 / 2
    assert choose(made(losing(80, 0), losing(80, 0, 0, 0)), rule).chosen.tolist() == [3]


@pytest.mark.parametrize("risk", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("loss", [LossName.disagreement, LossName.accuracy])
@pytest.mark.parametrize("test", ["hoeffding-bentkus", "binomial", "betting"])
def test_the_bound_holds_at_its_rate_on_published_logits_and_the_naive_choice_does_not(risk, loss, test):
    """Violations of 500 beyond what an exact binomial test at 1e-3 allows would refute the promise."""
    rule = Rule.make("ltt", LOSSES[loss], risk, 0.95, test)
    found = validate(population(loss), rule, DRAWS, seed=1)
    allowed = most_violations(DRAWS, 0.05)
    for way in ("with_replacement", "halves"):
        assert found[way]["guaranteed"]["violations"] <= allowed
        assert found[way]["naive"]["violations"] > 2 * allowed  # the control: it would be noticed
        assert found[way]["holds"]
    assert found["with_replacement"]["guaranteed"]["certified"] > 0.9  # the promise is not an empty one


@pytest.mark.parametrize("risk", [0.02, 0.05])
def test_the_difference_is_bounded_at_its_rate(risk):
    loss = LossName.difference
    found = validate(population(loss), Rule.make("ltt", LOSSES[loss], risk, 0.95), DRAWS, seed=2)
    assert found["with_replacement"]["holds"]
    assert found["halves"]["holds"]
    assert found["with_replacement"]["guaranteed"]["certified"] > 0.9


def test_violations_at_the_edge_are_as_frequent_as_the_exact_test_says():
    """A first setting just above the risk: a violation is its rejection, whose probability is known."""
    applied = made(losing(1000, 51, 51))
    rule = Rule.make("ltt", LOSS, 0.05, 0.95, "binomial")
    weights = draw(1000, 1000, 4000, 3, replacement=True)
    rate = float((risks_of(applied, choose(applied, rule, weights).chosen) > 0.05).double().mean())
    assert 0.02 < rate < 0.05 + 3.1 * (0.05 * 0.95 / 4000) ** 0.5
    # five times the level would be noticed
    loose = Rule.make("ltt", LOSS, 0.05, 0.75, "binomial")
    broken = validate(applied, loose, DRAWS, seed=3)["with_replacement"]["guaranteed"]["violations"]
    assert broken > most_violations(DRAWS, 0.05)


def test_without_the_split_of_the_confidence_many_sequences_break_it():
    generator = torch.Generator().manual_seed(5)
    sequences = [losing(1000, 51)[:, torch.randperm(1000, generator=generator)] for _ in range(12)]
    applied = made(*sequences)
    rule = Rule.make("ltt", LOSS, 0.05, 0.95, "binomial")
    weights = draw(1000, 1000, DRAWS, 6, replacement=True)
    choice = choose(applied, rule, weights)
    allowed = most_violations(DRAWS, 0.05)
    assert int((choice.chosen != FULL_DEPTH).sum()) <= allowed
    assert int((choice.evidence <= 0.05).any(0).sum()) > 2 * allowed


@pytest.mark.parametrize("loss", [LossName.disagreement, LossName.accuracy])
@pytest.mark.parametrize("risk", [0.005, 0.01, 0.05])
def test_conformal_risk_control_keeps_the_expected_risk(loss, risk):
    """Exactly: each sentence in turn is the new one, the others choose; the mean of its losses is bounded."""
    applied = population(loss)
    rule = Rule.make("crc", LOSSES[loss], risk, 0.95)
    count = applied.sentences
    choice = choose(applied, rule, 1 - torch.eye(count))
    chosen = choice.chosen
    lost = applied.monotone[chosen.clamp(min=0), torch.arange(count)].double()
    lost[chosen == FULL_DEPTH] = 0
    assert float(lost.mean()) <= risk
    found = validate(applied, rule, DRAWS)
    assert found["with_replacement"]["holds"]
    assert found["halves"]["holds"]
    assert found["with_replacement"]["guaranteed"]["certified"] == 1


def test_conformal_risk_control_counts_the_new_sentence():
    """Two losers of eleven, ten choose: by their own mean alone the expected loss would be 2/11 > 0.1."""
    applied = made(losing(11, 2))
    others = 1 - torch.eye(11)
    chosen = choose(applied, Rule.make("crc", LOSS, 0.1, 0.95), others).chosen
    assert chosen.tolist() == [FULL_DEPTH] * 11
    by_mean = naive(applied, Rule.make("crc", LOSS, 0.1, 0.95), others)
    lost = (by_mean == 0) & (torch.arange(11) < 2)
    assert float(lost.double().mean()) > 0.1


def every_sample(sentences: int, size: int) -> tuple[Tensor, Tensor]:
    """How often each sentence is in each sample with replacement [N, D], and their probabilities [D]."""
    drawn = list(combinations_with_replacement(range(sentences), size))
    weights = torch.nn.functional.one_hot(torch.tensor(drawn), sentences).sum(1).T
    log_mass = math.lgamma(size + 1) - torch.lgamma(weights.double() + 1).sum(0) - size * math.log(sentences)
    return weights.float(), log_mass.exp()


FEW = losing(6, 1, 2, 3, 5)[:, [3, 0, 5, 1, 4, 2]]
"""Four settings, risks 1/6 to 5/6."""


@pytest.mark.parametrize("test", ["hoeffding-bentkus", "binomial", "betting"])
@pytest.mark.parametrize("risk", [0.16, 0.33, 0.49])
def test_the_confidence_is_kept_over_every_sample(test, risk):
    weights, mass = every_sample(6, 10)
    assert float(mass.sum()) == pytest.approx(1)
    applied = made(FEW, FEW.flip(1)[1:])
    for confidence in (0.6, 0.75, 0.9):
        chosen = choose(applied, Rule.make("ltt", LOSS, risk, confidence, test), weights).chosen
        broken = mass[risks_of(applied, chosen) > risk].sum()
        assert float(broken) <= 1 - confidence
    loose = mass[risks_of(applied, naive(applied, Rule.make("ltt", LOSS, risk, 0.6), weights)) > risk].sum()
    assert float(loose) > 0.4  # the control


@pytest.mark.parametrize("risk", [0.2, 0.4, 0.6])
def test_conformal_risk_control_keeps_the_expected_risk_over_every_sample(risk):
    weights, mass = every_sample(12, 5)
    applied = made(losing(12, *range(1, 13)))
    rule = Rule.make("crc", LOSS, risk, 0.95)
    kept, broken = (
        risks_of(applied, c) for c in (choose(applied, rule, weights).chosen, naive(applied, rule, weights))
    )
    assert risk / 2 < float((mass * kept).sum()) <= risk < float((mass * broken).sum())


def test_conformal_losses_only_grow_along_the_sequence():
    applied = made(torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 0]]))
    assert applied.monotone.tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 0]]
    for loss in LossName:
        found = population(loss)
        assert bool((found.monotone.diff(dim=0) >= 0).all())
        assert bool((found.monotone >= found.losses).all())


def test_bolder_settings_leave_no_later():
    assert bool((population(LossName.disagreement).exits.int().diff(dim=0) <= 0).all())


def test_samples_have_their_size_and_seed():
    once, again = (draw(30, 15, 20, 4, replacement=False) for _ in range(2))
    assert torch.equal(once, again)
    assert bool((once.sum(0) == 15).all())
    assert float(once.max()) == 1
    assert float(draw(30, 30, 20, 4, replacement=True).max()) > 1
    with pytest.raises(ValueError, match=r"samples of 30 of 30 sentences, expected 1\.\.29"):
        draw(30, 30, 1, 0, replacement=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", LOSS, 0.1, 0.9), "method 'x' is not one of ltt, crc"),
        (("ltt", LOSS, 1.0, 0.9), "risk 1 is not between 0 and 1"),
        (("ltt", LOSS, 0.1, 0.0), "confidence 0 is not between 0 and 1"),
        (("crc", LOSS, 0.1, 0.9, "binomial"), "test binomial is of method ltt"),
        (("crc", LOSSES[LossName.difference], 0.1, 0.9), "loss accuracy: name that"),
    ],
)
def test_bad_rules_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Rule.make(*arguments)
    with pytest.raises(ValueError, match="crc is for one sequence, the family has 2"):
        choose(made(losing(9, 0), losing(9, 0)), Rule.make("crc", LOSS, 0.1, 0.9))
