"""How good and how early a checkpoint's answers are: scores, exits, cost and speedup on labelled data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import torch
from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.data.labels import LabelMatch
from golden_model.data.metrics import METRICS, scores
from golden_model.data.quoting import listed
from golden_model.data.tables import Columns, TextDataset
from golden_model.data.tasks import find_task, open_data
from golden_model.evaluation.backends import Answers, Backend, open_backend, tokenize
from golden_model.evaluation.predictions import Prediction
from golden_model.exits import ExitPolicy
from golden_model.progress import Bars, Progress, silent
from golden_model.provenance import header

P = ParamSpec("P")


def cost_of(exits: Tensor, iterations: int) -> float:
    """cost = sum_i i·n_i / (L·sum_i n_i): the share of iterations that was computed; exits int64 [N >= 1]."""
    return float(exits.double().mean()) / iterations


def multiply_adds(config: ElbertConfig, lengths: Sequence[int], exits: Sequence[int]) -> dict[str, int]:
    """Multiply-adds of the iterations of all sentences (docs/answer-first.md).

    Args:
        config: Geometry.
        lengths: Tokens of every sentence.
        exits: Iteration, from 1, after which each leaves.

    Returns:
        ``full_depth``: without early exit; until the exits ``all_rows`` and ``answer_first``.
    """
    whole = [config.layer_products(length) for length in lengths]
    last = [config.answer_products(length) for length in lengths]
    return {
        "full_depth": config.num_hidden_layers * sum(whole),
        "all_rows": sum(layer * e for layer, e in zip(whole, exits, strict=True)),
        "answer_first": sum(
            layer * (e - 1) + answer for layer, answer, e in zip(whole, last, exits, strict=True)
        ),
    }


@dataclass(frozen=True)
class Evaluation:
    """Answers to labelled data and what they are worth.

    Members:
        result: See :func:`examine`.
        data: What was answered.
        match: The model's class of each of the data's.
        answers: In the model's classes.
        truncated: Places of the sentences that were cut.
    """

    result: dict[str, Any]
    data: TextDataset
    match: LabelMatch
    answers: Answers
    truncated: frozenset[int]

    def predictions(self) -> Iterator[Prediction]:
        """The answer to every sentence, in the data's order."""
        data, titles = self.data, self.match.titles
        rows = data.rows or range(1, len(data) + 1)
        confidences, exits = self.answers.confidences.tolist(), self.answers.exits.tolist()
        for i, answer in enumerate(self.answers.labels.tolist()):
            yield Prediction(
                row=rows[i],
                text=data.texts[i],
                pair=None if data.pairs is None else data.pairs[i],
                label=data.label_names[data.labels[i]],
                answer=titles[answer],
                right=self.match.classes[data.labels[i]] == answer,
                confidence=confidences[i],
                exit_iteration=exits[i],
                truncated=i in self.truncated,
            )


def examine(
    backend: Backend,
    data: TextDataset,
    policy: ExitPolicy | None = None,
    progress: Progress | None = None,
    metric: str = "accuracy",
) -> Evaluation:
    """Scores a backend on labelled sentences.

    A class of the data is the model's class of that name; where the data write numbers it is the class of
    that number (``golden_model.data.labels``). So a model that numbers the classes otherwise scores the same.

    Args:
        backend: From :func:`open_backend`.
        data: From ``golden_model.data.tables``.
        policy: None for no early exit.
        progress: Told how many more sentences are done.
        metric: The primary one, of ``golden_model.data.metrics.METRICS``.

    Returns:
        The answers, and a ``result`` that is JSON-able: samples, truncated (sentences longer than
        max_length, which were cut), classes (how the data's were found among the model's), metric (name
        and value of the primary one), accuracy, f1, f1_of (the class it is of, as the data call it: the
        second of two; None: the mean over more), mcc, mean_exit_iteration, cost, speedup (1/cost), exits
        (sentences per iteration), mean_confidence, policy, accuracy_per_iteration (None where sentences
        left), and multiply_adds of the iterations (full_depth, all_rows and answer_first until the exits;
        None where a method's own exits cost otherwise).

    Raises:
        ValueError: there are no rows, a class of the data is none of the model's, or the metric is not known.
    """
    policy = policy or ExitPolicy()
    config = backend.config
    if not len(data):
        raise ValueError(f"{data.source} holds no rows")
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is not one of {', '.join(METRICS)}")
    match = data.match(_names(backend), config.num_labels)
    labels = torch.tensor([match.classes[label] for label in data.labels], dtype=torch.int64)
    sentences = tokenize(data, backend)
    answers = backend.answer(sentences, policy, progress)
    place = torch.empty(config.num_labels, dtype=torch.int64)  # of a model's class in the data's order
    place[match.order] = torch.arange(config.num_labels)
    quality = scores(place[answers.labels], place[labels], config.num_labels)
    cost = cost_of(answers.exits, config.num_hidden_layers)
    per_iteration = None
    if answers.logits is not None:
        right = answers.logits.argmax(-1) == labels
        per_iteration = right.double().mean(1).tolist()
    result = {
        "samples": len(data),
        "truncated": len(sentences.cut),
        "max_length": config.max_position_embeddings,
        "classes": match.as_dict(),
        "metric": {"name": metric, "value": quality.only([metric])[metric]},
        **quality.as_dict(),
        "f1_of": match.titles[match.order[1]] if config.num_labels == 2 else None,
        "mean_exit_iteration": float(answers.exits.double().mean()),
        "iterations": config.num_hidden_layers,
        "cost": cost,
        "speedup": 1 / cost,
        "exits": torch.bincount(answers.exits, minlength=config.num_hidden_layers + 1)[1:].tolist(),
        "mean_confidence": float(answers.confidences.mean()),
        "accuracy_per_iteration": per_iteration,
        "multiply_adds": None
        if backend.own_exits
        else multiply_adds(config, [len(ids) for ids, _ in sentences], answers.exits.tolist()),
        "policy": policy.model_dump(),
    }
    return Evaluation(result, data, match, answers, frozenset(sentences.cut))


def examine_file(
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
    answer_first: bool = True,
) -> Evaluation:
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
        answer_first: As of ``open_backend``; the answers are the same.

    Raises:
        ValueError, FileNotFoundError: something given is not usable; the message names it.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit {limit} is below 1")
    opened = open_backend(backend, folder, device, answer_first)
    data = open_data(file, task, columns=columns)
    if task is not None:
        _check_classes(task, data, opened)
    metric = "accuracy" if task is None else find_task(task).metric
    if limit is not None:
        data = data.head(limit)
    with bars(f"{backend} model", len(data)) as progress:
        found = examine(opened, data, policy, progress, metric)
    result = {
        "header": header(None, opened.sha256),
        "backend": backend,
        "task": task,
        "data": {"source": data.source, "sha256": data.sha256},
        **found.result,
    }
    return replace(found, result=result)


def _result_of(examined: Callable[P, Evaluation]) -> Callable[P, dict[str, Any]]:
    """The same function for those who want the result alone."""

    @wraps(examined)
    def result(*given: P.args, **options: P.kwargs) -> dict[str, Any]:
        return examined(*given, **options).result

    return result


evaluate = _result_of(examine)
"""The ``result`` of :func:`examine`."""
evaluate_file = _result_of(examine_file)
"""The ``result`` of :func:`examine_file`."""


def _names(backend: Backend) -> list[str] | None:
    return getattr(backend, "label_names", None)


def _check_classes(task: str, data: TextDataset, backend: Backend) -> None:
    """A task wants a model of its own classes: one that knows more answers another question."""
    count, names = backend.config.num_labels, _names(backend)
    if count != len(data.label_names):
        own = "without names" if names is None else listed(names)
        raise ValueError(
            f"task {task} has {len(data.label_names)} classes, the model {count}: "
            f"{listed(data.label_names)} against {own}"
        )
