"""Running the float model on calibration sentences and watching what needs a scale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.model import Sentence
from quant.observers import ChannelObserver, Observer
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
    """What calibration saw. Keys are the names of docs/numerics.md, and beside them ``ffn.index`` and
    ``pooler.index``, the inputs of the tables, and ``attention.update`` and ``ffn.update``, which are
    added to the residual stream. ``embedding.hidden`` is also the input of iteration 1."""

    scheme: Scheme
    ranges: dict[str, Observer] = field(default_factory=dict)
    channels: dict[str, ChannelObserver] = field(default_factory=lambda: defaultdict(ChannelObserver))
    samples: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    sentences: int = 0
    tokens: int = 0

    def see(self, name: str, values: Tensor) -> None:
        """Takes the values [..., channels] of a named tensor."""
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


class _Watcher:
    """Hooks on Hugging Face's modules that report named tensors; a context manager."""

    def __init__(self, model: ElbertForSequenceClassification, seen: Observations) -> None:
        self.model, self.seen, self.iteration = model, seen, 0
        self.handles: list[Any] = []

    def __enter__(self) -> _Watcher:
        albert: Any = self.model.model.albert
        layer = albert.encoder.albert_layer_groups[0].albert_layers[0]
        attention = layer.attention
        self._output(albert.embeddings.LayerNorm, "embedding.normalized", once=True)
        self._output(albert.encoder.embedding_hidden_mapping_in, "embedding.hidden", once=True)
        # the first module of an iteration counts it
        self._hook(attention.query, lambda module, inputs, output: self._count())
        for part in ("query", "key", "value"):
            self._output(getattr(attention, part), f"attention.{part}")
        self._input(attention.dense, "attention.context")
        self._output(attention.dense, "attention.update")
        self._input(attention.LayerNorm, "attention.residual")
        self._output(attention.LayerNorm, "attention.hidden")
        self._output(layer.ffn, "ffn.index")
        self._input(layer.ffn_output, "ffn.activation")
        self._output(layer.ffn_output, "ffn.update")
        self._input(layer.full_layer_layer_norm, "ffn.residual")
        self._output(layer.full_layer_layer_norm, "hidden")
        self._output(albert.pooler, "pooler.index")
        self._output(self.model.model.classifier, "logits")
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _count(self) -> None:
        self.iteration += 1

    def _full(self, name: str) -> str:
        return f"iteration.{self.iteration}.{name}"

    def _hook(self, module: nn.Module, hook: Callable[..., None]) -> None:
        self.handles.append(module.register_forward_hook(hook))

    def _output(self, module: nn.Module, name: str, once: bool = False) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.seen.see(name if once else self._full(name), output)

        self._hook(module, hook)

    def _input(self, module: nn.Module, name: str) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.seen.see(self._full(name), inputs[0])

        self._hook(module, hook)


@torch.inference_mode()
def observe(
    model: ElbertForSequenceClassification,
    sentences: Sequence[Sentence],
    scheme: Scheme,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> Observations:
    """Runs sentences through the float model and watches every tensor that needs a scale.

    Sentences of equal length go together, so that no padding is ever seen.

    Raises:
        ValueError: there are no sentences.
    """
    if not sentences:
        raise ValueError("calibration needs at least one sentence")
    seen = Observations(scheme)
    by_length: dict[int, list[Sentence]] = defaultdict(list)
    for sentence in sentences:
        by_length[len(sentence[0])].append(sentence)
    model.eval()
    device = next(model.parameters()).device
    with _Watcher(model, seen) as watcher:
        for length in sorted(by_length):
            group = by_length[length]
            for start in range(0, len(group), batch_size):
                part = group[start : start + batch_size]
                watcher.iteration = 0
                ids = torch.tensor([list(ids) for ids, _ in part], device=device)
                types = torch.tensor([list(types) for _, types in part], device=device)
                model(ids, token_type_ids=types)
                seen.sentences += len(part)
                seen.tokens += length * len(part)
                if progress is not None:
                    progress(len(part))
    return seen
