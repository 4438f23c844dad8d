"""Checkpoints that answer: the float and the golden model behind one interface.

A model folder is a checkpoint folder itself, or holds one in ``float/`` or ``integer/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.data.tables import TextDataset
from golden_model.devices import find_device
from golden_model.documents import check_folder
from golden_model.exits import Confidence, ExitMode, ExitPolicy, exit_iterations
from golden_model.files import sha256_of
from golden_model.integer.checkpoint import METADATA_FILE, TENSOR_FILE, IntegerCheckpoint
from golden_model.integer.golden import open_golden
from golden_model.integer.model import Sentence
from golden_model.labels import read_label_names
from golden_model.numerics import LOGIT_FRACTION_BITS, ONE
from golden_model.progress import Progress
from golden_model.text.tokenizer import ElbertTokenizer, Sentences

BACKENDS = ("float", "golden")
_FOLDERS = {"float": ("float", "config.json"), "golden": ("integer", METADATA_FILE)}
CHUNK = 64
"""Sentences between two reports of progress."""


@dataclass(frozen=True)
class Answers:
    """What a backend says of N sentences, in their order.

    labels, exits: int64 [N]; exits count from 1. confidences: float64 [N], the probability of the label.
    logits: float64 [iterations, N, classes] in nat where every iteration was computed, else None.
    """

    labels: Tensor
    exits: Tensor
    confidences: Tensor
    logits: Tensor | None


class Backend(Protocol):
    """A checkpoint that answers."""

    config: ElbertConfig
    tokenizer: ElbertTokenizer
    sha256: str
    label_names: list[str] | None
    """Of the classes; None where the folder does not name them."""
    own_exits: bool
    """Whether a method's own heads answer instead of ALBERT's pooler and classifier."""

    def answer(
        self, sentences: Sequence[Sentence], policy: ExitPolicy, progress: Progress | None = None
    ) -> Answers:
        """Classifies sentences under a policy."""
        ...


class FloatBackend:
    """The float model. Sentences really leave: iterations after the exit are not computed."""

    def __init__(self, folder: Path | str, device: str = "cpu", answer_first: bool = True) -> None:
        """Opens a Hugging Face checkpoint folder; raises like ``albert.load_float`` and ``find_device``.

        A method's own exits (``golden_model.float.methods``) in the folder answer instead of ALBERT's.
        ``answer_first``: docs/answer-first.md; without a policy all rows are computed either way.
        """
        from golden_model.float.albert import load_float
        from golden_model.float.methods.files import HEADS_FILE, read_model, weights_sha256

        folder = model_folder(folder, "float")
        model: torch.nn.Module
        self.own_exits = (folder / HEADS_FILE).is_file()
        if self.own_exits:
            model, self.tokenizer, _ = read_model(folder)
            self.config = model.config
        else:
            model, self.tokenizer, self.config = load_float(folder)
        self.model = model.to(find_device(device))
        self.answer_first = answer_first
        self.sha256 = weights_sha256(folder)
        self.label_names = read_label_names(folder, self.config.num_labels)

    def answer(
        self, sentences: Sequence[Sentence], policy: ExitPolicy, progress: Progress | None = None
    ) -> Answers:
        """Classifies sentences, those of like length together; without a policy, in all iterations."""
        from golden_model.float.leaving import answer_leaving
        from golden_model.float.logits import sentence_logits

        if policy.mode != ExitMode.none:
            steps = answer_leaving(
                self.model,
                sentences,
                self.tokenizer.pad_id,
                policy,
                progress,
                answer_first=self.answer_first,
            )
            return Answers(
                labels=torch.tensor([int(each[-1].argmax()) for each in steps], dtype=torch.int64),
                exits=torch.tensor([len(each) for each in steps], dtype=torch.int64),
                confidences=torch.tensor([float(each[-1].max()) for each in steps], dtype=torch.float64),
                logits=None,
            )
        logits = sentence_logits(self.model, sentences, self.tokenizer.pad_id, progress)
        trajectory = Confidence.from_logits(logits)
        exits = exit_iterations(policy, trajectory)
        final = trajectory[exits - 1, torch.arange(len(sentences))]
        return Answers(final.label, exits, final.confidence, logits)


class GoldenBackend:
    """The integer model. Sentences really leave: iterations after the exit are not computed."""

    def __init__(self, folder: Path | str, device: str = "cpu", answer_first: bool = True) -> None:
        """Opens an integer checkpoint folder; raises like ``IntegerCheckpoint.load``.

        ``answer_first``: as :meth:`GoldenModel.run`.
        """
        folder = model_folder(folder, "golden")
        checkpoint = IntegerCheckpoint.load(folder)
        self.config = checkpoint.config
        self.tokenizer = ElbertTokenizer.from_folder(folder)
        self.tokenizer.check_fits(self.config.vocab_size, folder)
        self.label_names = read_label_names(folder, self.config.num_labels)
        self.own_exits = False
        self.model = open_golden(checkpoint, find_device(device))
        self.answer_first = answer_first
        self.sha256 = sha256_of(folder / TENSOR_FILE)

    def answer(
        self, sentences: Sequence[Sentence], policy: ExitPolicy, progress: Progress | None = None
    ) -> Answers:
        """Classifies sentences, those of like length together."""
        results: dict[int, Any] = {}
        for chunk in _chunks(sentences):
            found = self.model.run([sentences[i] for i in chunk], policy, answer_first=self.answer_first)
            results.update(zip(chunk, found, strict=True))
            if progress is not None:
                progress(len(chunk))
        ordered = [results[i] for i in range(len(sentences))]
        logits = None
        if ordered and all(r.exit_iteration == self.config.num_hidden_layers for r in ordered):
            logits = torch.stack([r.logits for r in ordered], dim=1).double() / (1 << LOGIT_FRACTION_BITS)
        return Answers(
            torch.tensor([r.label for r in ordered], dtype=torch.int64),
            torch.tensor([r.exit_iteration for r in ordered], dtype=torch.int64),
            torch.tensor([int(r.probabilities[-1].max()) for r in ordered], dtype=torch.float64) / ONE,
            logits,
        )


def model_folder(folder: Path | str, backend: str) -> Path:
    """The checkpoint folder of a backend: ``folder`` itself or its ``float`` or ``integer`` inside.

    Raises:
        ValueError: the backend is not known.
        OSError: there is no such folder, or no checkpoint of that form in it.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is not one of {', '.join(BACKENDS)}")
    if Path(folder).exists():
        check_folder(folder)
    inner, mark = _FOLDERS[backend]
    for candidate in (Path(folder) / inner, Path(folder)):
        if (candidate / mark).is_file():
            return candidate
    found = f"no {mark}, nor {inner}/{mark}" if Path(folder).exists() else "there is no such folder"
    raise FileNotFoundError(f"{folder} holds no {backend} checkpoint: {found}")


def open_backend(backend: str, folder: Path | str, device: str = "cpu", answer_first: bool = True) -> Backend:
    """Opens the float or golden model of a model folder; raises like :func:`model_folder`."""
    folder = model_folder(folder, backend)
    if backend == "float":
        return FloatBackend(folder, device, answer_first)
    return GoldenBackend(folder, device, answer_first)


def tokenize(data: TextDataset, backend: Backend) -> Sentences:
    """Ids and token types of a data set, cut to the model's longest sentence; ``.note`` says how many."""
    return backend.tokenizer.encode_many(data.texts, backend.config.max_position_embeddings, data.pairs)


def _chunks(sentences: Sequence[Sentence]) -> list[list[int]]:
    """Indices by rising length in groups of CHUNK."""
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i][0]))
    return [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
