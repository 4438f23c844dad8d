"""What a model says of one text, and what it said on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class HardwareRun:
    """What the simulated accelerator did for one text.

    Members:
        cycles: From start to done, with the exit.
        cycles_full: The same, measured without early exit; equal to ``cycles`` under policy ``none``.
        checkpoints: Named tensors compared with the golden model, in both runs.
        elements: Their integers.
        mismatches: Integers that differ; 0 unless something is broken.
        first_mismatch: Where they part first: sentence, iteration, tensor, index, expected, got, cycle.
        counters: Cycles by what the array did (``active``) or waited for.
    """

    cycles: int
    cycles_full: int
    checkpoints: int
    elements: int
    mismatches: int
    first_mismatch: dict[str, Any] | None
    counters: dict[str, int]


def _no_units(name: str, values: Tensor) -> Tensor:
    raise ValueError(f"tensor {name!r}: the float model's answers hold no integers; use golden or rtl")


@dataclass(frozen=True)
class Classification:
    """The answer for one text; C classes, I iterations until it left.

    Members:
        text, pair: As given.
        label, label_id: The class, by name and by number.
        probabilities: Of the C classes, at the exit.
        exit_iteration: I, counted from 1.
        iterations: That the model has.
        confidences: Probability of the then best class after each of the I iterations.
        ids, token_type_ids: What the model read, special pieces included.
        tokens: The pieces of the ids.
        truncated: Whether the text was cut to the model's longest sentence.
        tensors: The named integer tensors asked for by ``trace`` (docs/numerics.md), int64.
        hardware: Cycles and comparison, of ``backend="rtl"`` alone.
    """

    text: str
    pair: str | None
    label: str
    label_id: int
    probabilities: tuple[float, ...]
    exit_iteration: int
    iterations: int
    confidences: tuple[float, ...]
    ids: tuple[int, ...]
    token_type_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    truncated: bool
    tensors: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    hardware: HardwareRun | None = None
    _units: Callable[[str, Tensor], Tensor] = field(default=_no_units, repr=False, compare=False)

    @property
    def score(self) -> float:
        """Probability of :attr:`label`."""
        return self.probabilities[self.label_id]

    def dequantize(self, name: str) -> Tensor:
        """A traced tensor in real units: float64, the shape of ``tensors[name]``.

        Raises:
            ValueError: no tensor of that name was traced.
        """
        if name not in self.tensors:
            raise ValueError(
                f"tensor {name!r} was not traced: ask for it with trace=..., such as trace={name!r}"
            )
        return self._units(name, self.tensors[name])

    def as_json(self) -> dict[str, Any]:
        """The answer for a result file, without tensors; hardware's facts are None where there is none."""
        nothing = dict.fromkeys(HardwareRun.__dataclass_fields__)
        return {
            "text": self.text,
            "pair": self.pair,
            "tokens": len(self.ids),
            "truncated": self.truncated,
            "label": self.label_id,
            "label_name": self.label,
            "probabilities": list(self.probabilities),
            "exit_iteration": self.exit_iteration,
            "iterations": self.iterations,
            **(nothing if self.hardware is None else asdict(self.hardware)),
            "confidences": list(self.confidences),
        }
