"""Puts a training run together: data, tokenizer, starting weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from golden_model.albert import ElbertForSequenceClassification
from golden_model.config import ElbertConfig
from golden_model.datasets import Columns, TextDataset, load_dataset, read_texts
from golden_model.results import sha256_of
from golden_model.tokenizer import ElbertTokenizer, select_vocabulary
from golden_model.train.batches import encode
from golden_model.train.initialise import fresh, from_bert_layer, minilm_folder
from golden_model.train.joint import JointExits, JointOptions
from golden_model.train.trainer import Trainer


def prepare(
    data: str,
    config: ElbertConfig,
    options: JointOptions,
    output: Path,
    *,
    init: str = "minilm",
    tokenizer_folder: Path | None = None,
    vocabulary_texts: Sequence[Path] = (),
    vocabulary_rows: int = 20000,
    columns: Columns | None = None,
) -> Trainer:
    """Everything before the first step.

    Args:
        data: Folder of the data, or ``hub:NAME``.
        config: Geometry; its ``num_labels`` is replaced by the number of classes in the training data, and
            a vocabulary smaller than the tokenizer's means pruning.
        options: The run's numbers.
        output: The run's folder.
        init: ``minilm``, ``fresh``, or the folder of a local ALBERT checkpoint (then its geometry counts).
        tokenizer_folder: Needed for ``fresh``; otherwise the start's own by default.
        vocabulary_texts: Tables with a column ``text`` that help to rank the pruned vocabulary.
        vocabulary_rows: Rows read of each.
        columns: Columns of the data's tables.

    Raises:
        FileNotFoundError: naming the file that is not there.
        ValueError: naming the value and its bound.
    """
    if options.max_length > config.max_position_embeddings:
        raise ValueError(
            f"max_length {options.max_length} is above max_position_embeddings "
            f"{config.max_position_embeddings}"
        )
    train_set = load_dataset(data, "train", columns)
    dev_set = load_dataset(data, "dev", columns, train_set.label_names)
    source = minilm_folder() if init == "minilm" else None if init == "fresh" else Path(init)
    folder = tokenizer_folder or source
    if folder is None:
        raise ValueError("a fresh start needs a tokenizer folder")
    tokenizer = ElbertTokenizer.from_folder(folder)
    model: ElbertForSequenceClassification | None = None
    if init not in ("minilm", "fresh"):
        model = ElbertForSequenceClassification.from_pretrained(
            init, new_classifier=True, num_labels=len(train_set.label_names)
        )
        config = model.config
    if tokenizer.size > config.vocab_size:
        others = (text for path in vocabulary_texts for text in islice(read_texts(path), vocabulary_rows))
        kept = select_vocabulary(tokenizer, _texts(train_set), others, config.vocab_size)
        tokenizer = tokenizer.pruned(kept)
    if model is None:
        config = config.model_copy(update={"num_labels": len(train_set.label_names)})
        config = ElbertConfig(**config.model_dump())  # the copy is not validated
        model = fresh(config, train_set.label_names, options.seed)
        if source is not None:
            from_bert_layer(model, source, tokenizer)
    facts: dict[str, Any] = {
        "init": init if init in ("minilm", "fresh") else "checkpoint",
        "config": model.config.model_dump(),
        "label_names": train_set.label_names,
        "train": {"rows": len(train_set), "sha256": train_set.sha256},
        "dev": {"rows": len(dev_set), "sha256": dev_set.sha256},
        "vocabulary": {"pieces": tokenizer.size, "of": tokenizer.full.get_vocab_size()},
        "vocabulary_texts": [
            {"file": path.name, "rows": vocabulary_rows, "sha256": sha256_of(path)}
            for path in vocabulary_texts
        ],
    }
    if source is not None:
        facts["start_sha256"] = sha256_of(source / "model.safetensors")
    objective = JointExits(
        model,
        tokenizer,
        encode(train_set, tokenizer, options.max_length),
        encode(dev_set, tokenizer, options.max_length),
        options,
    )
    return Trainer(objective, options, output, facts)


def _texts(data: TextDataset) -> Iterator[str]:
    yield from data.texts
    yield from data.pairs or ()
