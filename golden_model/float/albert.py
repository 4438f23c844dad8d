"""Float ELBERT: Hugging Face's ALBERT with its own pooler and classifier read after every iteration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AlbertConfig, AlbertForSequenceClassification, PreTrainedConfig
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.albert.modeling_albert import eager_attention_forward

from golden_model.config import ElbertConfig
from golden_model.float.pretrained import load_albert
from golden_model.labels import check_names
from golden_model.text.tokenizer import ElbertTokenizer


def hugging_face_config(config: ElbertConfig, **extra: Any) -> AlbertConfig:
    """The ``AlbertConfig`` of a geometry, dropout off (ELBERT trains without).

    ``extra`` keys (``id2label`` and the like) are handed on unchanged.
    """
    return AlbertConfig(
        **config.model_dump(),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout_prob=0.0,
        **extra,
    )


def elbert_config(config: AlbertConfig) -> ElbertConfig:
    """The geometry of a Hugging Face configuration.

    Raises:
        ValueError: as :meth:`ElbertConfig.from_dict`.
    """
    values = config.to_dict()
    return ElbertConfig.from_dict(values)


def name_labels(config: PreTrainedConfig, names: Sequence[str]) -> None:
    """Writes the classes' names into a Hugging Face configuration.

    Raises:
        ValueError: when there are more or fewer than classes, or one is no name (``labels.check_names``).
    """
    check_names(list(names), "the data", config.num_labels)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}


class ElbertForSequenceClassification(nn.Module):
    """Wraps an ``AlbertForSequenceClassification`` and adds nothing to its parameters.

    The wrapped model stays reachable as ``self.model`` and is what gets saved, so every checkpoint is an
    ordinary Hugging Face one.
    """

    def __init__(self, model: AlbertForSequenceClassification) -> None:
        """Takes the model over; raises ValueError when its layer sharing is not ELBERT's."""
        super().__init__()
        self.config = elbert_config(model.config)
        self.model = model
        # on sentences this short PyTorch's fused attention trains at half the speed of the plain form (CPU)
        model.set_attn_implementation("eager")

    @classmethod
    def from_config(cls, config: ElbertConfig, **extra: Any) -> ElbertForSequenceClassification:
        """A freshly initialised model (uses torch's global generator)."""
        return cls(AlbertForSequenceClassification(hugging_face_config(config, **extra)))

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, *, new_classifier: bool = False, num_labels: int | None = None
    ) -> ElbertForSequenceClassification:
        """Reads a local Hugging Face checkpoint (``config.json``, ``model.safetensors``) as float32.

        Args:
            folder: The checkpoint's folder. Nothing is fetched and nothing is unpickled.
            new_classifier: Accept a checkpoint without a classifier (a bare or masked-LM ALBERT), or with one
                for other classes; the missing weights start fresh.
            num_labels: Classes of a new classifier; only with ``new_classifier``.

        Raises:
            OSError: when a file is not there.
            ValueError: when something is not what ELBERT reads: ``golden_model.float.pretrained``.
        """
        if num_labels is not None and not new_classifier:
            raise ValueError(f"num_labels {num_labels} is only settable with new_classifier")
        return cls(load_albert(folder, new_classifier=new_classifier, num_labels=num_labels))

    def save_pretrained(self, folder: Path | str) -> None:
        """Writes ``config.json`` and ``model.safetensors`` with Hugging Face's names."""
        self.model.save_pretrained(folder)

    @property
    def layer(self) -> nn.Module:
        """The shared layer: (hidden, what is added to the attention scores) to hidden."""
        return self.model.albert.encoder.albert_layer_groups[0]

    def embed(self, input_ids: torch.Tensor, token_type_ids: torch.Tensor | None = None) -> torch.Tensor:
        """The projected embedding, float [batch, length, hidden]: what the first iteration reads.

        Raises:
            ValueError: when the length is out of bounds, or the model has no second token type.
        """
        albert, length = self.model.albert, input_ids.shape[1]
        if not 1 <= length <= self.config.max_position_embeddings:
            raise ValueError(f"length {length} is not in 1..{self.config.max_position_embeddings}")
        if self.config.type_vocab_size < 2 and token_type_ids is not None and bool(token_type_ids.any()):
            raise ValueError("the texts are pairs, but the model has one token type (type_vocab_size 1)")
        embedding = albert.embeddings(input_ids, token_type_ids=token_type_ids)
        return albert.encoder.embedding_hidden_mapping_in(embedding)

    def classify(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits [batch, labels] of a hidden state [batch, length, hidden], by pooler and classifier."""
        albert = self.model.albert
        return self.model.classifier(albert.pooler_activation(albert.pooler(hidden[:, 0])))

    def attention_bias(
        self, hidden: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> torch.Tensor | None:
        """Hugging Face's own mask for the layer; None when every token is real."""
        if attention_mask is None or bool(attention_mask.all()):
            return None
        mask: Any = create_bidirectional_mask(
            config=self.model.config, inputs_embeds=hidden, attention_mask=attention_mask
        )
        return mask

    def keys_values(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values, [batch, heads, length, hidden / heads]: all that other rows need of ``hidden``.

        With :meth:`rows` this is the layer, split so that some rows can be computed before others.
        """
        attention = self._inner.attention
        return self._by_head(attention.key(hidden)), self._by_head(attention.value(hidden))

    def rows(
        self,
        hidden: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        """The layer's output for chosen rows alone, with Hugging Face's own modules; in evaluation mode.

        Args:
            hidden: Of the chosen rows, [batch, rows, hidden].
            keys: Of all tokens, by :meth:`keys_values`.
            values: The same.
            bias: As :meth:`attention_bias`.

        Returns:
            [batch, rows, hidden]
        """
        attention = self._inner.attention
        mixed, _ = eager_attention_forward(
            attention,
            self._by_head(attention.query(hidden)),
            keys,
            values,
            None if bias is None else bias[:, :, :1],  # which keys exist is the same for every query
            scaling=attention.scaling,
        )
        attended = attention.LayerNorm(hidden + attention.dense(mixed.flatten(2)))
        return self._inner.full_layer_layer_norm(self._inner.ff_chunk(attended) + attended)

    @property
    def _inner(self) -> Any:
        group: Any = self.layer
        return group.albert_layers[0]

    def _by_head(self, values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(-1, (-1, self.config.head_dim)).transpose(1, 2)

    def states(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        num_iterations: int | None = None,
    ) -> Iterator[torch.Tensor]:
        """Hidden states, float [batch, length, hidden]: the projected embedding, then one per iteration.

        Arguments and errors are those of :meth:`forward`.
        """
        count = self.config.num_hidden_layers if num_iterations is None else num_iterations
        if not 1 <= count <= self.config.num_hidden_layers:
            raise ValueError(f"num_iterations {count} is not in 1..{self.config.num_hidden_layers}")
        hidden = self.embed(input_ids, token_type_ids)
        bias = self.attention_bias(hidden, attention_mask)
        yield hidden
        for _ in range(count):
            hidden = self.layer(hidden, bias)
            yield hidden

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        num_iterations: int | None = None,
        hidden_states: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Applies the layer ``num_iterations`` times and classifies after every one.

        Args:
            input_ids: int64 [batch, length].
            attention_mask: 1 for real tokens, 0 for padding, [batch, length]; None: all real.
            token_type_ids: int64 [batch, length]; None: all 0.
            num_iterations: Iterations to run; None: the configuration's own count.
            hidden_states: Also return the hidden state before and after every iteration.

        Returns:
            Logits, float [iterations, batch, labels], entry ``i`` after ``i + 1`` applications of the layer;
            with ``hidden_states`` a pair of the logits and float [iterations + 1, batch, length, hidden],
            whose entry 0 is the projected embedding, the input of the first iteration.

        Raises:
            ValueError: when ``num_iterations`` or the length is out of bounds.
        """
        logits, kept = [], []
        for i, hidden in enumerate(self.states(input_ids, attention_mask, token_type_ids, num_iterations)):
            if i:
                logits.append(self.classify(hidden))
            if hidden_states:
                kept.append(hidden)
        stacked = torch.stack(logits)
        return (stacked, torch.stack(kept)) if hidden_states else stacked


def load_float(
    folder: Path | str,
) -> tuple[ElbertForSequenceClassification, ElbertTokenizer, ElbertConfig]:
    """Opens a float checkpoint folder: the model in evaluation mode, its tokenizer, its geometry."""
    model = ElbertForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = ElbertTokenizer.from_folder(folder)
    tokenizer.check_fits(model.config.vocab_size, folder)
    return model, tokenizer, model.config
