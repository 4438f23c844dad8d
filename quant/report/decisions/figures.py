"""The numbers behind every figure, as one JSON-able dictionary that page, SVG files and ``--json`` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from golden_model.data.tables import TextDataset
from golden_model.evaluation.backends import tokenize
from golden_model.evaluation.score import evaluate
from golden_model.exits import ExitPolicy, has_stage_one, stage_two_length
from golden_model.integer.model import Sentence
from golden_model.progress import Progress
from golden_model.provenance import header
from quant.report.decisions.choose import QUADRANTS, evenly, quadrant, spread
from quant.report.decisions.record import Recorder, Recording

DIGITS = 4
"""Decimals of per-sentence numbers; aggregates are not rounded."""
MAX_POINTS = 2000
"""Sentences drawn in the projection, which is fitted on all."""
MAX_TOKENS = 40
"""Columns of an attention map; what a sentence has beyond them is summed in one more."""
MAX_TEXT = 400
"""Characters of a sentence shown."""
OUTSIDE = 0.005
"""Share of the projection's points that either end of an axis may leave out; they stand at the frame."""
SHADED = 0.98
"""Share of a map's words that its colours reach up to; one cell does not pale all others."""
EXAMPLE_LENGTHS = range(7, 25)
"""Token counts preferred for attention maps: enough to see, few enough to read."""


def decisions(
    recorder: Recorder,
    data: TextDataset,
    policy: ExitPolicy,
    *,
    backend: str,
    model: Path | str,
    sentences: int = 200,
    examples: int = 8,
    class_names: Sequence[str] | None = None,
    task: str | None = None,
    metric: str = "accuracy",
    certified: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Runs a data set through every iteration and describes what the policy decides.

    Args:
        recorder: From ``open_recorder``; records on the way unless it has.
        data: Labelled sentences.
        policy: What decides.
        backend: ``float`` or ``golden``, for the record.
        model: The model folder, for its name.
        sentences: Sentences described one by one; aggregates are always over all.
        examples: Sentences with attention.
        class_names: Names of the classes; by default the model's, or the data's where it has none.
        task: Name of the task the data came from, for the record.
        metric: The primary one, of ``golden_model.data.metrics.METRICS``.
        certified: What a certificate promises of the policy, in a line; None: none does.
        progress: Told how many more sentences are done.

    Raises:
        ValueError: ``sentences`` or ``examples`` is below 1, or the data do not fit the model.
    """
    for name, value in (("sentences", sentences), ("examples", examples)):
        if value < 1:
            raise ValueError(f"{name} {value} is below 1")
    config = recorder.config
    with_exit = evaluate(recorder, data, policy, progress, metric)
    without_exit = evaluate(recorder, data, ExitPolicy(), None, metric)
    recording = recorder.recording
    assert recording is not None  # evaluate has just filled it
    match = data.match(recorder.label_names, config.num_labels)
    data = replace(data, labels=[match.classes[label] for label in data.labels])
    labels = torch.tensor(data.labels, dtype=torch.int64)
    answers = recording.answers(policy)
    exits: list[int] = answers.exits.tolist()
    right = answers.labels == labels
    last = recording.confidence.label[-1]
    groups = [quadrant(a, b) for a, b in zip(right.tolist(), (last == labels).tolist(), strict=True)]
    encoded = tokenize(data, recorder)
    rows = spread(groups, exits, sentences)
    names = list(class_names or recorder.label_names or match.titles)[: config.num_labels]
    names += [str(i) for i in range(len(names), config.num_labels)]
    return {
        "header": header(None, recorder.sha256),
        "report": "decisions",
        "backend": backend,
        "model": {
            "name": _model_name(model),
            "iterations": config.num_hidden_layers,
            "heads": config.num_attention_heads,
            "hidden_size": config.hidden_size,
            "classes": names,
        },
        "data": {"source": data.source, "sha256": data.sha256, "task": task, "sentences": len(data)},
        "policy": {
            **policy.model_dump(),
            "stage_one": _has_stage_one(policy),
            "length": stage_two_length(policy),
        },
        "certified": certified,
        "with_exit": with_exit,
        "without_exit": without_exit,
        "exits": _exits(answers.exits, right, config.num_hidden_layers),
        "accuracy": _accuracy(recording, answers.exits, labels),
        "quadrants": _quadrants(recording, exits, labels, groups),
        "sentences": _sentences(recording, policy, data, groups, rows),
        "attention": _attention(recorder, encoded, groups, exits, rows, examples),
        "projection": _projection(recording, answers.exits, labels),
    }


def _model_name(folder: Path | str) -> str:
    """The folder's name; its parent's where it is a model folder's ``float`` or ``integer``."""
    path = Path(folder).resolve()
    return path.parent.name if path.name in ("float", "integer") else path.name


def _has_stage_one(policy: ExitPolicy) -> bool:
    return has_stage_one(policy.mode) and policy.delta > 0


def _true_class(recording: Recording, labels: Tensor) -> Tensor:
    """Probability of the true class: float64 [I, N]."""
    probabilities = recording.real(recording.confidence.probabilities)
    return probabilities.gather(-1, labels.expand(len(probabilities), -1).unsqueeze(-1)).squeeze(-1)


def _exits(exits: Tensor, right: Tensor, iterations: int) -> dict[str, Any]:
    """Sentences leaving after each iteration, by whether their answer is right."""

    def counts(chosen: Tensor) -> list[int]:
        return torch.bincount(exits[chosen], minlength=iterations + 1)[1:].tolist()

    return {"right": counts(right), "wrong": counts(~right)}


def _accuracy(recording: Recording, exits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Accuracy and mean confidence per iteration, of all sentences and of those leaving there."""
    right = (recording.confidence.label == labels).double()
    confidence = recording.real(recording.confidence.confidence)
    leaving: dict[str, list[Any]] = {"count": [], "accuracy": [], "confidence": []}
    for i in range(len(right)):
        here = exits == i + 1
        count = int(here.sum())
        leaving["count"].append(count)
        for key, values in (("accuracy", right[i]), ("confidence", confidence[i])):
            leaving[key].append(float(values[here].mean()) if count else None)
    return {
        "all": {"accuracy": right.mean(1).tolist(), "confidence": confidence.mean(1).tolist()},
        "leaving": leaving,
    }


def _quadrants(
    recording: Recording, exits: list[int], labels: Tensor, groups: list[int]
) -> list[dict[str, Any]]:
    """Size and typical trajectory (quartiles of the true class's probability) of each quadrant."""
    true = _true_class(recording, labels).numpy()
    result = []
    for index, (key, name, meaning) in enumerate(QUADRANTS):
        members = [i for i, group in enumerate(groups) if group == index]
        entry: dict[str, Any] = {
            "key": key,
            "name": name,
            "meaning": meaning,
            "count": len(members),
            "share": len(members) / len(groups),
            "mean_exit_iteration": None,
            "quartiles": None,
        }
        if members:
            entry["mean_exit_iteration"] = float(np.mean([exits[i] for i in members]))
            quartiles = np.quantile(true[:, members], (0.25, 0.5, 0.75), axis=1)
            entry["quartiles"] = {
                name: values.tolist()
                for name, values in zip(("low", "median", "high"), quartiles, strict=True)
            }
        result.append(entry)
    return result


def _shown(data: TextDataset, row: int) -> str:
    text = data.texts[row] if data.pairs is None else f"{data.texts[row]} | {data.pairs[row]}"
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _sentences(
    recording: Recording, policy: ExitPolicy, data: TextDataset, groups: list[int], rows: list[int]
) -> list[dict[str, Any]]:
    """Everything about single sentences: entropy is the one stage 1 compares with delta."""
    answers = recording.answers(policy)
    probabilities = recording.real(recording.confidence.probabilities)
    entropy = recording.real(recording.confidence.uncertainty(policy.mode))
    last = recording.confidence.label[-1]
    reasons = recording.reasons(policy)
    return [
        {
            "row": row,
            "text": _shown(data, row),
            "label": data.labels[row],
            "answer": int(answers.labels[row]),
            "last_answer": int(last[row]),
            "exit": int(answers.exits[row]),
            "reason": reasons[row],
            "quadrant": groups[row],
            "probabilities": _rounded(probabilities[:, row]),
            "entropy": _rounded(entropy[:, row]),
        }
        for row in rows
    ]


def _attention(
    recorder: Recorder,
    encoded: Sequence[Sentence],
    groups: list[int],
    exits: list[int],
    rows: list[int],
    count: int,
) -> list[dict[str, Any]]:
    """Attention of [CLS] in some of the shown sentences: ``weights`` [heads][iterations][tokens]."""
    handy = [row for row in rows if len(encoded[row][0]) in EXAMPLE_LENGTHS]
    if len(handy) < count:
        handy = rows
    chosen = spread([groups[i] for i in handy], [exits[i] for i in handy], count)
    result = []
    for row in (handy[i] for i in chosen):
        weights = recorder.attention(encoded[row])
        ids = encoded[row][0]
        special = [i in (recorder.tokenizer.cls_id, recorder.tokenizer.sep_id) for i in ids]
        tokens = recorder.tokenizer.pieces(ids)
        beyond = len(ids) - MAX_TOKENS
        if beyond > 0:
            tokens = [*tokens[:MAX_TOKENS], f"+{beyond} more"]
            special = [*special[:MAX_TOKENS], True]
            rest = weights[..., MAX_TOKENS:].sum(-1, keepdim=True)
            weights = torch.cat([weights[..., :MAX_TOKENS], rest], dim=-1)
        by_head = weights.transpose(0, 1)
        result.append(
            {
                "row": row,
                "tokens": tokens,
                "special": special,
                "weights": _rounded(by_head),
                "mean": _rounded(by_head.mean(0)),
                "top": {
                    "mean": darkest(by_head.mean(0), special),
                    "weights": [darkest(head, special) for head in by_head],
                },
            }
        )
    return result


def darkest(weights: Tensor, special: Sequence[bool]) -> float:
    """Where a map's colours end: at the :data:`SHADED` quantile of its words, which [CLS] itself outshines.

    Args:
        weights: Float64 [iterations, tokens].
        special: Of each token, whether it is no word; where no token is one, all count.
    """
    words = weights[:, [not each for each in special]]
    values = words if words.numel() else weights
    return round(max(float(values.quantile(SHADED)), 10.0**-DIGITS), DIGITS)


def principal_components(hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First two principal components of all iterations' states together.

    Args:
        hidden: [I, N, H].

    Returns:
        Coordinates [I, N, 2] about the common mean, and the share of the variance [2] each explains (0 where
        there is none). A component's largest entry is positive, so that the sign is no accident.
    """
    flat = hidden.reshape(-1, hidden.shape[-1]).astype(np.float64)
    flat = flat - flat.mean(0)
    # SVD of the covariance, hidden_size square whatever the number of sentences
    _, variance, directions = np.linalg.svd(flat.T @ flat / len(flat), hermitian=True)
    two = directions[:2]
    two = two * np.sign(two[np.arange(len(two)), np.abs(two).argmax(1)])[:, None]
    total = variance.sum()
    share = variance[:2] / total if total > 0 else np.zeros(2)
    return (flat @ two.T).reshape(*hidden.shape[:2], 2), share


def robust_limits(points: np.ndarray) -> list[list[float]]:
    """Ends of both axes that hold all but the outermost :data:`OUTSIDE` of points [..., 2] at either end."""
    flat = points.reshape(-1, 2)
    low, high = np.quantile(flat, (OUTSIDE, 1 - OUTSIDE), axis=0)
    room = np.where(high > low, 0.05 * (high - low), 0.5)
    return np.round(np.stack([low - room, high + room], axis=1), 3).tolist()


def _projection(recording: Recording, exits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Points [iterations][sentences][2]; ``wrong`` is of each iteration's own answer.

    ``limits`` are of the axes, of all iterations and of each; ``first`` is the iteration to begin with: the
    mean exit, where the classes have come apart.
    """
    points, share = principal_components(recording.hidden.numpy())
    rows = evenly(range(len(labels)), MAX_POINTS)
    return {
        "explained": share.tolist(),
        "rows": rows,
        "labels": labels[rows].tolist(),
        "exits": exits[rows].tolist(),
        "wrong": (recording.confidence.label[:, rows] != labels[rows]).int().tolist(),
        "points": np.round(points[:, rows], 3).tolist(),
        "limits": {
            "all": robust_limits(points[:, rows]),
            "each": [robust_limits(each[rows]) for each in points],
        },
        "first": round(float(exits.double().mean())),
    }


def _rounded(values: Tensor) -> Any:
    return np.round(values.numpy(), DIGITS).tolist()
