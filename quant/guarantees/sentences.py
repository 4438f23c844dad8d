"""The sentences that thresholds are chosen on: a task's, or a table's, which needs no classes for that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from golden_model.config import ElbertConfig
from golden_model.data.tables import TextDataset, Texts
from golden_model.evaluation.backends import model_folder
from quant.studies.exits.rows import Rows, rows_digest
from quant.studies.exits.sources import Form, Source, find_forms

NO_CLASS = -1
"""In place of a class that nobody has written down, as the GLUE test sets on the Hugging Face hub do."""


def find_form(folder: Path | str, backend: str, device: str = "cpu") -> Source:
    """The checkpoint of a backend in a model folder, not yet loaded; raises like ``model_folder``."""
    inner = model_folder(folder, backend)
    return next(form for form in find_forms(inner, device) if form.backend == backend)


def text_rows(texts: Texts, names: Sequence[str] | None, count: int) -> Rows:
    """Sentences without classes, as a study knows sentences; every one is of ``NO_CLASS``.

    Args:
        texts: The sentences.
        names: Of the model's classes, in the order of its logits; None: it has none.
        count: The model's classes.
    """
    classes = [str(i) for i in range(count)] if names is None else list(names)
    data = TextDataset(texts.texts, texts.pairs, [NO_CLASS] * len(texts), classes, texts.source, texts.sha256)
    digest = rows_digest(data)
    return Rows(data.labels, classes, len(data), digest, data.sha256, data.source, lambda: data)


def lengths_of(source: Source, rows: Rows) -> tuple[ElbertConfig, list[int]] | None:
    """The model's geometry and the tokens of each sentence: what multiply-adds are counted from.

    None where the sentences' texts are not here, or a method's own exits cost otherwise.
    """
    if rows.absent is not None:
        return None
    opened, data = source.opened, rows.data()
    assert isinstance(opened, Form), "a model folder holds forms of ELBERT"
    if opened.backend.own_exits:
        return None
    sentences = opened.tokenizer.encode_many(data.texts, opened.config.max_position_embeddings, data.pairs)
    return opened.config, [len(ids) for ids, _ in sentences]
