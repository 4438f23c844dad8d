"""Exits of their own, as three methods add them behind the iterations of a shared layer.

Shapes: hidden state [batch, length, hidden]; logits [batch, classes]. Multiply-adds are of one sample.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from golden_model.config import ElbertConfig
from golden_model.float.albert import ElbertForSequenceClassification

BRANCH_SIZE = 128
"""Width of FastBERT's student classifier (``cla_hidden_size`` of the released code)."""

BRANCH_HEADS = 2
"""Its attention heads (``cla_heads_num``)."""


class Head(nn.Module, ABC):
    """One iteration's exit.

    Members:
        reads_all_rows: Whether it answers from all rows of the layer's output, so that they must exist before
            its answer; else from [CLS] alone, and answer first applies (docs/answer-first.md).
    """

    reads_all_rows: ClassVar[bool] = False

    @abstractmethod
    def forward(
        self, hidden: torch.Tensor, bias: torch.Tensor | None, backbone: ElbertForSequenceClassification
    ) -> torch.Tensor:
        """Logits of a hidden state; ``bias`` is what the backbone's layer adds to its attention scores."""

    @abstractmethod
    def macs(self, length: int) -> int:
        """Multiply-adds for a sentence of ``length`` tokens, those of parts it shares included."""


class Highway(Head):
    """DeeBERT's off-ramp (``BertHighway`` of castorini/DeeBERT): pooler with tanh, then a classifier."""

    def __init__(self, config: ElbertConfig) -> None:
        """Weights as PyTorch initialises them; :func:`make_heads` sets them."""
        super().__init__()
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(
        self, hidden: torch.Tensor, bias: torch.Tensor | None, backbone: ElbertForSequenceClassification
    ) -> torch.Tensor:
        """Of the first token."""
        return self.classifier(torch.tanh(self.pooler(hidden[:, 0])))

    def macs(self, length: int) -> int:
        """H² + H·C."""
        return self.pooler.weight.numel() + self.classifier.weight.numel()


class Branch(Head):
    """FastBERT's student classifier (``Classifier`` of autoliuweijie/FastBERT).

    Down to BRANCH_SIZE with tanh, self-attention over all tokens; then, of the first token, a linear with
    tanh and the classifier.
    """

    reads_all_rows = True

    def __init__(self, config: ElbertConfig) -> None:
        """Weights as PyTorch initialises them, which is the released code's start too."""
        super().__init__()
        self.down = nn.Linear(config.hidden_size, BRANCH_SIZE)
        self.query, self.key, self.value, self.out = (nn.Linear(BRANCH_SIZE, BRANCH_SIZE) for _ in range(4))
        self.dense = nn.Linear(BRANCH_SIZE, BRANCH_SIZE)
        self.classifier = nn.Linear(BRANCH_SIZE, config.num_labels)

    def forward(
        self, hidden: torch.Tensor, bias: torch.Tensor | None, backbone: ElbertForSequenceClassification
    ) -> torch.Tensor:
        """Attends between all real tokens."""
        narrow = torch.tanh(self.down(hidden))
        batch, length, _ = narrow.shape

        def split(values: torch.Tensor) -> torch.Tensor:
            return values.view(batch, length, BRANCH_HEADS, -1).transpose(1, 2)

        query, key, value = (split(linear(narrow)) for linear in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) / math.sqrt(BRANCH_SIZE // BRANCH_HEADS)
        if bias is not None:
            scores = scores + bias
        context = (torch.softmax(scores, -1) @ value).transpose(1, 2).reshape(batch, length, BRANCH_SIZE)
        return self.classifier(torch.tanh(self.dense(self.out(context)[:, 0])))

    def macs(self, length: int) -> int:
        """T·(H·B + 4·B²) + 2·T²·B + B² + B·C, T tokens, B = BRANCH_SIZE: as the released code computes it."""
        tokens = self.down.weight.numel() + 4 * BRANCH_SIZE**2
        once = BRANCH_SIZE**2 + self.classifier.weight.numel()
        return length * tokens + 2 * length**2 * BRANCH_SIZE + once


class Linear(Head):
    """PABEE's internal classifier in its ALBERT code: one linear behind the pooler that all exits share."""

    def __init__(self, config: ElbertConfig) -> None:
        """Weights as PyTorch initialises them; :func:`make_heads` sets them."""
        super().__init__()
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(
        self, hidden: torch.Tensor, bias: torch.Tensor | None, backbone: ElbertForSequenceClassification
    ) -> torch.Tensor:
        """Of the first token, by the backbone's pooler."""
        albert = backbone.model.albert
        return self.classifier(albert.pooler_activation(albert.pooler(hidden[:, 0])))

    def macs(self, length: int) -> int:
        """H² of the shared pooler, and H·C."""
        return self.classifier.in_features**2 + self.classifier.weight.numel()


HEADS: dict[str, type[Highway] | type[Branch] | type[Linear]] = {
    "deebert": Highway,
    "fastbert": Branch,
    "pabee": Linear,
}
"""The exit each method with heads of its own has after every iteration but the last, where ALBERT answers."""


def make_heads(method: str, backbone: ElbertForSequenceClassification, seed: int = 0) -> nn.ModuleList:
    """Fresh heads of a method for iterations 1 .. L - 1; none for a method without.

    Random weights depend on ``seed`` alone. As in the released codes, classifiers of DeeBERT and PABEE start
    like Hugging Face's (normal, ``initializer_range``, bias 0), DeeBERT's poolers as the backbone's, and
    FastBERT's branches as PyTorch starts a linear.
    """
    kind = HEADS.get(method)
    if kind is None:
        return nn.ModuleList()
    config = backbone.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = nn.ModuleList(kind(config) for _ in range(config.num_hidden_layers - 1))
        for head in heads:
            if isinstance(head, Highway | Linear):
                nn.init.normal_(head.classifier.weight, std=backbone.model.config.initializer_range)
                nn.init.zeros_(head.classifier.bias)
            if isinstance(head, Highway):
                head.pooler.load_state_dict(backbone.model.albert.pooler.state_dict())
    return heads.to(next(backbone.parameters()).device)
