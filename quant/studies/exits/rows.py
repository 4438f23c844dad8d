"""What a study knows of its sentences: which they are and their classes; texts only where a model reads them.

So a study of published logits runs without the data set: the labels are published beside the logits, in a
file that names the sentences by their digest and holds no text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from golden_model.config import MAX_LABELS
from golden_model.data.tables import TextDataset
from golden_model.data.tasks import Task, data_root, load_task
from golden_model.files import write_text

LABELS_FILE = "labels.json"
"""Beside the published tables of a task: what they are of."""


def rows_digest(data: TextDataset) -> str:
    """SHA-256 of what a model reads of a data set, in order: independent of file format and white space."""
    digest = hashlib.sha256()
    for column in (data.texts, data.pairs or []):
        for text in column:
            digest.update(" ".join(text.split()).encode() + b"\0")
        digest.update(b"\1")
    return digest.hexdigest()


@dataclass(frozen=True)
class Rows:
    """The sentences of a study: all of a data set, or its first ones.

    Members:
        labels: Class of each sentence, an index into ``classes``.
        classes: Names.
        total: Sentences of the data set.
        all_sha256: :func:`rows_digest` of the data set.
        data_sha256: Of its file, for the record.
        source: Where labels and sentences come from, for the record.
        load: Gives the data set, all of it.
        absent: Why the texts are not here; None: they are.
    """

    labels: list[int]
    classes: list[str]
    total: int
    all_sha256: str
    data_sha256: str
    source: str
    load: Callable[[], TextDataset]
    absent: str | None = None

    @classmethod
    def of(cls, data: TextDataset) -> Rows:
        """All sentences of a data set."""
        digest = rows_digest(data)
        return cls(data.labels, data.label_names, len(data), digest, data.sha256, data.source, lambda: data)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sha256(self) -> str:
        """Names these sentences: of all the digest, of the first ones what :func:`first_rows` makes of it."""
        return first_rows(self.all_sha256, len(self), self.total)

    def head(self, count: int) -> Rows:
        """The first ``count``."""
        return replace(self, labels=self.labels[:count])

    def data(self) -> TextDataset:
        """The sentences with their texts.

        Raises:
            FileNotFoundError: they are not here.
            ValueError: what is here are other sentences.
        """
        found = self.load()
        digest = rows_digest(found)
        if digest != self.all_sha256:
            raise ValueError(
                f"{found.source} holds other sentences than {self.source}: {digest[:16]}, "
                f"not {self.all_sha256[:16]}"
            )
        return found.head(len(self))


def first_rows(digest: str, count: int, total: int) -> str:
    """Digest of the first ``count`` of ``total`` rows: the rows' own where that is all of them."""
    return digest if count >= total else hashlib.sha256(f"{digest}\0first {count}".encode()).hexdigest()


class PublishedLabels(BaseModel):
    """Content of :data:`LABELS_FILE`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["elbert-labels"] = "elbert-labels"
    version: Literal[1] = 1
    task: str
    rows_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """:func:`rows_digest` of all sentences."""
    data_sha256: str
    classes: list[str] = Field(min_length=2, max_length=MAX_LABELS)
    """In the order of the published logits."""
    labels: list[int] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_labels(self) -> PublishedLabels:
        for row, label in enumerate(self.labels, start=1):
            if not 0 <= label < len(self.classes):
                raise ValueError(f"label {label} of row {row} is not in 0..{len(self.classes) - 1}")
        return self


def read_labels(folder: Path) -> PublishedLabels | None:
    """The labels published in a task's folder; None where there are none.

    Raises:
        ValueError: naming the file, where it is something else.
    """
    path = folder / LABELS_FILE
    if not path.is_file():
        return None
    try:
        return PublishedLabels.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path} holds no published labels: {place} {first['msg']}") from None


def write_labels(folder: Path, task: str, rows: Rows) -> Path:
    """Publishes the labels of all sentences, whole or not at all; returns the file."""
    document = PublishedLabels(
        task=task,
        rows_sha256=rows.all_sha256,
        data_sha256=rows.data_sha256,
        classes=rows.classes,
        labels=rows.labels,
    )
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in document.model_dump().items()]
    write_text(folder / LABELS_FILE, "{\n" + ",\n".join(lines) + "\n}\n")
    return folder / LABELS_FILE


def task_rows(task: Task, root: Path | None = None, published: Path | None = None) -> Rows:
    """The dev split of a task; where the data set is not here, by the labels published with the project.

    Args:
        task: The task.
        root: Folder of the data sets; None: that of ``ELBERT_DATA``. Only then published labels may serve.
        published: Folder of published tables, a folder per task inside; None: not looked at.

    Raises:
        ValueError, FileNotFoundError: as ``load_task`` where there are no published labels either.
    """
    known = None if root is not None or published is None else read_labels(published / task.name)
    absent = None if known is None else _absent(task)
    if known is None or absent is None:
        return Rows.of(load_task(task, "dev", root))
    return Rows(
        known.labels,
        known.classes,
        len(known.labels),
        known.rows_sha256,
        known.data_sha256,
        f"{task.folder} dev, labels published with its logits",
        lambda: load_task(task, "dev"),
        absent,
    )


def _absent(task: Task) -> str | None:
    """Why a task's data set is not on this machine; None: it is."""
    try:
        folder = data_root() / task.folder
    except FileNotFoundError as error:
        return str(error)
    return None if folder.is_dir() else f"{folder} is no folder"


def table_rows(data: TextDataset, names: Sequence[str] | None, count: int) -> Rows:
    """The sentences of somebody's own table, classed as a model does.

    Args:
        data: The table.
        names: Of the model's classes in the order of its logits; None: it has none.
        count: The model's classes.

    Raises:
        ValueError: as ``TextDataset.relabelled``: a class of the table is none of the model's.
    """
    return Rows.of(data.relabelled(names, count))


def table_name(source: Path | str) -> str:
    """What a study of a table is called: the stem of its file, or its folder's name."""
    name = Path(str(source).removeprefix("hub:")).resolve().name
    return name.partition(".")[0] or name
