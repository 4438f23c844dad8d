"""Exit policies: when a sentence may leave, decided from each iteration's class probabilities.

One decision logic serves float and fixed point: it only compares, subtracts and counts. A float policy
(:class:`ExitPolicy`) goes with a float :class:`Confidence`, its :meth:`ExitPolicy.to_fixed` with the integer
one of ``golden_model.integer.confidence``. Two forms of it exist and are tested against each other:
:func:`exit_iterations` looks at whole trajectories, :class:`ExitState` takes one iteration at a time and is
what the hardware does.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator
from torch import Tensor

from golden_model.config import MAX_LABELS
from golden_model.numerics import ENTROPY_BITS, ONE

MAX_WINDOW = 16
"""Longest confidence window: the hardware keeps this many iterations of history."""

MAX_PATIENCE = 31
"""Largest patience: one less than the most iterations."""

STREAK_LIMIT = 63
"""Streak counters saturate here (6 bits); no policy asks for more than MAX_PATIENCE + 1."""

MAX_RAW_DELTA = math.log(MAX_LABELS)
"""Unnormalised entropy never exceeds ln 8 nat."""


class ExitMode(enum.IntEnum):
    """Policy selector; the values are the hardware's codes."""

    none = 0
    """Every sentence runs all iterations."""
    entropy = 1
    """Stage 1 alone, entropy normalised by ln C (FastBERT)."""
    entropy_raw = 2
    """Stage 1 alone, entropy in nat (DeeBERT)."""
    patience = 3
    """Same argmax for patience + 1 iterations (PABEE)."""
    bias_1 = 4
    """ELBERT: stage 1, or one side beyond the margin in the whole window."""
    bias_2 = 5
    """ELBERT: stage 1, or a window that starts beyond the margin and never moves back."""
    bias_3 = 6
    """ELBERT: stage 1, or bias_1's window with a bounded range."""


THRESHOLDS: dict[ExitMode, tuple[str, ...]] = {
    ExitMode.none: (),
    ExitMode.entropy: ("delta",),
    ExitMode.entropy_raw: ("delta",),
    ExitMode.patience: ("patience",),
    ExitMode.bias_1: ("delta", "window", "margin"),
    ExitMode.bias_2: ("delta", "window", "margin"),
    ExitMode.bias_3: ("delta", "window", "margin", "range"),
}
"""Fields of a policy that its mode uses; the others change nothing."""

WINDOW_MODES = tuple(mode for mode, used in THRESHOLDS.items() if "window" in used)


def has_stage_one(mode: ExitMode) -> bool:
    """Whether the mode compares an entropy with delta."""
    return "delta" in THRESHOLDS[mode]


def _mode_from_name(value: Any) -> Any:
    """Lets a mode be given by name; pydantic checks numbers and members itself."""
    if not isinstance(value, str):
        return value
    if value not in ExitMode.__members__:
        raise ValueError(f"mode {value!r} is not one of {', '.join(ExitMode.__members__)}")
    return ExitMode[value]


class _PolicyBase(BaseModel):
    """What float and fixed-point policies share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: ExitMode = ExitMode.none
    window: int = Field(default=4, ge=1, le=MAX_WINDOW)
    """N of the bias modes, iterations."""
    patience: int = Field(default=3, ge=0, le=MAX_PATIENCE)

    @field_validator("mode", mode="before")
    @classmethod
    def _named_mode(cls, value: Any) -> Any:
        return _mode_from_name(value)

    @field_serializer("mode")
    def _mode_name(self, mode: ExitMode) -> str:
        return mode.name


class ExitPolicy(_PolicyBase):
    """An exit policy with its thresholds as real numbers. Fields a mode does not use are ignored by it.

    Raises:
        pydantic.ValidationError: (a ``ValueError``) naming the value and the bound it breaks.
    """

    delta: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """Stage 1: exit when the entropy is below it. Normalised, 0..1; for entropy_raw in nat, 0..ln 8.
    0 disables stage 1."""
    margin: float = Field(default=0.0, ge=0.0, le=0.5, allow_inf_nan=False)
    """m: the winner must lead the runner-up by more than 2m."""
    range: float = Field(default=1.0, ge=0.0, le=1.0, allow_inf_nan=False)
    """r of bias_3: most that the winner's probability may vary within the window."""

    @model_validator(mode="after")
    def _check_delta(self) -> ExitPolicy:
        bound = MAX_RAW_DELTA if self.mode == ExitMode.entropy_raw else 1.0
        if self.delta > bound:
            raise ValueError(
                f"delta {self.delta} is above {bound:.6g}, the largest entropy of {self.mode.name}"
            )
        return self

    def to_fixed(self) -> FixedExitPolicy:
        """The same policy with thresholds in 2^-16, rounded half up; what the hardware's registers hold.

        A delta below 2^-17 becomes 0 and so disables stage 1.
        """

        def fixed(value: float) -> int:
            return math.floor(value * ONE + 0.5)

        return FixedExitPolicy(
            mode=self.mode,
            window=self.window,
            patience=self.patience,
            delta=fixed(self.delta),
            margin=fixed(self.margin),
            range=fixed(self.range),
        )


class FixedExitPolicy(_PolicyBase):
    """An exit policy with its thresholds as integers in 2^-16: the golden model's and the hardware's form."""

    delta: int = Field(default=0, ge=0, lt=1 << ENTROPY_BITS)
    margin: int = Field(default=0, ge=0, le=ONE // 2)
    range: int = Field(default=ONE, ge=0, le=ONE)


AnyPolicy = ExitPolicy | FixedExitPolicy


@dataclass(frozen=True)
class Confidence:
    """What the exit unit knows after an iteration; float, or int64 in 2^-16. ``...`` is any batch shape.

    probabilities: [..., C]; entropy (normalised by ln C), entropy_raw (nat): [...]
    """

    probabilities: Tensor
    entropy: Tensor
    entropy_raw: Tensor

    def __post_init__(self) -> None:
        """Refuses shapes that do not belong together."""
        shape = self.probabilities.shape
        if not shape or not 2 <= shape[-1] <= MAX_LABELS:
            raise ValueError(
                f"probabilities of shape {tuple(shape)}: the last dimension is not 2..{MAX_LABELS}"
            )
        for name in ("entropy", "entropy_raw"):
            if getattr(self, name).shape != shape[:-1]:
                raise ValueError(
                    f"{name} has shape {tuple(getattr(self, name).shape)}, expected {tuple(shape[:-1])}"
                )

    @property
    def label(self) -> Tensor:
        """Most probable class, ties to the lowest index: [...]."""
        return self.probabilities.argmax(-1)

    @property
    def confidence(self) -> Tensor:
        """Probability of the most probable class: [...]."""
        return self.probabilities.amax(-1)

    @property
    def lead(self) -> Tensor:
        """g: how far the most probable class leads the next one; 0 on a tie: [...]."""
        best = self.probabilities.topk(2, dim=-1).values
        return best[..., 0] - best[..., 1]

    def uncertainty(self, mode: ExitMode) -> Tensor:
        """The entropy stage 1 of ``mode`` compares with delta: [...]."""
        return self.entropy_raw if mode == ExitMode.entropy_raw else self.entropy

    def __getitem__(self, index: Any) -> Confidence:
        """Indexes the batch dimensions of all three tensors."""
        return Confidence(self.probabilities[index], self.entropy[index], self.entropy_raw[index])

    @classmethod
    def from_probabilities(cls, probabilities: Tensor) -> Confidence:
        """Float probabilities [..., C] to confidence; 0·ln 0 is 0."""
        raw = torch.special.entr(probabilities).sum(-1)
        return cls(probabilities, raw / math.log(probabilities.shape[-1]), raw)

    @classmethod
    def from_logits(cls, logits: Tensor) -> Confidence:
        """Float logits [..., C] to confidence."""
        return cls.from_probabilities(torch.softmax(logits, -1))

    @classmethod
    def stack(cls, steps: list[Confidence]) -> Confidence:
        """One Confidence per iteration to a trajectory whose first dimension is the iteration."""
        return cls(
            torch.stack([s.probabilities for s in steps]),
            torch.stack([s.entropy for s in steps]),
            torch.stack([s.entropy_raw for s in steps]),
        )


def stage_two_length(policy: AnyPolicy) -> int | None:
    """Iterations that stage 2 looks back on, the newest included; None for a policy without one."""
    if policy.mode == ExitMode.patience:
        return policy.patience + 1
    return policy.window if policy.mode in WINDOW_MODES else None


def earliest_exit(policy: AnyPolicy) -> int | None:
    """First iteration after which the policy can let a sentence go; None: only the last one answers."""
    if has_stage_one(policy.mode) and policy.delta:
        return 1
    return stage_two_length(policy)


def stage_one(policy: AnyPolicy, confidence: Confidence) -> Tensor:
    """Entropy below delta, where the policy tests it; bool [...]."""
    if not has_stage_one(policy.mode):
        return torch.zeros_like(confidence.entropy, dtype=torch.bool)
    return confidence.uncertainty(policy.mode) < policy.delta


def _stage_two(policy: AnyPolicy, trajectory: Confidence) -> Tensor:
    """The window test (or PABEE's) on whole trajectories [I, N]; False where the window does not fit yet."""
    fired = torch.zeros_like(trajectory.entropy, dtype=torch.bool)
    length = stage_two_length(policy)
    if length is None or fired.shape[0] < length:
        return fired

    def windows(values: Tensor) -> Tensor:
        """[I, N] to [I - length + 1, N, length], oldest first."""
        return values.unfold(0, length, 1)

    labels = windows(trajectory.label)
    beyond = windows(trajectory.lead > 2 * policy.margin)
    # wherever the labels agree, the top probability IS that of the newest iteration's class
    top = windows(trajectory.confidence)
    test = (labels == labels[..., -1:]).all(-1)
    if policy.mode == ExitMode.bias_2:
        test = test & beyond[..., 0] & (top[..., 1:] >= top[..., :-1]).all(-1)
    elif policy.mode in (ExitMode.bias_1, ExitMode.bias_3):
        test = test & beyond.all(-1)
        if policy.mode == ExitMode.bias_3:
            test = test & (top.amax(-1) - top.amin(-1) <= policy.range)
    fired[length - 1 :] = test
    return fired


def exit_flags(policy: AnyPolicy, trajectory: Confidence) -> Tensor:
    """Whether the policy would let each sentence go after each iteration; bool [iterations, N].

    The last iteration is not forced here: see :func:`exit_iterations`.

    Raises:
        ValueError: the trajectory is not [iterations >= 1, N].
    """
    if trajectory.entropy.dim() != 2 or trajectory.entropy.shape[0] < 1:
        raise ValueError(f"trajectory of shape {tuple(trajectory.entropy.shape)} is not [iterations >= 1, N]")
    return stage_one(policy, trajectory) | _stage_two(policy, trajectory)


def exit_iterations(policy: AnyPolicy, trajectory: Confidence) -> Tensor:
    """First iteration, counted from 1, after which each sentence leaves; the last one always answers.

    Args:
        policy: float for a float trajectory, fixed for an integer one.
        trajectory: [iterations, N] (N sentences).

    Returns:
        int64 [N].
    """
    fired = exit_flags(policy, trajectory).clone()
    fired[-1] = True
    return fired.to(torch.uint8).argmax(0) + 1


class ExitState:
    """The streaming form: one iteration at a time for a batch, with the state the hardware keeps.

    Per sentence: the last label and its probability, three saturating streak counters, and a history of
    MAX_WINDOW top probabilities and margin flags. Sentences that left are dropped with :meth:`keep`.
    """

    def __init__(self, policy: AnyPolicy, batch: int, device: torch.device | str = "cpu") -> None:
        """A fresh state for ``batch`` sentences."""
        self.policy = policy
        self.iteration = 0
        self.label = torch.full((batch,), -1, dtype=torch.int64, device=device)
        self.agree_streak = torch.zeros(batch, dtype=torch.int64, device=device)
        self.margin_streak = torch.zeros(batch, dtype=torch.int64, device=device)
        self.rising_streak = torch.zeros(batch, dtype=torch.int64, device=device)
        self.top = torch.zeros((MAX_WINDOW, batch), dtype=torch.int64, device=device)
        self.beyond = torch.zeros((MAX_WINDOW, batch), dtype=torch.bool, device=device)

    def step(self, confidence: Confidence, last: bool = False) -> Tensor:
        """Takes the next iteration's confidence [N]; returns who leaves now, bool [N] (all if ``last``).

        Raises:
            ValueError: the confidence is not of this state's batch.
        """
        if confidence.entropy.shape != self.label.shape:
            raise ValueError(
                f"confidence of shape {tuple(confidence.entropy.shape)}, state of {tuple(self.label.shape)}"
            )
        self._remember(confidence)
        fired = stage_one(self.policy, confidence) | self._stage_two()
        return torch.ones_like(fired) if last else fired

    def keep(self, remaining: Tensor) -> None:
        """Drops every sentence whose entry in ``remaining`` (bool or indices [N]) is not kept."""
        for name in ("label", "agree_streak", "margin_streak", "rising_streak"):
            setattr(self, name, getattr(self, name)[remaining])
        self.top = self.top[:, remaining]
        self.beyond = self.beyond[:, remaining]

    def _remember(self, confidence: Confidence) -> None:
        label, top = confidence.label, confidence.confidence
        self.top = self.top.to(top.dtype)  # changes it only on the first iteration of a float run
        beyond = confidence.lead > 2 * self.policy.margin
        same = label == self.label  # never on the first iteration: no label is -1
        rising = same & (top >= self.top[0])
        self.agree_streak = torch.where(same, self.agree_streak + 1, 1).clamp(max=STREAK_LIMIT)
        self.margin_streak = torch.where(same, self.margin_streak + 1, 1).clamp(max=STREAK_LIMIT)
        self.margin_streak = torch.where(beyond, self.margin_streak, 0)
        self.rising_streak = torch.where(rising, self.rising_streak + 1, 1).clamp(max=STREAK_LIMIT)
        self.label = label
        self.top = torch.cat([top.unsqueeze(0), self.top[:-1]])
        self.beyond = torch.cat([beyond.unsqueeze(0), self.beyond[:-1]])
        self.iteration += 1

    def _stage_two(self) -> Tensor:
        policy, window = self.policy, self.policy.window
        if policy.mode == ExitMode.patience:
            return self.agree_streak > policy.patience
        if policy.mode == ExitMode.bias_1:
            return self.margin_streak >= window
        if policy.mode == ExitMode.bias_2:
            return (self.rising_streak >= window) & self.beyond[window - 1]
        if policy.mode == ExitMode.bias_3:
            top = self.top[:window]
            return (self.margin_streak >= window) & (top.amax(0) - top.amin(0) <= policy.range)
        return torch.zeros_like(self.label, dtype=torch.bool)


def never_fires(policy: AnyPolicy, iterations: int) -> str | None:
    """In one line why a test of the policy can let no sentence go before the last iteration; else None.

    The policy is allowed all the same: a window policy still has its stage 1, and ``delta`` 0 is how that is
    switched off. For the golden model give its fixed form, in which a delta below 2^-17 is 0.

    Args:
        policy: Any; ``none`` has no test.
        iterations: L of the model, >= 1. What fires after the last one fires too late.
    """
    if policy.mode == ExitMode.none:
        return None
    if iterations == 1:
        return f"{policy.mode.name} lets nothing go early: the model has one iteration"
    length = stage_two_length(policy)
    if length is None:
        return None if policy.delta else f"{policy.mode.name} never fires: no entropy is below delta 0"
    if policy.mode == ExitMode.patience:
        if length < iterations:
            return None
        return (
            f"patience {policy.patience} never fires early: it wants {length} iterations with one answer, "
            f"the model has {iterations}"
        )
    largest = ONE // 2 if isinstance(policy, FixedExitPolicy) else 0.5
    if length >= iterations:
        reason = f"window {length} is not shorter than the model's {iterations} iterations"
    elif policy.margin >= largest:
        reason = "no class leads by more than twice the margin 0.5"
    else:
        return None
    left = "only delta can let a sentence go" if policy.delta else "and delta 0 switches stage 1 off"
    return f"the window of {policy.mode.name} never fires early: {reason}; {left}"
