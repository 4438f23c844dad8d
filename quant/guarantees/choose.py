"""From losses to a setting: learn-then-test along each sequence, or conformal risk control.

One code chooses for the sentences at hand and for the thousands of samples of a simulation.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from quant.guarantees.applied import Applied
from quant.guarantees.losses import Loss
from quant.guarantees.pvalues import Test, check_share, find_test, p_values, smallest_sample

FULL_DEPTH = -1
"""In place of a setting: no sentence leaves early."""


class Method(enum.StrEnum):
    """How the guarantee is had."""

    ltt = "ltt"
    """Learn-then-test: the risk is bounded with a confidence over the calibration sentences."""
    crc = "crc"
    """Conformal risk control: the expected risk is bounded."""


@dataclass(frozen=True)
class Rule:
    """What is promised and by which method.

    Members:
        method: The method.
        risk: Most that the loss may be on average, 0..1.
        confidence: Of learn-then-test; None for conformal risk control.
        test: Of learn-then-test; None for conformal risk control.
    """

    method: Method
    risk: float
    confidence: float | None = None
    test: Test | None = None

    @classmethod
    def make(cls, method: str, loss: Loss, risk: float, confidence: float, test: str | None = None) -> Rule:
        """The rule of those names.

        Raises:
            ValueError: a name is not known, a number is out of its bounds, or method, loss and test do not
                go together.
        """
        if method not in list(Method):
            raise ValueError(f"method {method!r} is not one of {', '.join(Method)}")
        check_share("risk", risk)
        check_share("confidence", confidence)
        if method == Method.ltt:
            return cls(Method.ltt, risk, confidence, find_test(test, loss))
        if test is not None:
            raise ValueError(f"test {test} is of method ltt; crc bounds the expected risk and tests nothing")
        if loss.span > 1:
            raise ValueError(
                f"method crc wants a loss that only grows along the sequence, which makes {loss.name} the "
                "loss accuracy: name that"
            )
        return cls(Method.crc, risk)

    def level(self, sequences: int) -> float:
        """Of each sequence's tests: what may fail, split evenly among them (Bonferroni)."""
        assert self.confidence is not None, "conformal risk control tests nothing"
        return (1 - self.confidence) / sequences

    def smallest_sample(self, loss: Loss, sequences: int) -> int:
        """The fewest sentences with which any early exit can be certified."""
        if self.test is not None:
            return smallest_sample(self.test, loss, self.risk, self.level(sequences))
        n = max(1, math.ceil(1 / self.risk) - 2)
        while _conformal(torch.tensor(0), n) > self.risk:
            n += 1
        return n


@dataclass(frozen=True)
class Choice:
    """What D samples choose.

    Members:
        chosen: The fastest certified setting, a row of the family's, or FULL_DEPTH: int64 [D].
        reached: The last certified setting of each sequence: int64 [sequences, D].
        evidence: Of every setting its p-value, or the bound of its expected risk: float64 [S, D].
    """

    chosen: Tensor
    reached: Tensor
    evidence: Tensor


def choose(applied: Applied, rule: Rule, weights: Tensor | None = None) -> Choice:
    """The setting that each sample of the sentences certifies.

    Learn-then-test (arXiv 2110.01052, fixed-sequence testing): from the safest setting on each is tested at
    the sequence's level until the first that cannot be rejected as too risky; the last one before it is
    certified. Probability that anything certified is too risky: at most 1 - confidence, over all sequences
    together, so that the fastest of their last ones may be taken.

    Conformal risk control (arXiv 2208.02814): the boldest setting whose bound, from the monotone losses, is
    at most the risk. For one sequence only.

    Args:
        applied: Losses and exits.
        rule: What is promised.
        weights: How often each sentence is in each sample, whole numbers in float32 [N, D]; None: one sample
            of all.

    Raises:
        ValueError: conformal risk control of several sequences.
    """
    if weights is None:
        weights = torch.ones(applied.sentences, 1)
    if rule.method == Method.crc:
        if len(applied.family) > 1:
            raise ValueError(f"crc is for one sequence, the family has {len(applied.family)}")
        sizes = weights.sum(0).double()
        evidence = _conformal(applied.sums(applied.monotone, weights), sizes)
        passed = evidence <= rule.risk
    else:
        assert rule.test is not None, "learn-then-test tests"
        evidence = p_values(rule.test, applied.counts(weights), applied.loss, rule.risk)
        passed = evidence <= rule.level(len(applied.family))
    reached = torch.stack([_last_before_failure(passed[rows]) for rows in applied.rows()])
    starts = torch.tensor([rows.start for rows in applied.rows()]).unsqueeze(1)
    reached = torch.where(reached >= 0, reached + starts, FULL_DEPTH)
    return Choice(fastest(applied, reached, weights), reached, evidence)


def fastest(applied: Applied, reached: Tensor, weights: Tensor) -> Tensor:
    """Of each sample's settings [sequences, D] the one with the fewest iterations, ties to the first: [D]."""
    exits = applied.mean_exits(weights)
    cost = exits.gather(0, reached.clamp(min=0))
    cost = torch.where(reached == FULL_DEPTH, float(applied.iterations), cost)
    return reached.gather(0, cost.argmin(0, keepdim=True))[0]


def _last_before_failure(passed: Tensor) -> Tensor:
    """Index of the last setting before the first that did not pass, -1: there is none. [S, D] to [D]."""
    return passed.long().cumprod(0).sum(0) - 1


def _conformal(total: Tensor, n: Tensor | int) -> Tensor:
    """(sum of losses + largest loss, 1) / (n + 1): at most the risk allowed, and so is the expected risk."""
    return (total.double() + 1) / (n + 1)
