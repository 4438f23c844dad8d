"""Checkpoint folders of the methods: Hugging Face's ALBERT, the heads beside it, and the run's record."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from golden_model.documents import read_json
from golden_model.files import sha256_of
from golden_model.float.albert import load_float
from golden_model.float.files import RECORD_FILE, save_tensors
from golden_model.float.methods.model import ExitModel
from golden_model.float.weights import read_tensors, stored_sha256
from golden_model.text.tokenizer import ElbertTokenizer

HEADS_FILE = "exits.safetensors"
"""The heads a method adds: ``<iteration from 0>.<name>``."""


def write_heads(folder: Path, model: ExitModel) -> None:
    """Writes the method's own heads whole, where it has any."""
    if len(model.heads):
        save_tensors(model.heads.state_dict(), folder / HEADS_FILE, {"method": model.method})


def read_record(folder: Path) -> dict[str, Any]:
    """``training.json`` of a checkpoint folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no record.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {RECORD_FILE}")
    record = read_json(path)
    if not isinstance(record, dict):
        raise ValueError(f"{path} is no training record")
    return record


def read_model(folder: Path | str) -> tuple[ExitModel, ElbertTokenizer, dict[str, Any]]:
    """The model in evaluation mode, its tokenizer and the record.

    A record without a method, of a run before there were others, is ELBERT's.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: the method is not known, or the heads are not the method's.
    """
    folder = Path(folder)
    record = read_record(folder)
    backbone, tokenizer, config = load_float(folder)
    method = record.get("method", "elbert")
    model = ExitModel(backbone, method, config.num_hidden_layers)
    if len(model.heads):
        path = folder / HEADS_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no {HEADS_FILE}, which {method} adds")
        tensors, wanted = read_tensors(path), model.heads.state_dict()
        wrong = [n for n in tensors.keys() | wanted if not _same_shape(tensors.get(n), wanted.get(n))]
        if wrong:
            raise ValueError(f"{path}: {len(wrong)} tensors are not those of {method}, first {min(wrong)!r}")
        model.heads.load_state_dict(tensors)
    return model.eval(), tokenizer, record


def weights_sha256(folder: Path) -> str:
    """SHA-256 of the weights (``weights.stored_sha256``); where heads are added, over both hashes."""
    found = stored_sha256(folder)
    if not (folder / HEADS_FILE).is_file():
        return found
    return hashlib.sha256(f"{found}\n{sha256_of(folder / HEADS_FILE)}\n".encode()).hexdigest()


def _same_shape(one: Any, two: Any) -> bool:
    return one is not None and two is not None and one.shape == two.shape
