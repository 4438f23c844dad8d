"""What the teachers of a second stage answer to every training sample: computed once, kept beside the run."""

from __future__ import annotations

import copy
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from golden_model.float.batches import Encoded, collate
from golden_model.float.files import save_tensors
from golden_model.float.methods.count import Work, bert_macs
from golden_model.float.methods.model import ExitModel
from golden_model.train.distillation import Distillation
from golden_model.train.processes import is_main

ANSWERS_FILE = "answers.safetensors"
"""In the run's folder: each teacher's logits, float32 [samples, classes]."""

BATCH = 64
"""Samples a teacher answers at once."""


class Source(ABC):
    """One teacher beside the training samples."""

    @abstractmethod
    def logits(self, index: Sequence[int], device: torch.device) -> torch.Tensor:
        """Logits [batch, classes] of the samples ``index``."""

    @abstractmethod
    def macs(self, length: int) -> int:
        """Multiply-adds of one sample of ``length`` tokens."""


class FullDepth(Source):
    """A model's own last exit, as the weights are that it is given with."""

    def __init__(self, model: ExitModel, data: Encoded, pad_id: int) -> None:
        """Keeps a copy of ``model``: what is trained moves on."""
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.data, self.pad_id = data, pad_id

    def logits(self, index: Sequence[int], device: torch.device) -> torch.Tensor:
        """After the last iteration."""
        batch = collate(self.data, index, self.pad_id).to(device)
        found = self.model(batch.ids, batch.mask, batch.types, [self.model.iterations])
        assert isinstance(found, torch.Tensor)
        return found[0]

    def macs(self, length: int) -> int:
        """All iterations; the last one's exit alone."""
        return Work(self.model, [self.model.iterations]).macs(length)


class Bert(Source):
    """A fine-tuned BERT."""

    def __init__(self, distillation: Distillation) -> None:
        """``distillation``: the teacher, with the training samples in its own ids."""
        self.distillation = distillation

    def logits(self, index: Sequence[int], device: torch.device) -> torch.Tensor:
        """The classifier's."""
        return self.distillation.teach(index, device)[0]

    def macs(self, length: int) -> int:
        """Forward once."""
        return bert_macs(self.distillation.teacher.model.config, length)


class Answers:
    """The teachers' answers to all samples, as logits whose softmax at one temperature is their mean.

    They are computed when the first one is asked for, or read where an earlier part of the run kept them.
    """

    def __init__(
        self,
        sources: dict[str, tuple[float, Source]],
        lengths: Sequence[int],
        temperature: float,
        path: Path,
        facts: dict[str, Any],
        autocast: bool = False,
    ) -> None:
        """Computes nothing yet.

        Args:
            sources: By name: share of the mean, and teacher. The shares sum to 1.
            lengths: Tokens of every sample.
            temperature: At which the mean is taken.
            path: File to keep them in.
            facts: What the answers follow from; a file of other facts is not used.
            autocast: Compute in bfloat16.

        Raises:
            ValueError: the shares are not above 0 with the sum 1.
        """
        shares = [share for share, _ in sources.values()]
        if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
            raise ValueError(f"teachers' shares {shares} are not above 0 with the sum 1")
        self.sources, self.lengths = sources, lengths
        self.temperature, self.path, self.autocast = temperature, path, autocast
        self.facts = json.dumps({**facts, "samples": len(lengths), "autocast": autocast}, sort_keys=True)
        self.asked: list[int] | None = None
        self._kept: torch.Tensor | None = None

    def limit(self, asked: Iterable[int]) -> None:
        """Leaves out samples that are never asked for; before the first is.

        Args:
            asked: Those that are; a file that lacks one of them is not used.
        """
        self.asked = sorted(set(asked))

    def of(self, index: Sequence[int], device: torch.device) -> torch.Tensor:
        """Logits, float32 [batch, classes], of the samples ``index``."""
        return self._logits(device)[list(index)].to(device)

    def batches(self) -> Iterator[list[int]]:
        """Samples that are answered together: of like length."""
        asked = range(len(self.lengths)) if self.asked is None else self.asked
        order = sorted(asked, key=lambda i: self.lengths[i])
        for start in range(0, len(order), BATCH):
            yield order[start : start + BATCH]

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of all answers, the batches' padding included."""
        found = 0
        for index in self.batches():
            width = max(self.lengths[i] for i in index)
            found += len(index) * sum(source.macs(width) for _, source in self.sources.values())
        return found

    def _logits(self, device: torch.device) -> torch.Tensor:
        if self._kept is None:
            parts = self._read() or self._compute(device)
            shares = [(share, parts[name]) for name, (share, _) in self.sources.items()]
            self._kept = mean_answers(shares, self.temperature)
        return self._kept

    def _read(self) -> dict[str, torch.Tensor] | None:
        """Every teacher's logits from the file; None where there is none, of other facts, or of too few."""
        if not self.path.is_file():
            return None
        with safe_open(self.path, "pt") as file:
            if (file.metadata() or {}).get("facts") != self.facts:
                return None
            found = {name: file.get_tensor(name) for name in self.sources}
        asked = slice(None) if self.asked is None else self.asked
        return found if all(bool(part[asked].isfinite().all()) for part in found.values()) else None

    def _compute(self, device: torch.device) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        for name, (_, source) in self.sources.items():
            rows: dict[int, torch.Tensor] = {}
            for index in self.batches():
                with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=self.autocast):
                    logits = source.logits(index, device).float().cpu()
                rows.update(zip(index, logits, strict=True))
            nothing = torch.full_like(next(iter(rows.values())), torch.nan)  # of what nobody asks for
            found[name] = torch.stack([rows.get(i, nothing) for i in range(len(self.lengths))])
        if is_main():
            save_tensors(found, self.path, {"facts": self.facts})
        return found


def mean_answers(parts: Sequence[tuple[float, torch.Tensor]], temperature: float) -> torch.Tensor:
    """Logits whose softmax at ``temperature`` is the mean of the parts' own at it; one part stays as it is.

    Args:
        parts: Share and logits [samples, classes] of each.
        temperature: Above 0.
    """
    if len(parts) == 1:
        return parts[0][1]
    found = [math.log(share) + torch.log_softmax(logits / temperature, -1) for share, logits in parts]
    return temperature * torch.logsumexp(torch.stack(found), 0)
