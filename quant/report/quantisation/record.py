"""Everything behind page, figures and ``--json``, as one JSON-able dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from golden_model.evaluation.backends import model_folder
from golden_model.files import sha256_of
from golden_model.float.weights import stored_sha256
from golden_model.integer.checkpoint import TENSOR_FILE, IntegerCheckpoint
from golden_model.provenance import header
from quant.quality import FIXED_UNITS, MOST_SATURATED, full_name, least_sqnr
from quant.report.quantisation.cells import PERCENTILES
from quant.report.quantisation.reasons import reason
from quant.report.quantisation.rules import RULES, made_once
from quant.report.quantisation.tensors import Compared
from quant.report.quantisation.weights import describe_weights

WORST = 10
"""Tensors listed with their reasons."""


@dataclass(frozen=True)
class Opened:
    """An integer checkpoint of a folder.

    Members:
        name: What the report calls it.
        folder: That holds the tensors.
        checkpoint: Loaded.
        sha256: Of the tensors' file.
        note: What a reader has to know of it; None: nothing.
    """

    name: str
    folder: Path
    checkpoint: IntegerCheckpoint
    sha256: str
    note: str | None


def open_checkpoints(folders: Sequence[Path], float_folder: Path) -> list[Opened]:
    """Opens integer checkpoints, each named by as much of its path as tells it from the others.

    Args:
        folders: Model folders or folders of integer checkpoints; the first is the one reported.
        float_folder: Of the float checkpoint they are compared with.

    Raises:
        OSError, ValueError: as ``model_folder`` and ``IntegerCheckpoint.load``; a folder is named twice.
    """
    inner = [model_folder(folder, "golden") for folder in folders]
    for place, folder in enumerate(inner):
        if folder.resolve() in [other.resolve() for other in inner[:place]]:
            raise ValueError(f"checkpoint {folder} is named twice")
    made_of = stored_sha256(float_folder)
    opened = []
    for name, folder in zip(short_names(inner), inner, strict=True):
        checkpoint = IntegerCheckpoint.load(folder)
        stored = checkpoint.metadata.get("provenance", {}).get("float_sha256")
        note = None
        if stored is not None and stored != made_of:
            note = (
                f"{folder} was made from another float model ({str(stored)[:16]}) than {float_folder} "
                f"({made_of[:16]}): differences are not quantisation's alone"
            )
        opened.append(Opened(name, folder, checkpoint, sha256_of(folder / TENSOR_FILE), note))
    return opened


def short_names(folders: Sequence[Path]) -> list[str]:
    """The last parts of paths that tell them apart; ``integer`` says nothing where it is all of them's last.

    The paths are different ones.
    """
    parts = [folder.resolve().parts for folder in folders]
    cut = [each[:-1] if each[-1] == "integer" and len(each) > 1 else each for each in parts]
    parts = cut if len(set(cut)) == len(cut) else parts
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


@dataclass(frozen=True)
class Source:
    """What was run, for the record.

    Members:
        data: Where the sentences come from, and its SHA-256.
        task: Name of the task; None for a table.
        classes: Names, in the order of the logits.
    """

    data: tuple[str, str]
    task: str | None
    classes: list[str]


@dataclass
class Extras:
    """What the report shows beside the tensors.

    Members:
        exits: Per checkpoint's name what ``exits.exits_under_quantisation`` says.
        ablation: Rows of ``ablation.read_ablation``; None: no file was given.
        seed: Of the exits' splits and resamples; None where there are none.
    """

    exits: dict[str, dict[str, Any]] = field(default_factory=dict)
    ablation: list[dict[str, Any]] | None = None
    seed: int | None = None


def describe(
    opened: Sequence[Opened], compared: Mapping[str, Compared], source: Source, extras: Extras
) -> dict[str, Any]:
    """The report.

    Args:
        opened: The first is the one that others are compared with.
        compared: Of ``tensors.compare``, by name.
        source: What was run.
        extras: What else is shown.
    """
    first = compared[opened[0].name]
    config = first.checkpoint.config
    bounds = first.quality().as_dict()["bounds"]
    return {
        "header": header(extras.seed, opened[0].sha256),
        "report": "quantisation",
        "model": {
            "name": opened[0].name,
            "iterations": config.num_hidden_layers,
            "heads": config.num_attention_heads,
            "hidden_size": config.hidden_size,
            "classes": source.classes,
        },
        "data": {
            "source": source.data[0],
            "sha256": source.data[1],
            "task": source.task,
            "sentences": first.sentences,
            "tokens": first.tokens,
        },
        "tensors": {
            short: {
                "rule": rule.text,
                "reads": list(rule.reads),
                "once": made_once(short),
                "fixed_unit": short in FIXED_UNITS,
                "bound_db": least_sqnr(short),
            }
            for short, rule in RULES.items()
        },
        "percentiles": list(PERCENTILES),
        "bounds": bounds | {"clipped": MOST_SATURATED},
        "checkpoints": [_checkpoint(each, compared[each.name], extras) for each in opened],
        "difference": {each.name: _difference(first, compared[each.name]) for each in opened[1:]},
        "ablation": extras.ablation,
    }


def _checkpoint(opened: Opened, side: Compared, extras: Extras) -> dict[str, Any]:
    quality = side.quality()
    metadata = side.checkpoint.metadata
    return {
        "name": opened.name,
        "sha256": opened.sha256,
        "scheme": metadata.get("scheme"),
        "contract": side.checkpoint.contract.differences(),
        "bytes": (opened.folder / TENSOR_FILE).stat().st_size,
        "note": opened.note,
        "agreement": side.agreement,
        "tensors": side.as_dict(),
        "weights": describe_weights(side.checkpoint, side.weights),
        "worst": [
            {
                "tensor": full_name(short, row),
                "short": short,
                "row": row,
                "sqnr_db": round(value, 2),
                "reason": reason(short, row, side.cells),
            }
            for short, row, value, _ in quality.worst()[:WORST]
        ],
        "warnings": quality.warnings(),
        "exits": extras.exits.get(opened.name),
    }


def _difference(first: Compared, other: Compared) -> dict[str, list[float]]:
    """SQNR of the other minus that of the first, dB, of every tensor's cells."""
    return {
        short: [
            round(there.fit.sqnr - here.fit.sqnr, 2)
            for (_, here), (_, there) in zip(first.rows(short), other.rows(short), strict=True)
        ]
        for short in RULES
    }
