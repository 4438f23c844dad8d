"""p-values: known values, exact validity, and what they refuse."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import pytest
import torch

from quant.guarantees.losses import LOSSES, LossName
from quant.guarantees.pvalues import (
    Test,
    binomial_tails,
    check_share,
    find_test,
    p_values,
    smallest_sample,
)

BINARY, DIFFERENCE = LOSSES[LossName.disagreement], LOSSES[LossName.difference]


def of_losses(test: Test, n: int, risk: float) -> torch.Tensor:
    """p-values of 0 … n losses among n sentences."""
    lost = torch.arange(n + 1)
    return p_values(test, torch.stack([n - lost, lost]), BINARY, risk)


@pytest.mark.parametrize(
    ("n", "lost", "risk", "expected"),
    [  # SciPy's binom.cdf in learn-then-test's formula, as mapie 1.6.0 computes it
        (1, 0, 0.01, 0.99),
        (1, 1, 0.01, 1.0),
        (10, 0, 0.1, 0.9**10),
        (100, 2, 0.1, 0.005286744607654358),
        (872, 2, 0.01, 0.020626037249590258),
        (872, 3, 0.01, 0.06884093269763673),
        (872, 8, 0.02, 0.02516727551256253),
        (500, 20, 0.05, 0.486166652521212),
        (500, 25, 0.05, 1.0),
        (2000, 60, 0.05, 1.9083733268071774e-05),
    ],
)
def test_hoeffding_bentkus_has_known_values(n, lost, risk, expected):
    found = float(of_losses(Test.hoeffding_bentkus, n, risk)[lost])
    assert found == pytest.approx(expected, rel=1e-9)


def test_binomial_tails_are_those_of_exact_fractions():
    share = Fraction(3, 100)
    mass = [math.comb(60, k) * share**k * (1 - share) ** (60 - k) for k in range(61)]
    exact = [float(sum(mass[: k + 1])) for k in range(61)]
    torch.testing.assert_close(binomial_tails(60, 0.03), torch.tensor(exact, dtype=torch.float64))


@pytest.mark.parametrize("test", list(Test))
@pytest.mark.parametrize("risk", [0.01, 0.1, 0.5])
def test_more_losses_and_fewer_sentences_are_less_evidence(test, risk):
    for n in (1, 2, 40, 300):
        found = of_losses(test, n, risk)
        assert bool((found.diff() >= -1e-12).all())
        assert bool(((found > 0) & (found <= 1)).all())
        assert float(found[0]) >= float(of_losses(test, n + 1, risk)[0])
    assert float(of_losses(test, 300, risk)[3]) >= float(of_losses(test, 300, risk + 0.05)[3])


@pytest.mark.parametrize("test", list(Test))
@pytest.mark.parametrize(("n", "risk"), [(1, 0.3), (30, 0.1), (200, 0.02), (200, 0.3)])
def test_a_true_hypothesis_is_rejected_no_more_often_than_said(test, n, risk):
    found, tails = of_losses(test, n, risk), binomial_tails(n, risk)
    # P(p <= found[k]) = P(at most k losses), at the hypothesis' very edge
    assert bool((tails <= found + 1e-12).all())


@pytest.mark.parametrize("shares", [(0.1, 0.7, 0.2), (0.0, 0.9, 0.1), (0.4, 0.1, 0.5)])
def test_a_true_hypothesis_about_the_difference_is_rejected_no_more_often_than_said(shares):
    n, risk = 25, shares[2] - shares[0]
    ways = [(w, n - w - k, k) for w, k in product(range(n + 1), repeat=2) if w + k <= n]
    mass = torch.tensor(
        [
            math.factorial(n)
            / math.prod(map(math.factorial, way))
            * math.prod(s**c for s, c in zip(shares, way, strict=True))
            for way in ways
        ],
        dtype=torch.float64,
    )
    for test in (Test.betting, Test.hoeffding_bentkus):
        found = p_values(test, torch.tensor(ways).T, DIFFERENCE, risk)
        assert float(found.min()) < 0.5
        for level in found.unique().tolist():
            assert float(mass[found <= level].sum()) <= level + 1e-9


def hypergeometric_tails(total: int, bad: int, n: int) -> list[float]:
    """P(at most k losses), k = 0 … n, of n sentences drawn without replacement from ``total``."""
    ways = [math.comb(bad, k) * math.comb(total - bad, n - k) for k in range(n + 1)]
    return [sum(ways[: k + 1]) / math.comb(total, n) for k in range(n + 1)]


@pytest.mark.parametrize("test", list(Test))
def test_it_holds_without_replacement_too(test):
    """Every set of up to 24 sentences and every sample size: P(p <= found[k]) at a true share of the risk."""
    for total in range(2, 25):
        for n, bad in product(range(1, total), range(1, total)):
            risk = bad / total
            found = of_losses(test, n, risk).tolist()
            for k, reached in enumerate(hypergeometric_tails(total, bad, n)):
                # Hoeffding (1956) on sums of independent trials: in the tail alone
                if test != Test.binomial or k == 0 or k <= n * risk - 1:
                    assert reached <= found[k] + 1e-12, (total, n, bad, k)


def test_the_binomial_without_replacement_holds_in_its_tail_alone():
    reached = hypergeometric_tails(100, 99, 2)[1]
    assert reached > float(of_losses(Test.binomial, 2, 0.99)[1])
    for n in range(1, 200):
        for percent in range(1, 51):
            outside = max(1, math.floor(n * percent / 100 - 1) + 1)  # the first that is not in it
            if outside <= n:
                assert float(binomial_tails(n, percent / 100, outside)[-1]) > 0.25


@pytest.mark.parametrize("test", [Test.betting, Test.hoeffding_bentkus])
def test_the_difference_holds_without_replacement_too(test):
    total = 12
    for won, lost in product(range(4), range(1, 6)):
        risk = (lost - won) / total
        if risk <= 0:
            continue
        for n in (1, 3, 6, 11):
            ways = [
                (w, n - w - k, k)
                for w, k in product(range(won + 1), range(lost + 1))
                if 0 <= n - w - k <= total - won - lost
            ]
            mass = torch.tensor(
                [
                    math.comb(won, w) * math.comb(total - won - lost, same) * math.comb(lost, k)
                    for w, same, k in ways
                ],
                dtype=torch.float64,
            ) / math.comb(total, n)
            found = p_values(test, torch.tensor(ways).T, DIFFERENCE, risk)
            for level in found.unique().tolist():
                assert float(mass[found <= level].sum()) <= level + 1e-9


def test_the_binomial_is_never_above_hoeffding_bentkus():
    for n, risk in ((1, 0.2), (50, 0.1), (872, 0.01)):
        exact, bound = of_losses(Test.binomial, n, risk), of_losses(Test.hoeffding_bentkus, n, risk)
        assert bool((exact <= bound + 1e-12).all())


def test_what_is_won_is_evidence_about_the_difference_alone():
    lost, balanced = torch.tensor([0, 497, 3]), torch.tensor([3, 494, 3])
    assert float(p_values(Test.betting, balanced, DIFFERENCE, 0.02)) < float(
        p_values(Test.betting, lost, DIFFERENCE, 0.02)
    )


@pytest.mark.parametrize("test", list(Test))
@pytest.mark.parametrize("loss", [BINARY, DIFFERENCE], ids=lambda loss: loss.name)
def test_the_smallest_sample_is_the_smallest(test, loss):
    if test == Test.binomial and loss is DIFFERENCE:
        pytest.skip("not for it")
    n = smallest_sample(test, loss, 0.05, 0.05)

    def nothing_lost(n: int) -> float:
        counts = torch.tensor([n if value == 0 else 0 for value in loss.values])
        return float(p_values(test, counts, loss, 0.05))

    assert nothing_lost(n) <= 0.05 < nothing_lost(n - 1)
    if loss is BINARY and test != Test.betting:
        assert 0.95**n <= 0.05 < 0.95 ** (n - 1)
        assert smallest_sample(test, loss, 0.01, 0.05) == 299


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="samples of"):
        p_values(Test.binomial, torch.tensor([[3, 4], [0, 0]]), BINARY, 0.1)
    with pytest.raises(ValueError, match="expected one size >= 1"):
        p_values(Test.binomial, torch.tensor([0, 0]), BINARY, 0.1)
    with pytest.raises(ValueError, match="test 'x' is not one of hoeffding-bentkus, binomial, betting"):
        find_test("x", BINARY)
    with pytest.raises(ValueError, match="binomial is for losses that are 0 or 1, not for difference"):
        find_test("binomial", DIFFERENCE)
    for value in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="is not between 0 and 1"):
            check_share("risk", value)
