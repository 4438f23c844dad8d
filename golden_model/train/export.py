"""Turns a trained checkpoint into the form that is bundled: 16-bit weights, measured as they are stored."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from golden_model.data.metrics import iteration_scores
from golden_model.data.tables import TextDataset
from golden_model.files import replacing, write_json
from golden_model.float.albert import ElbertForSequenceClassification, load_float
from golden_model.float.batches import encode
from golden_model.float.files import EXIT_WEIGHTS_FILE, RECORD_FILE, WEIGHTS_FILE, write_checkpoint
from golden_model.float.logits import all_logits
from golden_model.float.methods.files import read_record
from golden_model.text.tokenizer import ElbertTokenizer
from golden_model.train.initialise import keep_vocabulary


def trim_vocabulary(
    model: ElbertForSequenceClassification, tokenizer: ElbertTokenizer, size: int
) -> tuple[ElbertForSequenceClassification, ElbertTokenizer]:
    """Keeps the first ``size`` pieces (the most useful ones: they are ranked) and their embedding rows.

    Raises:
        ValueError: when the vocabulary is not a pruned, hence ranked, one, or ``size`` is out of bounds.
    """
    if tokenizer.kept is None:
        raise ValueError("only a pruned vocabulary is ranked and can be trimmed")
    if not 5 <= size <= tokenizer.size:
        raise ValueError(f"vocabulary of {size} pieces is not in 5..{tokenizer.size}")
    trimmed = tokenizer.pruned(tokenizer.kept[:size])
    return keep_vocabulary(model, tokenizer, trimmed).eval(), trimmed


def export(
    source: Path | str,
    destination: Path | str,
    dev: TextDataset,
    vocabulary: int | None = None,
) -> dict[str, Any]:
    """Writes ``source`` with float16 weights and measures what was written on dev data.

    Args:
        source: A checkpoint folder written by training (``best`` or ``latest``).
        destination: The folder to write; its ``training.json`` is the source's record with ``stored``
            added: type, file size in bytes, dev scores per iteration.
        dev: Labelled sentences.
        vocabulary: Pieces to keep of a pruned vocabulary; None: all.

    Returns:
        The record.

    Raises:
        ValueError: when a weight does not fit float16, naming it, or the data has other classes.
        FileNotFoundError: when a file of the source is not there.
    """
    source, destination = Path(source), Path(destination)
    model, tokenizer, _ = load_float(source)
    record = read_record(source)
    try:
        names, max_length = record["inputs"]["label_names"], record["options"]["max_length"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{source / RECORD_FILE} is not the record of a training run on a task") from error
    if vocabulary is not None:
        model, tokenizer = trim_vocabulary(model, tokenizer, vocabulary)
    for name, value in model.model.state_dict().items():
        if not torch.isfinite(value.half()).all():
            raise ValueError(f"{name} reaches {float(value.abs().max())}, beyond float16")
    dev = dev.relabelled(names)
    write_checkpoint(destination, model.model, tokenizer, record, torch.float16)
    stored, tokenizer, _ = load_float(destination)
    encoded = encode(dev, tokenizer, max_length)
    found = iteration_scores(all_logits(stored, encoded, tokenizer.pad_id), encoded.labels)
    record["stored"] = {
        "dtype": "float16",
        "vocabulary": tokenizer.size,
        "bytes": (destination / WEIGHTS_FILE).stat().st_size,
        "dev_rows": len(dev),
        "dev_sha256": dev.sha256,
        "dev_accuracy": [round(s.accuracy, 6) for s in found],
        "dev_f1": [round(s.f1, 6) for s in found],
        "dev_mcc": [round(s.mcc, 6) for s in found],
        "dev_unknown_tokens": sum(ids.count(tokenizer.unk_id) for ids in encoded.ids),
        "dev_tokens": sum(len(ids) for ids in encoded.ids),
    }
    write_json(destination / RECORD_FILE, record)
    if (source / EXIT_WEIGHTS_FILE).is_file():
        with replacing(destination / EXIT_WEIGHTS_FILE) as temporary:
            shutil.copyfile(source / EXIT_WEIGHTS_FILE, temporary)
    else:
        (destination / EXIT_WEIGHTS_FILE).unlink(missing_ok=True)  # of what was exported here before
    return record
