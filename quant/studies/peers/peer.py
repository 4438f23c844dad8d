"""What a peer is: made of the float checkpoint, it gives logits for batches."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AlbertForSequenceClassification

from golden_model.exits import ExitPolicy
from golden_model.float.pretrained import load_albert
from quant.studies.peers.work import Batch, Work


@dataclass(frozen=True)
class Model:
    """The checkpoint that everybody starts from.

    Members:
        float_folder: Of the Hugging Face checkpoint.
        integer_folder: Of the integer one; None: there is none.
        policy: Under which the golden model's sentences leave, in the row that has exits.
    """

    float_folder: Path
    integer_folder: Path | None
    policy: ExitPolicy

    def load(self) -> AlbertForSequenceClassification:
        """A fresh Hugging Face model, float32, for inference; a peer may change it."""
        return load_albert(self.float_folder).eval()


@dataclass(frozen=True)
class Ready:
    """A peer that runs.

    Members:
        logits: Batch to float tensor [sentences, classes], of any scale: the largest is the answer.
        bytes: Of what has to be stored to run it.
        integers: Whether every operation between token ids and logits is one of integers.
        reason: Why it is, or what is not.
        facts: More that is measured or chosen, for the result.
    """

    logits: Callable[[Batch], Tensor]
    bytes: int
    integers: bool
    reason: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """One row of the study.

    Members:
        name: In results and options.
        title: For people.
        packages: Distributions whose versions can change the row; the first that is missing is named in it.
        make: Quantises and gives what runs.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    make: Callable[[Model, Work], Ready]


def state_bytes(model: torch.nn.Module) -> int:
    """Bytes of a module's weights as PyTorch stores them."""
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return file.tell()


def run_module(model: torch.nn.Module) -> Callable[[Batch], Tensor]:
    """``Ready.logits`` of a module that is called as Hugging Face's is."""

    def logits(batch: Batch) -> Tensor:
        mask = None if bool(batch.mask.all()) else batch.mask
        found: Tensor = model(input_ids=batch.ids, attention_mask=mask, token_type_ids=batch.types).logits
        return found

    return logits
