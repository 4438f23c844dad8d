"""Hugging Face's modules under the names of the integer checkpoint, and their weights as float64."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from golden_model.float.albert import ElbertForSequenceClassification


def linears(model: ElbertForSequenceClassification) -> dict[str, nn.Linear]:
    """Every matmul's module, by its name in the integer checkpoint."""
    albert, layer = model.model.albert, _layer(model)
    attention = layer.attention
    return {
        "embedding.projection": albert.encoder.embedding_hidden_mapping_in,
        "attention.query": attention.query,
        "attention.key": attention.key,
        "attention.value": attention.value,
        "attention.output": attention.dense,
        "ffn.intermediate": layer.ffn,
        "ffn.output": layer.ffn_output,
        "pooler": albert.pooler,
        "classifier": model.model.classifier,
    }


def norms(model: ElbertForSequenceClassification) -> dict[str, nn.LayerNorm]:
    """Every LayerNorm, by its name in the integer checkpoint."""
    layer = _layer(model)
    return {
        "embedding.norm": model.model.albert.embeddings.LayerNorm,
        "attention.norm": layer.attention.LayerNorm,
        "ffn.norm": layer.full_layer_layer_norm,
    }


def embedding_tables(model: ElbertForSequenceClassification, centred: bool) -> tuple[Tensor, Tensor]:
    """What ``embedding.word`` and ``embedding.position_type`` stand for, in real units.

    Args:
        model: The float model.
        centred: Move a constant per channel from the words (int8) to the positions (int16): with the words'
            range centred, channels far from 0 no longer dictate the scale.

    Returns:
        float64 [V, E] and [types, positions, E], on the CPU. Sums of one entry of each are the model's.
    """
    embeddings = model.model.albert.embeddings
    word, position, kind = (
        as_float64(part.weight)
        for part in (
            embeddings.word_embeddings,
            embeddings.position_embeddings,
            embeddings.token_type_embeddings,
        )
    )
    both = kind.unsqueeze(1) + position.unsqueeze(0)
    if not centred:
        return word, both
    centre = (word.amax(0) + word.amin(0)) / 2
    return word - centre, both + centre


def as_float64(parameter: Tensor) -> Tensor:
    """A parameter's values as float64 on the CPU."""
    return parameter.detach().double().cpu()


def _layer(model: ElbertForSequenceClassification) -> Any:
    groups: Any = model.model.albert.encoder.albert_layer_groups
    return groups[0].albert_layers[0]
