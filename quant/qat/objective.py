"""The joint exit loss under a scheme: floats and scales learn, integers are measured and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from golden_model.files import write_json
from golden_model.float.batches import Encoded
from golden_model.float.files import RECORD_FILE
from golden_model.float.methods.model import ExitModel
from golden_model.integer.golden import open_golden
from golden_model.numerics import LOGIT_FRACTION_BITS
from golden_model.text.tokenizer import ElbertTokenizer
from golden_model.train.answers import Answers
from golden_model.train.joint import JointExits, JointOptions
from golden_model.train.objective import ParameterGroup
from quant.fake.model import FakeElbert


class QuantizedOptions(JointOptions):
    """A joint training's numbers, and those of the scheme's part in it."""

    step_learning_rate: float = Field(default=1e-3, gt=0)
    """Of the scales, each in shares of its start (:class:`quant.fake.model.FakeElbert`)."""
    samples: int = Field(default=256, ge=1)
    """Sentences that the start is calibrated on."""


class QuantizedModel(ExitModel):
    """An ELBERT under a scheme, where the trainer expects a float one.

    Members:
        fake: What computes; ``backbone`` is its float model.
    """

    def __init__(self, fake: FakeElbert) -> None:
        """Takes ``fake`` over."""
        super().__init__(fake.float_model)
        self.fake = fake

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        exits: Sequence[int] | None = None,
        hidden_states: bool = False,
    ) -> Tensor:
        """As :meth:`ExitModel.forward`, of the scheme's integers; raises ValueError for hidden states."""
        if hidden_states:
            raise ValueError("hidden states of integers have no teacher: answers alone are learnt")
        return self.fake(input_ids, attention_mask, token_type_ids, exits=exits)


@dataclass(frozen=True)
class Origin:
    """Where the integers come from.

    Members:
        folder: Of the float checkpoint, whose tokenizer goes beside the integers.
        facts: ``calibration`` and ``provenance`` of the integer checkpoint, as without training.
    """

    folder: Path
    facts: dict[str, Any]


class QuantizedExits(JointExits):
    """The loss of :class:`JointExits` through the scheme's roundings.

    Learned step size quantisation (Esser et al. 2020): the scales learn too, at a rate of their own. Dev
    data are answered by the golden model, from the integers that are written.
    """

    model: QuantizedModel
    options: QuantizedOptions

    def __init__(
        self,
        model: QuantizedModel,
        tokenizer: ElbertTokenizer,
        train: Encoded,
        dev: Encoded,
        options: QuantizedOptions,
        origin: Origin,
        stage_one: dict[str, Any] | None = None,
        answers: Answers | None = None,
    ) -> None:
        """Arguments and errors are those of :class:`JointExits`; ``origin`` goes into what is written."""
        super().__init__(model, tokenizer, train, dev, options, None, stage_one, answers)
        self.origin = origin

    @property
    def groups(self) -> list[ParameterGroup]:
        """The float model's, and the scales at their own rate, without weight decay."""
        steps = [(f"steps.{name}", step) for name, step in self.model.fake.steps.items()]
        biases = [(f"biases.{name}", bias) for name, bias in self.model.fake.biases.items()]
        found = [*super().groups, ParameterGroup(steps, self.options.step_learning_rate)]
        return [*found, ParameterGroup(biases, self.options.learning_rate)] if biases else found

    def dev_logits(self) -> Tensor:
        """Of the golden model on the present integers."""
        golden = open_golden(self.model.fake.checkpoint())
        sentences = list(zip(self.dev_data.ids, self.dev_data.types, strict=True))
        return (golden.all_iterations(sentences).double() * 2.0**-LOGIT_FRACTION_BITS).float()

    def write(self, folder: Path, record: dict[str, Any]) -> None:
        """The integer checkpoint, as ``elbert quantize`` writes one, and the run's record beside it."""
        training = {key: record[key] for key in ("step", "total_steps", "averaged_steps", "options")}
        checkpoint = self.model.fake.checkpoint({**self.origin.facts, "training": training})
        checkpoint.save(folder, copy_from=self.origin.folder)
        write_json(folder / RECORD_FILE, record)


def calibration_rows(train: Encoded) -> list[int]:
    """Samples that calibration may draw from: those of the labelled data."""
    rows: list[int] = torch.nonzero(train.labels >= 0).flatten().tolist()
    return rows
