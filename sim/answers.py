"""Sentences to answers, by any of the three levels: float, golden, rtl. What `elbert run` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from golden_model.config import ElbertConfig
from golden_model.errors import PromiseBroken
from golden_model.evaluation.backends import Backend, FloatBackend, GoldenBackend, open_backend
from golden_model.exits import Confidence, ExitMode, ExitPolicy, exit_iterations
from golden_model.integer.model import Sentence
from golden_model.integer.ops.exit_math import ONE
from hw.image import build_image
from hw.params import Machine
from sim.build import BuildOptions, build
from sim.machine import NO_EXIT, Job, Outcome, accelerator_system, memory_size, simulate

Progress = Callable[[str, int], None]
"""Called when a run of a sentence was simulated and compared: its text, its mismatches."""


@dataclass
class Answer:
    """One sentence's result, as it goes into the JSON file.

    ``iterations`` is the model's number; ``cycles`` and what follows are None except for rtl.
    ``cycles_full`` is measured, by running the sentence again without early exit. ``checkpoints``
    counts the named tensors compared in both runs, ``elements`` their integers.
    """

    text: str
    tokens: int
    label: int
    label_name: str
    probabilities: list[float]
    exit_iteration: int
    iterations: int
    cycles: int | None = None
    cycles_full: int | None = None
    checkpoints: int | None = None
    elements: int | None = None
    mismatches: int | None = None
    first_mismatch: dict[str, Any] | None = None
    counters: dict[str, int] | None = None
    confidences: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


def _named(names: Sequence[str] | None, label: int) -> str:
    return names[label] if names and label < len(names) else str(label)


def _trajectory(
    opened: Backend, sentence: Sentence, policy: ExitPolicy
) -> tuple[int, int, list[list[float]]]:
    """(label, exit iteration, probabilities of every iteration up to it) of a float or golden model."""
    if isinstance(opened, GoldenBackend):
        [result] = opened.model.run([sentence], policy)
        return result.label, result.exit_iteration, (result.probabilities.double() / ONE).tolist()
    assert isinstance(opened, FloatBackend)
    ids, types = (torch.tensor([part]) for part in sentence)
    with torch.inference_mode():
        logits = opened.model(ids, torch.ones_like(ids), types)
    trajectory = Confidence.from_logits(logits.double())
    last = int(exit_iterations(policy, trajectory)[0])
    return int(trajectory.label[last - 1, 0]), last, trajectory.probabilities[:last, 0].tolist()


def answer_in_software(
    backend: str, folder: Path, texts: Sequence[str], policy: ExitPolicy, names: Sequence[str] | None
) -> tuple[list[Answer], str]:
    """Float or golden answers and the checkpoint's hash."""
    opened = open_backend(backend, folder)
    config = opened.config
    sentences = list(opened.tokenizer.encode_many(texts, config.max_position_embeddings))
    answers = []
    for text, sentence in zip(texts, sentences, strict=True):
        label, exit_iteration, trajectory = _trajectory(opened, sentence, policy)
        answers.append(
            Answer(
                text=text,
                tokens=len(sentence[0]),
                label=label,
                label_name=_named(names, label),
                probabilities=trajectory[-1],
                exit_iteration=exit_iteration,
                iterations=config.num_hidden_layers,
                confidences=[max(p) for p in trajectory],
            )
        )
    return answers, opened.sha256


def answer_in_hardware(
    folder: Path,
    machine_shape: tuple[int, int],
    texts: Sequence[str],
    policy: ExitPolicy,
    names: Sequence[str] | None,
    *,
    seed: int = 1,
    workers: int = 2,
    run_dir: Path,
    on_build: Callable[[], None] | None = None,
    on_progress: Progress | None = None,
) -> tuple[list[Answer], str]:
    """Answers of the simulated accelerator, every named tensor compared with the golden model.

    Each sentence runs under the policy and once more without early exit. ``workers`` simulations
    run side by side.

    Raises:
        PromiseBroken: the simulation broke off (bus error, watchdog, time limit).
    """
    opened = GoldenBackend(folder)
    checkpoint, config = opened.model.checkpoint, opened.config
    machine = Machine(model=config, rows=machine_shape[0], columns=machine_shape[1], trace=True)
    sentences: list[Sentence] = list(opened.tokenizer.encode_many(texts, config.max_position_embeddings))
    fixed = policy.to_fixed()
    runs = [(i, fixed) for i in range(len(texts))]
    if policy.mode != ExitMode.none:
        runs += [(i, NO_EXIT) for i in range(len(texts))]
    # Longest first and dealt out in turn, so that the workers end together.
    runs.sort(key=lambda run: (run[1] != NO_EXIT, -len(sentences[run[0]][0])))
    shares = [runs[w::workers] for w in range(workers) if runs[w::workers]]

    images = [build_image(checkpoint, machine, [sentences[i] for i, _ in share]) for share in shares]
    sources = accelerator_system(machine, max(map(memory_size, images)))
    build(sources, top="system", options=BuildOptions(fast=True, optimize=3))
    if on_build:
        on_build()

    found: dict[tuple[int, bool], Outcome] = {}  # (sentence, is the run without exit)
    waves: list[str] = []

    def work(number: int) -> list[str]:
        share = shares[number]

        def finished(position: int, outcome: Outcome) -> None:
            i, used = share[position]
            found[i, used is NO_EXIT and policy.mode != ExitMode.none] = outcome
            if on_progress:
                on_progress(texts[i], outcome.comparison.mismatches)

        report = simulate(
            machine,
            checkpoint,
            [Job(sentences[i], used) for i, used in share],
            seed=seed + number,
            fast=True,
            image=images[number],
            sources=sources,
            run_dir=run_dir / f"worker_{number}",
            timeout_s=3600,
            on_sentence=finished,
        )
        if report.waves:
            waves.append(str(report.waves))
        return report.errors

    with ThreadPoolExecutor(len(shares)) as pool:
        errors = [error for part in pool.map(work, range(len(shares))) for error in part]
    if errors:
        seen = f"; waves: {', '.join(waves)}" if waves else ""
        raise PromiseBroken("the simulation failed: " + "; ".join(errors) + seen)

    answers = [
        _hardware_answer(text, len(sentence[0]), config, names, found[i, False], found.get((i, True)))
        for i, (text, sentence) in enumerate(zip(texts, sentences, strict=True))
    ]
    return answers, opened.sha256


def _hardware_answer(
    text: str,
    tokens: int,
    config: ElbertConfig,
    names: Sequence[str] | None,
    outcome: Outcome,
    without_exit: Outcome | None,
) -> Answer:
    """What one sentence's run, and its run without exit (None: the run was one), amount to."""
    both = [outcome, without_exit] if without_exit else [outcome]
    first = next((o.comparison.first for o in both if o.comparison.first), None)
    registers = outcome.registers
    return Answer(
        text=text,
        tokens=tokens,
        label=registers["label"],
        label_name=_named(names, registers["label"]),
        probabilities=[p / ONE for p in registers["probabilities"]],
        exit_iteration=registers["exit_iteration"],
        iterations=config.num_hidden_layers,
        cycles=outcome.cycles,
        cycles_full=both[-1].cycles,
        checkpoints=sum(len(o.comparison.checkpoints) for o in both),
        elements=sum(o.comparison.elements for o in both),
        mismatches=sum(o.comparison.mismatches for o in both),
        first_mismatch=first.as_json() if first else None,
        counters=registers["counters"],
        confidences=[c / ONE for c in registers["confidences"]],
    )
