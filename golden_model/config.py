"""The one frozen description of a model's geometry; every width elsewhere derives from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from golden_model.documents import quote, read_object
from golden_model.errors import describe

MAX_LABELS = 8
"""Most classes the exit unit holds (design: fixed-point softmax for up to 8 classes)."""

MAX_ITERATIONS = 32
"""Most iterations whose confidences the accelerator keeps."""

MAX_LAYER_NORM_EPS = 1e-5
"""Largest epsilon of the float LayerNorm. The integer one has none (docs/numerics.md): it divides by the
root of the variance alone. Signal to error of the bundled model's float logits (five sentences, smallest
variance 0.0036) with an epsilon of 1e-5: 76 dB, of 1e-3: 38 dB, of 0.1: 8 dB; of its golden model: 32 dB."""

ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_new", "gelu_pytorch_tanh": "gelu_new"}
"""``hidden_act`` as Hugging Face calls it, and which of the two functions it is."""

_ONE_LAYER = "ELBERT repeats one layer, so it must be 1"
_CLASSIFIER = "ELBERT answers with one class of several: 'single_label_classification'"
FIXED_SETTINGS: dict[str, tuple[tuple[Any, ...], str]] = {
    "model_type": (("albert",), "ELBERT is an 'albert'"),
    "num_hidden_groups": ((1,), _ONE_LAYER),
    "inner_group_num": ((1,), _ONE_LAYER),
    "position_embedding_type": (("absolute", None), "positions are 'absolute'"),
    "problem_type": ((None, "single_label_classification"), _CLASSIFIER),
    "is_decoder": ((False, None), "every token sees every other: it must be false"),
    "add_cross_attention": ((False, None), "there is no other text to attend to: it must be false"),
    "is_encoder_decoder": ((False, None), "ELBERT is an encoder alone: it must be false"),
    "pruned_heads": (({}, None), "heads are not pruned: it must be {}"),
    "quantization_config": ((None,), "the weights must be floats: save the model dequantised"),
}
"""Keys of a ``config.json`` that change what a model computes and of which ELBERT has one form: the values
taken, and what a refusal says. Keys that are neither here nor in :class:`ElbertConfig` change no answer
(dropout, initialisation, ids of special pieces, what Hugging Face returns or caches)."""


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
    """``gelu`` or ``gelu_new``; any name of ACTIVATIONS is taken."""
    layer_norm_eps: float = Field(default=1e-12, gt=0)
    """At most MAX_LAYER_NORM_EPS."""

    @field_validator("hidden_act", mode="after")
    @classmethod
    def _activation(cls, value: str) -> str:
        if value not in ACTIVATIONS:
            raise ValueError(f"hidden_act {quote(value)} is not one of {', '.join(map(repr, ACTIVATIONS))}")
        return ACTIVATIONS[value]

    @field_validator("layer_norm_eps", mode="after")
    @classmethod
    def _epsilon(cls, value: float) -> float:
        if value > MAX_LAYER_NORM_EPS:
            raise ValueError(
                f"layer_norm_eps {value:g} is above {MAX_LAYER_NORM_EPS:g}: the integer LayerNorm has none, "
                f"so a larger one would change the answers (train the model with 1e-12)"
            )
        return value

    @model_validator(mode="after")
    def _check(self) -> ElbertConfig:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}"
            )
        if self.embedding_size > self.hidden_size:
            raise ValueError(f"embedding_size {self.embedding_size} is above hidden_size {self.hidden_size}")
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

    def answer_products(self, length: int) -> int:
        """Multiply-adds of the iteration a sentence leaves after, answer first (docs/answer-first.md).

        Keys and values of ``length`` real tokens, all else of the [CLS] row alone, pooler and classifier.
        Leaving after e iterations costs e - 1 times :meth:`layer_products` and this.
        """
        h, i = self.hidden_size, self.intermediate_size
        row = 2 * h * h + 2 * h * i + 2 * length * h
        return 2 * length * h * h + row + h * h + h * self.num_labels

    def embedding_products(self, length: int) -> int:
        """Multiply-adds of the embedding projection, done once per sentence."""
        return length * self.embedding_size * self.hidden_size

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ElbertConfig:
        """Reads a Hugging Face ``config.json`` dictionary.

        Raises:
            ValueError: a key is missing, a bound is broken, or a key of FIXED_SETTINGS has another value than
                ELBERT's, all in one line; keys that change no answer are ignored.
        """
        for key, (allowed, reason) in FIXED_SETTINGS.items():
            if key in values and values[key] not in allowed:
                raise ValueError(f"{key} is {quote(values[key])}; {reason}")
        known = {k: v for k, v in values.items() if k in cls.model_fields}
        names = values.get("id2label")
        if names is not None:
            if not isinstance(names, dict):
                raise ValueError(f"id2label is a {type(names).__name__}, expected an object")
            if known.setdefault("num_labels", len(names)) != len(names):
                raise ValueError(
                    f"num_labels is {quote(known['num_labels'])}, id2label names {len(names)} classes"
                )
        lacking = [k for k, field in cls.model_fields.items() if field.is_required() and k not in known]
        if lacking:
            raise ValueError(f"lacks the key {lacking[0]!r}")
        try:
            return cls(**known)
        except ValidationError as error:
            raise ValueError(describe(error)) from error

    @classmethod
    def from_json(cls, path: Path | str) -> ElbertConfig:
        """Reads a Hugging Face ``config.json`` file; raises ValueError naming file, key, value and bound."""
        values = read_object(path)
        try:
            return cls.from_dict(values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


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
