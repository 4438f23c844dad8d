"""Joint loss over all exits."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

WEIGHTINGS = ("dynamic", "equal")

EXIT_WEIGHT_START = 4.0
"""Start of every t: sigmoid(4) = 0.982, so that all exits begin nearly equal (released code)."""


class JointLoss(nn.Module):
    """Weighted sum of the cross entropies of all iterations.

    ``dynamic`` (the authors' released code), with trainable t_1 .. t_{L-1}::

        loss = sum_{i<L} sigmoid(t_i)·CE_i + (L - sum_{i<L} sigmoid(t_i))·CE_L

    ``equal``: every weight 1. The weights sum to L in both cases. t belongs to training, not to the model.
    """

    def __init__(self, iterations: int, weighting: str = "dynamic") -> None:
        """Raises ValueError for fewer than 1 iteration or an unknown weighting."""
        super().__init__()
        if iterations < 1:
            raise ValueError(f"iterations {iterations} is below 1")
        if weighting not in WEIGHTINGS:
            raise ValueError(f"weighting {weighting!r} is not one of {WEIGHTINGS}")
        self.iterations = iterations
        self.weighting = weighting
        self.t = nn.Parameter(
            torch.full((iterations - 1,), EXIT_WEIGHT_START), requires_grad=weighting == "dynamic"
        )

    def weights(self) -> torch.Tensor:
        """Weight of every iteration, float [iterations]; they sum to ``iterations``."""
        if self.weighting == "equal":
            return torch.ones(self.iterations)
        early = torch.sigmoid(self.t)
        return torch.cat([early, (self.iterations - early.sum()).reshape(1)])

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss (scalar) and the mean cross entropy of every iteration, detached [iterations].

        Args:
            logits: [iterations, batch, classes].
            labels: int64 [batch].

        Raises:
            ValueError: when ``logits`` holds another number of iterations.
        """
        if logits.shape[0] != self.iterations:
            raise ValueError(f"logits hold {logits.shape[0]} iterations, the loss {self.iterations}")
        repeated = labels.unsqueeze(0).expand(logits.shape[:2])
        losses = functional.cross_entropy(logits.float().flatten(0, 1), repeated.flatten(), reduction="none")
        each = losses.view(logits.shape[:2]).mean(dim=1)
        return (self.weights().to(each.device) * each).sum(), each.detach()
