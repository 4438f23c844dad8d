"""Running the float model on calibration sentences and watching what needs a scale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.model import Sentence
from quant.hooks import Hooks
from quant.observers import ChannelObserver, Observer
from quant.reproducible import exact_copy, one_thread
from quant.schemes import Scheme

LEAST_SCALE = 1e-12
"""Scale of a tensor that was 0 throughout calibration."""

SAMPLE_ROWS = 2048
"""Rows kept of the tensors whose channels are equalised, per tensor name."""
SAMPLED = ("embedding.normalized", "attention.context")

Progress = Callable[[int], None]
"""Told how many more sentences are done."""


@dataclass
class Observations:
    """What calibration saw, in real units. Keys are the names that :class:`quant.hooks.Hooks` reports.
    ``embedding.hidden`` is also the input of iteration 1."""

    scheme: Scheme
    ranges: dict[str, Observer] = field(default_factory=dict)
    channels: dict[str, ChannelObserver] = field(default_factory=lambda: defaultdict(ChannelObserver))
    samples: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
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
        if name not in self.ranges:
            self.ranges[name] = self.scheme.new_observer()
        self.ranges[name].update(values)
        self.channels[name].update(values)
        if name.endswith(SAMPLED):
            kept = self.samples[name]
            room = SAMPLE_ROWS - sum(len(part) for part in kept)
            if room > 0:
                kept.append(values.flatten(0, -2)[:room].double().cpu().clone())

    def largest(self, name: str) -> float:
        """Largest magnitude seen."""
        return self.ranges[name].largest

    def limit(self, name: str, levels: int) -> float:
        """The observer's choice for the top of the range of ``levels``."""
        return max(self.ranges[name].limit(levels), LEAST_SCALE * levels)

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
    seen = Observations(scheme)
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
