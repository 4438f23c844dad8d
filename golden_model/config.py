"""The one frozen description of a model's geometry; every width elsewhere derives from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_LABELS = 8
"""Most classes the exit unit holds (design: fixed-point softmax for up to 8 classes)."""

MAX_ITERATIONS = 32
"""Most iterations whose confidences the accelerator keeps."""


class ElbertConfig(BaseModel):
    """Geometry of an ELBERT, in Hugging Face's key names.

    Raises:
        pydantic.ValidationError: (a ``ValueError``) naming the value and the bound it breaks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocab_size: int = Field(ge=4, le=65536)
    embedding_size: int = Field(ge=4, le=1024)
    hidden_size: int = Field(ge=8, le=1024)
    num_attention_heads: int = Field(ge=1, le=64)
    intermediate_size: int = Field(ge=8, le=4096)
    num_hidden_layers: int = Field(ge=1, le=MAX_ITERATIONS)
    """Iterations of the one shared layer (ALBERT's own key name)."""
    max_position_embeddings: int = Field(ge=1, le=512)
    """Longest sentence, special tokens included."""
    num_labels: int = Field(default=2, ge=2, le=MAX_LABELS)
    type_vocab_size: int = Field(default=2, ge=1, le=4)
    hidden_act: str = "gelu_new"
    layer_norm_eps: float = Field(default=1e-12, gt=0)

    @model_validator(mode="after")
    def _check(self) -> ElbertConfig:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}"
            )
        if self.embedding_size > self.hidden_size:
            raise ValueError(f"embedding_size {self.embedding_size} is above hidden_size {self.hidden_size}")
        if self.hidden_act not in ("gelu", "gelu_new"):
            raise ValueError(f"hidden_act {self.hidden_act!r} is not one of 'gelu', 'gelu_new'")
        return self

    @property
    def head_dim(self) -> int:
        """Features of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def layer_products(self, length: int) -> int:
        """Multiply-adds of one iteration for ``length`` real tokens, pooler and classifier included."""
        h, i = self.hidden_size, self.intermediate_size
        layer = length * (4 * h * h + 2 * h * i) + 2 * length * length * h
        return layer + h * h + h * self.num_labels

    def embedding_products(self, length: int) -> int:
        """Multiply-adds of the embedding projection, done once per sentence."""
        return length * self.embedding_size * self.hidden_size

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ElbertConfig:
        """Reads a Hugging Face ``config.json`` dictionary: known keys are taken, others ignored."""
        return cls(**{k: v for k, v in values.items() if k in cls.model_fields})

    @classmethod
    def from_json(cls, path: Path | str) -> ElbertConfig:
        """Reads a Hugging Face ``config.json`` file."""
        return cls.from_dict(json.loads(Path(path).read_text()))


PRESETS: dict[str, ElbertConfig] = {
    "nano": ElbertConfig(
        vocab_size=64,
        embedding_size=16,
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=64,
        num_hidden_layers=4,
        max_position_embeddings=16,
    ),
    "small": ElbertConfig(
        vocab_size=18500,
        embedding_size=384,
        hidden_size=384,
        num_attention_heads=12,
        intermediate_size=1536,
        num_hidden_layers=12,
        max_position_embeddings=64,
        hidden_act="gelu",
    ),
    "base": ElbertConfig(
        vocab_size=30000,
        embedding_size=128,
        hidden_size=768,
        num_attention_heads=12,
        intermediate_size=3072,
        num_hidden_layers=12,
        max_position_embeddings=128,
    ),
    "large": ElbertConfig(
        vocab_size=30000,
        embedding_size=128,
        hidden_size=1024,
        num_attention_heads=16,
        intermediate_size=4096,
        num_hidden_layers=24,
        max_position_embeddings=128,
    ),
}


def find_preset(name: str) -> ElbertConfig:
    """The preset of that name.

    Raises:
        ValueError: naming the legal ones.
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r} is not one of {', '.join(PRESETS)}")
    return PRESETS[name]
