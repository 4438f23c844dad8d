"""Runs of the whole simulated machine: where the cycles went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from golden_model.config import ElbertConfig, find_preset
from golden_model.data.tasks import load_task
from golden_model.evaluation.backends import GoldenBackend, model_folder, tokenize
from golden_model.exits import ExitMode, ExitPolicy, FixedExitPolicy
from golden_model.integer.checkpoint import IntegerCheckpoint, tensor_specs
from golden_model.integer.model import GoldenModel
from golden_model.integer.synthetic import random_checkpoint, random_sentence
from golden_model.progress import Bars, silent
from hw.cycles.memory import MemoryTiming
from hw.cycles.sentence import predict
from hw.image import build_image
from hw.params import Machine
from sim.agents.activity import with_activity
from sim.bench.run import sentence_row
from sim.build import BuildOptions, build
from sim.machine import NO_EXIT, Job, Outcome, Report, accelerator_system, memory_size, simulate

TIMEOUT_S = 24 * 3600.0


@dataclass(frozen=True)
class Case:
    """What is run.

    Attributes:
        machine: With trace ports.
        checkpoint: None where only cycles are predicted.
        jobs: Sentences and policies.
        sha256: Of the stored checkpoint; None for random integers.
    """

    machine: Machine
    checkpoint: IntegerCheckpoint | None
    jobs: list[Job]
    sha256: str | None


def random_jobs(
    config: ElbertConfig, lengths: list[int], seed: int, policy: FixedExitPolicy = NO_EXIT
) -> list[Job]:
    """Sentences of random tokens; what they say does not change a cycle, but for when they leave.

    Raises:
        ValueError: a length is outside 1..max_position_embeddings.
    """
    bound = config.max_position_embeddings
    for length in lengths:
        if not 1 <= length <= bound:
            raise ValueError(f"length {length} is outside 1..{bound}, the longest sentence")
    generator = torch.Generator().manual_seed(seed)
    return [Job(random_sentence(config, n, generator), policy) for n in lengths]


def first_iterations(checkpoint: IntegerCheckpoint, count: int) -> IntegerCheckpoint:
    """The checkpoint of a model that ends after ``count`` iterations.

    Raises:
        ValueError: it has fewer, or ``count`` is below 1.
    """
    config = with_iterations(checkpoint.config, count)
    tensors = {
        name: checkpoint.tensors[name][: spec.shape[0]].contiguous()
        for name, spec in tensor_specs(config).items()
    }
    return replace(checkpoint, config=config, tensors=tensors)


def with_iterations(config: ElbertConfig, count: int | None) -> ElbertConfig:
    """The geometry with ``count`` iterations (None: its own); raises ValueError where it has fewer."""
    if count is None:
        return config
    if not 1 <= count <= config.num_hidden_layers:
        raise ValueError(f"iterations {count} is outside 1..{config.num_hidden_layers}, those of the model")
    return config.model_copy(update={"num_hidden_layers": count})


def random_case(
    preset: str,
    array: tuple[int, int],
    lengths: list[int] | None,
    *,
    model: Path | None = None,
    iterations: int | None = None,
    policy: FixedExitPolicy = NO_EXIT,
    seed: int = 1,
    with_checkpoint: bool = True,
) -> Case:
    """Random sentences on random integers of a preset, or on a stored model.

    Args:
        preset: Geometry, where no ``model`` is named.
        array: Rows and columns.
        lengths: Tokens; None: 5, 12, 27, 64 and the longest, as far as the geometry goes.
        model: Folder with an integer checkpoint.
        iterations: Of the model; None: all.
        policy: When sentences leave.
        seed: Of integers and tokens.
        with_checkpoint: False leaves the integers out.

    Raises:
        ValueError: unknown preset, illegal array, length or number of iterations.
    """
    stored = IntegerCheckpoint.load(model_folder(model, "golden")) if model else None
    config = with_iterations(stored.config if stored else find_preset(preset), iterations)
    machine = Machine(model=config, rows=array[0], columns=array[1], trace=True)
    if lengths is None:
        longest = config.max_position_embeddings
        lengths = sorted({n for n in (5, 12, 27, 64, longest) if n <= longest})
    jobs = random_jobs(config, lengths, seed, policy)
    checkpoint = None
    if stored:
        checkpoint = first_iterations(stored, config.num_hidden_layers)
    elif with_checkpoint:
        checkpoint = random_checkpoint(config, seed)
    return Case(machine, checkpoint, jobs, stored.sha256 if stored else None)


def sample_case(
    task: str,
    array: tuple[int, int],
    model: Path,
    count: int,
    *,
    iterations: int | None = None,
    policy: FixedExitPolicy = NO_EXIT,
    seed: int = 1,
) -> Case:
    """Sentences of a task's dev split, drawn at random, on a stored model.

    Raises:
        ValueError: unknown task, more sentences than it has, illegal array or number of iterations.
        OSError: no such data or model.
    """
    backend = GoldenBackend(model)
    data = load_task(task, "dev")
    if not 1 <= count <= len(data):
        raise ValueError(f"a sample of {count} sentences is outside 1..{len(data)}, the dev split of {task}")
    sentences = tokenize(data, backend)
    chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:count].tolist()
    stored = backend.model.checkpoint
    checkpoint = stored if iterations is None else first_iterations(stored, iterations)
    machine = Machine(model=checkpoint.config, rows=array[0], columns=array[1], trace=True)
    return Case(machine, checkpoint, [Job(sentences[i], policy) for i in chosen], stored.sha256)


def exits_of(case: Case) -> list[int]:
    """The iteration after which each sentence leaves, as the golden model says."""
    if case.checkpoint is None or all(job.policy.mode == ExitMode.none for job in case.jobs):
        return [case.machine.model.num_hidden_layers] * len(case.jobs)
    golden = GoldenModel(case.checkpoint)
    return [golden.run([job.sentence], job.policy)[0].exit_iteration for job in case.jobs]


def measured_exits(
    task: str, model: Path, policy: ExitPolicy, limit: int | None = None, bars: Bars = silent
) -> tuple[Counter[tuple[int, int]], str]:
    """(Tokens, exit iteration) of a task's dev split under a policy, and the checkpoint's hash.

    Raises:
        ValueError: unknown task.
        OSError: no such data or model.
    """
    backend = GoldenBackend(model)
    sentences = tokenize(load_task(task, "dev"), backend)[:limit]
    with bars("exits", len(sentences)) as progress:
        exits = backend.answer(sentences, policy, progress).exits.tolist()
    lengths = [len(ids) for ids, _ in sentences]
    return Counter(zip(lengths, exits, strict=True)), backend.model.checkpoint.sha256


def run_case(
    case: Case,
    *,
    memory: MemoryTiming,
    activity: bool = False,
    seed: int = 1,
    run_dir: Path | None = None,
    on_build: Callable[[], None] | None = None,
    on_sentence: Callable[[int, Outcome], None] | None = None,
) -> Report:
    """Simulates the case, compared with the golden model; as ``sim.machine.simulate``."""
    assert case.checkpoint is not None
    if on_build:
        image = build_image(case.checkpoint, case.machine, [job.sentence for job in case.jobs])
        sources = accelerator_system(case.machine, memory_size(image))
        build(
            with_activity(sources) if activity else sources,
            top="system",
            options=BuildOptions(fast=True, optimize=3),
        )
        on_build()
    return simulate(
        case.machine,
        case.checkpoint,
        case.jobs,
        seed=seed,
        memory=memory,
        fast=True,
        run_dir=run_dir,
        timeout_s=TIMEOUT_S,
        on_sentence=on_sentence,
        activity=activity,
    )


def run_preset(
    preset: str,
    rows: int,
    columns: int,
    lengths: list[int],
    *,
    model: Path | None,
    seed: int,
    memory: MemoryTiming,
    stall_mode: int,
    fast: bool,
    watchdog: int | None,
    run_dir: Path,
) -> tuple[Report, Machine, str | None]:
    """Simulates random sentences of the given lengths without exit.

    Raises:
        ValueError: unknown preset, illegal array or length.
    """
    case = random_case(preset, (rows, columns), lengths, model=model, seed=seed)
    assert case.checkpoint is not None
    report = simulate(
        case.machine,
        case.checkpoint,
        case.jobs,
        seed=seed,
        memory=memory,
        stall_mode=stall_mode,
        fast=fast,
        watchdog=watchdog,
        run_dir=run_dir,
        timeout_s=3600,
    )
    return report, case.machine, case.sha256


def performance_rows(report: Report, machine: Machine) -> list[dict[str, Any]]:
    """One dictionary per sentence: ``sim.bench.run.sentence_row`` and what was compared."""
    return [_row(outcome, machine) for outcome in report.outcomes]


def _row(outcome: Outcome, machine: Machine) -> dict[str, Any]:
    registers = outcome.registers
    length, iterations = len(outcome.golden.taps["embedding.sum"]), registers["exit_iteration"]
    return {
        **sentence_row(machine, length, iterations, outcome.cycles, registers["counters"]),
        "checkpoints": len(outcome.comparison.checkpoints),
        "elements": outcome.comparison.elements,
        "mismatches": outcome.comparison.mismatches,
    }


def measured_rows(report: Report, machine: Machine, memory: MemoryTiming) -> list[dict[str, Any]]:
    """:func:`performance_rows`, each beside its ``predicted_cycles``."""
    rows = performance_rows(report, machine)
    plain = machine.model_copy(update={"trace": False})
    return [
        {**row, "predicted_cycles": predict(plain, row["tokens"], memory, row["iterations"]).cycles}
        for row in rows
    ]
