"""``elbert run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from elbert import options
from elbert.bundled import BUNDLED
from elbert.progress import SimulationProgress
from elbert.results import deliver
from hw.params import parse_array

EXAMPLES = Path(__file__).parents[1] / "examples.txt"
BACKENDS = ("float", "golden", "rtl")


def read_sentences(sentences: list[str] | None, file: Path | None, examples: bool = False) -> list[str]:
    """The bundled examples if wanted or if there is nothing else, the arguments, the file's lines.

    Raises:
        ValueError: a sentence is empty.
    """

    def lines(path: Path) -> list[str]:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]

    texts = lines(EXAMPLES) if examples or not (sentences or file) else []
    texts += [*(sentences or []), *(lines(file) if file else [])]
    for i, text in enumerate(texts):
        if not text.strip():
            raise ValueError(f"sentence {i} is empty")
    return texts


def run(
    sentences: Annotated[
        list[str] | None, typer.Argument(help="Sentences; the bundled examples by default.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Text file, one sentence a line.")] = None,
    backend: Annotated[str, typer.Option(help="float, golden or rtl.")] = "golden",
    model: Annotated[Path, typer.Option(help="Model folder, with float/ and integer/ in it.")] = BUNDLED,
    policy: options.PolicyOption = "bias_1",
    delta: options.DeltaOption = options.DELTA,
    window: options.WindowOption = options.WINDOW,
    margin: options.MarginOption = options.MARGIN,
    value_range: options.RangeOption = options.RANGE,
    patience: options.PatienceOption = options.PATIENCE,
    array: options.ArrayOption = "8x16",
    examples: Annotated[bool, typer.Option(help="Run the bundled examples too.")] = False,
    seed: Annotated[int, typer.Option(help="Of the simulation's undefined values.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Simulations side by side.")] = 2,
    threads: options.ThreadsOption = None,
    run_dir: options.RunDirOption = Path("runs/simulation"),
    json_file: options.JsonOption = None,
) -> None:
    """Classifies sentences; with --backend rtl on the simulated accelerator, compared bit for bit."""
    from elbert.show.answers import print_answers
    from golden_model.errors import PromiseBroken
    from golden_model.evaluation.backends import label_names
    from golden_model.provenance import header
    from sim.answers import answer_in_hardware, answer_in_software

    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is not one of {', '.join(BACKENDS)}")
    options.use_threads(threads)
    texts = read_sentences(sentences, file, examples)
    chosen = options.make_policy(policy, delta, window, margin, value_range, patience)
    names = label_names(model)
    if backend == "rtl":
        with SimulationProgress(len(texts) * (1 if policy == "none" else 2)) as progress:
            answers, sha256 = answer_in_hardware(
                model,
                parse_array(array),
                texts,
                chosen,
                names,
                seed=seed,
                workers=workers,
                run_dir=run_dir,
                on_build=progress.built,
                on_progress=progress.advance,
            )
    else:
        answers, sha256 = answer_in_software(backend, model, texts, chosen, names)
    mismatches = sum(a.mismatches or 0 for a in answers)
    document: dict[str, Any] = {
        "header": header(seed, sha256),
        "backend": backend,
        "policy": chosen.model_dump(mode="json"),
        "array": array if backend == "rtl" else None,
        "mismatches": mismatches,
        "sentences": [a.as_json() for a in answers],
    }
    deliver(document, json_file, lambda: print_answers(answers, backend))
    if mismatches:
        first = next(a.first_mismatch for a in answers if a.first_mismatch)
        raise PromiseBroken(f"{mismatches} integers differ from the golden model; the first: {first}")
