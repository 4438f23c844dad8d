"""The logit table: one method's logits after every iteration on one data set, as a file that explains itself.

A table is a safetensors file with the tensor ``logits`` and one metadata entry, ``table``: JSON with
``facts`` (:class:`Facts`) and ``sha256``, over facts and tensor bytes. It holds no text and no label of the
data set, and is usable without the checkpoint. Logits stay in the checkpoint's own order of classes, so that
a tie goes to the class it goes to in hardware; :meth:`LogitTable.answering` translates the answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from golden_model.config import MAX_ITERATIONS, MAX_LABELS
from golden_model.data.labels import find_names
from golden_model.data.quoting import listed
from golden_model.exits import AnyPolicy, Confidence, ExitPolicy
from golden_model.files import replacing
from golden_model.integer.confidence import integer_confidence
from golden_model.numerics import ONE

METADATA_KEY = "table"
DTYPES = {"float": torch.float32, "golden": torch.int32}
"""Of the stored logits: nat, or the golden model's 2^-10 nat."""


class TableError(ValueError):
    """A file is not a whole logit table; the message names the file and what is wrong."""


class Facts(BaseModel):
    """What a table says about itself.

    Raises:
        pydantic.ValidationError: (a ``ValueError``) naming the value and the bound it breaks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["elbert-logits"] = "elbert-logits"
    version: Literal[1] = 1
    name: str
    """Of the table: elbert, deebert, fastbert, pabee, albert-4, elbert-float, elbert-golden."""
    backend: Literal["float", "golden"]
    task: str
    iterations: int = Field(ge=1, le=MAX_ITERATIONS)
    samples: int = Field(ge=1)
    classes: int = Field(ge=2, le=MAX_LABELS)
    checkpoint_sha256: str
    data_sha256: str
    """Of the data set's file, for the record."""
    rows_sha256: str
    """Of the sentences (``rows.Rows.sha256``): what the logits are of."""
    added_parameters: int = Field(default=0, ge=0)
    """Parameters beyond ALBERT's own with one classifier."""
    layer_macs: float = Field(gt=0)
    """Multiply-adds of one application of the layer to all rows, mean over the sentences."""
    exit_macs: list[float]
    """Multiply-adds of the exit after each iteration, mean over the sentences; the last is ALBERT's own."""
    training: dict[str, Any] = Field(default_factory=dict)
    """What the run's record says of the training's cost."""
    class_names: list[str] | None = None
    """In the order of the logits; None in tables of before this was written down."""
    answer_macs: list[float] | None = None
    """Multiply-adds of the layer in the iteration a sentence leaves after, answer first, without the exit:
    per iteration, mean over the sentences; :attr:`layer_macs` where the exit reads all rows. None in tables
    of before this was written down."""

    @model_validator(mode="after")
    def _check_entries(self) -> Facts:
        if len(self.exit_macs) != self.iterations:
            raise ValueError(f"exit_macs has {len(self.exit_macs)} entries for {self.iterations} iterations")
        if self.class_names is not None and len(self.class_names) != self.classes:
            raise ValueError(f"class_names has {len(self.class_names)} entries for {self.classes} classes")
        if self.answer_macs is not None:
            if len(self.answer_macs) != self.iterations:
                raise ValueError(
                    f"answer_macs has {len(self.answer_macs)} entries for {self.iterations} iterations"
                )
            for macs in self.answer_macs:
                if not 0 < macs <= self.layer_macs:
                    raise ValueError(
                        f"answer_macs {macs} is not above 0 and up to layer_macs {self.layer_macs}"
                    )
        return self

    def leaving_macs(self, answer_first: bool = True) -> list[float]:
        """Multiply-adds of leaving after each iteration, its layers and the exits computed.

        Args:
            answer_first: Whether the last of the layers computes what the answer reads alone; in a table
                without :attr:`answer_macs` all rows in any case.
        """
        answers = self.answer_macs if answer_first else None
        last = [self.layer_macs] * self.iterations if answers is None else answers
        exits = accumulate(self.exit_macs)
        return [
            whole * self.layer_macs + answer + computed
            for whole, (answer, computed) in enumerate(zip(last, exits, strict=True))
        ]

    @property
    def albert_macs(self) -> float:
        """Multiply-adds of plain ALBERT at full depth with all rows: what costs are shares of."""
        return self.iterations * self.layer_macs + self.exit_macs[-1]

    @model_serializer(mode="wrap")
    def _without_unknown(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves names out that are not known: older tables keep their SHA-256."""
        found: dict[str, Any] = handler(self)
        for name in ("class_names", "answer_macs"):
            if getattr(self, name) is None:
                found.pop(name, None)
        return found


@dataclass(frozen=True)
class LogitTable:
    """Facts and logits: float32 in nat or, for golden, int32 in 2^-10 nat, [iterations, samples, classes].

    Raises:
        ValueError: type or shape of the logits are not what the facts say, or a logit is not finite.
    """

    facts: Facts
    logits: Tensor
    order: tuple[int, ...] | None = None
    """Per logit the number its class has in the study; None: as they are."""

    def __post_init__(self) -> None:
        """Checks the tensor against the facts."""
        facts, dtype = self.facts, DTYPES[self.facts.backend]
        shape = (facts.iterations, facts.samples, facts.classes)
        if self.logits.dtype != dtype or tuple(self.logits.shape) != shape:
            raise ValueError(
                f"logits are {self.logits.dtype} {tuple(self.logits.shape)}, "
                f"the facts of {facts.name} say {dtype} {shape}"
            )
        if not bool(torch.isfinite(self.logits).all()):
            raise ValueError(f"logits of {facts.name} are not all finite")

    @cached_property
    def confidence(self) -> Confidence:
        """What the exit unit knows of every sentence, [iterations, samples]; integer for golden."""
        if self.facts.backend == "golden":
            return integer_confidence(self.logits)
        return Confidence.from_logits(self.logits.double())

    @cached_property
    def sha256(self) -> str:
        """Over facts and logits."""
        digest = hashlib.sha256(self.facts.model_dump_json().encode() + b"\0")
        digest.update(self.logits.contiguous().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def labels(self) -> Tensor:
        """Answers after every iteration, as the study numbers classes: int64 [iterations, samples]."""
        answers = self.confidence.label
        return answers if self.order is None else torch.tensor(self.order)[answers]

    @property
    def probabilities(self) -> Tensor:
        """Of every class, in the order of the logits: float64 [iterations, samples, classes]."""
        unit = ONE if self.facts.backend == "golden" else 1
        return self.confidence.probabilities.double() / unit

    def answering(self, classes: Sequence[str], named: Sequence[str] | None = None) -> LogitTable:
        """The table with its answers numbered as ``classes`` are.

        Args:
            classes: Names, in the order of the study.
            named: Names of the table's own classes where :attr:`Facts.class_names` does not say.

        Raises:
            ValueError: the table's classes are others, or nothing says what they are.
        """
        own = self.facts.class_names or named
        if own is None:
            raise ValueError(f"{self.facts.name} does not say which classes its logits are of")
        order = tuple(match_classes(own, classes, self.facts.name))
        return replace(self, order=None if order == tuple(range(len(order))) else order)

    def head(self, count: int, rows_sha256: str) -> LogitTable:
        """The first ``count`` sentences, called ``rows_sha256``; multiply-adds stay means over all."""
        facts = self.facts.model_copy(update={"samples": count, "rows_sha256": rows_sha256})
        return replace(self, facts=facts, logits=self.logits[:, :count])

    def policy(self, policy: ExitPolicy) -> AnyPolicy:
        """The policy in the form that decides on this table's confidence."""
        return policy.to_fixed() if self.facts.backend == "golden" else policy

    def save(self, path: Path | str) -> None:
        """Writes the table, whole or not at all."""
        document = {"sha256": self.sha256, "facts": self.facts.model_dump(mode="json")}
        metadata = {METADATA_KEY: json.dumps(document)}  # one key: the library's order of several is random
        with replacing(path) as temporary:
            temporary.write_bytes(save({"logits": self.logits.contiguous()}, metadata))

    @classmethod
    def load(cls, path: Path | str) -> LogitTable:
        """Reads a table.

        Raises:
            FileNotFoundError: there is no such file.
            TableError: it is truncated, changed, or something else than a table.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not a file")
        try:
            with safe_open(path, framework="pt") as file:
                metadata, logits = file.metadata(), file.get_tensor("logits")
            document = json.loads(metadata[METADATA_KEY])
            table = cls(Facts.model_validate(document["facts"]), logits)
            stored = document["sha256"]
        except SafetensorError as error:
            raise TableError(f"{path} is not a whole logit table: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise TableError(f"{path} is not a logit table: {error}") from error
        if table.sha256 != stored:
            raise TableError(f"{path} was changed: sha256 is {table.sha256}, it says {stored}")
        return table


def match_classes(own: Sequence[str], classes: Sequence[str], source: str) -> list[int]:
    """Place in ``classes`` of each of ``own``, by name.

    Raises:
        ValueError: naming ``source``: they are not the same ones.
    """
    found = find_names(own, classes, source)
    if len(set(found)) < len(classes):
        missing = next(name for i, name in enumerate(classes) if i not in found)
        raise ValueError(f"{source}: classes {listed(own)} lack {listed([missing])}")
    return found
