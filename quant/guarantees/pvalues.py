"""p-values of the hypothesis that a setting's risk is above what is allowed.

Each is valid in finite samples, without any assumption but independent sentences: while the hypothesis holds,
it is at most u with probability at most u. They depend on how often each value of the loss occurred, not on
the order of the sentences, so that thousands of samples are tested at once. What holds of sentences drawn
without replacement from finitely many is in docs/guarantees.md.

Own lines, as no kept library has them without more: mapie brings scikit-learn and SciPy and rounds n·r up in
floats; confseq compiles C++ and last appeared in 2023; crepes has no risk control.
"""

from __future__ import annotations

import enum
import math

import torch
from torch import Tensor

from quant.guarantees.losses import Loss

BETS = 16
"""Stakes that the betting test divides its capital over, evenly: sixteenths of the largest."""


class Test(enum.StrEnum):
    """Where a p-value comes from."""

    __test__ = False  # no test of pytest's

    hoeffding_bentkus = "hoeffding-bentkus"
    """Hoeffding's and Bentkus' inequalities, the smaller: Bates et al. (2021), learn-then-test's own."""
    binomial = "binomial"
    """The exact tail; of losses that are 0 or 1 only, where it is never above the other."""
    betting = "betting"
    """Capital of a bet against the hypothesis: Waudby-Smith and Ramdas (2024), with constant stakes."""


def find_test(name: str | None, loss: Loss) -> Test:
    """The test of that name; None: Hoeffding-Bentkus, or betting for a loss of more than two values.

    Raises:
        ValueError: there is no such test, or it is not for this loss.
    """
    if name is None:
        return Test.hoeffding_bentkus if loss.span == 1 else Test.betting
    if name not in list(Test):
        raise ValueError(f"test {name!r} is not one of {', '.join(Test)}")
    if name == Test.binomial and loss.span > 1:
        raise ValueError(f"test binomial is for losses that are 0 or 1, not for {loss.name}: {loss.values}")
    return Test(name)


def check_share(name: str, value: float) -> float:
    """The value; raises ValueError unless it is between 0 and 1, both excluded."""
    if not 0 < value < 1:
        raise ValueError(f"{name} {value:g} is not between 0 and 1")
    return value


def binomial_tails(n: int, share: float, largest: int | None = None) -> Tensor:
    """P(Bin(n, share) <= k) for k = 0 … ``largest`` (None: n); float64 [largest + 1]."""
    largest = n if largest is None else largest
    k = torch.arange(largest + 1, dtype=torch.float64)
    log_choose = math.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    log_mass = log_choose + k * math.log(share) + (n - k) * math.log1p(-share)
    return torch.logcumsumexp(log_mass, 0).exp().clamp(max=1)


def _relative_entropy(a: Tensor, b: float) -> Tensor:
    """h1(a, b) = a ln(a/b) + (1 - a) ln((1 - a)/(1 - b)), 0·ln 0 = 0."""
    return torch.special.xlogy(a, a / b) + torch.special.xlogy(1 - a, (1 - a) / (1 - b))


def hoeffding_bentkus(n: int, span: int, share: float, largest: int | None = None) -> Tensor:
    """min(exp(-n·h1(min(r, a), a)), e·P(Bin(n, a) <= ceil(n·r))), at most 1.

    Bates, Angelopoulos, Lei, Malik, Jordan: Distribution-free, risk-controlling prediction sets (2021), as
    learn-then-test (arXiv 2110.01052) takes it. n·r is a whole number over ``span`` and is
    rounded up as one.

    Args:
        n: Sentences.
        span: Of the loss: r = excess / (n·span), of losses scaled to 0..1.
        share: a, the risk allowed, scaled like r.
        largest: Excess (sum of losses above their least value) to go up to; None: n·span.

    Returns:
        float64 [largest + 1], for excess 0 … largest.
    """
    excess = torch.arange((n * span if largest is None else largest) + 1)
    rate = (excess.double() / (n * span)).clamp(max=share)
    hoeffding = torch.exp(-n * _relative_entropy(rate, share))
    rounded = (excess + span - 1) // span
    bentkus = math.e * binomial_tails(n, share, int(rounded[-1]))[rounded]
    return torch.minimum(hoeffding, bentkus).clamp(max=1)


def betting(counts: Tensor, loss: Loss, risk: float) -> Tensor:
    """1 / mean over stakes of prod(1 + stake·(risk - x)), at most 1.

    Under the hypothesis every factor has a mean of at most 1 and none is negative, so that the capital's mean
    is at most 1 too, and Markov's inequality makes its inverse a p-value.

    Args:
        counts: Sentences with each value of the loss, [values, ...].
        loss: The loss.
        risk: Allowed.

    Returns:
        float64 [...].
    """
    largest = 1 / (loss.values[-1] - risk)
    capital = torch.full(counts.shape[1:], -math.inf, dtype=torch.float64)
    for bet in range(1, BETS + 1):
        stake = largest * bet / BETS
        won = torch.zeros_like(capital)
        for value, count in zip(loss.values, counts, strict=True):
            factor = torch.tensor(max(0.0, 1 + stake * (risk - value)), dtype=torch.float64)
            won += torch.special.xlogy(count.double(), factor)
        capital = torch.logaddexp(capital, won)
    return torch.exp(math.log(BETS) - capital).clamp(max=1)


def p_values(test: Test, counts: Tensor, loss: Loss, risk: float) -> Tensor:
    """p-value of "the mean of the loss is above ``risk``" for many samples of one size.

    Args:
        test: Which.
        counts: Sentences with each value of the loss, whole numbers [values, ...]; every sample of n >= 1.
        loss: The loss.
        risk: Allowed, between 0 and 1.

    Returns:
        float64 [...].

    Raises:
        ValueError: the samples are empty or of different sizes.
    """
    sizes = counts.sum(0)
    n = int(sizes.flatten()[0]) if sizes.numel() else 0
    if n < 1 or bool((sizes != n).any()):
        raise ValueError(f"samples of {set(sizes.flatten().tolist())} sentences, expected one size >= 1")
    if test == Test.betting:
        return betting(counts, loss, risk)
    steps = torch.tensor([value - loss.values[0] for value in loss.values])
    excess = (counts.long() * steps.reshape(-1, *[1] * (counts.dim() - 1))).sum(0)
    share = (risk - loss.values[0]) / loss.span
    largest = int(excess.max())
    if test == Test.binomial:
        return binomial_tails(n, share, largest)[excess]
    return hoeffding_bentkus(n, loss.span, share, largest)[excess]


def smallest_sample(test: Test, loss: Loss, risk: float, level: float) -> int:
    """The fewest sentences with which a setting that loses nothing on any of them is certified.

    For losses of 0 or 1 the smallest n with (1 - risk)^n <= level, whichever inequality; of betting with the
    capital spread over all stakes.
    """

    def enough(n: int) -> bool:
        counts = torch.tensor([n if value == 0 else 0 for value in loss.values])
        return bool(p_values(test, counts, loss, risk) <= level)

    high = 1
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
