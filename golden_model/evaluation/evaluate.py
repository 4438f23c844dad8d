"""Accuracy, exits and cost of a checkpoint on a labelled table, by the float or the golden model.

A model folder is a checkpoint folder itself, or holds one in ``float/`` or ``integer/``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.data.metrics import scores
from golden_model.data.tables import Columns, TextDataset
from golden_model.data.tasks import TASKS, find_task, open_data
from golden_model.devices import find_device
from golden_model.exits import Confidence, ExitMode, ExitPolicy, exit_iterations
from golden_model.integer.checkpoint import METADATA_FILE, TENSOR_FILE, IntegerCheckpoint
from golden_model.integer.model import GoldenModel, Sentence
from golden_model.integer.ops.exit_math import ONE
from golden_model.numerics import LOGIT_FRACTION_BITS
from golden_model.results import header, print_table, sha256_of
from golden_model.text.tokenizer import ElbertTokenizer

LABELS_FILE = "labels.json"
BACKENDS = ("float", "golden")
_FOLDERS = {"float": ("float", "config.json"), "golden": ("integer", METADATA_FILE)}
CHUNK = 64
"""Sentences between two reports of progress."""

Progress = Callable[[int], None]
"""Told how many more sentences are done."""


@dataclass(frozen=True)
class Answers:
    """What a backend says of N sentences, in their order.

    labels, exits: int64 [N]; exits count from 1. confidences: float64 [N], the probability of the label.
    logits: float64 [iterations, N, classes] in nat where every iteration was computed, else None.
    """

    labels: Tensor
    exits: Tensor
    confidences: Tensor
    logits: Tensor | None


class Backend(Protocol):
    """A checkpoint that answers."""

    config: ElbertConfig
    tokenizer: ElbertTokenizer
    sha256: str

    def answer(
        self, sentences: Sequence[Sentence], policy: ExitPolicy, progress: Progress | None = None
    ) -> Answers:
        """Classifies sentences under a policy."""
        ...


class FloatBackend:
    """The float model. All iterations are computed; the policy is then applied to their probabilities."""

    def __init__(self, folder: Path | str, device: str = "cpu") -> None:
        """Opens a Hugging Face checkpoint folder; raises like ``albert.load_float`` and ``find_device``.

        A method's own exits (``golden_model.float.methods``) in the folder answer instead of ALBERT's.
        """
        from golden_model.float.albert import load_float
        from golden_model.float.methods.files import HEADS_FILE, read_model, weights_sha256

        folder = model_folder(folder, "float")
        model: torch.nn.Module
        if (folder / HEADS_FILE).is_file():
            model, self.tokenizer, _ = read_model(folder)
            self.config = model.config
        else:
            model, self.tokenizer, self.config = load_float(folder)
        self.model = model.to(find_device(device))
        self.sha256 = weights_sha256(folder)

    def answer(
        self, sentences: Sequence[Sentence], policy: ExitPolicy, progress: Progress | None = None
    ) -> Answers:
        """Classifies sentences, those of like length together."""
        from golden_model.float.logits import sentence_logits

        logits = sentence_logits(self.model, sentences, self.tokenizer.pad_id, progress)
        trajectory = Confidence.from_logits(logits)
        exits = exit_iterations(policy, trajectory)
        final = trajectory[exits - 1, torch.arange(len(sentences))]
        return Answers(final.label, exits, final.confidence, logits)


class GoldenBackend:
    """The integer model. Sentences really leave: iterations after the exit are not computed."""

    def __init__(self, folder: Path | str, device: str = "cpu") -> None:
        """Opens an integer checkpoint folder; raises like ``IntegerCheckpoint.load``."""
        folder = model_folder(folder, "golden")
        checkpoint = IntegerCheckpoint.load(folder)
        self.config = checkpoint.config
        self.tokenizer = ElbertTokenizer.from_folder(folder)
        if self.tokenizer.size > self.config.vocab_size:
            raise ValueError(
                f"{folder}: the tokenizer holds {self.tokenizer.size} pieces, "
                f"the embedding {self.config.vocab_size}"
            )
        self.model = GoldenModel(checkpoint, find_device(device))
        self.sha256 = sha256_of(folder / TENSOR_FILE)

    def answer(
        self, sentences: Sequence[Sentence], policy: ExitPolicy, progress: Progress | None = None
    ) -> Answers:
        """Classifies sentences, those of like length together."""
        results: dict[int, Any] = {}
        for chunk in _chunks(sentences):
            results.update(zip(chunk, self.model.run([sentences[i] for i in chunk], policy), strict=True))
            if progress is not None:
                progress(len(chunk))
        ordered = [results[i] for i in range(len(sentences))]
        logits = None
        if ordered and all(r.exit_iteration == self.config.num_hidden_layers for r in ordered):
            logits = torch.stack([r.logits for r in ordered], dim=1).double() / (1 << LOGIT_FRACTION_BITS)
        return Answers(
            torch.tensor([r.label for r in ordered], dtype=torch.int64),
            torch.tensor([r.exit_iteration for r in ordered], dtype=torch.int64),
            torch.tensor([int(r.probabilities[-1].max()) for r in ordered], dtype=torch.float64) / ONE,
            logits,
        )


def model_folder(folder: Path | str, backend: str) -> Path:
    """The checkpoint folder of a backend: ``folder`` itself or its ``float`` or ``integer`` inside.

    Raises:
        ValueError: the backend is not known.
        FileNotFoundError: there is no checkpoint of that form.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is not one of {', '.join(BACKENDS)}")
    inner, mark = _FOLDERS[backend]
    for candidate in (Path(folder) / inner, Path(folder)):
        if (candidate / mark).is_file():
            return candidate
    raise FileNotFoundError(f"{folder} holds no {backend} checkpoint: no {mark}, nor {inner}/{mark}")


def label_names(folder: Path | str) -> list[str] | None:
    """Class names by the ``labels.json`` of a model folder, or of the one a checkpoint lies in; else None."""
    for candidate in (Path(folder), Path(folder).parent):
        file = candidate / LABELS_FILE
        if file.is_file():
            return list(json.loads(file.read_text(encoding="utf-8")))
    return None


def open_backend(backend: str, folder: Path | str, device: str = "cpu") -> Backend:
    """Opens the float or golden model of a model folder; raises like :func:`model_folder`."""
    folder = model_folder(folder, backend)
    return FloatBackend(folder, device) if backend == "float" else GoldenBackend(folder, device)


def tokenize(data: TextDataset, backend: Backend) -> list[Sentence]:
    """Ids and token types of a data set, cut to the model's longest sentence."""
    return list(backend.tokenizer.encode_many(data.texts, backend.config.max_position_embeddings, data.pairs))


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
    quiet: bool = False,
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
        quiet: No progress bar.

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
    with progress_bar(f"{backend} model", len(data), quiet) as progress:
        result = evaluate(opened, data, policy, progress, metric)
    return {
        "header": header(None, opened.sha256),
        "backend": backend,
        "task": task,
        "data": {"source": data.source, "sha256": data.sha256},
        **result,
    }


def print_evaluation(result: dict[str, Any]) -> None:
    """Shows a result of :func:`evaluate` as tables; of a task all its metrics, the primary one marked."""
    policy = result["policy"]
    used = ", ".join(f"{k} {v}" for k, v in policy.items() if k != "mode")
    name = policy["mode"] if policy["mode"] == ExitMode.none.name else f"{policy['mode']} ({used})"
    task = TASKS.get(result.get("task") or "")
    metrics = [
        (f"{metric} (primary)" if task and metric == task.metric else metric, f"{100 * result[metric]:.2f} %")
        for metric in (task.metrics if task else ("accuracy",))
    ]
    facts = [
        ("sentences", result["samples"]),
        ("policy", name),
        *metrics,
        ("mean exit iteration", f"{result['mean_exit_iteration']:.2f} of {result['iterations']}"),
        ("cost", f"{result['cost']:.4f}"),
        ("speedup (1/cost)", f"{result['speedup']:.2f}x"),
        ("mean confidence", f"{result['mean_confidence']:.4f}"),
    ]
    print_table(f"Evaluation, {result.get('backend', 'model')}", ["what", "value"], facts)
    per_iteration = result["accuracy_per_iteration"]
    rows = []
    for i, count in enumerate(result["exits"]):
        accuracy = None if per_iteration is None else round(100 * per_iteration[i], 2)
        rows.append((i + 1, count, accuracy))
    print_table("By iteration", ["iteration", "sentences leaving", "accuracy if all left here, %"], rows)


class progress_bar:
    """A rich progress bar as a context manager that yields the callable to advance it."""

    def __init__(self, title: str, total: int, quiet: bool = False) -> None:
        """``quiet`` shows nothing."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            disable=quiet,
        )
        self.task = self.bar.add_task(title, total=total)

    def __enter__(self) -> Progress:
        """Starts the display."""
        self.bar.start()
        return lambda count: self.bar.advance(self.task, count)

    def __exit__(self, *exception: object) -> None:
        """Stops the display."""
        self.bar.stop()


def _chunks(sentences: Sequence[Sentence]) -> list[list[int]]:
    """Indices by rising length in groups of CHUNK."""
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i][0]))
    return [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
