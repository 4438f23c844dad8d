"""The study: every peer on the same sentences, row by row; then the operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from golden_model.data.tables import TextDataset, Texts
from golden_model.documents import first_line
from golden_model.exits import ExitPolicy
from golden_model.files import sha256_of
from golden_model.float.albert import load_float
from golden_model.float.weights import stored_sha256
from golden_model.integer.checkpoint import TENSOR_FILE, IntegerCheckpoint
from golden_model.labels import read_label_names
from golden_model.progress import Bars, silent
from golden_model.provenance import header
from quant.samples import choose_samples
from quant.studies.peers.defaults import BATCH, PEERS, REPETITIONS, SAMPLES, TIMED
from quant.studies.peers.measure import answers, speed
from quant.studies.peers.operators import OPERATORS, compare_operators
from quant.studies.peers.others import LINE_UP
from quant.studies.peers.peer import Model, Peer, Ready
from quant.studies.peers.store import Store
from quant.studies.peers.work import Work, make_work

REFERENCE = PEERS[0]
INSTALL = "pip install 'elbert-fpga[peers]', in a checkout make setup-peers"


@dataclass(frozen=True)
class Options:
    """How the study measures.

    Members:
        peers: Names, of ``PEERS``.
        batch: Sentences computed together.
        timed: Sentences that are timed.
        repetitions: Of the timing.
        samples: Calibration sentences.
        seed: Chooses them.

    Raises:
        ValueError: a peer is not known, or a number below 1.
    """

    peers: tuple[str, ...] = PEERS
    batch: int = BATCH
    timed: int = TIMED
    repetitions: int = REPETITIONS
    samples: int = SAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the members."""
        for name in self.peers:
            if name not in PEERS:
                raise ValueError(f"peer {name!r} is not one of {', '.join(PEERS)}")
        for name in ("batch", "timed", "repetitions", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is below 1")


def study(
    float_folder: Path,
    integer_folder: Path | None,
    data: TextDataset,
    calibration: Texts | TextDataset,
    policy: ExitPolicy,
    options: Options,
    folder: Path,
    bars: Bars = silent,
    say: Callable[[str], None] = lambda note: None,
) -> dict[str, Any]:
    """Measures every peer and compares the operators.

    Args:
        float_folder: The checkpoint that everybody quantises.
        integer_folder: Its integer form; None: the golden model's rows and the operators say that there is
            none.
        data: Labelled sentences.
        calibration: Texts to calibrate on, none of ``data``.
        policy: Under which the golden model's sentences leave, in the row with exits.
        options: How to measure.
        folder: Rows are kept in its ``rows``.
        bars: Shows progress.
        say: Told of kept rows that are not taken.

    Returns:
        JSON-able: header, data, calibration, options, threads, samples, iterations, ``rows`` (one per peer; a
        peer that could not be measured has ``error``, which names the missing package or the failure) and
        ``operators``.

    Raises:
        ValueError: the data's classes are not the model's, or there is nothing to run or to calibrate on.
    """
    elbert, tokenizer, config = load_float(float_folder)
    names = read_label_names(float_folder, config.num_labels)
    labels = data.relabelled(names, config.num_labels).labels
    longest = config.max_position_embeddings
    chosen = choose_samples(len(calibration), options.samples, options.seed)
    sentences = tokenizer.encode_many(data.texts, longest, data.pairs)
    watched = tokenizer.encode_many(
        [calibration.texts[i] for i in chosen],
        longest,
        None if calibration.pairs is None else [calibration.pairs[i] for i in chosen],
    )
    threads = torch.get_num_threads()
    work = make_work(sentences, labels, watched, tokenizer.pad_id, options.batch, options.timed, threads)
    model = Model(float_folder, integer_folder, policy)
    facts: dict[str, Any] = {
        "float_sha256": stored_sha256(float_folder),
        "integer_sha256": None if integer_folder is None else sha256_of(integer_folder / TENSOR_FILE),
        "data_sha256": data.sha256,
        "samples": len(data),
        "calibration_sha256": calibration.sha256,
        "options": {key: value for key, value in asdict(options).items() if key != "peers"},
        "policy": policy.model_dump(),
        "threads": threads,
    }
    store = Store(folder / "rows", facts, say)
    reference = LINE_UP[REFERENCE].make(model, work)
    with bars("float32 answers", len(data)) as progress:
        expected = answers(reference, work, progress)
    rows = [
        store.row(
            name,
            versions(LINE_UP[name]),
            partial(_row, LINE_UP[name], model, work, reference, expected, options, bars),
        )
        for name in options.peers
    ]
    found = store.row(
        "operators", {}, lambda: _operators(elbert, integer_folder, watched, bars, config.num_hidden_layers)
    )
    return {
        "header": header(options.seed, facts["float_sha256"]),
        **{key: facts[key] for key in ("integer_sha256", "samples", "options", "policy", "threads")},
        "data": {"source": data.source, "sha256": data.sha256},
        "calibration": {"source": calibration.source, "sha256": calibration.sha256, "sentences": len(chosen)},
        "iterations": config.num_hidden_layers,
        "float_accuracy": _accuracy(expected, work.labels),
        "rows": rows,
        "operators": found,
    }


def versions(peer: Peer) -> dict[str, str | None]:
    """Of a peer's packages; None for one that is not installed."""
    found: dict[str, str | None] = {}
    for package in peer.packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def _row(
    peer: Peer,
    model: Model,
    work: Work,
    reference: Ready,
    expected: Tensor,
    options: Options,
    bars: Bars,
) -> dict[str, Any]:
    """A peer's row; whatever fails in other people's packages is said in it."""
    known = versions(peer)
    row: dict[str, Any] = {"name": peer.name, "title": peer.title, "packages": known, "error": None}
    missing = [name for name, version in known.items() if version is None]
    if missing:
        return row | {"error": f"{missing[0]} is not installed: {INSTALL}"}
    try:
        ready = peer.make(model, work)
        sentences = len(work.labels) + (options.repetitions + 1) * work.timed_sentences
        with bars(peer.title, sentences) as progress:
            found = answers(ready, work, progress)
            rates = speed(ready, reference, work, options.repetitions, progress)
    except Exception as error:
        return row | {"error": f"{type(error).__name__}: {first_line(error)}"}
    accuracy = _accuracy(found, work.labels)
    return row | {
        "accuracy": accuracy,
        "points_lost": 100 * (_accuracy(expected, work.labels) - accuracy),
        "agreement": _accuracy(found, expected),
        "bytes": ready.bytes,
        "bytes_ratio": ready.bytes / reference.bytes,
        **rates,
        "integers": ready.integers,
        "reason": ready.reason,
        "facts": ready.facts,
    }


def _operators(
    elbert: Any, integer_folder: Path | None, watched: Sequence[Any], bars: Bars, iterations: int
) -> dict[str, Any]:
    if integer_folder is None:
        return {"error": "there is no integer checkpoint, whose scales say what the operators read"}
    checkpoint = IntegerCheckpoint.load(integer_folder)
    with bars("operators", len(OPERATORS) * iterations) as progress:
        try:
            return {"error": None, **compare_operators(elbert, checkpoint, watched, progress)}
        except ValueError as error:
            return {"error": str(error)}


def _accuracy(found: Tensor, wanted: Tensor) -> float:
    return float((found == wanted).double().mean())


def table_of(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The measured rows of a result."""
    return [row for row in result["rows"] if row["error"] is None]
