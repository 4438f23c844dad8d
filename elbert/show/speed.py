"""The golden model's speed beside the float model's, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elbert.tables import print_table


def print_speed(document: Mapping[str, Any]) -> None:
    """A row a shape: sentences a second of float, golden and golden with exits, and the ratios to float."""
    rows = []
    with_memory = any(row["peak_mib"] for row in document["shapes"])
    for row in document["shapes"]:
        leaving, peak = row["golden_exit_sentences_per_s"], row["peak_mib"]
        rows.append(
            (
                row["preset"] or f"the model, {row['sample']}",
                f"{row['length']}" if row["preset"] else f"up to {row['length']}",
                row["batch"],
                f"{row['float_sentences_per_s']:.1f}",
                f"{row['golden_sentences_per_s']:.1f}",
                f"{row['ratio']:.2f}x",
                None if leaving is None else f"{leaving:.1f}",
                None if leaving is None else f"{row['mean_exit']:.2f}",
                None if leaving is None else f"{row['ratio_exit']:.2f}x",
                *([f"{peak['float']:.0f}", f"{peak['golden']:.0f}"] if with_memory else []),
            )
        )
    columns = [
        "shape",
        "tokens",
        "batch",
        "float/s",
        "golden/s",
        "ratio",
        "with exits/s",
        "mean exit",
        "ratio",
    ]
    columns += ["float MiB", "golden MiB"] if with_memory else []
    threads = document["shapes"][0]["threads"] if document["shapes"] else 1
    print_table(f"Sentences a second, threads: {threads}", columns, rows)
    machine = document["machine"]
    made = f", {machine['compiler']}" if "compiler" in machine else ""
    print(
        f"golden model: {machine['kernels']} kernels{made}; instructions {machine['instructions']}, "
        f"VNNI {'yes' if machine['vnni'] else 'no'}, AMX {'yes' if machine['amx'] else 'no'}"
    )
    if machine.get("compile_seconds"):
        print(f"the kernels were compiled first: {machine['compile_seconds']:.1f} s")
