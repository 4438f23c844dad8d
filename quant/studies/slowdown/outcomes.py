"""What a backend says of texts, and what that costs and is worth under a cap on the iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.evaluation.backends import Backend, GoldenBackend
from golden_model.evaluation.score import multiply_adds
from golden_model.exits import Confidence, ExitPolicy, exit_iterations
from golden_model.integer.confidence import integer_confidence, quantise_logits
from golden_model.progress import Progress


@dataclass(frozen=True)
class Reading:
    """Texts at full depth on the reporting backend: what every policy and cap is applied to.

    Members:
        config: Of the model.
        answers: Class after every iteration, int64 [iterations, texts].
        trajectory: Its confidences; float, or integers in 2^-16 for the golden model.
        fixed: Whether they are integers, so that policies are the registers' too.
        lengths: Tokens of every text.
    """

    config: ElbertConfig
    answers: Tensor
    trajectory: Confidence
    fixed: bool
    lengths: list[int]

    def exits(self, policy: ExitPolicy) -> Tensor:
        """Iteration after which each text leaves: int64 [texts]."""
        return exit_iterations(policy.to_fixed() if self.fixed else policy, self.trajectory)

    def full_depth(self) -> int:
        """Multiply-adds of all texts without early exit, all rows of all iterations."""
        every = [self.config.num_hidden_layers] * len(self.lengths)
        return multiply_adds(self.config, self.lengths, every)["full_depth"]

    def multiply_adds(self, exits: Sequence[int]) -> int:
        """Multiply-adds of all texts until these exits, answer first."""
        return multiply_adds(self.config, self.lengths, exits)["answer_first"]


def read(
    backend: Backend, texts: Sequence[tuple[str, str | None]], progress: Progress | None = None
) -> Reading:
    """Runs texts, or pairs, through all iterations."""
    pairs = [pair or "" for _, pair in texts] if any(pair is not None for _, pair in texts) else None
    longest = backend.config.max_position_embeddings
    sentences = backend.tokenizer.encode_many([text for text, _ in texts], longest, pairs)
    logits = backend.answer(sentences, ExitPolicy(), progress).logits
    assert logits is not None, "without a policy every iteration is computed"
    fixed = isinstance(backend, GoldenBackend)
    trajectory = integer_confidence(quantise_logits(logits)) if fixed else Confidence.from_logits(logits)
    lengths = [len(ids) for ids, _ in sentences]
    return Reading(backend.config, trajectory.label, trajectory, fixed, lengths)


def outcome(
    reading: Reading, exits: Tensor, labels: Tensor, clean_answers: Tensor, clean_products: int
) -> dict[str, Any]:
    """Cost and worth of texts that leave after ``exits`` (int64 [texts]).

    Args:
        reading: Of the texts.
        exits: With the cap in them.
        labels: The right classes.
        clean_answers: Full depth's, to the sentences themselves.
        clean_products: ``Reading.full_depth`` of the sentences themselves: what costs are shares of, so that
            a substitute of fewer tokens counts as what it saves.

    Returns:
        accuracy, agreement (with ``clean_answers``), mean_exit_iteration, cost and speedup (in iterations),
        cost_macs and speedup_macs, full_depth (share that runs all iterations), exits (texts per iteration).
    """
    depth, count = reading.config.num_hidden_layers, len(exits)
    answers = reading.answers[exits - 1, torch.arange(count)]
    mean = float(exits.double().mean())
    products = reading.multiply_adds(exits.tolist())
    return {
        "accuracy": float((answers == labels).double().mean()),
        "agreement": float((answers == clean_answers).double().mean()),
        "mean_exit_iteration": mean,
        "cost": mean / depth,
        "speedup": depth / mean,
        "cost_macs": products / clean_products,
        "speedup_macs": clean_products / products,
        "full_depth": float((exits == depth).double().mean()),
        "exits": torch.bincount(exits, minlength=depth + 1)[1:].tolist(),
    }
