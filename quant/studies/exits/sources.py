"""Checkpoints whose logits a study can compute: the methods' runs, and both forms of the model folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.evaluation.backends import BACKENDS, Backend, model_folder, open_backend
from golden_model.exits import ExitPolicy
from golden_model.files import sha256_of
from golden_model.float.methods.names import METHODS, compared_runs, run_name
from golden_model.integer.checkpoint import TENSOR_FILE
from golden_model.integer.model import Sentence
from golden_model.labels import read_label_names
from golden_model.numerics import LOGIT_FRACTION_BITS
from golden_model.progress import Bars, Progress, silent
from golden_model.text.tokenizer import ElbertTokenizer
from quant.studies.exits.contenders import (
    ALBERT,
    ELBERT,
    ELBERT_FLOAT,
    ELBERT_GOLDEN,
    ELBERT_PUBLISHED,
)
from quant.studies.exits.rows import Rows
from quant.studies.exits.table import DTYPES, Facts, LogitTable, match_classes

RECORD_KEYS = ("step", "total_steps", "seconds", "options", "trained_parameters", "training_cost")
"""Of a training record: what training has cost."""


class Opened(Protocol):
    """A loaded checkpoint: ``golden_model.float.methods.Method``, or :class:`Form`.

    ``logits`` gives those of every iteration, [iterations, N, classes]; ``exit_macs`` the multiply-adds of an
    iteration's exit for a sentence of that length.
    """

    @property
    def config(self) -> ElbertConfig: ...

    @property
    def tokenizer(self) -> ElbertTokenizer: ...

    @property
    def added_parameters(self) -> int: ...

    @property
    def method(self) -> str: ...

    def exit_macs(self, length: int, iteration: int = 1) -> int: ...

    def logits(self, sentences: Sequence[Sentence], progress: Progress | None = None) -> Tensor: ...


class Form:
    """A form of ELBERT as an :class:`Opened`; golden's logits are integers in 2^-10 nat."""

    method = ELBERT
    added_parameters = 0

    def __init__(self, backend: Backend, scale: int) -> None:
        """``scale`` turns the backend's logits in nat into the table's unit."""
        self.backend, self.scale = backend, scale
        self.config, self.tokenizer = backend.config, backend.tokenizer

    def exit_macs(self, length: int, iteration: int = 1) -> int:
        """Multiply-adds of an iteration's exit: ALBERT's pooler and classifier, whichever it is."""
        from golden_model.float.methods.count import albert_exit_macs  # brings transformers: seconds

        return albert_exit_macs(self.config)

    def logits(self, sentences: Sequence[Sentence], progress: Progress | None = None) -> Tensor:
        """Logits of every iteration, without early exit."""
        logits = self.backend.answer(sentences, ExitPolicy(), progress).logits
        assert logits is not None, "without a policy no sentence leaves"
        return (logits * self.scale).round() if self.scale > 1 else logits


@dataclass(frozen=True)
class Source:
    """A checkpoint of a method.

    Members:
        name: Of its table.
        backend: ``float`` or ``golden``.
        folder: Of the checkpoint.
        load: Opens it.
    """

    name: str
    backend: str
    folder: Path
    load: Callable[[], Opened]

    @property
    def method(self) -> str:
        """What the name says the checkpoint was trained as."""
        return self.name.split("-")[0]

    @cached_property
    def sha256(self) -> str:
        """Of the checkpoint, without loading it."""
        if self.backend == "golden":
            return sha256_of(self.folder / TENSOR_FILE)
        from golden_model.float.methods.files import weights_sha256

        return weights_sha256(self.folder)

    @cached_property
    def classes(self) -> list[str] | None:
        """Names of the classes in the order of the logits; None where the checkpoint gives them numbers."""
        return read_label_names(self.folder)

    @property
    def known_classes(self) -> tuple[list[str] | None, int]:
        """:attr:`classes` and their number; a checkpoint that does not name them is opened for it."""
        names = self.classes
        return names, self.opened.config.num_labels if names is None else len(names)

    @cached_property
    def opened(self) -> Opened:
        """The checkpoint, loaded once."""
        return self.load()

    def compute(self, task: str, rows: Rows, bars: Bars = silent) -> LogitTable:
        """One pass over the sentences without early exit, shown by ``bars``.

        Raises:
            ValueError: the checkpoint is of another method, or has other classes than the task.
            FileNotFoundError: the texts are not here.
        """
        from golden_model.float.methods.count import answer_macs, layer_macs
        from golden_model.float.methods.heads import HEADS

        opened = self.opened
        if opened.method != self.method:
            raise ValueError(f"{self.folder} was trained as {opened.method}, expected {self.method}")
        if opened.config.num_labels != len(rows.classes):
            raise ValueError(
                f"{self.folder} has {opened.config.num_labels} classes, task {task} {len(rows.classes)}"
            )
        names = self.classes or list(rows.classes)
        match_classes(names, rows.classes, f"{self.folder} on {task}")
        try:
            data = rows.data()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"no logits of {self.folder} are there, and no texts to compute them from: {error}"
            ) from error
        sentences = opened.tokenizer.encode_many(
            data.texts, opened.config.max_position_embeddings, data.pairs
        )
        with bars(self.name, len(data)) as progress:
            logits = opened.logits(sentences, progress)
        lengths = [len(ids) for ids, _ in sentences]
        depth = logits.shape[0]
        config, own = opened.config, HEADS.get(opened.method)  # the last iteration answers as ALBERT does
        computed = range(depth if self.method == ALBERT else 1, depth + 1)  # ALBERT answers once, at the end
        facts = Facts(
            name=self.name,
            backend=self.backend,  # type: ignore[arg-type]  # pydantic checks it
            task=task,
            iterations=depth,
            samples=logits.shape[1],
            classes=logits.shape[2],
            checkpoint_sha256=self.sha256,
            data_sha256=data.sha256,
            rows_sha256=rows.sha256,
            added_parameters=opened.added_parameters,
            layer_macs=fmean(layer_macs(config, length) for length in lengths),
            exit_macs=[
                fmean(opened.exit_macs(length, i) for length in lengths) if i in computed else 0.0
                for i in range(1, depth + 1)
            ],
            training=self._training(),
            class_names=names,
            answer_macs=[
                fmean(answer_macs(config, own if i < depth else None, length) for length in lengths)
                for i in range(1, depth + 1)
            ],
        )
        return LogitTable(facts, logits.to(DTYPES[self.backend]))

    def _training(self) -> dict[str, Any]:
        from golden_model.float.methods.files import read_record

        try:
            record = read_record(self.folder)
        except FileNotFoundError:
            return {}
        return {key: record[key] for key in RECORD_KEYS if key in record}


def expected_names(iterations: int) -> list[str]:
    """Names of the tables a full comparison has beside the model folder's two."""
    return [run_name(method, count) for method, count in compared_runs(iterations)]


def find_runs(models: Path, device: str = "cpu") -> list[Source]:
    """The methods' runs in a folder, one folder each, by name; none where there is no such folder.

    A run is a checkpoint folder, or holds one in ``latest``: its final step, which no dev split has chosen.
    """
    known = re.compile(rf"{'|'.join(METHODS)}|{ELBERT_PUBLISHED}|{ALBERT}-[1-9]\d*")
    found = []
    for run in sorted(models.iterdir()) if models.is_dir() else []:
        if known.fullmatch(run.name) and run.name != ALBERT:
            folder = run / "latest" if (run / "latest").is_dir() else run
            if (folder / "config.json").is_file():
                found.append(Source(run.name, "float", folder, _method_loader(folder, device)))
    return found


def find_forms(folder: Path, device: str = "cpu") -> list[Source]:
    """The float and the golden form of a model folder, as far as they are there.

    Raises:
        FileNotFoundError: there is neither.
    """
    found, failures = [], []
    for backend, name in zip(BACKENDS, (ELBERT_FLOAT, ELBERT_GOLDEN), strict=True):
        try:
            inner = model_folder(folder, backend)
        except FileNotFoundError as error:
            failures.append(error)
            continue
        found.append(Source(name, backend, inner, _form_loader(inner, backend, device)))
    if not found:
        raise failures[0]
    return found


def _method_loader(folder: Path, device: str) -> Callable[[], Opened]:
    def load() -> Opened:
        from golden_model.float.methods.load import load_method

        return load_method(folder, device)

    return load


def _form_loader(folder: Path, backend: str, device: str) -> Callable[[], Opened]:
    scale = 1 << LOGIT_FRACTION_BITS if backend == "golden" else 1
    return lambda: Form(open_backend(backend, folder, device), scale)
