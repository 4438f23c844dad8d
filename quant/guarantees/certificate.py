"""The certificate: which thresholds, what is promised of them, on which sentences and which checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from golden_model.documents import read_object
from golden_model.errors import describe
from golden_model.exits import ExitMode, ExitPolicy, FixedExitPolicy
from golden_model.files import write_json
from quant.guarantees.choose import Method, Rule
from quant.guarantees.families import canonical, real_policy
from quant.guarantees.losses import LOSSES, LossName
from quant.guarantees.pvalues import Test, p_values
from quant.guarantees.sentences import find_form

CERTIFICATE_FILE = "exit_certificate.json"
"""Beside a checkpoint, in its folder ``float`` or ``integer``."""

_Digest = Field(pattern="^[0-9a-f]{64}$")
_Share = Field(gt=0, lt=1)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sentences(_Part):
    """What the thresholds were chosen on."""

    source: str
    count: int = Field(ge=1)
    data_sha256: str
    """Of the file, for the record."""
    rows_sha256: str = _Digest
    """Of the sentences as a model reads them, in order."""


class TestedSequence(_Part):
    """A sequence of the family and how far its test came."""

    first: FixedExitPolicy
    """The safest setting."""
    last: FixedExitPolicy
    """The boldest; what lies between follows ``grid`` of the certificate."""
    settings: int = Field(ge=1)
    passed: int = Field(ge=0)
    """Settings before the first that failed."""
    certified: FixedExitPolicy | None
    """The last that passed."""


class Measured(_Part):
    """What the setting did on the calibration sentences. No guarantee goes with it."""

    mean_exit_iteration: float
    iterations: int = Field(ge=1)
    speedup_iterations: float
    multiply_adds_full_depth: int | None = None
    """All rows in all iterations, all sentences; None where lengths are not known."""
    multiply_adds_answer_first: int | None = None
    speedup_multiply_adds: float | None = None


class Certificate(_Part):
    """Thresholds with a guarantee.

    Reading one checks that its p-value, or bound, is what its own counts give and is small enough; it cannot
    check that the sentences are what new ones will be like.

    Raises:
        pydantic.ValidationError: (a ``ValueError``) naming the value and the bound it breaks.
    """

    format: Literal["elbert-exit-certificate"] = "elbert-exit-certificate"
    version: Literal[1] = 1
    header: dict[str, Any]
    task: str | None
    backend: Literal["float", "golden"]
    checkpoint_sha256: str = _Digest
    policy: FixedExitPolicy
    """In the registers' integers; mode ``none``, full depth, where nothing could be certified."""
    loss: LossName
    risk: float = _Share
    confidence: float | None = _Share
    """None: the expected risk is bounded (conformal risk control)."""
    method: Method
    test: Test | None
    level: float | None
    """That p-values were compared with: (1 - confidence) / sequences."""
    p_value: float | None
    """Of the policy; None for crc and where nothing is certified."""
    bound: float | None
    """Of the expected risk; None for ltt and where nothing is certified."""
    empirical_risk: float
    """Mean loss on the calibration sentences."""
    counts: dict[int, int]
    """Calibration sentences with each value of the loss."""
    sentences: Sentences
    smallest_sample: int = Field(ge=1)
    """Sentences with which the least that could be certified is: a setting that loses nothing on any."""
    grid: str
    sequences: list[TestedSequence] = Field(min_length=1)
    measured: Measured

    @model_validator(mode="after")
    def _consistent(self) -> Certificate:
        loss = LOSSES[self.loss]
        if tuple(self.counts) != loss.values or sum(self.counts.values()) != self.sentences.count:
            raise ValueError(
                f"counts {self.counts} are not of the values {loss.values} of "
                f"{self.sentences.count} sentences"
            )
        if (self.method == Method.crc) != (self.confidence is None) or (self.test is None) != (
            self.method == Method.crc
        ):
            raise ValueError(f"method {self.method} with confidence {self.confidence} and test {self.test}")
        if self.policy.mode == ExitMode.none:
            if (self.p_value, self.bound) != (None, None):
                raise ValueError("policy none, full depth, has a p-value or a bound")
            return self
        if canonical(self.policy) not in [sequence.certified for sequence in self.sequences]:
            raise ValueError("the policy is the last that passed in none of the sequences")
        self._check_evidence()
        return self

    def _check_evidence(self) -> None:
        if self.method == Method.crc:
            if self.bound is None or not self.bound <= self.risk:
                raise ValueError(f"bound {self.bound} of the expected risk is above the risk {self.risk:g}")
            if (
                self.bound * (self.sentences.count + 1)
                < 1 + sum(v * n for v, n in self.counts.items()) - 1e-6
            ):
                raise ValueError(f"bound {self.bound} is below what the counts {self.counts} give")
            return
        assert self.test is not None  # checked above
        level = self.rule.level(len(self.sequences))
        counts = torch.tensor(list(self.counts.values()))
        found = float(p_values(self.test, counts, LOSSES[self.loss], self.risk))
        if self.p_value is None or not math.isclose(found, self.p_value, rel_tol=1e-6, abs_tol=1e-12):
            raise ValueError(f"p_value is {self.p_value}, the counts give {found:.6g}")
        if found > level:
            raise ValueError(
                f"p_value {found:.6g} is above {level:.6g}, what {len(self.sequences)} sequences leave of "
                f"confidence {self.confidence}"
            )

    @property
    def rule(self) -> Rule:
        """What is promised and by which method."""
        return Rule(self.method, self.risk, self.confidence, self.test)

    @property
    def real_policy(self) -> ExitPolicy:
        """The policy as models take it; its fixed form is :attr:`policy`."""
        return real_policy(self.policy)

    @property
    def line(self) -> str:
        """What is promised, in one line."""
        if self.policy.mode == ExitMode.none:
            return f"no early exit is certified on {self.sentences.count} sentences: full depth"
        meaning = LOSSES[self.loss].meaning
        if self.confidence is None:
            promise = f"expected {meaning} <= {100 * self.risk:g} %"
        else:
            promise = f"{meaning} <= {100 * self.risk:g} % with {100 * self.confidence:g} % confidence"
        return f"certified: {promise}, {self.sentences.count} sentences"

    def certifies(self, policy: ExitPolicy) -> bool:
        """Whether it promises anything of a policy: an early exit, decided by the same integers."""
        fixed = canonical(policy.to_fixed())
        return fixed.mode != ExitMode.none and fixed == canonical(self.policy)

    def save(self, path: Path | str) -> None:
        """Writes the certificate, whole or not at all."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path | str) -> Certificate:
        """Reads a certificate.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no certificate, or one that contradicts itself, by file and place.
        """
        document = read_object(path)
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise ValueError(f"{path} is no certificate of exits: {describe(error)}") from None


@dataclass(frozen=True)
class Found:
    """What lies beside a checkpoint.

    Members:
        certificate: Of this checkpoint; None: there is none.
        note: Why what is there is of no use, in one line; None: nothing is wrong.
    """

    certificate: Certificate | None = None
    note: str | None = None

    def line(self, policy: ExitPolicy) -> str | None:
        """What is promised of a policy, in one line; None: nothing is."""
        if self.certificate is None or not self.certificate.certifies(policy):
            return None
        return self.certificate.line


def certificate_path(folder: Path | str, backend: str) -> Path:
    """Where the certificate of a model folder's checkpoint lies; raises like ``model_folder``."""
    return find_form(folder, backend).folder / CERTIFICATE_FILE


def read_for(path: Path | str, folder: Path | str, backend: str) -> Certificate:
    """The certificate of a file, which must be of this checkpoint.

    Raises:
        OSError: there is none, or no checkpoint.
        ValueError: it is no certificate, or that of another checkpoint.
    """
    certificate, source = Certificate.load(path), find_form(folder, backend)
    for what, has, needs in (
        ("backend", certificate.backend, backend),
        ("checkpoint", certificate.checkpoint_sha256, source.sha256),
    ):
        if has != needs:
            raise ValueError(f"{path} is of another {what}: {has[:16]}, {source.folder} is {needs[:16]}")
    return certificate


def find_certificate(folder: Path | str, backend: str) -> Found:
    """The certificate beside a model folder's checkpoint, if there is one that is its own."""
    path = certificate_path(folder, backend)
    if not path.exists():
        return Found()
    try:
        return Found(read_for(path, folder, backend))
    except (OSError, ValueError) as error:
        return Found(note=f"not used: {error}")


def require_certificate(file: Path | str | None, folder: Path | str, backend: str) -> Certificate:
    """The certificate of a file, or the one beside the checkpoint.

    Args:
        file: None: beside the checkpoint.
        folder: Model folder.
        backend: ``float`` or ``golden``.

    Raises:
        OSError, ValueError: as :func:`read_for`.
    """
    if file is not None:
        return read_for(file, folder, backend)
    path = certificate_path(folder, backend)
    if not path.exists():
        raise FileNotFoundError(
            f"policy certified: there is no {path}; 'elbert calibrate-exits' makes one, "
            "or give the path of a certificate"
        )
    return read_for(path, folder, backend)


def tested(sequence: Sequence[FixedExitPolicy], passed: int) -> TestedSequence:
    """The record of a sequence of which so many settings passed."""
    return TestedSequence(
        first=sequence[0],
        last=sequence[-1],
        settings=len(sequence),
        passed=passed,
        certified=sequence[passed - 1] if passed else None,
    )
