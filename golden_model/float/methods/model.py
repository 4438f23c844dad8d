"""A backbone with what a method puts behind its iterations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from golden_model.config import ElbertConfig
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.float.methods.heads import Head, make_heads
from golden_model.float.methods.names import check_method


class ExitModel(nn.Module):
    """ELBERT's backbone under one of the methods; ELBERT's own and plain ALBERT add nothing to it.

    Members:
        backbone: The shared layer with ALBERT's pooler and classifier.
        heads: Exits of iterations 1 .. L - 1 where the method adds them, else empty.
        method, iterations: Which method, and how often it applies the layer.
    """

    def __init__(
        self,
        backbone: ElbertForSequenceClassification,
        method: str = "elbert",
        iterations: int | None = None,
        seed: int = 0,
    ) -> None:
        """Takes the backbone over and cuts it to ``iterations``, by default all; fresh heads from ``seed``.

        Raises:
            ValueError: as ``methods.names.check_method``.
        """
        super().__init__()
        count = check_method(method, iterations, backbone.config.num_hidden_layers)
        self.method, self.iterations = method, count
        self.backbone = backbone if count == backbone.config.num_hidden_layers else cut(backbone, count)
        self.heads = make_heads(method, self.backbone, seed)

    @property
    def config(self) -> ElbertConfig:
        """Geometry; ``num_hidden_layers`` is :attr:`iterations`."""
        return self.backbone.config

    @property
    def added_parameters(self) -> int:
        """Parameters beyond ALBERT's with one pooler and one classifier."""
        return sum(parameter.numel() for parameter in self.heads.parameters())

    def head(self, iteration: int) -> Head | None:
        """The own head of an iteration, counted from 1; None where ALBERT's pooler and classifier answer."""
        if not 1 <= iteration <= self.iterations:
            raise ValueError(f"iteration {iteration} is not in 1..{self.iterations}")
        if iteration > len(self.heads):
            return None
        found = self.heads[iteration - 1]
        assert isinstance(found, Head)
        return found

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        exits: Sequence[int] | None = None,
        hidden_states: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Like ``ElbertForSequenceClassification.forward``, by the method's exits.

        Args:
            input_ids, attention_mask, token_type_ids: int64 [batch, length].
            exits: Iterations, from 1 and rising, whose logits are computed; None: all. The layer runs up to
                the last of them.
            hidden_states: Also return the hidden states.

        Returns:
            Logits [exits, batch, classes]; with ``hidden_states`` also the states before and after every
            iteration that ran, [1 + iterations, batch, length, hidden].

        Raises:
            ValueError: an exit is out of range, or the length.
        """
        wanted = range(1, self.iterations + 1) if exits is None else exits
        heads = {iteration: self.head(iteration) for iteration in wanted}
        own_heads = any(head is not None for head in heads.values())
        backbone = self.backbone
        logits, kept = [], []
        bias: torch.Tensor | None = None
        states = backbone.states(input_ids, attention_mask, token_type_ids, max(heads, default=0))
        for iteration, hidden in enumerate(states):
            if iteration == 0 and own_heads:
                bias = backbone.attention_bias(hidden, attention_mask)
            if hidden_states:
                kept.append(hidden)
            if iteration in heads:
                head = heads[iteration]
                found = backbone.classify(hidden) if head is None else head(hidden, bias, backbone)
                logits.append(found)
        stacked = torch.stack(logits)
        return (stacked, torch.stack(kept)) if hidden_states else stacked


def cut(backbone: ElbertForSequenceClassification, iterations: int) -> ElbertForSequenceClassification:
    """The same weights applied fewer times; the given model is taken over.

    Raises:
        ValueError: when ``iterations`` is not 1 to the backbone's own.
    """
    if not 1 <= iterations <= backbone.config.num_hidden_layers:
        raise ValueError(f"iterations {iterations} is not in 1..{backbone.config.num_hidden_layers}")
    backbone.model.config.num_hidden_layers = iterations
    return ElbertForSequenceClassification(backbone.model)
