"""How good and how early a checkpoint's answers are: scores, exits, cost and speedup on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from golden_model.data.metrics import scores
from golden_model.data.tables import Columns, TextDataset
from golden_model.data.tasks import find_task, open_data
from golden_model.evaluation.backends import Backend, open_backend, tokenize
from golden_model.exits import ExitPolicy
from golden_model.progress import Bars, Progress, silent
from golden_model.provenance import header


def cost_of(exits: Tensor, iterations: int) -> float:
    """cost = sum_i i·n_i / (L·sum_i n_i): the share of iterations that was computed; exits int64 [N >= 1]."""
    return float(exits.double().mean()) / iterations


def evaluate(
    backend: Backend,
    data: TextDataset,
    policy: ExitPolicy | None = None,
    progress: Progress | None = None,
    metric: str = "accuracy",
) -> dict[str, Any]:
    """Scores a backend on labelled sentences.

    Args:
        backend: From :func:`open_backend`.
        data: From ``golden_model.data.tables``.
        policy: None for no early exit.
        progress: Told how many more sentences are done.
        metric: The primary one, of ``golden_model.data.metrics.METRICS``.

    Returns:
        JSON-able: samples, metric (name and value of the primary one), accuracy, f1, mcc,
        mean_exit_iteration, cost, speedup (1/cost), exits (sentences per iteration), mean_confidence, policy,
        and accuracy_per_iteration (None where sentences left).

    Raises:
        ValueError: the data have more classes than the model, or the metric is not known.
    """
    policy = policy or ExitPolicy()
    config = backend.config
    labels = torch.tensor(data.labels, dtype=torch.int64)
    if int(labels.max()) >= config.num_labels:
        raise ValueError(
            f"{data.source} has class {int(labels.max())}, the model {config.num_labels} classes"
        )
    answers = backend.answer(tokenize(data, backend), policy, progress)
    quality = scores(answers.labels, labels, config.num_labels)
    cost = cost_of(answers.exits, config.num_hidden_layers)
    per_iteration = None
    if answers.logits is not None:
        right = answers.logits.argmax(-1) == labels
        per_iteration = right.double().mean(1).tolist()
    return {
        "samples": len(data),
        "metric": {"name": metric, "value": quality.only([metric])[metric]},
        **quality.as_dict(),
        "mean_exit_iteration": float(answers.exits.double().mean()),
        "iterations": config.num_hidden_layers,
        "cost": cost,
        "speedup": 1 / cost,
        "exits": torch.bincount(answers.exits, minlength=config.num_hidden_layers + 1)[1:].tolist(),
        "mean_confidence": float(answers.confidences.mean()),
        "accuracy_per_iteration": per_iteration,
        "policy": policy.model_dump(),
    }


def evaluate_file(
    backend: str,
    folder: Path | str,
    file: Path | str | None,
    policy: ExitPolicy | None = None,
    *,
    task: str | None = None,
    columns: Columns | None = None,
    limit: int | None = None,
    device: str = "cpu",
    bars: Bars = silent,
) -> dict[str, Any]:
    """What the ``eval`` command does: opens, scores with a progress bar, and adds the common header.

    Args:
        backend: ``float`` or ``golden``.
        folder: Model folder.
        file: Table, or a folder with a ``dev`` split; None with a task.
        policy: None for no early exit.
        task: Name of a task of ``golden_model.data.tasks``: its dev split is scored.
        columns: Names of the table's columns.
        limit: Only the first rows.
        device: Where PyTorch computes.
        bars: Shows progress.

    Raises:
        ValueError, FileNotFoundError: something given is not usable; the message names it.
    """
    opened = open_backend(backend, folder, device)
    data = open_data(file, task, columns=columns)
    metric = "accuracy" if task is None else find_task(task).metric
    if task is not None and len(data.label_names) != opened.config.num_labels:
        raise ValueError(
            f"task {task} has {len(data.label_names)} classes, the model {opened.config.num_labels}"
        )
    if limit is not None:
        if limit < 1:
            raise ValueError(f"limit {limit} is below 1")
        data = data.head(limit)
    with bars(f"{backend} model", len(data)) as progress:
        result = evaluate(opened, data, policy, progress, metric)
    return {
        "header": header(None, opened.sha256),
        "backend": backend,
        "task": task,
        "data": {"source": data.source, "sha256": data.sha256},
        **result,
    }
