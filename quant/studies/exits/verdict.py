"""The study's result in plain words, lost comparisons included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quant.studies.exits.comparison import BUDGETS, LOSSES, POINTS
from quant.studies.exits.contenders import (
    ALBERT,
    ALL_ROWS,
    ANSWER_FIRST,
    ELBERT,
    ELBERT_FLOAT,
    ELBERT_GOLDEN,
    ELBERT_PUBLISHED,
    LINES,
    OWN_POLICY,
)

TITLES = {
    ELBERT: "ELBERT",
    ANSWER_FIRST: "ELBERT answer first, one stage",
    ELBERT_PUBLISHED: "ELBERT as published",
    ALL_ROWS: "ELBERT, all rows",
    f"{ELBERT}-bias_1": "ELBERT, bias_1 (side)",
    f"{ELBERT}-bias_2": "ELBERT, bias_2 (trend)",
    f"{ELBERT}-bias_3": "ELBERT, bias_3 (range)",
    f"{ELBERT}-entropy": "ELBERT, entropy alone",
    f"{ELBERT}-patience": "ELBERT, patience",
    ELBERT_FLOAT: "ELBERT, model folder",
    ELBERT_GOLDEN: "ELBERT, integers",
    "deebert": "DeeBERT",
    "fastbert": "FastBERT",
    "pabee": "PABEE",
    ALBERT: "ALBERT, cut",
}
"""Contenders as people read them."""

RIVALS = (*OWN_POLICY, ALBERT)
ABLATED = (f"{ELBERT}-entropy", f"{ELBERT}-patience")


def verdict(
    headline: dict[str, Any],
    at_cost: dict[str, Any],
    quantisation: dict[str, Any] | None,
    notes: Sequence[str],
) -> list[str]:
    """Lines that say what was found; every comparison that could be made has one. ``notes`` end them.

    Speedups are in multiply-adds. A difference is called one only where its 95 % interval does not hold 0.
    """
    lines = []
    for key, allowed in LOSSES.items():
        lines += _speed(headline[key].get(ELBERT), allowed)
    for key in BUDGETS:
        lines += _kept(key, at_cost[key].get(ELBERT))
    for key in BUDGETS:
        lines += _stages(key, at_cost[key])
    for key in BUDGETS:
        lines += [_against(name, key, at_cost[key]) for name in (*RIVALS, *ABLATED) if name in at_cost[key]]
    lines += _integers(at_cost)
    if quantisation is not None:
        lines += _survival(quantisation)
    return [*lines, *notes]


def _speed(entry: dict[str, Any] | None, allowed: float) -> list[str]:
    if entry is None:
        return []
    return [
        f"ELBERT reaches {entry['speedup_macs']:.1f}x where thresholds were picked for at most {allowed:g} "
        f"points lost; on the other half it loses {_lost(entry)}"
    ]


def _kept(key: str, entry: dict[str, Any] | None) -> list[str]:
    if entry is None:
        return []
    return [f"asked for {key}, ELBERT reaches {entry['speedup_macs']:.2f}x and loses {_lost(entry)}"]


def _stages(key: str, entries: dict[str, Any]) -> list[str]:
    """ELBERT beside itself with less of what is new."""
    told = [(name, entries.get(name)) for name in (ELBERT, *LINES) if name in entries]
    each = [f"{TITLES[name]} {'not so fast' if entry is None else _reached(entry)}" for name, entry in told]
    return [f"asked for {key}: {', '.join(each)}"] if len(each) > 1 else []


def _reached(entry: dict[str, Any]) -> str:
    return f"{POINTS * entry['accuracy']:.1f} at {entry['speedup_macs']:.2f}x"


def _lost(entry: dict[str, Any]) -> str:
    """Points below the own full depth, and below plain ALBERT's."""
    low, high = entry["interval_sentences"]["points_lost"]
    albert = entry["points_lost_albert"]
    against = "" if albert is None else f"; {albert:+.1f} against plain ALBERT"
    return f"{entry['points_lost']:.1f} [{low:.1f}, {high:.1f}]{against}"


def _against(name: str, key: str, entries: dict[str, Any]) -> str:
    elbert, other, title = entries[ELBERT], entries[name], TITLES[name]
    if elbert is None or other is None:
        who = "ELBERT" if elbert is None else title
        return f"at {key} no comparison with {title}: {who} has no setting that fast"
    points = other["difference"]["points"]
    low, high = other["difference"]["interval"]
    if low > 0:
        word = "above"
    elif high < 0:
        word = "below"
    else:
        word = "not above" if points <= 0 else "not surely above"
    scores = f"{POINTS * elbert['accuracy']:.1f} against {POINTS * other['accuracy']:.1f}"
    reached = f"reached {elbert['speedup_macs']:.2f}x against {other['speedup_macs']:.2f}x"
    return f"{word} {title} at {key}: {scores} (difference {points:+.1f} [{low:.1f}, {high:.1f}]; {reached})"


def _integers(at_cost: dict[str, Any]) -> list[str]:
    """The golden model against the float form it was made from."""
    lines = []
    for key, entries in at_cost.items():
        golden, floating = entries.get(ELBERT_GOLDEN), entries.get(ELBERT_FLOAT) or entries[ELBERT]
        if golden is not None and floating is not None:
            each = (_reached(form) for form in (golden, floating))
            lines.append(f"asked for {key}, integers reach {next(each)}, their float model {next(each)}")
    return lines


def _survival(quantisation: dict[str, Any]) -> list[str]:
    lines = []
    for key, order in quantisation["survives"].items():
        if not order:
            continue
        best = quantisation["families"][order[0]][key]
        low, high = (POINTS * end for end in best["interval"]["answer_flips"])
        answers, exits = POINTS * best["answer_flips"], POINTS * best["exit_flips"]
        lines.append(
            f"quantisation at {key} is survived best by {order[0]}: {answers:.1f} % [{low:.1f}, {high:.1f}] "
            f"of the answers and {exits:.1f} % of the exits change "
            f"(order: {', '.join(order)})"
        )
    return lines
