"""Teaches the shared layer to be iterated: iterations learn the hidden states of a BERT's layers, from text.

The embedding is the teacher's own and stays as it is; so does the identity projection. Only the layer learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import nn

from golden_model.config import ElbertConfig
from golden_model.devices import find_device
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.float.batches import Encoded, collate
from golden_model.float.files import write_checkpoint
from golden_model.float.weights import stored_sha256
from golden_model.text.tokenizer import ElbertTokenizer
from golden_model.train.distillation import BertTeacher, Distillation, hidden_errors, iteration_of_layer
from golden_model.train.initialise import LAYER, copy_layer, fresh, from_bert_layer
from golden_model.train.objective import Objective, ParameterGroup, layer_groups
from golden_model.train.texts import digest, hold_out
from golden_model.train.trainer import Trainer, TrainingOptions


class PretrainingOptions(TrainingOptions):
    """Numbers of a pretraining."""

    learning_rate: float = Field(default=1e-3, gt=0)
    batch_size: int = Field(default=64, ge=1)
    stretch: int = Field(default=1, ge=1)
    """Iterations per layer of the teacher."""
    start_layer: int = -1
    """Layer of the teacher that the shared layer starts as; negative counts from the last."""


class Readout(nn.Module):
    """A factor and an offset per feature and layer between a student's states and its teacher's.

    One shared LayerNorm cannot give every iteration a scale of its own, as the teacher's layers have; what
    counts is what a state says. Used while pretraining and then dropped.
    """

    def __init__(self, layers: int, hidden: int) -> None:
        """Starts as the identity; factor and offset are [layers, hidden]."""
        super().__init__()
        self.factor = nn.Parameter(torch.ones(layers, hidden))
        self.offset = nn.Parameter(torch.zeros(layers, hidden))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """States [layers, batch, length, hidden] in the teacher's terms."""
        return states.float() * self.factor[:, None, None] + self.offset[:, None, None]


class HiddenStates(Objective):
    """Mean over the teacher's layers of the share of variance missed (``distillation.hidden_errors``)."""

    def __init__(
        self,
        model: ElbertForSequenceClassification,
        tokenizer: ElbertTokenizer,
        train: Distillation,
        dev: Distillation,
        options: PretrainingOptions,
    ) -> None:
        """Student and teacher read the same ids; only the shared layer is trained.

        Raises:
            ValueError: when the model has fewer iterations than the teacher's layers ask for.
        """
        self.iterations = train.iterations[-1]
        if self.iterations > model.config.num_hidden_layers:
            raise ValueError(
                f"{train.teacher.layers} layers at {options.stretch} iterations each are {self.iterations}, "
                f"above num_hidden_layers {model.config.num_hidden_layers}"
            )
        self.model, self.tokenizer = model, tokenizer
        self.train_data, self.dev_data = train, dev
        self.options = options
        self.readout = Readout(train.teacher.layers, model.config.hidden_size).to(self.device)
        self.lengths = [len(ids) for ids in train.inputs.ids]
        for name, parameter in model.model.named_parameters():
            parameter.requires_grad_(name.startswith(LAYER))

    @property
    def module(self) -> nn.Module:
        """The student."""
        return self.model

    @property
    def groups(self) -> list[ParameterGroup]:
        """The shared layer, and the readout."""
        options = self.options
        readout = [(f"readout.{name}", value) for name, value in self.readout.named_parameters()]
        return [
            *layer_groups(self.model.model.named_parameters(), options.learning_rate, options.weight_decay),
            ParameterGroup(readout, options.learning_rate),
        ]

    def errors(self, data: Distillation, index: Sequence[int]) -> torch.Tensor:
        """Share of variance missed per layer of the teacher, [layers]."""
        batch = collate(data.inputs, index, self.tokenizer.pad_id).to(self.device)
        _, states = data.teach(index, self.device)
        _, hidden = self.model(batch.ids, batch.mask, batch.types, self.iterations, hidden_states=True)
        return hidden_errors(self.readout(hidden[data.iterations]), states, batch.mask)

    def loss(self, index: Sequence[int]) -> torch.Tensor:
        """Mean over the layers."""
        return self.errors(self.train_data, index).mean()

    def evaluate(self) -> dict[str, Any]:
        """Share of the held-out sentences' variance missed, per layer; every batch counts by its tokens."""
        inputs = self.dev_data.inputs
        order = sorted(range(len(inputs)), key=lambda i: len(inputs.ids[i]))
        total, tokens = torch.zeros(self.dev_data.teacher.layers), 0
        for start in range(0, len(order), self.options.batch_size):
            index = order[start : start + self.options.batch_size]
            count = sum(len(inputs.ids[i]) for i in index)
            total += count * self.errors(self.dev_data, index).cpu()
            tokens += count
        return {"held_out_error": [round(v, 5) for v in (total / tokens).tolist()]}

    def score(self, entry: dict[str, Any]) -> float:
        """Minus the mean error."""
        return -sum(entry["held_out_error"])

    def describe(self, entry: dict[str, Any]) -> str:
        """Error per layer, %."""
        return "variance missed, % " + " ".join(f"{100 * v:.1f}" for v in entry["held_out_error"])

    def write(self, folder: Path, record: dict[str, Any]) -> None:
        """A Hugging Face checkpoint, with the pooler and classifier of a teacher that has learnt a task."""
        if self.train_data.teacher.has_task:
            self.answer_as_teacher()
        write_checkpoint(folder, self.model.model, self.tokenizer, record)

    @torch.no_grad()
    def answer_as_teacher(self) -> None:
        """Pooler and classifier become the teacher's, which read the last layer's readout: W(f·h + o) + b."""
        theirs, ours = self.train_data.teacher.model, self.model.model
        assert theirs.bert.pooler is not None
        dense, pooler = theirs.bert.pooler.dense, ours.albert.pooler
        factor, offset = self.readout.factor[-1], self.readout.offset[-1]
        pooler.weight.copy_(dense.weight * factor)
        pooler.bias.copy_(dense.weight @ offset + dense.bias)
        ours.classifier.load_state_dict(theirs.classifier.state_dict())


def prepare_pretraining(
    texts: Sequence[tuple[str, str | None]],
    config: ElbertConfig,
    options: PretrainingOptions,
    output: Path,
    teacher_folder: Path,
    *,
    init: Path | None = None,
    held_out_one_in: int = 200,
    device: str = "cpu",
) -> Trainer:
    """Everything before the first step.

    Args:
        texts: Sentences, or pairs of them; repeats are dropped.
        config: Geometry; the vocabulary becomes the teacher's, whole.
        options: The run's numbers.
        output: The run's folder.
        teacher_folder: A BERT with its tokenizer.
        init: A checkpoint whose shared layer to start from; None: the teacher's ``options.start_layer``.
        held_out_one_in: One sentence in so many measures and is not trained on.
        device: As ``devices.find_device`` takes it.

    Raises:
        FileNotFoundError: naming the file that is not there.
        ValueError: naming the value and its bound.
    """
    place = find_device(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)  # a bare teacher's classifier is drawn
        teacher = BertTeacher.from_folder(teacher_folder, config.num_labels)
    tokenizer = teacher.tokenizer
    classes = teacher.model.config.id2label or {}
    config = ElbertConfig(**{**config.model_dump(), "vocab_size": tokenizer.size, "num_labels": len(classes)})
    model = fresh(config, list(classes.values()), options.seed)
    from_bert_layer(model, teacher_folder, tokenizer, options.start_layer)
    if init is not None:
        copy_layer(model, init)
    joined = ["\t".join(part for part in pair if part is not None) for pair in texts]
    by_joined = dict(zip(joined, texts, strict=True))
    kept, held = hold_out(joined, held_out_one_in)
    if not kept or not held:
        raise ValueError(f"{len(joined)} sentences leave {len(kept)} to train and {len(held)} to hold out")
    teacher.to(place).eval().requires_grad_(False)
    model.to(place)
    iterations = iteration_of_layer(teacher.layers, options.stretch)
    facts: dict[str, Any] = {
        "config": config.model_dump(),
        "start_sha256": stored_sha256(init or teacher_folder),
        "teacher_sha256": stored_sha256(teacher_folder),
        "train": {"rows": len(kept), "sha256": digest(kept)},
        "held_out": {"rows": len(held), "sha256": digest(held)},
        "iterations": iterations,
    }
    train, dev = (
        Distillation(
            teacher, _encode([by_joined[t] for t in part], tokenizer, options.max_length), iterations
        )
        for part in (kept, held)
    )
    return Trainer(HiddenStates(model, tokenizer, train, dev, options), options, output, facts)


def _encode(texts: Sequence[tuple[str, str | None]], tokenizer: ElbertTokenizer, max_length: int) -> Encoded:
    ids: list[list[int]] = [[]] * len(texts)
    types: list[list[int]] = [[]] * len(texts)
    for paired in (False, True):
        rows = [i for i, (_, second) in enumerate(texts) if (second is not None) == paired]
        seconds = [texts[i][1] or "" for i in rows] if paired else None
        found = tokenizer.encode_many([texts[i][0] for i in rows], max_length, seconds) if rows else []
        for i, (row_ids, row_types) in zip(rows, found, strict=True):
            ids[i], types[i] = row_ids, row_types
    return Encoded(ids, types, torch.full((len(texts),), -1))
