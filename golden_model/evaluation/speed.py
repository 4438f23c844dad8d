"""How fast the golden model is beside Hugging Face's float32 ALBERT of the same shape, in one run.

Each is measured in turn, repetition by repetition, so that what else the machine does meets both; the ratio
is that of medians. Both run the same sentences in the same batches on the same threads, without gradients.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AlbertConfig, AlbertForSequenceClassification

from golden_model.config import ElbertConfig
from golden_model.exits import ExitMode, FixedExitPolicy
from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.fused.build import load
from golden_model.integer.golden import open_golden
from golden_model.integer.model import GoldenModel, Sentence
from golden_model.numerics import ENTROPY_BITS

REPETITIONS = 5


@dataclass(frozen=True)
class Speed:
    """Sentences a second on one shape, medians of interleaved repetitions.

    Members:
        sentences: Run in a repetition.
        batch: Sentences of a batch.
        length: Tokens of a sentence, or of the longest.
        threads: Of PyTorch.
        float_sentences_per_s: Hugging Face's model, all iterations, batches padded to their longest.
        golden_sentences_per_s: The golden model, all iterations.
        golden_exit_sentences_per_s: The same with exits; None where no policy was given.
        mean_exit: Iterations that sentences left after; None likewise.
        ratio: Golden to float.
        ratio_exit: Golden with exits to float; None likewise.
        seconds: Of every repetition, by what was measured.
    """

    sentences: int
    batch: int
    length: int
    threads: int
    float_sentences_per_s: float
    golden_sentences_per_s: float
    golden_exit_sentences_per_s: float | None
    mean_exit: float | None
    ratio: float
    ratio_exit: float | None
    seconds: dict[str, list[float]]


def float_model(config: ElbertConfig) -> AlbertForSequenceClassification:
    """Hugging Face's ALBERT of a geometry with random weights, float32, for inference."""
    settings = config.model_dump()
    return AlbertForSequenceClassification(AlbertConfig(**settings)).eval()


@torch.inference_mode()
def measure_speed(
    checkpoint: IntegerCheckpoint,
    sentences: Sequence[Sentence],
    batch: int,
    policy: FixedExitPolicy | None = None,
    repetitions: int = REPETITIONS,
    kernels: str = "auto",
    progress: Callable[[], None] | None = None,
) -> Speed:
    """Measures one shape.

    Args:
        checkpoint: What the golden model runs; the float model has its geometry.
        sentences: At least one.
        batch: Sentences computed together, by both.
        policy: When sentences leave, for the third measurement; None leaves that out.
        repetitions: Of every measurement, after one that does not count.
        kernels: As :func:`open_golden`.
        progress: Told that a repetition is done.

    Raises:
        ValueError: there are no sentences, or ``batch`` or ``repetitions`` is below 1.
    """
    for name, value in (("sentences", len(sentences)), ("batch", batch), ("repetitions", repetitions)):
        if value < 1:
            raise ValueError(f"{name} {value} is below 1")
    order = sorted(sentences, key=lambda sentence: len(sentence[0]))
    batches = [order[start : start + batch] for start in range(0, len(order), batch)]
    padded = [_pad(part) for part in batches]
    reference, golden = float_model(checkpoint.config), open_golden(checkpoint, kernels=kernels)
    exits: list[int] = []

    def run_float() -> None:
        for ids, mask, types in padded:
            reference(input_ids=ids, attention_mask=mask, token_type_ids=types)

    def run_golden(chosen: FixedExitPolicy | None) -> None:
        exits.clear()
        for part in batches:
            longest = len(part[-1][0])
            found = golden.run(part, chosen, batch_tokens=len(part) * longest)
            exits.extend(each.exit_iteration for each in found)

    runs: dict[str, Callable[[], None]] = {"float": run_float, "golden": lambda: run_golden(None)}
    if policy is not None:
        runs["golden_exit"] = lambda: run_golden(policy)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in range(repetitions + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if repetition:
                seconds[name].append(time.perf_counter() - started)
        if progress is not None:
            progress()
    rates = {name: len(sentences) / statistics.median(spent) for name, spent in seconds.items()}
    leaving = rates.get("golden_exit")
    return Speed(
        sentences=len(sentences),
        batch=batch,
        length=len(order[-1][0]),
        threads=torch.get_num_threads(),
        float_sentences_per_s=rates["float"],
        golden_sentences_per_s=rates["golden"],
        golden_exit_sentences_per_s=leaving,
        mean_exit=None if leaving is None else statistics.mean(exits),
        ratio=rates["golden"] / rates["float"],
        ratio_exit=None if leaving is None else leaving / rates["float"],
        seconds=seconds,
    )


def _pad(part: Sequence[Sentence]) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Ids, attention mask (None where nothing is padded) and types of a batch, int64 [sentences, longest]."""
    longest = max(len(ids) for ids, _ in part)
    ids, types = (
        torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
        for rows in zip(*part, strict=True)
    )
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row, _ in part])
    return ids, None if bool(mask.all()) else mask, types


def policy_for_mean_exit(model: GoldenModel, sentences: Sequence[Sentence], mean: float) -> FixedExitPolicy:
    """Stage 1 alone, with the entropy threshold for which sentences leave after about ``mean`` iterations.

    For random integers, whose own entropies mean nothing: what is measured is the cost of leaving.
    """
    entropy = torch.stack([each.entropy for each in model.run(sentences)])
    count = entropy.shape[1]
    low, high = 0, (1 << ENTROPY_BITS) - 1
    while low < high:
        middle = (low + high + 1) // 2
        leaves = entropy < middle
        first = torch.where(leaves.any(1), leaves.to(torch.int64).argmax(1) + 1, count)
        if float(first.double().mean()) >= mean:
            low = middle
        else:
            high = middle - 1
    return FixedExitPolicy(mode=ExitMode.entropy, delta=low)


def peak_memory(
    checkpoint: IntegerCheckpoint, sentences: Sequence[Sentence], kernels: str
) -> dict[str, float]:
    """MiB by which a fresh process grows at most, making a model and running one batch: float and golden.

    The golden model's includes reading its checkpoint from a file.
    """
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(folder)
        found = {}
        for name in ("float", "golden"):
            context = multiprocessing.get_context("spawn")
            with context.Pool(1) as pool:
                found[name] = pool.apply(_grow, (name, folder, list(sentences), kernels))
        return found


def _grow(name: str, folder: str, sentences: list[Sentence], kernels: str) -> float:
    """In a process of its own: a process's peak is never taken back."""
    torch.set_num_threads(1)
    before = _peak()
    checkpoint = IntegerCheckpoint.load(folder)
    with torch.inference_mode():
        if name == "golden":
            longest = max(len(ids) for ids, _ in sentences)
            open_golden(checkpoint, kernels=kernels).run(sentences, batch_tokens=len(sentences) * longest)
        else:
            config = checkpoint.config
            del checkpoint
            ids, mask, types = _pad(sentences)
            float_model(config)(input_ids=ids, attention_mask=mask, token_type_ids=types)
    return _peak() - before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine_facts(kernels: str) -> dict[str, Any]:
    """What a speed depends on: instruction sets as PyTorch uses them, the kernels' form and compiler."""
    form = "plain"
    facts: dict[str, Any] = {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "vnni": torch.cpu._is_vnni_supported(),
        "amx": torch.cpu._is_amx_tile_supported(),
    }
    if kernels != "plain":
        library = load()
        form = "fused"
        facts |= {"compiler": library.compiler, "compile_seconds": library.seconds}
    return facts | {"kernels": form}
