"""Running the float model on calibration sentences and watching what needs a scale.

Of what the matmuls read, second moments are summed where a scheme asks for them: over all rows of all
iterations, since the weights are shared by them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.model import Sentence
from golden_model.integer.scales import input_name, short_name
from quant.hooks import Hooks
from quant.observers import ChannelObserver, Observer
from quant.reproducible import exact_copy, one_thread
from quant.schemes import Scheme

LEAST_SCALE = 1e-12
"""Scale of a tensor that was 0 throughout calibration."""

SAMPLE_ROWS = 2048
"""Rows kept of the tensors whose channels are equalised, per tensor name."""
SAMPLED = ("embedding.normalized", "attention.context")

READ_WHOLE = (
    "embedding.normalized",
    "attention.context",
    "attention.hidden",
    "ffn.activation",
    "pooler.output",
)
"""Tensors that one matmul reads, all rows of them."""

Progress = Callable[[int], None]
"""Told how many more sentences are done."""


@dataclass
class Observations:
    """What calibration saw, in real units. Keys are the names that :class:`quant.hooks.Hooks` reports.
    ``embedding.hidden`` is also the input of iteration 1. Where iterations share their scales, ranges are of
    all iterations together."""

    scheme: Scheme
    iterations: int
    ranges: dict[str, Observer] = field(default_factory=dict)
    channels: dict[str, ChannelObserver] = field(default_factory=lambda: defaultdict(ChannelObserver))
    samples: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    moments: dict[str, Tensor] = field(default_factory=dict)
    """Operand of a matmul, by its name in the contract, to sums of products, float64 [in, in]."""
    sentences: int = 0
    tokens: int = 0

    def see(self, name: str, values: Tensor) -> None:
        """Takes the values [..., channels] of a named tensor.

        Raises:
            ValueError: a value is not finite; the message names the tensor, iteration included.
        """
        finite = values.isfinite()
        if not bool(finite.all()):
            value = float(values[~finite][0])
            raise ValueError(f"{name} of the float model is {value} on a calibration sentence")
        key = self._key(name)
        if key not in self.ranges:
            self.ranges[key] = self.scheme.new_observer()
        self.ranges[key].update(values)
        for each in {key, name}:
            self.channels[each].update(values)
        if self.scheme.needs_hessians:
            for operand, rows in self._operands(name, values):
                rows = rows.flatten(0, -2).double().cpu()
                moment = rows.t() @ rows
                self.moments[operand] = self.moments.get(operand, torch.zeros_like(moment)) + moment
        if name.endswith(SAMPLED):
            kept = self.samples[name]
            room = SAMPLE_ROWS - sum(len(part) for part in kept)
            if room > 0:
                kept.append(values.flatten(0, -2)[:room].double().cpu().clone())

    def _key(self, name: str) -> str:
        """Under what a tensor's ranges are kept: its name, or that of all iterations' together."""
        if self.scheme.scales != "shared" or name in ("embedding.sum", "embedding.normalized"):
            return name
        return "shared." + ("hidden" if name == "embedding.hidden" else short_name(name))

    def _operands(self, name: str, values: Tensor) -> Iterator[tuple[str, Tensor]]:
        """What matmuls read of a named tensor: (operand, [..., features])."""
        short = short_name(name)
        if short in READ_WHOLE:
            yield short, values
        elif short in ("hidden", "embedding.hidden"):
            if name != input_name(self.iterations + 1):
                yield "hidden", values
            if short == "hidden":
                yield "pooler.hidden", values[:, 0]

    def channel(self, name: str) -> ChannelObserver:
        """Ranges per channel, of all iterations where they share their scales."""
        return self.channels[self._key(name)]

    def largest(self, name: str) -> float:
        """Largest magnitude seen."""
        return self.ranges[self._key(name)].largest

    def limit(self, name: str, levels: int) -> float:
        """The observer's choice for the top of the range of ``levels``."""
        return max(self.ranges[self._key(name)].limit(levels), LEAST_SCALE * levels)

    def keep(self, name: str, levels: int) -> float:
        """The share of its largest magnitude that the observer keeps, 0..1."""
        return min(1.0, self.limit(name, levels) / max(self.largest(name), LEAST_SCALE * levels))

    def sample(self, name: str) -> Tensor:
        """Kept rows, float64 [rows, channels]."""
        return torch.cat(self.samples[name])


@torch.inference_mode()
def observe(
    model: ElbertForSequenceClassification,
    sentences: Sequence[Sentence],
    scheme: Scheme,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> Observations:
    """Runs sentences through the float model and watches every tensor that needs a scale.

    Sentences of equal length go together, so that no padding is ever seen. Computed in float64 on one thread
    (:mod:`quant.reproducible`); the model given is not changed.

    Raises:
        ValueError: there are no sentences, or a tensor is not finite.
    """
    if not sentences:
        raise ValueError("calibration needs at least one sentence")
    seen = Observations(scheme, model.config.num_hidden_layers)
    by_length: dict[int, list[Sentence]] = defaultdict(list)
    for sentence in sentences:
        by_length[len(sentence[0])].append(sentence)
    exact = exact_copy(model)
    with one_thread(), Hooks(exact, seen.see):
        for length in sorted(by_length):
            group = by_length[length]
            for start in range(0, len(group), batch_size):
                part = group[start : start + batch_size]
                ids = torch.tensor([list(ids) for ids, _ in part])
                types = torch.tensor([list(types) for _, types in part])
                exact(ids, token_type_ids=types)
                seen.sentences += len(part)
                seen.tokens += length * len(part)
                if progress is not None:
                    progress(len(part))
    return seen
