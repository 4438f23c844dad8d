"""The methods' objective: a weighted sum over the exits, from labels, a teacher, or both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from golden_model.data.metrics import iteration_scores
from golden_model.float.batches import Encoded, collate
from golden_model.float.files import EXIT_WEIGHTS_FILE, save_tensors, write_checkpoint
from golden_model.float.logits import all_logits
from golden_model.float.methods.count import Work, count
from golden_model.float.methods.files import write_heads
from golden_model.float.methods.model import ExitModel
from golden_model.float.methods.names import TWO_STAGES
from golden_model.text.tokenizer import ElbertTokenizer
from golden_model.train.answers import Answers
from golden_model.train.distillation import Distillation
from golden_model.train.loss import EXIT_WEIGHT_START, ExitLoss, FixedLoss, JointLoss
from golden_model.train.objective import Objective, ParameterGroup, layer_groups
from golden_model.train.trainer import TrainingOptions

ELBERTS_OWN = ("weighting", "exit_start", "exit_learning_rate", "self_distillation", "exits", "last_weight")
"""Options that only ELBERT reads."""

ANSWERING = ("albert.pooler.", "classifier.", "heads.")
"""What turns a hidden state into an answer: it starts nearly or wholly untrained, unlike the shared layer."""

FROZEN = {
    "none": (),
    "projection": ("albert.encoder.embedding_hidden_mapping_in.",),
    "embeddings": ("albert.encoder.embedding_hidden_mapping_in.", "albert.embeddings."),
}
"""What stays as it starts. An identity projection that is trained ends as a diagonal of ones that hides small
numbers beside it from an 8-bit scale."""


class JointOptions(TrainingOptions):
    """A joint training's numbers. Defaults are the released code's."""

    head_learning_rate: float | None = Field(default=None, gt=0)
    """Of what answers: pooler, classifier, a method's own heads. None: as the rest (released code)."""
    exit_learning_rate: float = Field(default=1e-2, gt=0)
    """Of t."""
    weighting: Literal["dynamic", "equal", "linear"] = "dynamic"
    exit_start: float = EXIT_WEIGHT_START
    """Start of every t; below 0 the last iteration begins with most of the weight."""
    freeze: Literal["none", "projection", "embeddings"] = "none"
    soft: float = Field(default=0.0, ge=0, le=1)
    """Share of the teacher's answers in an exit's loss; the rest is the labels'."""
    self_distillation: float = Field(default=0.0, ge=0, le=1)
    """ELBERT's alone: share, in every exit's loss but the last's, of the last exit's own answers."""
    temperature: float = Field(default=2.0, gt=0)
    """Softens the answers that are learnt and the exits' probabilities alike."""
    hidden: float = Field(default=0.0, ge=0)
    """Weight of the hidden states' error against the teacher's."""
    exits: int | None = Field(default=None, ge=1)
    """ELBERT's alone: only the first so many exits learn, with weight 1 each. None: all, by ``weighting``."""
    last_weight: float = Field(default=0.0, ge=0)
    """Beside ``exits``: weight of the last exit. At 0 no iteration behind ``exits`` is computed."""


def exit_loss(method: str, iterations: int, options: JointOptions) -> tuple[list[int], ExitLoss]:
    """Which exits a method trains, counted from 1, and how it weighs their losses.

    ELBERT: all, :class:`JointLoss`; with ``options.exits`` only the first ones, and the last one if
    ``options.last_weight`` is above 0. PABEE (Zhou et al. 2020 and its code): all, sum_j j·CE_j / sum_j j.
    Plain ALBERT: the last. DeeBERT and FastBERT: all but the last, each with weight 1 (their released codes).

    Raises:
        ValueError: ``exits`` is above the iterations, leaves no last exit for ``last_weight``, or comes with
            trained or rising weights.
    """
    every = list(range(1, iterations + 1))
    if method == "elbert" and options.exits is not None:
        return _first_exits(options.exits, iterations, options)
    if method == "elbert":
        return every, JointLoss(iterations, options.weighting, options.exit_start)
    if method == "pabee":
        return every, FixedLoss([i / sum(every) for i in every])
    if method == "albert":
        return [iterations], FixedLoss([1.0])
    return every[:-1], FixedLoss([1.0] * (iterations - 1))


def _first_exits(count: int, iterations: int, options: JointOptions) -> tuple[list[int], ExitLoss]:
    if count > iterations:
        raise ValueError(f"exits {count} is not in 1..{iterations}")
    if options.weighting != "equal":
        raise ValueError(f"weighting {options.weighting!r}: the exits of the first iterations weigh equal")
    chosen = list(range(1, count + 1))
    if not options.last_weight:
        return chosen, FixedLoss([1.0] * count)
    if count == iterations:
        raise ValueError(f"last_weight {options.last_weight}: with {count} exits the last one learns already")
    return [*chosen, iterations], FixedLoss([1.0] * count + [options.last_weight])


class JointExits(Objective):
    """Trains the exits of a method with the sum that :func:`exit_loss` gives.

    The two-stage methods train their heads alone: backbone, pooler and classifier are frozen.
    """

    needs_labels = True
    """Whether a sample without label and without a teacher's answer has nothing to learn from."""

    def __init__(
        self,
        model: ExitModel,
        tokenizer: ElbertTokenizer,
        train: Encoded,
        dev: Encoded,
        options: JointOptions,
        distillation: Distillation | None = None,
        stage_one: dict[str, Any] | None = None,
        answers: Answers | None = None,
    ) -> None:
        """Samples whose label is negative have none and learn from the teacher alone.

        Args:
            model: Of a method; what it freezes is set here.
            tokenizer: The data's, written beside the weights.
            train, dev: Sentences.
            options: The run's numbers.
            distillation: The teacher beside the training data.
            stage_one: ``training_cost`` of the run the model comes from, for a second stage.
            answers: Teachers' answers to the training data, computed once, in place of ``distillation``.

        Raises:
            ValueError: when a sentence is longer than the model's position embedding, the options ask for a
                teacher that is not there or for two, or samples without label have nothing to learn from.
        """
        longest = max(len(ids) for part in (train, dev) for ids in part.ids)
        if longest > model.config.max_position_embeddings:
            raise ValueError(
                f"a sentence of {longest} tokens is above max_position_embeddings "
                f"{model.config.max_position_embeddings}"
            )
        if options.soft and options.self_distillation:
            raise ValueError(
                f"soft {options.soft} and self_distillation {options.self_distillation} are two teachers of "
                "one exit: one of them has to be 0"
            )
        if distillation is None and ((options.soft and answers is None) or options.hidden):
            raise ValueError(f"soft {options.soft} and hidden {options.hidden} ask for a teacher")
        if self.needs_labels and bool((train.labels < 0).any()) and not options.soft:
            raise ValueError("samples without label need a teacher and a soft share above 0")
        self.model, self.tokenizer = model, tokenizer
        self.train_data, self.dev_data = train, dev
        self.options = options
        self.distillation = distillation
        self.stage_one = stage_one
        self.answers = answers
        self.unread = () if model.method == "elbert" else ELBERTS_OWN
        self.two_stages = model.method in TWO_STAGES
        self.exits, self.joint_loss = exit_loss(model.method, model.iterations, options)
        self.joint_loss.to(self.device)
        self.lengths = [len(ids) for ids in train.ids]
        frozen = ("",) if self.two_stages else FROZEN[options.freeze] or ("\0",)
        for name, parameter in self._backbone.named_parameters():
            parameter.requires_grad_(not name.startswith(frozen))

    @property
    def _backbone(self) -> nn.Module:
        """Hugging Face's model, as it is stored."""
        return self.model.backbone.model

    @property
    def module(self) -> nn.Module:
        """The model; t belongs to training alone."""
        return self.model

    @property
    def groups(self) -> list[ParameterGroup]:
        """The model's parameters, what answers at its own rate if one is given, and ELBERT's t at its own."""
        options = self.options
        own = ((f"heads.{name}", value) for name, value in self.model.heads.named_parameters())
        named = list(chain(self._backbone.named_parameters(), own))
        found = []
        for answers, rate in ((False, None), (True, options.head_learning_rate)):
            part = (each for each in named if each[0].startswith(ANSWERING) == answers)
            found += layer_groups(part, rate or options.learning_rate, options.weight_decay)
        for name, t in self.joint_loss.named_parameters():
            if t.requires_grad and t.numel():
                found.append(ParameterGroup([(f"exit_weights.{name}", t)], options.exit_learning_rate))
        return found

    def loss(self, index: Sequence[int]) -> torch.Tensor:
        """The joint loss, of labels and teacher as the options weigh them, plus the hidden states' error."""
        options = self.options
        batch = collate(self.train_data, index, self.tokenizer.pad_id).to(self.device)
        inputs = (batch.ids, batch.mask, batch.types, self.exits)
        if self.distillation is None:
            kept = None if self.answers is None else self.answers.of(index, self.device)
            return self._answers_loss(self.model(*inputs), batch.labels, kept)
        answers, states = self.distillation.teach(index, self.device)
        hidden: torch.Tensor | None = None
        if options.hidden:
            logits, hidden = self.model(*inputs, hidden_states=True)
        else:
            logits = self.model(*inputs)
        total = self._answers_loss(logits, batch.labels, answers)
        if hidden is not None:
            errors = self.distillation.errors(hidden[1:], states, batch.mask)
            total = total + options.hidden * float(self.joint_loss.weights().sum().detach()) * errors.mean()
        return total

    def _answers_loss(
        self, logits: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor | None
    ) -> torch.Tensor:
        """Of the exits' logits [exits, batch, classes]; ``teacher``: its logits [batch, classes].

        In self-distillation the last exit is the others' teacher (Zhang et al. 2019, "Be Your Own Teacher").
        """
        options = self.options
        if options.soft and teacher is not None:
            return self.joint_loss.soft(logits, labels, teacher, options.soft, options.temperature)
        if options.self_distillation and self.model.method == "elbert":
            shares = [options.self_distillation] * (len(logits) - 1) + [0.0]
            return self.joint_loss.soft(logits, labels, logits[-1].detach(), shares, options.temperature)
        return self.joint_loss(logits, labels)[0]

    def dev_loss(self, logits: torch.Tensor) -> torch.Tensor:
        """Loss (scalar) of all exits' logits [iterations, samples, classes] on the dev data's labels."""
        chosen = logits[[i - 1 for i in self.exits]]
        return self.joint_loss(chosen.to(self.device), self.dev_data.labels.to(self.device))[0]

    def dev_logits(self) -> torch.Tensor:
        """Logits of every iteration on the dev data, float32 [iterations, samples, classes]."""
        return all_logits(self.model, self.dev_data, self.tokenizer.pad_id)

    def evaluate(self) -> dict[str, Any]:
        """Scores of every iteration on the dev data."""
        logits, labels = self.dev_logits(), self.dev_data.labels
        found = iteration_scores(logits, labels)
        return {
            "dev_loss": round(float(self.dev_loss(logits)), 5),
            "dev_cross_entropy": [round(float(functional.cross_entropy(each, labels)), 5) for each in logits],
            "dev_accuracy": [round(s.accuracy, 6) for s in found],
            "dev_f1": [round(s.f1, 6) for s in found],
            "dev_mcc": [round(s.mcc, 6) for s in found],
            "exit_weights": [round(float(v), 4) for v in self.joint_loss.weights().detach()],
        }

    def score(self, entry: dict[str, Any]) -> float:
        """Accuracy of the last exit that learns."""
        return entry["dev_accuracy"][self.exits[-1] - 1]

    def describe(self, entry: dict[str, Any]) -> str:
        """Accuracy of every iteration, %."""
        return "dev accuracy " + " ".join(f"{100 * v:.1f}" for v in entry["dev_accuracy"])

    @property
    def work(self) -> Work:
        """What a step computes of every sample."""
        teacher = None if self.distillation is None else self.distillation.teacher.model.config
        return Work(self.model, self.exits, teacher)

    def account(self, batches: Iterable[tuple[int, int]], steps: int, seconds: float) -> dict[str, Any]:
        """The method, what it adds to ALBERT's parameters, and what its training has cost, stage by stage."""
        stages: list[dict[str, Any]] = [] if self.stage_one is None else list(self.stage_one["stages"])
        cost = asdict(count(self.work, batches, steps, seconds))
        if self.answers is not None:
            cost["teacher_macs"] += self.answers.macs
        stages.append({"stage": len(stages) + 1, **cost})
        return {
            "method": self.model.method,
            "iterations": self.model.iterations,
            "added_parameters": self.model.added_parameters,
            "training_cost": {**{key: sum(stage[key] for stage in stages) for key in cost}, "stages": stages},
        }

    def write(self, folder: Path, record: dict[str, Any]) -> None:
        """A Hugging Face checkpoint; beside it the method's own heads, or ELBERT's t."""
        write_checkpoint(folder, self.model.backbone.model, self.tokenizer, record)
        write_heads(folder, self.model)
        if isinstance(self.joint_loss, JointLoss):
            t: dict[str, torch.Tensor] = {"t": self.joint_loss.t}
            save_tensors(t, folder / EXIT_WEIGHTS_FILE, {"weighting": self.joint_loss.weighting})


class SelfDistillation(JointExits):
    """FastBERT's second stage: each branch learns the frozen last exit's probabilities, without labels.

    loss = sum_i KL(p_L || p_i), mean over the batch, as the released code computes it (the paper writes the
    two the other way round).
    """

    needs_labels = False

    def loss(self, index: Sequence[int]) -> torch.Tensor:
        """Of the samples ``index``."""
        batch = collate(self.train_data, index, self.tokenizer.pad_id).to(self.device)
        return self.divergence(self.model(batch.ids, batch.mask, batch.types))

    def dev_loss(self, logits: torch.Tensor) -> torch.Tensor:
        """The same divergence on the dev data."""
        return self.divergence(logits.to(self.device))

    def divergence(self, logits: torch.Tensor) -> torch.Tensor:
        """Loss (scalar) of all exits' logits [iterations, batch, classes]."""
        unlabelled = torch.full(logits.shape[1:2], -1, device=logits.device)
        return self.joint_loss.soft(logits[:-1], unlabelled, logits[-1].detach(), share=1.0, temperature=1.0)

    @property
    def work(self) -> Work:
        """The last exit answers too."""
        return Work(self.model, [*self.exits, self.model.iterations])
