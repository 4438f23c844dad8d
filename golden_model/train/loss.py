"""Losses over several exits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

WEIGHTINGS = ("dynamic", "equal", "linear")

EXIT_WEIGHT_START = 4.0
"""Start of every t: sigmoid(4) = 0.982, so that all exits begin nearly equal (released code)."""


class ExitLoss(nn.Module, ABC):
    """Weighted sum of the losses of several exits, from labels or with a teacher's answers."""

    iterations: int
    """Exits that take part."""

    @abstractmethod
    def weights(self) -> torch.Tensor:
        """Weight of every exit, float [iterations]."""

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss (scalar) and the mean cross entropy of every iteration, detached [iterations].

        Args:
            logits: [iterations, batch, classes].
            labels: int64 [batch].

        Raises:
            ValueError: when ``logits`` holds another number of iterations.
        """
        each = self._cross_entropy(logits, labels).mean(dim=1)
        return (self.weights() * each).sum(), each.detach()

    def soft(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        teacher: torch.Tensor,
        share: float | Sequence[float],
        temperature: float,
    ) -> torch.Tensor:
        """The same weighted sum with a teacher's answers in each exit's loss (Hinton et al. 2015).

        Per sample and exit ``(1 - share)·CE(label) + share·T²·KL(teacher/T || exit/T)``; a sample without
        label (negative) has the second term alone, with weight 1.

        Args:
            logits: [iterations, batch, classes].
            labels: int64 [batch], negative where there is none.
            teacher: The teacher's logits [batch, classes].
            share: Of the teacher, 0..1; of every exit alike, or one each.
            temperature: T, above 0.
        """
        target = torch.log_softmax(teacher.float() / temperature, -1).expand(logits.shape)
        ours = torch.log_softmax(logits.float() / temperature, -1)
        soft = temperature**2 * functional.kl_div(ours, target, reduction="none", log_target=True).sum(-1)
        shares = torch.tensor(share, device=logits.device).expand(len(logits)).unsqueeze(1)
        labelled = labels >= 0
        hard = self._cross_entropy(logits, labels.clamp(min=0))
        each = torch.where(labelled, (1 - shares) * hard + shares * soft, soft).mean(dim=1)
        return (self.weights() * each).sum()

    def _cross_entropy(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if logits.shape[0] != self.iterations:
            raise ValueError(f"logits hold {logits.shape[0]} iterations, the loss {self.iterations}")
        repeated = labels.unsqueeze(0).expand(logits.shape[:2])
        losses = functional.cross_entropy(logits.float().flatten(0, 1), repeated.flatten(), reduction="none")
        return losses.view(logits.shape[:2])


class JointLoss(ExitLoss):
    """ELBERT's sum over all iterations.

    ``dynamic`` (the authors' released code), with trainable t_1 .. t_{L-1}::

        loss = sum_{i<L} sigmoid(t_i)·CE_i + (L - sum_{i<L} sigmoid(t_i))·CE_L

    ``equal``: every weight 1. ``linear``: growing with the iteration, 2i/(L + 1), PABEE's weights times L.
    The weights sum to L in all cases. t belongs to training, not to the model.
    """

    def __init__(self, iterations: int, weighting: str = "dynamic", start: float = EXIT_WEIGHT_START) -> None:
        """``start``: of every t. Raises ValueError for fewer than 1 iteration or an unknown weighting."""
        super().__init__()
        if iterations < 1:
            raise ValueError(f"iterations {iterations} is below 1")
        if weighting not in WEIGHTINGS:
            raise ValueError(f"weighting {weighting!r} is not one of {WEIGHTINGS}")
        self.iterations = iterations
        self.weighting = weighting
        self.t = nn.Parameter(
            torch.full((iterations - 1,), float(start)), requires_grad=weighting == "dynamic"
        )

    def weights(self) -> torch.Tensor:
        """Weight of every iteration, float [iterations]; they sum to ``iterations``."""
        if self.weighting == "equal":
            return torch.ones(self.iterations, device=self.t.device)
        if self.weighting == "linear":
            rising = torch.arange(1, self.iterations + 1, device=self.t.device)
            return rising * (2 / (self.iterations + 1))
        early = torch.sigmoid(self.t)
        return torch.cat([early, (self.iterations - early.sum()).reshape(1)])


class FixedLoss(ExitLoss):
    """Weights that stay as they are given."""

    def __init__(self, weights: Sequence[float]) -> None:
        """Raises ValueError for no weights or a negative one."""
        super().__init__()
        if not weights or min(weights) < 0:
            raise ValueError(f"weights {list(weights)} are not one or more numbers from 0 up")
        self.iterations = len(weights)
        self.register_buffer("fixed", torch.tensor(weights, dtype=torch.float32))

    def weights(self) -> torch.Tensor:
        """Float [iterations], as given."""
        return self.get_buffer("fixed")
