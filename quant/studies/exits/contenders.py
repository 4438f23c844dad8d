"""Who is compared: every method with its own policy, and ELBERT with each of its own and with ablations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from golden_model.exits import WINDOW_MODES, ExitMode
from golden_model.progress import Bars, silent
from quant.studies.exits.grids import Setting, grid
from quant.studies.exits.sweep import Outcomes, cut, mac_shares, oracle, sweep
from quant.studies.exits.table import LogitTable

ELBERT = "elbert"
ELBERT_FLOAT, ELBERT_GOLDEN = "elbert-float", "elbert-golden"
"""The two forms of the model folder; "elbert" alone is the ELBERT that meets the other methods."""

ELBERT_PUBLISHED = "elbert-published"
"""ELBERT as published: trained in one stage, all rows of every iteration computed. Its run's name too."""

ANSWER_FIRST = "elbert-answer-first"
"""The same run answer first: what that gives without another training."""

ALL_ROWS = "elbert-all-rows"
"""The compared ELBERT with all rows, in the place of those two where there is no one-stage run."""

LINES = (ANSWER_FIRST, ELBERT_PUBLISHED, ALL_ROWS)
"""Beside ELBERT: the same, with less of what is new."""

ALBERT, ORACLE = "albert", "oracle"
OWN_POLICY = {
    "deebert": ExitMode.entropy_raw,
    "fastbert": ExitMode.entropy,
    "pabee": ExitMode.patience,
}
"""Rival methods with exits, and the policy each was published with."""

BIASES = tuple(mode.name for mode in WINDOW_MODES)
ABLATIONS = (ExitMode.entropy.name, ExitMode.patience.name)
"""On ELBERT's weights: stage 1 alone (no window), and PABEE's counter in the window's place."""


@dataclass(frozen=True)
class Sweep:
    """One method with every setting tried.

    Members:
        method: As in the points.
        table: Its logits; of ALBERT those of the deepest model.
        outcomes: Of all settings.
        full: The method's own answers at full depth, uint8 [N]; None where nothing of full depth is there.
        twin: Whether exits and answers are another sweep's, and only their costs are its own.
    """

    method: str
    table: LogitTable
    outcomes: Outcomes
    full: Tensor | None
    twin: bool = False


@dataclass(frozen=True)
class Contender:
    """One line of a comparison: a sweep, or the part of it that may be picked from.

    Members:
        name: elbert (the best of its window policies), elbert-bias_1, elbert-entropy, deebert, ...
        table: Name of its logits' table, of ALBERT the deepest one's.
        outcomes: What it picks from.
        full: As :class:`Sweep`.
    """

    name: str
    table: str
    outcomes: Outcomes
    full: Tensor | None


def albert_tables(tables: Mapping[str, LogitTable]) -> list[LogitTable]:
    """Those of ALBERT cut to some depth, shallow ones first."""
    found = [table for name, table in tables.items() if name.startswith(f"{ALBERT}-")]
    return sorted(found, key=lambda table: table.facts.iterations)


def compared_elbert(tables: Mapping[str, LogitTable]) -> LogitTable:
    """The ELBERT that meets the other methods: the run beside theirs, the one-stage run, or the float form.

    The first of these that is there.

    Raises:
        FileNotFoundError: there is none of them.
    """
    for name in (ELBERT, ELBERT_PUBLISHED, ELBERT_FLOAT):
        if name in tables:
            return tables[name]
    raise FileNotFoundError("no float ELBERT: neither a run 'elbert' among the methods nor a model folder")


def elbert_settings(table: LogitTable) -> list[Setting]:
    """Every setting tried on ELBERT's logits, "none" first."""
    return _settings([ExitMode.none, *WINDOW_MODES, *(ExitMode[name] for name in ABLATIONS)], table)


def find_sweeps(tables: Mapping[str, LogitTable], bars: Bars = silent) -> list[Sweep]:
    """Everything that the logits allow, the compared ELBERT first; raises like :func:`compared_elbert`."""
    main = compared_elbert(tables)
    one_stage = tables.get(ELBERT_PUBLISHED)
    planned = [(ELBERT, main, elbert_settings(main))]
    if one_stage is not None and one_stage is not main:
        planned.append((ANSWER_FIRST, one_stage, _settings([ExitMode.none, *WINDOW_MODES], one_stage)))
    for name, mode in OWN_POLICY.items():
        if name in tables:
            planned.append((name, tables[name], _settings([ExitMode.none, mode], tables[name])))
    forms = [
        (name, tables[name], elbert_settings(tables[name]))
        for name in (ELBERT_FLOAT, ELBERT_GOLDEN)
        if name in tables and tables[name] is not main
    ]
    with bars("settings applied", sum(len(settings) for _, _, settings in (*planned, *forms))) as progress:

        def swept(each: Sequence[tuple[str, LogitTable, list[Setting]]]) -> Iterator[Sweep]:
            for name, table, settings in each:
                outcomes = sweep(table, settings)
                progress(len(settings))
                yield Sweep(name, table, outcomes, outcomes.answers[0])

        found = {each.method: each for each in swept(planned)}
        elbert, once = found.pop(ELBERT), found.pop(ANSWER_FIRST, None)
        lines = _lines(elbert, once, one_stage is not None)
        return [elbert, *lines, *found.values(), *_cut_albert(tables, main.facts.iterations), *swept(forms)]


def _lines(elbert: Sweep, once: Sweep | None, has_one_stage: bool) -> list[Sweep]:
    """ELBERT with less of what is new: :data:`LINES` as far as they are there."""

    def all_rows(name: str, of: Sweep) -> Sweep:
        outcomes = replace(of.outcomes, mac_shares=mac_shares(of.table.facts, answer_first=False))
        return replace(of, method=name, outcomes=outcomes, twin=True)

    if not has_one_stage:
        return [all_rows(ALL_ROWS, elbert)]
    if once is None:  # the one-stage run is the compared one itself
        once = replace(elbert, method=ANSWER_FIRST, twin=True)
    return [once, all_rows(ELBERT_PUBLISHED, once)]


def _cut_albert(tables: Mapping[str, LogitTable], depth: int) -> Iterator[Sweep]:
    cuts = albert_tables(tables)
    if cuts:
        outcomes = cut(cuts, depth)
        full = outcomes.answers[-1] if cuts[-1].facts.iterations == depth else None
        yield Sweep(ALBERT, cuts[-1], outcomes, full)


def find_contenders(sweeps: Sequence[Sweep]) -> list[Contender]:
    """The comparison's lines: ELBERT by its window policies and :data:`LINES`, its policies alone, the rest.

    Args:
        sweeps: Of :func:`find_sweeps`: the first is the compared ELBERT's.
    """
    none = ExitMode.none.name
    first, *rest = sweeps

    def part(each: Sweep, name: str, variants: Sequence[str] | None) -> Contender:
        outcomes = each.outcomes if variants is None else each.outcomes.only((none, *variants))
        return Contender(name, each.table.facts.name, outcomes.distinct(), each.full)

    best = [part(each, each.method, BIASES) for each in (first, *(s for s in rest if s.method in LINES))]
    alone = [part(first, f"{ELBERT}-{variant}", (variant,)) for variant in (*BIASES, *ABLATIONS)]
    others = [
        part(each, each.method, BIASES if each.method in (ELBERT_FLOAT, ELBERT_GOLDEN) else None)
        for each in rest
        if each.method not in LINES
    ]
    return [*best, *alone, *others]


def bound(tables: Mapping[str, LogitTable], labels: Tensor) -> Outcomes:
    """The oracle on the compared ELBERT's logits."""
    return oracle(compared_elbert(tables), labels)


def _settings(modes: Iterable[ExitMode], table: LogitTable) -> list[Setting]:
    return [s for mode in modes for s in grid(mode, table.facts.iterations, table.facts.classes)]
