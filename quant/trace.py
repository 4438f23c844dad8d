"""The float model's named tensors, sentence by sentence, to compare the golden model's with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from golden_model.exits import Confidence, ExitPolicy, ExitState
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.model import Sentence, Trace
from quant.hooks import Hooks
from quant.reproducible import exact_copy, one_thread


def trace_float(
    model: ElbertForSequenceClassification, sentences: Sequence[Sentence], trace: Trace | None = None
) -> Iterator[dict[str, Tensor]]:
    """The named tensors of docs/numerics.md in real units, as the float model computes them without an exit.

    ``attention.exponentials`` are exp(score - the row's largest score), before they are divided by their sum;
    ``exit.decision`` is 1 in the last iteration.

    Args:
        model: Computed in float64 on one thread; not changed.
        sentences: Computed one by one, each when its turn comes.
        trace: Which names to keep; None for all.

    Yields:
        Per sentence, name to float64 tensor of the shape that the golden model's ``taps`` have.
    """
    wanted = trace or Trace()
    exact = exact_copy(model)
    for sentence in sentences:
        tracer = _Tracer(exact, wanted)
        tracer.run(sentence)
        yield tracer.taps


class _Tracer:
    """One sentence's way through the float model."""

    def __init__(self, model: ElbertForSequenceClassification, trace: Trace) -> None:
        self.model, self.trace = model, trace
        self.taps: dict[str, Tensor] = {}
        self.state = ExitState(ExitPolicy(), batch=1)
        self.query = torch.empty(0)

    @torch.inference_mode()
    def run(self, sentence: Sentence) -> None:
        ids, types = sentence
        with one_thread(), Hooks(self.model, self.see):
            self.model(torch.tensor([list(ids)]), token_type_ids=torch.tensor([list(types)]))

    def see(self, name: str, values: Tensor) -> None:
        """Keeps what a hook reports and what follows from it."""
        prefix, _, last = name.rpartition(".")
        if not name.endswith((".index", ".update")):
            self.keep(name, values[0])
        if name.endswith("attention.query"):
            self.query = values
        elif name.endswith("attention.key"):
            self.attend(prefix, values)
        elif last == "logits":
            self.leave(prefix, values)

    def keep(self, name: str, values: Tensor) -> None:
        if self.trace.wants(name):
            self.taps[name] = values.double().clone()

    def attend(self, prefix: str, key: Tensor) -> None:
        """Scores and exponentials, [heads, length, length]."""
        config = self.model.config
        shape = (key.shape[1], config.num_attention_heads, config.head_dim)
        query, keys = self.query[0].view(shape).transpose(0, 1), key[0].view(shape).transpose(0, 1)
        scores = query @ keys.transpose(1, 2) * config.head_dim**-0.5
        self.keep(f"{prefix}.scores", scores)
        self.keep(f"{prefix}.exponentials", (scores - scores.amax(-1, keepdim=True)).exp())

    def leave(self, prefix: str, logits: Tensor) -> None:
        """What the exit unit says of the logits [1, classes]."""
        confidence = Confidence.from_logits(logits)
        last = self.state.iteration == self.model.config.num_hidden_layers - 1
        decision = self.state.step(confidence, last)
        for kind, values in (
            ("probabilities", confidence.probabilities),
            ("entropy", confidence.entropy),
            ("entropy_raw", confidence.entropy_raw),
            ("decision", decision),
            ("label", confidence.label),
        ):
            self.keep(f"{prefix}.exit.{kind}", values[0])
