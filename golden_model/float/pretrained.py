"""A Hugging Face ALBERT folder as a model: every part is checked before anything is built from it.

Each way in which a checkpoint is not what ELBERT reads has a message of its own, with the way out.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AlbertConfig, AlbertForSequenceClassification

from golden_model.config import ElbertConfig
from golden_model.documents import check_folder, quote, read_object
from golden_model.float.weights import DTYPES, architecture, read_weights
from golden_model.labels import check_names

CONFIG_FILE = "config.json"

WORDS = "albert.embeddings.word_embeddings.weight"
"""Name of the word embedding."""

PREFIX = "albert."
"""Begins the names of everything but the classifier."""

LAYER = "albert.encoder.albert_layer_groups.0.albert_layers.0."
"""Begins the names of the shared layer's weights."""

_BUFFERS = ("albert.embeddings.position_ids", "albert.embeddings.token_type_ids")
"""Numbers from 0, which old checkpoints store."""

_WITHOUT_ZEROS = {
    WORDS: "every word is the same",
    "albert.embeddings.LayerNorm.weight": "every sentence is the same",
    "albert.encoder.embedding_hidden_mapping_in.weight": "every sentence is the same",
    LAYER + "attention.LayerNorm.weight": "every sentence is the same",
    LAYER + "full_layer_layer_norm.weight": "every sentence is the same",
    "albert.pooler.weight": "every answer is the same",
    "classifier.weight": "every answer is the same",
}
"""Weights without which a model answers nothing, and what it would see if they were all 0."""


def read_config(folder: Path, num_labels: int | None = None) -> AlbertConfig:
    """The configuration of a checkpoint folder, dropout off; nothing in it that ELBERT does not know.

    ``num_labels`` replaces the folder's own classes, of which there may then be any number.

    Raises:
        FileNotFoundError: there is no ``config.json``.
        ValueError: it is no ALBERT's, breaks a bound of :class:`ElbertConfig`, has a setting that ELBERT
            has not, or names the classes wrongly.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {CONFIG_FILE}: write it where the model was made, with "
            f"model.config.save_pretrained('{folder}')"
        )
    raw = read_object(path)
    kind = raw.get("model_type")
    if kind is not None and kind != "albert":
        hint = ""
        if kind == "bert":
            teach = f"elbert train DATA --teacher {shlex.quote(str(folder))} --soft 0.5 --output RUN"
            hint = f"; a BERT can teach one: {teach}"
        raise ValueError(
            f"{path} is of a {architecture(folder) or quote(kind)} (model_type {quote(kind)}); "
            f"ELBERT reads an AlbertForSequenceClassification{hint}"
        )
    if num_labels is not None:
        raw = {key: value for key, value in raw.items() if key not in ("id2label", "label2id")}
        raw["num_labels"] = num_labels
    try:
        geometry = ElbertConfig.from_dict(raw)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if raw.get("id2label") is not None:
        check_names(raw["id2label"], f"{path}: id2label", geometry.num_labels)
    known = {key: raw[key] for key in AlbertConfig().to_dict() if key in raw and key not in _OWN_BUSINESS}
    try:
        config: Any = AlbertConfig.from_dict(known)
        config.num_labels = geometry.num_labels
        if raw.get("id2label") is not None:
            config.id2label = {int(key): name for key, name in sorted(raw["id2label"].items(), key=_number)}
            config.label2id = {name: i for i, name in config.id2label.items()}
    except Exception as error:  # whatever transformers' own checks raise
        raise ValueError(f"{path}: {' '.join(str(error).split())[:200]}") from error
    pad = config.pad_token_id
    if pad is not None and not 0 <= pad < geometry.vocab_size:
        raise ValueError(f"{path}: pad_token_id {quote(pad)} is not in 0..{geometry.vocab_size - 1}")
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = config.classifier_dropout_prob = 0.0
    return config


_OWN_BUSINESS = (
    "dtype",  # the model computes in float32, however the weights are stored
    "transformers_version",
    "id2label",
    "label2id",
    "num_labels",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout_prob",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "chunk_size_feed_forward",
)
"""Keys that are not handed to transformers as they came: set here, or of no use."""


def _number(item: tuple[str, Any]) -> int:
    return int(item[0])


def load_albert(
    folder: Path | str, *, new_classifier: bool = False, num_labels: int | None = None
) -> AlbertForSequenceClassification:
    """The model of a checkpoint folder, float32.

    Args:
        folder: Holds ``config.json`` and safetensors.
        new_classifier: Accept a checkpoint without pooler or classifier, or with one for other classes: it
            starts fresh (torch's global generator).
        num_labels: Classes of the model, where the classifier may start fresh; None: the checkpoint's own.

    Raises:
        OSError: a file is not there.
        ValueError: something in the folder is not what ELBERT reads; one line names it.
    """
    folder = check_folder(folder)
    config = read_config(folder, num_labels)
    with torch.device("meta"):
        wanted = AlbertForSequenceClassification(config).state_dict()
    tensors = _with_hugging_face_names(read_weights(folder))
    missing = sorted(name for name in wanted if name not in tensors)
    fresh = ("classifier.", "albert.pooler.") if new_classifier else ()
    refused = [name for name in missing if not name.startswith(fresh or ("\0",))]
    if refused:
        raise ValueError(_what_is_missing(folder, tensors, refused, len(wanted)))
    given: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name in wanted and value.shape == wanted[name].shape:
            given[name] = value
        elif name in wanted and not (new_classifier and name.startswith("classifier.")):
            raise ValueError(_other_shape(folder, name, value, wanted[name], int(config.num_labels or 0)))
        elif name.startswith((PREFIX, "classifier.")) and name not in (*wanted, *_BUFFERS):
            raise ValueError(
                f"{folder}: {quote(name)} has no place in the model that {CONFIG_FILE} describes"
            )
    for name, value in given.items():
        if value.dtype not in DTYPES:
            raise ValueError(
                f"{folder}: {name} is {value.dtype}, expected {', '.join(map(str, DTYPES))}: "
                f"save the model with floating-point weights"
            )
        if name in _WITHOUT_ZEROS and not bool(value.any()):
            raise ValueError(f"{folder}: {name} is all zeros: {_WITHOUT_ZEROS[name]} to such a model")
    model = AlbertForSequenceClassification(config)
    model.load_state_dict(given, strict=False)  # what lacks may start fresh: checked above
    return model


def _with_hugging_face_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as ``AlbertForSequenceClassification`` has them, of a bare ``AlbertModel`` or an old export."""
    bare = "embeddings.word_embeddings.weight" in tensors
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if bare:
            name = PREFIX + name
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        found[name] = value
    return found


def _train_one(folder: Path) -> str:
    return f"train one on your data: elbert train DATA --init {shlex.quote(str(folder))} --output RUN"


def _what_is_missing(folder: Path, tensors: dict[str, Tensor], refused: list[str], count: int) -> str:
    """Why a checkpoint lacks weights, and what to do."""
    kind = architecture(folder)
    if not tensors:
        return f"{folder} holds no tensor at all"
    if WORDS in tensors:
        lacking = [
            part for part in ("classifier", "pooler") if not any(f"{part}." in name for name in tensors)
        ]
        if lacking and all(name.startswith(("classifier.", "albert.pooler.")) for name in refused):
            if any(name.startswith("predictions.") for name in tensors):
                what = "is a masked-LM ALBERT"
            elif kind in (None, "AlbertModel", "AlbertForSequenceClassification"):
                what = "is an ALBERT without a head"
            else:
                what = f"is an {kind}"
            return (
                f"{folder} {what}: it has no {' and no '.join(lacking)} to answer with; {_train_one(folder)}"
            )
        return f"{folder} lacks {len(refused)} of {count} weights, first {quote(refused[0])}"
    first = min(tensors)
    words = [name for name in tensors if name.endswith("embeddings.word_embeddings.weight")]
    if words:
        found = words[0].removesuffix("embeddings.word_embeddings.weight")
        if found.rstrip(".").split(".")[-1] != "albert":
            return (
                f"{folder} holds the weights of another architecture: the word embedding is "
                f"{quote(words[0])}, expected {WORDS}"
            )
        before = found.removesuffix(PREFIX)
        inner = "model" if before == PREFIX else f"model.{before.rstrip('.')}"
        return (
            f"{folder}: the names of its tensors begin with {quote(before)} ({quote(words[0])}), expected "
            f"{WORDS}: where the model was made, save the inner one: {inner}.save_pretrained('{folder}')"
        )
    return (
        f"{folder} lacks {len(refused)} of {count} weights, first {quote(refused[0])}; what it holds begins "
        f"with {quote(first)}: these are not the names of an AlbertForSequenceClassification"
    )


def _other_shape(folder: Path, name: str, value: Tensor, wanted: Tensor, classes: int) -> str:
    found, expected = tuple(value.shape), tuple(wanted.shape)
    kind = architecture(folder)
    if name.startswith("classifier.") and kind not in (None, AlbertForSequenceClassification.__name__):
        return f"{folder} is an {kind}: it has no classifier of sentences; {_train_one(folder)}"
    if name.startswith("classifier.") and found[1:] == expected[1:] and found:
        return (
            f"{folder}: {CONFIG_FILE} says {classes} classes, {name} has {found[0]}: correct id2label or "
            f"num_labels in {CONFIG_FILE}"
        )
    return f"{folder}: {name} has shape {found}, {CONFIG_FILE} asks for {expected}"
