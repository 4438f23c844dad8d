"""What a checkpoint said of every sentence, row by row, and files of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from golden_model.files import replacing

SUFFIXES = (".csv", ".jsonl")
"""Formats of a file of predictions."""


@dataclass(frozen=True)
class Prediction:
    """One sentence and its answer.

    Members:
        row: Of the data's file, from 1, its header and empty lines counted; of other data the place, from 1.
        text, pair: As they were read; the pair is None for single sentences.
        label: The class by the data, as they write it.
        answer: The class by the model: what the data call it, or else the model's own name or number.
        right: Whether they are the same class.
        confidence: Probability of the answer.
        exit_iteration: Iterations that were computed.
        truncated: Whether the text was longer than the model takes, and cut.
    """

    row: int
    text: str
    pair: str | None
    label: str
    answer: str
    right: bool
    confidence: float
    exit_iteration: int
    truncated: bool


def check_suffix(path: Path | str) -> None:
    """Raises ValueError unless :func:`write_predictions` has a format for the file's suffix."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: suffix {Path(path).suffix!r} is not one of {', '.join(SUFFIXES)}")


def write_predictions(path: Path | str, predictions: Iterable[Prediction]) -> None:
    """Writes predictions in their order, whole or not at all: CSV with a header, or a JSON object a line.

    Raises:
        ValueError: the suffix is neither ``.csv`` nor ``.jsonl``.
        OSError: the file cannot be written.
    """
    check_suffix(path)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        if Path(path).suffix.lower() == ".jsonl":
            for each in predictions:
                file.write(json.dumps(asdict(each), ensure_ascii=False, allow_nan=False) + "\n")
        else:
            writer = csv.DictWriter(file, [part.name for part in fields(Prediction)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(each) for each in predictions)
