"""Fine-tunes the teacher itself: a BERT classifier on a task's labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from golden_model.data.metrics import scores
from golden_model.float.batches import Encoded, collate
from golden_model.float.files import write_checkpoint
from golden_model.train.distillation import BertTeacher
from golden_model.train.objective import Objective, ParameterGroup, layer_groups
from golden_model.train.trainer import TrainingOptions


class TeacherLabels(Objective):
    """Cross entropy of a BERT classifier."""

    def __init__(self, teacher: BertTeacher, train: Encoded, dev: Encoded, options: TrainingOptions) -> None:
        """Both data sets are in the teacher's own ids."""
        self.teacher, self.train_data, self.dev_data = teacher, train, dev
        self.options = options
        self.lengths = [len(ids) for ids in train.ids]

    @property
    def module(self) -> nn.Module:
        """The teacher."""
        return self.teacher

    @property
    def groups(self) -> list[ParameterGroup]:
        """All of its parameters."""
        named = self.teacher.model.named_parameters()
        return layer_groups(named, self.options.learning_rate, self.options.weight_decay)

    def _logits(self, data: Encoded, index: Sequence[int]) -> torch.Tensor:
        batch = collate(data, index, self.teacher.tokenizer.pad_id).to(self.device)
        return self.teacher(batch.ids, batch.mask, batch.types)[0].float()

    def loss(self, index: Sequence[int]) -> torch.Tensor:
        """Mean cross entropy."""
        labels = self.train_data.labels[list(index)].to(self.device)
        return functional.cross_entropy(self._logits(self.train_data, index), labels)

    def evaluate(self) -> dict[str, Any]:
        """Scores on the dev data."""
        data = self.dev_data
        order = sorted(range(len(data)), key=lambda i: len(data.ids[i]))
        logits = torch.empty(len(data), self.teacher.model.classifier.out_features)
        for start in range(0, len(order), 64):
            index = order[start : start + 64]
            logits[index] = self._logits(data, index).cpu()
        found = scores(logits.argmax(-1), data.labels, logits.shape[-1])
        return {
            "dev_cross_entropy": [round(float(functional.cross_entropy(logits, data.labels)), 5)],
            "dev_accuracy": [round(found.accuracy, 6)],
            "dev_f1": [round(found.f1, 6)],
            "dev_mcc": [round(found.mcc, 6)],
        }

    def score(self, entry: dict[str, Any]) -> float:
        """Accuracy."""
        return entry["dev_accuracy"][0]

    def describe(self, entry: dict[str, Any]) -> str:
        """Accuracy, %."""
        return f"dev accuracy {100 * entry['dev_accuracy'][0]:.2f}"

    def write(self, folder: Path, record: dict[str, Any]) -> None:
        """A Hugging Face ``BertForSequenceClassification``."""
        write_checkpoint(folder, self.teacher.model, self.teacher.tokenizer, record)
