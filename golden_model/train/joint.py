"""ELBERT's objective: every exit of the shared layer, pooler and classifier learns at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from golden_model.albert import ElbertForSequenceClassification
from golden_model.metrics import iteration_scores
from golden_model.tokenizer import ElbertTokenizer
from golden_model.train.batches import Encoded, collate
from golden_model.train.distillation import Distillation
from golden_model.train.evaluate import all_logits
from golden_model.train.files import EXIT_WEIGHTS_FILE, save_tensors, write_checkpoint
from golden_model.train.loss import EXIT_WEIGHT_START, JointLoss
from golden_model.train.objective import Objective, ParameterGroup, layer_groups
from golden_model.train.trainer import TrainingOptions

FROZEN = {
    "none": (),
    "projection": ("albert.encoder.embedding_hidden_mapping_in.",),
    "embeddings": ("albert.encoder.embedding_hidden_mapping_in.", "albert.embeddings."),
}
"""What stays as it starts. An identity projection that is trained ends as a diagonal of ones that hides small
numbers beside it from an 8-bit scale."""


class JointOptions(TrainingOptions):
    """A joint training's numbers. Defaults are the released code's."""

    exit_learning_rate: float = Field(default=1e-2, gt=0)
    weighting: Literal["dynamic", "equal"] = "dynamic"
    exit_start: float = EXIT_WEIGHT_START
    """Start of every t; below 0 the last iteration begins with most of the weight."""
    freeze: Literal["none", "projection", "embeddings"] = "none"
    soft: float = Field(default=0.0, ge=0, le=1)
    """Share of the teacher's answers in an exit's loss; the rest is the labels'."""
    temperature: float = Field(default=2.0, gt=0)
    """Softens the teacher's and the exits' probabilities alike."""
    hidden: float = Field(default=0.0, ge=0)
    """Weight of the hidden states' error against the teacher's."""


class JointExits(Objective):
    """Trains a whole ELBERT with :class:`JointLoss`, from labels, a teacher, or both."""

    def __init__(
        self,
        model: ElbertForSequenceClassification,
        tokenizer: ElbertTokenizer,
        train: Encoded,
        dev: Encoded,
        options: JointOptions,
        distillation: Distillation | None = None,
    ) -> None:
        """Samples whose label is negative have none and learn from the teacher alone.

        Raises:
            ValueError: when a sentence is longer than the model's position embedding, the options ask for a
                teacher that is not there, or samples without label have nothing to learn from.
        """
        longest = max(len(ids) for part in (train, dev) for ids in part.ids)
        if longest > model.config.max_position_embeddings:
            raise ValueError(
                f"a sentence of {longest} tokens is above max_position_embeddings "
                f"{model.config.max_position_embeddings}"
            )
        if distillation is None and (options.soft or options.hidden):
            raise ValueError(f"soft {options.soft} and hidden {options.hidden} ask for a teacher")
        if bool((train.labels < 0).any()) and not options.soft:
            raise ValueError("samples without label need a teacher and a soft share above 0")
        self.model, self.tokenizer = model, tokenizer
        self.train_data, self.dev_data = train, dev
        self.options = options
        self.distillation = distillation
        self.joint_loss = JointLoss(model.config.num_hidden_layers, options.weighting, options.exit_start)
        self.joint_loss.to(self.device)
        self.lengths = [len(ids) for ids in train.ids]
        for name, parameter in model.model.named_parameters():
            parameter.requires_grad_(not name.startswith(FROZEN[options.freeze] or ("\0",)))

    @property
    def module(self) -> nn.Module:
        """The model; t belongs to training alone."""
        return self.model

    @property
    def groups(self) -> list[ParameterGroup]:
        """The model's parameters, and t at its own rate."""
        options = self.options
        found = layer_groups(self.model.model.named_parameters(), options.learning_rate, options.weight_decay)
        t = self.joint_loss.t
        if t.requires_grad and t.numel():
            found.append(ParameterGroup([("exit_weights.t", t)], options.exit_learning_rate))
        return found

    def loss(self, index: Sequence[int]) -> torch.Tensor:
        """The joint loss, of labels and teacher as the options weigh them, plus the hidden states' error."""
        options = self.options
        batch = collate(self.train_data, index, self.tokenizer.pad_id).to(self.device)
        if self.distillation is None:
            return self.joint_loss(self.model(batch.ids, batch.mask, batch.types), batch.labels)[0]
        logits, hidden = self.model(batch.ids, batch.mask, batch.types, hidden_states=True)
        answers, states = self.distillation.teach(index, self.device)
        total = torch.zeros((), device=self.device)
        if options.soft:
            total = total + self.joint_loss.soft(
                logits, batch.labels, answers, options.soft, options.temperature
            )
        else:
            total = total + self.joint_loss(logits, batch.labels)[0]
        if options.hidden:
            errors = self.distillation.errors(hidden[1:], states, batch.mask)
            total = total + options.hidden * self.joint_loss.iterations * errors.mean()
        return total

    def evaluate(self) -> dict[str, Any]:
        """Scores of every iteration on the dev data."""
        logits = all_logits(self.model, self.dev_data, self.tokenizer.pad_id)
        total, each = self.joint_loss.cpu()(logits, self.dev_data.labels)
        self.joint_loss.to(self.device)
        found = iteration_scores(logits, self.dev_data.labels)
        return {
            "dev_loss": round(float(total), 5),
            "dev_cross_entropy": [round(float(v), 5) for v in each],
            "dev_accuracy": [round(s.accuracy, 6) for s in found],
            "dev_f1": [round(s.f1, 6) for s in found],
            "dev_mcc": [round(s.mcc, 6) for s in found],
            "exit_weights": [round(float(v), 4) for v in self.joint_loss.weights().detach()],
        }

    def score(self, entry: dict[str, Any]) -> float:
        """Accuracy of the last iteration."""
        return entry["dev_accuracy"][-1]

    def describe(self, entry: dict[str, Any]) -> str:
        """Accuracy of every iteration, %."""
        return "dev accuracy " + " ".join(f"{100 * v:.1f}" for v in entry["dev_accuracy"])

    def write(self, folder: Path, record: dict[str, Any]) -> None:
        """A Hugging Face checkpoint, and t beside it."""
        write_checkpoint(folder, self.model.model, self.tokenizer, record)
        t: dict[str, torch.Tensor] = {"t": self.joint_loss.t}
        save_tensors(t, folder / EXIT_WEIGHTS_FILE, {"weighting": self.joint_loss.weighting})
