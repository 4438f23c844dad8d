"""The peers' study as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from elbert.tables import print_table
from quant.studies.peers.run import table_of


def print_peers(result: Mapping[str, Any]) -> None:
    """A row a peer, who computes in integers and why not, the operators, and what could not be measured."""
    measured = table_of(result)
    rows = [
        (
            row["title"],
            f"{100 * row['accuracy']:.2f}",
            f"{row['points_lost']:+.2f}",
            f"{100 * row['agreement']:.1f} %",
            f"{row['bytes'] / 1e6:.1f}",
            f"{row['sentences_per_s']:.1f}",
            f"{row['ratio']:.2f}x",
            "yes" if row["integers"] else "no",
        )
        for row in measured
    ]
    batch, threads = result["options"]["batch"], result["threads"]
    print_table(
        f"{result['samples']} sentences, batches of {batch}, threads: {threads}",
        ["peer", "accuracy", "points lost", "as float32", "MB", "sentences/s", "to float32", "integers"],
        rows,
    )
    for row in measured:
        typer.echo(f"{row['title']}: {row['reason']}")
    for row in result["rows"]:
        if row["error"] is not None:
            typer.echo(f"{row['title']}: left out: {row['error']}")
    operators = result["operators"]
    if operators["error"] is not None:
        typer.echo(f"operators: left out: {operators['error']}")
        return
    print_table(
        f"Operators against the real functions, inputs of {operators['sentences']} calibration sentences",
        ["operator", "by", "inputs", "largest error", "rms error", "SQNR"],
        [
            (
                name,
                who.replace("_", ", "),
                "{:.1f} .. {:.1f}".format(*found["range"]),
                f"{found[who]['max_error']:.2g}",
                f"{found[who]['rms_error']:.2g}",
                f"{found[who]['sqnr']:.1f} dB",
            )
            for name, found in operators["operators"].items()
            for who in ("contract", "ibert", "ibert_rounded")
            if who in found
        ],
    )
