"""A BERT teacher's answers and hidden states, and how far a student's iterations are from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from golden_model.float.batches import Encoded, collate
from golden_model.text.tokenizer import ElbertTokenizer
from golden_model.train.initialise import bert_weights


class BertTeacher(nn.Module):
    """A ``BertForSequenceClassification``; a bare encoder (MiniLM as it comes) gets a fresh classifier."""

    def __init__(
        self, model: BertForSequenceClassification, tokenizer: ElbertTokenizer, has_task: bool = True
    ) -> None:
        """Takes the model over; ``tokenizer`` speaks in its ids; ``has_task``: its classifier was trained."""
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.has_task = has_task
        # as for the student: on sentences this short PyTorch's fused attention is the slower one (CPU)
        model.set_attn_implementation("eager")

    @classmethod
    def from_folder(cls, folder: Path | str, num_labels: int | None = None) -> BertTeacher:
        """Reads ``config.json``, ``model.safetensors`` and the tokenizer; nothing is unpickled.

        Args:
            folder: A BERT classifier, or a bare BERT encoder.
            num_labels: Classes of a classifier that starts at random where the checkpoint has none; None: the
                checkpoint's own is needed.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: the weights are not those of a BERT, or there is no classifier and no ``num_labels``.
        """
        folder = Path(folder)
        for name in ("config.json", "model.safetensors"):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} holds no {name}")
        config = BertConfig.from_pretrained(folder, local_files_only=True)
        if config.model_type != "bert":
            raise ValueError(f"{folder} is a {config.model_type}, not a bert")
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
        weights = bert_weights(folder)
        classes = len(weights["classifier.weight"]) if "classifier.weight" in weights else num_labels
        if classes is None:
            raise ValueError(f"{folder} has no classifier: it wants num_labels")
        config.num_labels = classes
        model = BertForSequenceClassification(config)
        missing, unexpected = model.load_state_dict(weights, strict=False)
        allowed = ("classifier.", "bert.pooler.") if num_labels is not None else ()
        refused = [n for n in missing if not n.startswith(allowed or ("\0",))]
        refused += [n for n in unexpected if not n.endswith("position_ids")]
        if refused:
            raise ValueError(
                f"{folder}: {len(refused)} weights do not fit a BERT classifier, first {refused[0]!r}"
            )
        return cls(model, ElbertTokenizer.from_folder(folder), has_task="classifier.weight" in weights)

    @property
    def layers(self) -> int:
        """Layers of the encoder."""
        return self.model.config.num_hidden_layers

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [batch, classes] and the hidden states after every layer [layers, batch, length, hidden]."""
        found = self.model(
            input_ids=ids, attention_mask=mask, token_type_ids=types, output_hidden_states=True
        )
        return found.logits, torch.stack(found.hidden_states[1:])


def iteration_of_layer(layers: int, stretch: int) -> list[int]:
    """Which iteration, from 1, learns each of a teacher's ``layers``: layer k is iteration k · stretch."""
    return [layer * stretch for layer in range(1, layers + 1)]


def hidden_errors(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Share of the teacher's variance that the student misses, one number a layer: 1 - R², float [layers].

    Args:
        student, teacher: Hidden states, [layers, batch, length, hidden].
        mask: 1 for real tokens, [batch, length].
    """
    real = mask.bool()
    found = []
    for ours, theirs in zip(student, teacher, strict=True):
        mine, target = ours[real].float(), theirs[real].float()
        spread = ((target - target.mean(0)) ** 2).sum()
        found.append(((mine - target) ** 2).sum() / spread.clamp(min=1e-6))
    return torch.stack(found)


@dataclass
class Distillation:
    """A teacher beside a training set.

    Members:
        teacher: In evaluation mode, on the run's device.
        inputs: The training samples in the TEACHER's ids, same order and lengths as the student's.
        iterations: The student's iteration, from 1, that learns each of the teacher's layers.
    """

    teacher: BertTeacher
    inputs: Encoded
    iterations: list[int]

    @torch.no_grad()
    def teach(self, index: Sequence[int], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """The teacher's logits and hidden states of the samples ``index``; see :class:`BertTeacher`."""
        batch = collate(self.inputs, index, self.teacher.tokenizer.pad_id).to(device)
        logits, hidden = self.teacher(batch.ids, batch.mask, batch.types)
        return logits, hidden

    def errors(self, student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """:func:`hidden_errors` of the iterations that learn; ``student`` is [iterations, ...] after each."""
        chosen = [i - 1 for i in self.iterations if i <= len(student)]
        return hidden_errors(student[chosen], teacher[: len(chosen)], mask)
