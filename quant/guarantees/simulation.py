"""Whether the guarantee holds: thousands of calibrations on samples of sentences whose true risk is known.

The sentences at hand are taken as all there are, so that the risk of every setting is known exactly. Samples
are drawn from them, a setting is chosen on each, and the chosen one's true risk is looked up.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

from quant.guarantees.applied import Applied
from quant.guarantees.choose import FULL_DEPTH, Method, Rule, choose
from quant.guarantees.pvalues import binomial_tails

WAYS = {"with_replacement": "as many, with replacement", "halves": "random halves"}
"""How samples are drawn, in words."""

WHO = {"guaranteed": "certified", "naive": "fastest that fits the sample"}
"""Who chooses a setting, in words."""

SURE = 1e-3
"""A count of violations that a kept promise exceeds with less than this probability refutes it."""


def draw(sentences: int, size: int, draws: int, seed: int, replacement: bool) -> Tensor:
    """How often each sentence is in each sample: float32 [sentences, draws]; columns add up to ``size``.

    Raises:
        ValueError: ``draws`` is below 1, or a sample without replacement is empty or not smaller than all.
    """
    if draws < 1:
        raise ValueError(f"draws {draws} is below 1")
    if not replacement and not 1 <= size < sentences:
        raise ValueError(f"samples of {size} of {sentences} sentences, expected 1..{sentences - 1}")
    generator = torch.Generator().manual_seed(seed)
    if replacement:
        members = torch.randint(sentences, (size, draws), generator=generator)
    else:
        members = torch.rand(sentences, draws, generator=generator).argsort(0)[:size]
    return torch.zeros(sentences, draws).scatter_add_(0, members, torch.ones(size, draws))


def risks_of(applied: Applied, chosen: Tensor) -> Tensor:
    """True risk of each sample's setting [D]; full depth's is 0."""
    return torch.where(chosen == FULL_DEPTH, 0.0, applied.risks[chosen.clamp(min=0)])


def naive(applied: Applied, rule: Rule, weights: Tensor) -> Tensor:
    """What a user without a guarantee does: the fastest setting that fits on the sample."""
    means = sum(
        value * count for value, count in zip(applied.loss.values, applied.counts(weights), strict=True)
    ) / weights.sum(0)
    fits = means <= rule.risk
    cost = torch.where(fits, applied.mean_exits(weights), float(applied.iterations) + 1)
    return torch.where(fits.any(0), cost.argmin(0), FULL_DEPTH)


def most_violations(draws: int, rate: float) -> int:
    """The most violations in ``draws`` that are no refutation of a rate: exceeded with probability < SURE."""
    tails = binomial_tails(draws, rate)
    return int((tails <= 1 - SURE).sum())


def validate(applied: Applied, rule: Rule, draws: int, seed: int = 0) -> dict[str, Any]:
    """Simulates the choice ``draws`` times in each of two ways, and the naive one on the same samples.

    ``with_replacement``: samples as large as all, each sentence drawn from all independently: what the
    theorems speak of. ``halves``: a random half without replacement; ``other_half`` is the mean loss on the
    other, for information.

    Returns:
        JSON-able. For each way, ``guaranteed`` and ``naive``: violations (true risk above the risk allowed),
        rate, mean_risk, largest_risk, risks (each true risk with its number of samples), certified (share of
        samples with an early exit), mean_exit_iteration; and of learn-then-test ``allowed``: the most
        violations that do not refute the confidence (exact binomial test at 1e-3). ``holds``: no more than
        that; of conformal risk control, that the mean risk minus three standard errors is at most the risk.
    """
    count = applied.sentences
    ways = {"with_replacement": (count, True), "halves": (count // 2, False)}
    found: dict[str, Any] = {"draws": draws, "seed": seed, "sentences": count, "risk": rule.risk}
    for i, (name, (size, replacement)) in enumerate(ways.items()):
        weights = draw(count, size, draws, seed + i, replacement)
        way: dict[str, Any] = {"size": size}
        for who, chosen in (
            ("guaranteed", choose(applied, rule, weights).chosen),
            ("naive", naive(applied, rule, weights)),
        ):
            way[who] = _summary(applied, rule, chosen)
            if not replacement:
                way[who]["other_half"] = _elsewhere(applied, rule, chosen, weights)
        if rule.method == Method.ltt:
            assert rule.confidence is not None
            way["allowed"] = most_violations(draws, 1 - rule.confidence)
            way["holds"] = way["guaranteed"]["violations"] <= way["allowed"]
        else:
            summary = way["guaranteed"]
            way["holds"] = summary["mean_risk"] - 3 * summary["standard_error"] <= rule.risk
        found[name] = way
    return found


def _summary(applied: Applied, rule: Rule, chosen: Tensor) -> dict[str, Any]:
    risks = risks_of(applied, chosen)
    violations = int((risks > rule.risk).sum())
    depth = float(applied.iterations)
    exits = torch.where(chosen == FULL_DEPTH, depth, applied.exits.double().mean(1)[chosen.clamp(min=0)])
    return {
        "violations": violations,
        "rate": violations / len(chosen),
        "mean_risk": float(risks.mean()),
        "standard_error": float(risks.std() / len(chosen) ** 0.5) if len(chosen) > 1 else 0.0,
        "largest_risk": float(risks.max()),
        "risks": [list(pair) for pair in sorted(Counter(risks.tolist()).items())],
        "certified": float((chosen != FULL_DEPTH).double().mean()),
        "mean_exit_iteration": float(exits.mean()),
    }


def _elsewhere(applied: Applied, rule: Rule, chosen: Tensor, weights: Tensor) -> dict[str, Any]:
    """Loss on the sentences that a sample left out."""
    others = 1 - weights
    losses = torch.where(chosen == FULL_DEPTH, 0, 1) * applied.losses[chosen.clamp(min=0)].T
    means = (losses.double() * others).sum(0) / others.sum(0)
    return {"rate_above": float((means > rule.risk).double().mean()), "mean_loss": float(means.mean())}
