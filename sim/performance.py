"""Where the cycles go: utilisation of the array, and a reason for every idle cycle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from golden_model.config import find_preset
from golden_model.evaluation.backends import model_folder
from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.synthetic import random_checkpoint, random_sentence
from hw.arith.widths import ceil_div
from hw.cycles.memory import MemoryTiming
from hw.params import Machine
from sim.machine import Job, Report, simulate


def random_jobs(machine: Machine, lengths: list[int], seed: int) -> list[Job]:
    """Sentences of random tokens; what they say does not change a cycle.

    Raises:
        ValueError: a length is outside 1..max_position_embeddings.
    """
    bound = machine.model.max_position_embeddings
    for length in lengths:
        if not 1 <= length <= bound:
            raise ValueError(f"length {length} is outside 1..{bound}, the longest sentence")
    generator = torch.Generator().manual_seed(seed)
    return [Job(random_sentence(machine.model, n, generator)) for n in lengths]


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
    watchdog: int,
    run_dir: Path,
) -> tuple[Report, Machine, str | None]:
    """Simulates random sentences of the given lengths without exit.

    Raises:
        ValueError: unknown preset, illegal array or length.
    """
    stored = IntegerCheckpoint.load(model_folder(model, "golden")) if model else None
    config = stored.config if stored else find_preset(preset)
    machine = Machine(model=config, rows=rows, columns=columns, trace=True)
    jobs = random_jobs(machine, lengths, seed)
    checkpoint = stored or random_checkpoint(config, seed)
    report = simulate(
        machine,
        checkpoint,
        jobs,
        seed=seed,
        memory=memory,
        stall_mode=stall_mode,
        fast=fast,
        watchdog=watchdog,
        run_dir=run_dir,
        timeout_s=3600,
    )
    return report, machine, stored.sha256 if stored else None


def utilisation_bound(machine: Machine, length: int) -> float:
    """Largest utilisation that a sentence of ``length`` tokens can have: tokens come in blocks of P."""
    return length / (ceil_div(length, machine.rows) * machine.rows)


def performance_rows(report: Report, machine: Machine) -> list[dict[str, Any]]:
    """One dictionary per sentence."""
    rows = []
    for outcome in report.outcomes:
        length = len(outcome.golden.taps["embedding.sum"])
        iterations = outcome.registers["exit_iteration"]
        products = machine.model.embedding_products(length) + iterations * machine.model.layer_products(
            length
        )
        idle = dict(outcome.registers["counters"])
        active = idle.pop("active")
        rows.append(
            {
                "tokens": length,
                "iterations": iterations,
                "cycles": outcome.cycles,
                "products": products,
                "active": active,
                "utilisation": products / (machine.rows * machine.columns * outcome.cycles),
                "bound": utilisation_bound(machine, length),
                "idle": idle,
                "checkpoints": len(outcome.comparison.checkpoints),
                "elements": outcome.comparison.elements,
                "mismatches": outcome.comparison.mismatches,
            }
        )
    return rows
