"""Accuracy, exits and cost of an ELBERT on labelled text, for the float and the golden model alike.

All iterations are computed once; the exit policy is then applied to the logits. That gives the same answers
as leaving early, because no iteration depends on a later one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from golden_model.datasets import TextDataset
from golden_model.exits import Confidence, ExitPolicy, exit_iterations
from golden_model.metrics import iteration_scores, scores

Backend = Literal["float", "golden"]


@dataclass(frozen=True)
class Logits:
    """Logits [iterations, samples, classes] and the confidences that go with them.

    ``fixed`` says that both are integers (golden) and that the policy's fixed-point form applies.
    """

    values: torch.Tensor
    confidence: Confidence
    fixed: bool


def compute_logits(
    folder: Path | str, data: TextDataset, backend: Backend, device: torch.device | str = "cpu"
) -> Logits:
    """Runs all iterations on all samples.

    Args:
        folder: A float checkpoint for ``float``, an integer one for ``golden``.
        data: The samples, each cut to the model's longest length.
        backend: Which model.
        device: Where to compute; the golden model's integers do not depend on it.

    Raises:
        ValueError: for an unknown backend, or a class the model does not have.
    """
    runners: dict[str, Callable[..., tuple[torch.Tensor, bool]]] = {"float": _float, "golden": _golden}
    if backend not in runners:
        raise ValueError(f"backend {backend!r} is not one of {sorted(runners)}")
    values, fixed = runners[backend](Path(folder), data, device)
    if len(data.label_names) > values.shape[-1]:
        raise ValueError(f"{data.source} has {len(data.label_names)} classes, the model {values.shape[-1]}")
    if fixed:
        from golden_model.integer_exits import integer_confidence

        return Logits(values, integer_confidence(values), True)
    return Logits(values, Confidence.from_logits(values), False)


def _float(folder: Path, data: TextDataset, device: torch.device | str) -> tuple[torch.Tensor, bool]:
    from golden_model.albert import load_float
    from golden_model.train.batches import encode
    from golden_model.train.evaluate import all_logits

    model, tokenizer, config = load_float(folder)
    encoded = encode(data, tokenizer, config.max_position_embeddings)
    return all_logits(model.to(device), encoded, tokenizer.pad_id), False


def _golden(folder: Path, data: TextDataset, device: torch.device | str) -> tuple[torch.Tensor, bool]:
    from golden_model.checkpoint import IntegerCheckpoint
    from golden_model.integer import GoldenModel
    from golden_model.tokenizer import ElbertTokenizer

    model = GoldenModel(IntegerCheckpoint.load(folder), device)
    tokenizer = ElbertTokenizer.from_folder(folder)
    sentences = tokenizer.encode_many(data.texts, model.config.max_position_embeddings, data.pairs)
    return model.all_iterations(sentences).cpu(), True


def summarise(logits: Logits, labels: torch.Tensor, policy: ExitPolicy) -> dict[str, Any]:
    """What a policy makes of logits.

    Returns:
        ``accuracy``, ``f1``, ``mcc`` of the answers at the exits; ``accuracy_full`` of the last iteration and
        ``accuracy_per_iteration``; ``exits`` (samples that left per iteration), ``mean_exit_iteration``,
        ``cost`` = sum of exit iterations / (iterations x samples) and ``speedup`` = 1 / cost.
    """
    iterations, samples, classes = logits.values.shape
    left = exit_iterations(policy.to_fixed() if logits.fixed else policy, logits.confidence)
    answers = logits.confidence.label[left - 1, torch.arange(samples)]
    each = [s.accuracy for s in iteration_scores(logits.values, labels)]
    mean = float(left.double().mean())
    return {
        "samples": samples,
        "iterations": iterations,
        **scores(answers, labels, classes).as_dict(),
        "accuracy_full": each[-1],
        "accuracy_per_iteration": each,
        "exits": torch.bincount(left - 1, minlength=iterations).tolist(),
        "mean_exit_iteration": mean,
        "cost": mean / iterations,
        "speedup": iterations / mean,
    }
