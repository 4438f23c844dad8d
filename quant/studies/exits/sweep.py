"""What many settings do with many sentences: exits and answers, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from golden_model.exits import (
    WINDOW_MODES,
    AnyPolicy,
    Confidence,
    ExitMode,
    exit_iterations,
)
from quant.studies.exits.grids import Setting
from quant.studies.exits.table import Facts, LogitTable


@dataclass(frozen=True)
class Outcomes:
    """What S settings of one method do with N sentences.

    Members:
        settings: S of them.
        exits: Iteration after which each sentence leaves, from 1: uint8 [S, N].
        answers: Class answered there: uint8 [S, N].
        iterations: L of the full model.
        mac_shares: Multiply-adds of leaving after each iteration, layers and exits, as a share of those of
            plain ALBERT at full depth with all rows: float64 [L].
    """

    settings: Sequence[Setting]
    exits: Tensor
    answers: Tensor
    iterations: int
    mac_shares: Tensor

    def __len__(self) -> int:
        return len(self.settings)

    @cached_property
    def costs(self) -> Tensor:
        """Share of the multiply-adds, per sentence: float64 [S, N]; its mean is the cost."""
        return self.macs(self.exits)

    def macs(self, exits: Tensor) -> Tensor:
        """``mac_shares`` of leaving at ``exits``: float64 of its shape."""
        return self.mac_shares[exits.long() - 1]

    def only(self, variants: Sequence[str]) -> Outcomes:
        """The settings of these variants."""
        return self.take([i for i, setting in enumerate(self.settings) if setting.variant in variants])

    def distinct(self) -> Outcomes:
        """The first of all settings that treat every sentence alike: what is worth picking from."""
        first: dict[bytes, int] = {}
        for row, (exits, answers) in enumerate(zip(self.exits.numpy(), self.answers.numpy(), strict=True)):
            first.setdefault(exits.tobytes() + answers.tobytes(), row)
        return self.take(list(first.values()))

    def take(self, rows: Sequence[int]) -> Outcomes:
        """The settings of these rows."""
        return replace(
            self,
            settings=[self.settings[i] for i in rows],
            exits=self.exits[rows],
            answers=self.answers[rows],
        )


def exits_of(policies: Sequence[AnyPolicy], trajectory: Confidence) -> Tensor:
    """``exit_iterations`` of many policies at once.

    A window policy leaves when the first of its two stages fires, so that its exit is the smaller one of two
    policies with one stage each; the settings of a grid share those, and each is computed once.

    Args:
        policies: float for a float trajectory, fixed for an integer one.
        trajectory: [iterations, N].

    Returns:
        uint8 [policies, N].
    """
    known: dict[AnyPolicy, Tensor] = {}

    def leave(policy: AnyPolicy) -> Tensor:
        if policy not in known:
            known[policy] = exit_iterations(policy, trajectory).to(torch.uint8)
        return known[policy]

    result = torch.empty((len(policies), trajectory.entropy.shape[1]), dtype=torch.uint8)
    for row, policy in enumerate(policies):
        if policy.mode in WINDOW_MODES:
            stage_one = type(policy).model_validate({"mode": ExitMode.entropy, "delta": policy.delta})
            stage_two = policy.model_copy(update={"delta": 0})
            torch.minimum(leave(stage_one), leave(stage_two), out=result[row])
        else:
            result[row] = leave(policy)
    return result


def sweep(table: LogitTable, settings: Sequence[Setting]) -> Outcomes:
    """Applies policies to a method's logits; for golden in fixed point, as the hardware does.

    Costs are answer first, as far as the table says what that saves (``Facts.leaving_macs``).

    Raises:
        ValueError: a setting has no policy.
    """
    policies = [table.policy(s.policy) for s in settings if s.policy is not None]
    if len(policies) < len(settings):
        raise ValueError("a setting without policy cannot be applied to logits")
    exits = exits_of(policies, table.confidence)
    answers = table.labels.to(torch.uint8).gather(0, exits.long() - 1)
    return Outcomes(settings, exits, answers, table.facts.iterations, mac_shares(table.facts))


def mac_shares(facts: Facts, answer_first: bool = True) -> Tensor:
    """:attr:`Outcomes.mac_shares` of a method; arguments as ``Facts.leaving_macs``."""
    macs = torch.tensor(facts.leaving_macs(answer_first), dtype=torch.float64)
    return macs / facts.albert_macs


def cut(tables: Sequence[LogitTable], iterations: int) -> Outcomes:
    """ALBERT cut to k iterations, one setting per table: only the last logits count, answer first.

    Args:
        tables: Of models trained with k iterations, for different k.
        iterations: L of the full model.
    """
    ordered = sorted(tables, key=lambda table: table.facts.iterations)
    depths = [table.facts.iterations for table in ordered]
    answers = torch.stack([table.labels[-1] for table in ordered]).to(torch.uint8)
    exits = torch.tensor(depths, dtype=torch.uint8).unsqueeze(1).expand_as(answers)
    settings = [Setting(iterations=k) for k in depths]
    facts = ordered[-1].facts
    last = facts.layer_macs if facts.answer_macs is None else facts.answer_macs[-1]
    macs = torch.arange(iterations, dtype=torch.float64) * facts.layer_macs + last + facts.exit_macs[-1]
    whole = iterations * facts.layer_macs + facts.exit_macs[-1]
    return Outcomes(settings, exits, answers, iterations, macs / whole)


def oracle(table: LogitTable, labels: Tensor) -> Outcomes:
    """The bound of every policy on these logits: each sentence leaves at the first iteration that is right.

    The first setting is the oracle itself: who never is right runs all iterations and stays wrong. Setting k
    after it may look no further than iteration k, and lets everyone else go after the first: how far the
    bound goes at less cost.
    """
    right = table.labels == labels
    never = ~right.any(0)
    first = right.to(torch.uint8).argmax(0) + 1
    depth = table.facts.iterations
    limits = torch.arange(1, depth + 1).unsqueeze(1)
    limited = torch.where((first <= limits) & ~never, first, 1)
    exits = torch.cat([torch.where(never, depth, first).unsqueeze(0), limited])
    settings = [Setting(), *(Setting(iterations=k) for k in range(1, depth + 1))]
    answers = table.labels.gather(0, exits - 1)
    return Outcomes(settings, exits.to(torch.uint8), answers.to(torch.uint8), depth, mac_shares(table.facts))
