"""What every scheme of a study is measured on: checkpoint, sentences, policy. It travels to the workers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

import torch
from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.exits import ExitPolicy
from golden_model.integer.model import Sentence


@dataclass(frozen=True, eq=False)
class Subject:
    """Checkpoint and data of a study.

    Members:
        folder: Of the float checkpoint; workers read it there.
        sha256: Of its weights: a worker that finds others refuses.
        config: Its geometry.
        calibration: Sentences that ranges are found on.
        sentences: Those that are answered, N of them.
        labels: Their classes, in the model's numbers.
        order: The model's number of each of the data's classes.
        metric: The task's own, of ``golden_model.data.metrics.METRICS``.
        policy: Exit policy, thresholds as they are.
        quality: So many first calibration sentences are compared tensor by tensor.
        logits: The float model's, float64 [iterations, N, classes].
    """

    folder: str
    sha256: str
    config: ElbertConfig
    calibration: list[Sentence]
    sentences: list[Sentence]
    labels: list[int]
    order: list[int]
    metric: str
    policy: ExitPolicy
    quality: int
    logits: Tensor = field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides a point, the place of the folder aside."""
        parts = [
            self.sha256,
            self.config.model_dump(),
            [[list(part) for part in sentence] for sentence in (*self.calibration, *self.sentences)],
            len(self.calibration),
            self.labels,
            self.order,
            self.metric,
            self.policy.model_dump(),
            self.quality,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def lengths(self) -> list[int]:
        """Tokens of every sentence that is answered."""
        return [len(ids) for ids, _ in self.sentences]

    @property
    def places(self) -> Tensor:
        """Of a model's class in the data's order: int64 [classes]."""
        place = torch.empty(len(self.order), dtype=torch.int64)
        place[self.order] = torch.arange(len(self.order))
        return place
