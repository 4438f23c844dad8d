"""What a method computes, counted in multiply-adds of its matrix products (half of what counts as FLOPs).

The parts are those of the modules that run. Training: a part that only runs forward counts once, one that
learns three times, since its backward pass has two products (to its input and to its weights) for each one of
the forward pass (Kaplan et al. 2020, "Scaling Laws for Neural Language Models", section 2.1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn
from transformers import BertConfig

from golden_model.config import ElbertConfig
from golden_model.float.methods.heads import Head
from golden_model.float.methods.model import ExitModel

LEARNING = 3
"""Multiply-adds of a part that learns, as multiples of its forward pass."""


def layer_macs(config: ElbertConfig, length: int) -> int:
    """One application of the shared layer to a sentence of ``length`` tokens."""
    return config.layer_products(length) - albert_exit_macs(config)


def answer_macs(config: ElbertConfig, head: type[Head] | None, length: int) -> int:
    """The layer in the iteration a sentence of ``length`` tokens leaves after, without the exit itself.

    Answer first where the exit reads [CLS] alone, all rows where it reads all of them.

    Args:
        config: Geometry.
        head: Kind of the iteration's exit; None: ALBERT's pooler and classifier.
        length: Of the sentence.
    """
    if head is not None and head.reads_all_rows:
        return layer_macs(config, length)
    return config.answer_products(length) - albert_exit_macs(config)


def albert_exit_macs(config: ElbertConfig) -> int:
    """ALBERT's pooler and classifier: H² + H·C."""
    return config.hidden_size**2 + config.hidden_size * config.num_labels


def exit_macs(model: ExitModel, iteration: int, length: int) -> int:
    """The exit of an iteration, counted from 1; raises ValueError when that is out of range."""
    head = model.head(iteration)
    return albert_exit_macs(model.config) if head is None else head.macs(length)


def bert_macs(config: BertConfig, length: int) -> int:
    """A BERT classifier's forward pass of one sentence."""
    hidden, wide = config.hidden_size, config.intermediate_size
    layer = length * (4 * hidden**2 + 2 * hidden * wide) + 2 * length**2 * hidden
    classes = len(config.id2label or {})
    return config.num_hidden_layers * layer + hidden**2 + hidden * classes


@dataclass(frozen=True)
class Work:
    """What one training step computes of every sample.

    Members:
        model: Under training; what learns are the parameters that ask for a gradient.
        exits: Whose logits are computed, from 1 and rising.
        teacher: A BERT that answers beside it.
    """

    model: ExitModel
    exits: Sequence[int]
    teacher: BertConfig | None = None

    def macs(self, length: int) -> int:
        """Of one sample of ``length`` tokens, padding included, without the teacher."""
        config, albert = self.model.config, self.model.backbone.model.albert
        start = _factor(albert.embeddings, albert.encoder.embedding_hidden_mapping_in)
        layer = max(start, _factor(albert.encoder.albert_layer_groups))
        total = start * config.embedding_products(length)
        total += layer * self.exits[-1] * layer_macs(config, length)
        for iteration in self.exits:
            total += max(layer, self._exit_factor(iteration)) * exit_macs(self.model, iteration, length)
        return total

    def teacher_macs(self, length: int) -> int:
        """The teacher's, of one sample."""
        return 0 if self.teacher is None else bert_macs(self.teacher, length)

    def _exit_factor(self, iteration: int) -> int:
        head, own = self.model.head(iteration), self.model.backbone.model
        return _factor(own.albert.pooler, own.classifier) if head is None else _factor(head)


def _factor(*modules: nn.Module) -> int:
    learns = any(parameter.requires_grad for module in modules for parameter in module.parameters())
    return LEARNING if learns else 1


@dataclass(frozen=True)
class Cost:
    """What a stage of training has computed.

    Members:
        macs: Multiply-adds, without the teacher's.
        teacher_macs: The teacher's.
        tokens: Processed, padding of the batches included.
        steps: Of the optimiser.
        seconds: Of the clock.
    """

    macs: int
    teacher_macs: int
    tokens: int
    steps: int
    seconds: float


def count(work: Work, batches: Iterable[tuple[int, int]], steps: int, seconds: float) -> Cost:
    """Cost of a stage.

    Args:
        work: Of one step.
        batches: Rows and width of every batch that was processed.
        steps: Optimiser steps.
        seconds: Of the clock.
    """
    samples: Counter[int] = Counter()
    for rows, width in batches:
        samples[width] += rows
    return Cost(
        sum(rows * work.macs(width) for width, rows in samples.items()),
        sum(rows * work.teacher_macs(width) for width, rows in samples.items()),
        sum(rows * width for width, rows in samples.items()),
        steps,
        round(seconds, 1),
    )
