"""``elbert run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from elbert import options, policies
from elbert.bundled import BUNDLED
from elbert.progress import SimulationProgress
from elbert.results import deliver

EXAMPLES = Path(__file__).parents[1] / "examples.txt"


def read_sentences(sentences: list[str] | None, file: Path | None, examples: bool = False) -> list[str]:
    """The bundled examples if wanted or if there is nothing else, the arguments, the file's lines.

    Raises:
        ValueError: a sentence is empty, or the file is damaged, naming its line.
        OSError: the file can't be read.
    """

    from golden_model.data.lines import read_lines

    def lines(path: Path) -> list[str]:
        return [line for line in read_lines(path) if line.strip()]

    texts = lines(EXAMPLES) if examples or not (sentences or file) else []
    texts += [*(sentences or []), *(lines(file) if file else [])]
    for i, text in enumerate(texts, start=1):
        if not text.strip():
            raise ValueError(f"sentence {i} is empty")
    return texts


def read_pairs(pairs: list[str] | None, file: Path | None, count: int) -> list[str] | None:
    """The second text of each of ``count`` sentences; None where there are none.

    Raises:
        ValueError: there are more or fewer, or one is empty.
        OSError: the file can't be read.
    """
    if pairs is None and file is None:
        return None
    found = read_sentences(pairs, file)
    if len(found) != count:
        raise ValueError(f"{len(found)} second texts for {count} sentences")
    return found


def run(
    sentences: Annotated[
        list[str] | None, typer.Argument(help="Sentences; the bundled examples by default.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Text file, a sentence a line; .gz and .xz too.")] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(help="For a model of pairs: the second text, once for each sentence, in their order."),
    ] = None,
    pair_file: Annotated[
        Path | None, typer.Option(help="Text file of the second texts, a line each.")
    ] = None,
    backend: Annotated[str, typer.Option(help="float, golden or rtl.")] = "golden",
    model: Annotated[Path, typer.Option(help="Model folder, with float/ and integer/ in it.")] = BUNDLED,
    policy: options.PolicyOption = policies.POLICY,
    delta: options.DeltaOption = policies.DELTA,
    window: options.WindowOption = policies.WINDOW,
    margin: options.MarginOption = policies.MARGIN,
    value_range: options.RangeOption = policies.RANGE,
    patience: options.PatienceOption = policies.PATIENCE,
    answer_first: options.AnswerFirstOption = True,
    array: options.ArrayOption = "8x16",
    examples: Annotated[bool, typer.Option(help="Run the bundled examples too.")] = False,
    seed: Annotated[int, typer.Option(help="Of the simulation's undefined values.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Simulations side by side.")] = 2,
    device: options.DeviceOption = "cpu",
    threads: options.ThreadsOption = None,
    run_dir: options.RunDirOption = Path("runs/simulation"),
    json_file: options.JsonOption = None,
) -> None:
    """Classifies sentences; with --backend rtl on the simulated accelerator, compared bit for bit."""
    from elbert.hints import hint_policy, hint_truncated
    from elbert.model import BACKENDS, Simulation, load
    from elbert.show.answers import print_answers
    from golden_model.errors import PromiseBroken
    from golden_model.provenance import header

    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is not one of {', '.join(BACKENDS)}")
    options.use_threads(threads)
    texts = read_sentences(sentences, file, examples)
    pairs = read_pairs(pair, pair_file, len(texts))
    chosen = policies.choose_policy(
        policy,
        model,
        backend,
        delta=delta,
        window=window,
        margin=margin,
        value_range=value_range,
        patience=patience,
    )
    opened = load(model, device)
    hint_policy(chosen, opened.backend(backend).config.num_hidden_layers)
    if backend == "rtl":
        with SimulationProgress(len(texts) * (1 if chosen.mode.name == "none" else 2)) as progress:
            simulation = Simulation(
                array=array,
                workers=workers,
                seed=seed,
                run_dir=run_dir,
                check=False,
                on_build=progress.built,
                on_progress=progress.advance,
            )
            answers = opened.classify(texts, pairs, policy=chosen, backend=backend, simulation=simulation)
    else:
        answers = opened.classify(texts, pairs, policy=chosen, backend=backend, answer_first=answer_first)
    runs = [answer.hardware for answer in answers if answer.hardware is not None]
    mismatches = sum(hardware.mismatches for hardware in runs)
    promise = policies.promise_of(chosen, policy, model, backend)
    document: dict[str, Any] = {
        "header": header(seed, opened.sha256(backend)),
        "backend": backend,
        "policy": chosen.model_dump(mode="json"),
        "certified": promise,
        "classes": opened.id2label,
        "array": array if backend == "rtl" else None,
        "mismatches": mismatches,
        "sentences": [answer.as_json() for answer in answers],
    }
    deliver(document, json_file, lambda: print_answers(answers, backend, promise))
    hint_truncated(sum(a.truncated for a in answers), len(answers), opened.config.max_position_embeddings)
    if mismatches:
        first = next(hardware.first_mismatch for hardware in runs if hardware.first_mismatch)
        raise PromiseBroken(f"{mismatches} integers differ from the golden model; the first: {first}")
