"""The study: grid, ablation and search measured, put together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from golden_model.errors import PromiseBroken
from golden_model.progress import Bars, Progress, silent
from golden_model.provenance import header
from quant.schemes import Scheme
from quant.studies.bits.ablation import ablation_cases, ablation_rows
from quant.studies.bits.candidates import Candidate
from quant.studies.bits.cost import products_x_bits
from quant.studies.bits.point import float_worth
from quant.studies.bits.runner import Runner
from quant.studies.bits.search import OBJECTIVES, Search
from quant.studies.bits.store import Store
from quant.studies.bits.subject import Subject
from quant.weights import packed_bytes

Predict = Callable[[Scheme], int | None]
"""A scheme to the machine's cycles; None where it does not run it."""
POINTS = "points"
"""Folder of kept points, in the study's."""
MEASURED = (
    "accuracy",
    "score",
    "agreement",
    "sqnr",
    "accuracy_per_iteration",
    "agreement_per_iteration",
    "exit",
    "sqnr_db",
    "seconds",
    "commit",
)
"""What a failed point has None of."""


@dataclass
class Plan:
    """What a study measures.

    Members:
        grid: Schemes of the grid.
        left_out: Combinations of a product that are no scheme.
        ablation: Whether the scales' ablation is measured.
        trials: Of the search, in all.
        seed: Of calibration sentences and search.
    """

    grid: list[Candidate] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)
    ablation: bool = False
    trials: int = 0
    seed: int = 0


def study(
    subject: Subject,
    plan: Plan,
    runner: Runner,
    folder: Path,
    predict: Predict,
    bars: Bars = silent,
    say: Callable[[str], None] = lambda note: None,
) -> dict[str, Any]:
    """Measures what a plan asks for and is not kept yet.

    Args:
        subject: Checkpoint and data.
        plan: Schemes.
        runner: Measures.
        folder: Points are kept in its ``points``, the search's trials in its ``search.db``.
        predict: Cycles of the machine.
        bars: Shows progress.
        say: Told of kept files that cannot be used, and of schemes that could not be measured.

    Returns:
        JSON-able: header, iterations, samples, calibration, quality_sentences, metric, policy, float,
        objectives, points (name; source: the first of grid, ablation and search that asked for it; pareto;
        and see :class:`_Rows`), left_out, and ablation (rows of ``ablation.ablation_rows``; None where it was
        not asked for).

    Raises:
        PromiseBroken: no scheme at all could be measured.
        ValueError, OSError: as :class:`Search` and ``runner.Cluster.wait``.
    """
    rows = _Rows(subject, predict, Store(folder / POINTS, subject.digest, say), runner, say)
    cases = [candidate for _, candidate in ablation_cases()] if plan.ablation else []
    sources = {each.scheme: "ablation" for each in cases} | {each.scheme: "grid" for each in plan.grid}
    listed = list({each.scheme: each for each in (*plan.grid, *cases)}.values())
    if listed:
        with bars("schemes", len(listed)) as progress:
            rows.measure([each.scheme for each in listed], progress)
    if plan.trials:
        search = Search(folder, subject.digest, plan.trials, plan.seed)
        with bars("search", plan.trials) as progress:
            rows.search(search, progress)
        listed += [Candidate.of(scheme) for scheme in search.schemes()]
    named = {each.scheme: each.name for each in listed}
    rows.measure(list(named), lambda count: None)  # trials of before whose files are gone
    points = [
        {"name": name, "source": sources.get(scheme, "search"), **rows.found[scheme]}
        for scheme, name in named.items()
    ]
    measured = [point for point in points if point["error"] is None]
    if not measured:
        raise PromiseBroken(
            f"none of {len(points)} schemes could be measured; the first: {points[0]['error']}"
        )
    best = front(measured)
    for point in points:
        point["pareto"] = any(point is each for each in best)
    return {
        "header": header(plan.seed, subject.sha256),
        "iterations": subject.config.num_hidden_layers,
        "samples": len(subject.sentences),
        "calibration": len(subject.calibration),
        "quality_sentences": min(subject.quality, len(subject.calibration)),
        "metric": subject.metric,
        "policy": subject.policy.model_dump(),
        "float": float_worth(subject),
        "objectives": dict(OBJECTIVES),
        "points": points,
        "left_out": plan.left_out,
        "ablation": ablation_rows(rows.found) if plan.ablation else None,
    }


def front(points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The points that no other is at least as good as in every objective and better in one."""
    values = [_costs(point) for point in points]
    return [
        point
        for point, own in zip(points, values, strict=True)
        if not any(other != own and all(o <= v for o, v in zip(other, own, strict=True)) for other in values)
    ]


def _costs(point: Mapping[str, Any]) -> tuple[float, ...]:
    """Objectives, less is better; what the hardware does not run takes it for ever."""
    found = [math.inf if point[name] is None else point[name] for name in OBJECTIVES]
    return tuple(-v if way == "maximize" else v for v, way in zip(found, OBJECTIVES.values(), strict=True))


class _Rows:
    """Rows of schemes: scheme, weight_bytes, packed_bytes, runs_on_hardware, products_x_bits,
    predicted_cycles, what ``point.measure_point`` returns, and error."""

    def __init__(
        self, subject: Subject, predict: Predict, store: Store, runner: Runner, say: Callable[[str], None]
    ) -> None:
        self.subject, self.predict, self.store, self.runner, self.say = subject, predict, store, runner, say
        self.found: dict[Scheme, dict[str, Any]] = {}

    def measure(self, schemes: Iterable[Scheme], progress: Progress) -> None:
        """Has all of them, those that are kept first."""
        waiting = []
        for scheme in schemes:
            if scheme in self.found:
                continue
            kept = self.store.get(scheme)
            if kept is None:
                waiting.append(scheme)
            else:
                self._add(scheme, kept)
                progress(1)
        for scheme in waiting:
            self.runner.submit(scheme)
        for _ in waiting:
            self._take()
            progress(1)

    def search(self, search: Search, progress: Progress) -> None:
        """Asks and tells until the search has what it wants."""
        progress(min(search.finished, search.trials))
        running: set[Scheme] = set()
        while search.wanted or running:
            while search.wanted and len(running) < self.runner.slots:
                scheme = search.ask()
                if scheme in running:
                    continue
                kept = self.found.get(scheme) or self.store.get(scheme)
                if kept is not None:
                    self._add(scheme, kept)
                    search.tell(scheme, self.found[scheme])
                    progress(1)
                    continue
                running.add(scheme)
                self.runner.submit(scheme)
            if running:
                scheme = self._take()
                running.remove(scheme)
                before = search.finished
                search.tell(scheme, self.found[scheme])
                progress(search.finished - before)

    def _take(self) -> Scheme:
        scheme, point = self.runner.wait()
        self.store.put(scheme, point)
        self._add(scheme, point)
        return scheme

    def _add(self, scheme: Scheme, point: Mapping[str, Any]) -> None:
        if point["error"] is not None:
            self.say(f"{Candidate.of(scheme).name}: {point['error']}")
        packed = packed_bytes(scheme, self.subject.config)
        self.found[scheme] = {
            "scheme": scheme.as_dict(),
            "weight_bytes": packed.weights,
            "packed_bytes": packed.total,
            "runs_on_hardware": scheme.runs_on_hardware,
            "products_x_bits": products_x_bits(scheme, self.subject.config, self.subject.lengths),
            "predicted_cycles": self.predict(scheme),
            **{name: point.get(name) for name in MEASURED},
            "error": point["error"],
        }
