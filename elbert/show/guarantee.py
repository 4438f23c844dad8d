"""A certificate of exits, and its simulation, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from elbert.tables import print_table
from quant.guarantees import families
from quant.guarantees.certificate import Certificate
from quant.guarantees.simulation import WAYS, WHO


def print_guarantee(certificate: Certificate, file: Path, simulated: Mapping[str, Any] | None = None) -> None:
    """Prints what is promised, of which setting, what each sequence reached, and the simulation."""
    measured, counts = certificate.measured, certificate.counts
    lost = counts[1] if len(counts) == 2 else f"{counts[1]}, and {counts[-1]} won"
    facts: list[tuple[str, object]] = [
        ("policy, in the registers' integers", families.describe(certificate.policy)),
        ("sentences", certificate.sentences.count),
        (f"of them lost ({certificate.loss})", lost),
        ("mean loss", f"{100 * certificate.empirical_risk:.2f} %"),
        *_evidence(certificate),
        ("fewest sentences that can certify", certificate.smallest_sample),
        ("mean exit iteration", f"{measured.mean_exit_iteration:.2f} of {measured.iterations}"),
        ("speed-up in iterations", f"{measured.speedup_iterations:.2f}x"),
    ]
    if measured.speedup_multiply_adds is not None:
        facts.append(("in multiply-adds, answer first", f"{measured.speedup_multiply_adds:.2f}x"))
    print_table(f"Exits of the {certificate.backend} model", ["what", "value"], facts)
    rows = []
    for each in certificate.sequences:
        stays, moves = families.moves(each.first, each.last)
        last = None if each.certified is None else families.describe(each.certified)
        rows.append((stays, moves, f"{each.passed}/{each.settings}", last))
    print_table(
        "Sequences tested, from the safest setting on",
        ["policy", "threshold that moves", "passed", "last that passed"],
        rows,
    )
    if simulated is not None:
        _print_simulation(simulated)
    typer.echo(certificate.line)
    typer.echo(
        "losses and speed-ups above are those of the calibration sentences: no guarantee goes with them"
    )
    typer.echo(f"certificate: {file}")


def _evidence(certificate: Certificate) -> list[tuple[str, object]]:
    if certificate.p_value is not None:
        return [(f"p-value ({certificate.test})", f"{certificate.p_value:.3g} <= {certificate.level:.4g}")]
    if certificate.bound is not None:
        return [("bound of the expected loss", f"{certificate.bound:.3g} <= {certificate.risk:g}")]
    return []


def _print_simulation(simulated: Mapping[str, Any]) -> None:
    rows = []
    for way, title in WAYS.items():
        found = simulated[way]
        for who, chosen_by in WHO.items():
            each = found[who]
            rows.append(
                (
                    f"{title}, {found['size']}",
                    chosen_by,
                    f"{100 * each['rate']:.1f} %",
                    f"{100 * each['mean_risk']:.2f} %",
                    f"{100 * each['largest_risk']:.2f} %",
                    f"{100 * each['certified']:.0f} %",
                    f"{each['mean_exit_iteration']:.2f}",
                )
            )
    print_table(
        f"{simulated['draws']} simulated calibrations, the {simulated['sentences']} sentences taken as all",
        [
            "samples",
            "thresholds",
            f"risk > {100 * simulated['risk']:g} %",
            "mean",
            "largest",
            "exits",
            "mean exit",
        ],
        rows,
    )
