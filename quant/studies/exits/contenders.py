"""Who is compared: every method with its own policy, and ELBERT with each of its own and with ablations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from golden_model.exits import WINDOW_MODES, ExitMode
from golden_model.progress import Bars, silent
from quant.studies.exits.grids import Setting, grid
from quant.studies.exits.sweep import Outcomes, cut, oracle, sweep
from quant.studies.exits.table import LogitTable

ELBERT = "elbert"
ELBERT_FLOAT, ELBERT_GOLDEN = "elbert-float", "elbert-golden"
"""The two forms of the model folder; "elbert" alone is the ELBERT that meets the other methods."""

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
    """

    method: str
    table: LogitTable
    outcomes: Outcomes
    full: Tensor | None


@dataclass(frozen=True)
class Contender:
    """One line of a comparison: a sweep, or the part of it that may be picked from.

    Members:
        name: elbert (the best of its window policies), elbert-bias_1, elbert-entropy, deebert, ...
        outcomes: What it picks from.
        full: As :class:`Sweep`.
    """

    name: str
    outcomes: Outcomes
    full: Tensor | None


def albert_tables(tables: Mapping[str, LogitTable]) -> list[LogitTable]:
    """Those of ALBERT cut to some depth, shallow ones first."""
    found = [table for name, table in tables.items() if name.startswith(f"{ALBERT}-")]
    return sorted(found, key=lambda table: table.facts.iterations)


def compared_elbert(tables: Mapping[str, LogitTable]) -> LogitTable:
    """The ELBERT that meets the other methods: the run beside theirs, else the model folder's float form.

    Raises:
        FileNotFoundError: there is neither.
    """
    for name in (ELBERT, ELBERT_FLOAT):
        if name in tables:
            return tables[name]
    raise FileNotFoundError("no float ELBERT: neither a run 'elbert' among the methods nor a model folder")


def elbert_settings(table: LogitTable) -> list[Setting]:
    """Every setting tried on ELBERT's logits, "none" first."""
    return _settings([ExitMode.none, *WINDOW_MODES, *(ExitMode[name] for name in ABLATIONS)], table)


def find_sweeps(tables: Mapping[str, LogitTable], bars: Bars = silent) -> list[Sweep]:
    """Everything that the logits allow, the compared ELBERT first; raises like :func:`compared_elbert`."""
    main = compared_elbert(tables)
    planned = [(ELBERT, main, elbert_settings(main))]
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

        return [*swept(planned), *_cut_albert(tables, main.facts.iterations), *swept(forms)]


def _cut_albert(tables: Mapping[str, LogitTable], depth: int) -> Iterator[Sweep]:
    cuts = albert_tables(tables)
    if cuts:
        outcomes = cut(cuts, depth)
        full = outcomes.answers[-1] if cuts[-1].facts.iterations == depth else None
        yield Sweep(ALBERT, cuts[-1], outcomes, full)


def find_contenders(sweeps: Sequence[Sweep]) -> list[Contender]:
    """The lines of the comparison: ELBERT by its window policies, each of its policies alone, the rest."""
    return [contender for each in sweeps for contender in _contenders(each)]


def bound(tables: Mapping[str, LogitTable], labels: Tensor) -> Outcomes:
    """The oracle on the compared ELBERT's logits."""
    return oracle(compared_elbert(tables), labels)


def _contenders(each: Sweep) -> Iterator[Contender]:
    if not each.method.startswith(ELBERT):
        yield Contender(each.method, each.outcomes.distinct(), each.full)
        return
    none = ExitMode.none.name
    yield Contender(each.method, each.outcomes.only((none, *BIASES)).distinct(), each.full)
    if each.method == ELBERT:
        for variant in (*BIASES, *ABLATIONS):
            part = each.outcomes.only((none, variant)).distinct()
            yield Contender(f"{ELBERT}-{variant}", part, each.full)


def _settings(modes: Iterable[ExitMode], table: LogitTable) -> list[Setting]:
    return [s for mode in modes for s in grid(mode, table.facts.iterations, table.facts.classes)]
