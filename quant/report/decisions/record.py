"""Every iteration of every sentence, computed once without exit; policies are applied to it afterwards.

The policy sees the backend's own arithmetic: floats for the float model, integers in 2^-16 for the golden
model, so that the golden model's exits are exactly the hardware's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from golden_model.evaluation.backends import Answers, Backend, FloatBackend, GoldenBackend, open_backend
from golden_model.exits import (
    AnyPolicy,
    Confidence,
    ExitMode,
    ExitPolicy,
    exit_flags,
    exit_iterations,
    stage_one,
)
from golden_model.float.batches import Encoded, collate
from golden_model.integer.confidence import integer_confidence, quantise_logits
from golden_model.integer.model import Sentence, Trace
from golden_model.numerics import LOGIT_FRACTION_BITS, ONE
from golden_model.progress import Progress

CHUNK = 16
"""Sentences computed together: the hidden states of all their tokens and iterations are held at once."""

REASONS = ("entropy", "window", "patience", "last")
"""Why a sentence left: stage 1, the confidence window, PABEE's patience, or no iteration being left."""


@dataclass(frozen=True)
class Recording:
    """What I iterations said of N sentences, without exit.

    logits: float64 [I, N, C], nat. confidence: [I, N], float or int64 in 2^-16. hidden: float32 [I, N, H],
    [CLS] after each iteration, in the float model's units.
    """

    logits: Tensor
    confidence: Confidence
    hidden: Tensor

    @property
    def is_integer(self) -> bool:
        """Whether the confidence is in 2^-16."""
        return not self.confidence.probabilities.is_floating_point()

    def real(self, values: Tensor) -> Tensor:
        """A tensor of ``confidence`` as float64."""
        return values.double() / ONE if self.is_integer else values.double()

    def own(self, policy: ExitPolicy) -> AnyPolicy:
        """The policy in the confidence's arithmetic."""
        return policy.to_fixed() if self.is_integer else policy

    def answers(self, policy: ExitPolicy) -> Answers:
        """What the sentences answer under a policy."""
        exits = exit_iterations(self.own(policy), self.confidence)
        final = self.confidence[exits - 1, torch.arange(len(exits))]
        return Answers(final.label, exits, self.real(final.confidence), self.logits)

    def reasons(self, policy: ExitPolicy) -> list[str]:
        """Why each sentence left, one of REASONS; stage 1 is named where both stages hold."""
        own = self.own(policy)
        rows = exit_iterations(own, self.confidence) - 1, torch.arange(self.logits.shape[1])
        sure = stage_one(own, self.confidence)[rows].tolist()
        fired = exit_flags(own, self.confidence)[rows].tolist()
        settled = "patience" if policy.mode == ExitMode.patience else "window"
        return ["entropy" if a else settled if b else "last" for a, b in zip(sure, fired, strict=True)]


class Recorder(Backend, Protocol):
    """A backend for ``golden_model.evaluation`` that computes everything once and remembers it."""

    recording: Recording | None
    label_names: list[str] | None

    def attention(self, sentence: Sentence) -> Tensor:
        """Attention paid by [CLS] to every token: float64 [iterations, heads, tokens], rows sum to 1."""
        ...


class _Recorder:
    """What the two recorders share; subclasses compute a chunk."""

    def __init__(self, backend: Any) -> None:
        self.config = backend.config
        self.tokenizer = backend.tokenizer
        self.sha256: str = backend.sha256
        self.label_names: list[str] | None = backend.label_names
        self.own_exits = backend.own_exits
        self.recording: Recording | None = None

    def answer(
        self, sentences: Sequence[Sentence], policy: ExitPolicy, progress: Progress | None = None
    ) -> Answers:
        """Applies a policy; the first call computes, later ones are about the same sentences."""
        if self.recording is None:
            self.recording = self._record(sentences, progress)
        if len(sentences) != self.recording.logits.shape[1]:
            raise ValueError(
                f"{len(sentences)} sentences, the recording holds {self.recording.logits.shape[1]}"
            )
        return self.recording.answers(policy)

    def _record(self, sentences: Sequence[Sentence], progress: Progress | None) -> Recording:
        config, count = self.config, len(sentences)
        logits = torch.empty(config.num_hidden_layers, count, config.num_labels, dtype=torch.float64)
        hidden = torch.empty(config.num_hidden_layers, count, config.hidden_size)
        order = sorted(range(count), key=lambda i: len(sentences[i][0]))
        for start in range(0, count, CHUNK):
            members = order[start : start + CHUNK]
            logits[:, members], hidden[:, members] = self._chunk([sentences[i] for i in members])
            if progress is not None:
                progress(len(members))
        return Recording(logits, self._confidence(logits), hidden)

    def _chunk(self, sentences: Sequence[Sentence]) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _confidence(self, logits: Tensor) -> Confidence:
        raise NotImplementedError


class FloatRecorder(_Recorder):
    """The float model."""

    def __init__(self, backend: FloatBackend) -> None:
        super().__init__(backend)
        from golden_model.float.albert import ElbertForSequenceClassification  # brings transformers: seconds

        if not isinstance(backend.model, ElbertForSequenceClassification):
            raise ValueError("the checkpoint's exits are not ALBERT's own: the report shows ELBERT's")
        self.model: Any = backend.model
        self.device = next(self.model.parameters()).device

    @torch.inference_mode()
    def _chunk(self, sentences: Sequence[Sentence]) -> tuple[Tensor, Tensor]:
        encoded = Encoded(
            [list(ids) for ids, _ in sentences],
            [list(types) for _, types in sentences],
            torch.zeros(len(sentences), dtype=torch.int64),
        )
        batch = collate(encoded, range(len(sentences)), self.tokenizer.pad_id)
        inputs = (each.to(self.device) for each in (batch.ids, batch.mask, batch.types))
        logits, hidden = self.model(*inputs, hidden_states=True)
        return logits.double().cpu(), hidden[1:, :, 0].float().cpu()

    def _confidence(self, logits: Tensor) -> Confidence:
        return Confidence.from_logits(logits)

    @torch.inference_mode()
    def attention(self, sentence: Sentence) -> Tensor:
        """Attention paid by [CLS] to every token: float64 [iterations, heads, tokens], rows sum to 1."""
        kept: list[Tensor] = []

        def keep(module: nn.Module, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
            kept.append(output[1][0, :, 0].double().cpu())  # eager attention returns its probabilities

        layer = self.model.model.albert.encoder.albert_layer_groups[0].albert_layers[0]
        handle = layer.attention.register_forward_hook(keep)
        try:
            ids, types = (torch.tensor([list(part)], device=self.device) for part in sentence)
            self.model(ids, token_type_ids=types)
        finally:
            handle.remove()
        return torch.stack(kept)


class GoldenRecorder(_Recorder):
    """The golden model.

    Raises:
        ValueError: the checkpoint does not say what an LSB of a hidden state is worth.
    """

    def __init__(self, backend: GoldenBackend) -> None:
        super().__init__(backend)
        self.model = backend.model
        count = self.config.num_hidden_layers
        self.names = [f"iteration.{i}.hidden" for i in range(1, count + 1)]
        scales = self.model.checkpoint.metadata.get("scales", {})
        missing = [name for name in self.names if name not in scales]
        if missing:
            raise ValueError(f"the integer checkpoint's metadata has no scale of {missing[0]}")
        self.scales = torch.tensor([scales[name] for name in self.names], dtype=torch.float64)

    def _chunk(self, sentences: Sequence[Sentence]) -> tuple[Tensor, Tensor]:
        results = self.model.run(sentences, trace=Trace(tuple(self.names)))
        logits = torch.stack([r.logits for r in results], dim=1).double() / (1 << LOGIT_FRACTION_BITS)
        first = [torch.stack([r.taps[name][0] for name in self.names]) for r in results]
        return logits, (torch.stack(first, dim=1) * self.scales[:, None, None]).float()

    def _confidence(self, logits: Tensor) -> Confidence:
        return integer_confidence(quantise_logits(logits))  # exact both ways

    def attention(self, sentence: Sentence) -> Tensor:
        """Attention paid by [CLS] to every token: float64 [iterations, heads, tokens], rows sum to 1.

        The integer exponentials, divided by their row's sum.
        """
        pattern = "iteration.*.attention.exponentials"
        taps = self.model.run([sentence], trace=Trace((pattern,)))[0].taps
        rows = [
            taps[pattern.replace("*", str(i))][:, 0].double()
            for i in range(1, self.config.num_hidden_layers + 1)
        ]
        stacked = torch.stack(rows)
        return stacked / stacked.sum(-1, keepdim=True)


def open_recorder(backend: str, folder: Path | str, device: str = "cpu") -> Recorder:
    """Opens a model folder for recording; raises like ``golden_model.evaluation.backends.open_backend``."""
    opened = open_backend(backend, folder, device)
    return FloatRecorder(opened) if isinstance(opened, FloatBackend) else GoldenRecorder(opened)  # type: ignore[arg-type]
