"""What a run on the simulated machine says of every cycle, beside what the cycle model says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from hw.arith.widths import ceil_div
from hw.cycles.memory import MemoryTiming
from hw.cycles.sentence import Prediction, predict
from hw.params import Machine

CONTROL = "control"
"""Idle cycles that no counter of the engine sees: the start's."""


def utilisation_bound(machine: Machine, length: int) -> float:
    """Largest utilisation that a sentence of ``length`` tokens can have: tokens come in blocks of P."""
    return length / (ceil_div(length, machine.rows) * machine.rows)


def useful_products(machine: Machine, length: int, iterations: int) -> int:
    """Multiply-adds of a sentence that are not padding."""
    return machine.model.embedding_products(length) + iterations * machine.model.layer_products(length)


def sentence_row(
    machine: Machine, length: int, iterations: int, cycles: int, counters: dict[str, int]
) -> dict[str, Any]:
    """A sentence's cycles by what they were for: ``active`` and ``idle`` add up to ``cycles``.

    ``partly_filled`` of the active cycles is what multipliers without use come to, in cycles of the whole
    array: rows without a token, all rows but one for pooler and classifier.
    """
    multipliers = machine.rows * machine.columns
    products = useful_products(machine, length, iterations)
    idle = {reason: count for reason, count in counters.items() if reason != "active"}
    idle[CONTROL] = cycles - sum(counters[name] for name in counters if name != CONTROL)
    return {
        "tokens": length,
        "iterations": iterations,
        "cycles": cycles,
        "products": products,
        "active": counters["active"],
        "partly_filled": float(counters["active"] - Fraction(products, multipliers)),
        "utilisation": products / (multipliers * cycles),
        "bound": utilisation_bound(machine, length),
        "idle": idle,
    }


def predicted_row(machine: Machine, length: int, iterations: int, prediction: Prediction) -> dict[str, Any]:
    """:func:`sentence_row` of a prediction, and its cycles by descriptor."""
    counters = {name: count for name, count in prediction.spent.items() if name != CONTROL}
    row = sentence_row(machine, length, iterations, prediction.cycles, counters)
    by_descriptor: Counter[str] = Counter()
    for name, count in prediction.parts:
        by_descriptor[name] += count
    return {**row, "predicted_cycles": prediction.cycles, "descriptors": dict(by_descriptor)}


def predict_rows(
    machine: Machine, memory: MemoryTiming, sentences: Sequence[tuple[int, int]]
) -> list[dict[str, Any]]:
    """Of sentences, (tokens, iterations) each, what the cycle model says."""
    return [
        predicted_row(machine, length, iterations, predict(machine, length, memory, iterations))
        for length, iterations in sentences
    ]


def totals(machine: Machine, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sums over sentences; ``utilisation`` of all their cycles."""
    idle: Counter[str] = Counter()
    for row in rows:
        idle.update(row["idle"])
    cycles, products = (sum(row[name] for row in rows) for name in ("cycles", "products"))
    return {
        "cycles": cycles,
        "products": products,
        "utilisation": products / (machine.rows * machine.columns * cycles),
        "active": sum(row["active"] for row in rows),
        "partly_filled": sum(row["partly_filled"] for row in rows),
        "idle": dict(idle),
        "predicted_cycles": sum(row["predicted_cycles"] for row in rows),
    }
