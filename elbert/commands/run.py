"""Commands of the simulation: ``run`` and ``simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elbert import options
from golden_model.results import BUNDLED
from hw.params import parse_array

if TYPE_CHECKING:
    from sim.answers import Answer

DEMO = Path(__file__).parents[1] / "examples.txt"
SHOWN_TEXT = 35
"""Characters of a sentence that its row shows."""
IDLE_REASONS = ("weights", "drain", "softmax", "layernorm", "exit", "fill")
"""Fields of the hardware's counters beside ``active``."""
BACKENDS = ("float", "golden", "rtl")

RunDirOption = Annotated[Path, typer.Option(help="Logs, traces, and waves of a failure go here.")]
ArrayOption = Annotated[str, typer.Option(help="Multiplier array, ROWSxCOLUMNS: 4x4, 8x8, 8x16, 4x32 …")]


def read_sentences(sentences: list[str] | None, file: Path | None, examples: bool = False) -> list[str]:
    """The bundled examples if wanted or if there is nothing else, the arguments, the file's lines.

    Raises:
        ValueError: a sentence is empty.
    """

    def lines(path: Path) -> list[str]:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]

    texts = lines(DEMO) if examples or not (sentences or file) else []
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
    array: ArrayOption = "8x16",
    examples: Annotated[bool, typer.Option(help="Run the bundled examples too.")] = False,
    seed: Annotated[int, typer.Option(help="Of the simulation's undefined values.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Simulations side by side.")] = 2,
    run_dir: RunDirOption = Path("runs/simulation"),
    json_file: options.JsonOption = None,
) -> None:
    """Classifies sentences; with --backend rtl on the simulated accelerator, compared bit for bit."""
    from golden_model import results
    from golden_model.evaluation.evaluate import label_names
    from sim.answers import answer_in_hardware, answer_in_software

    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is not one of {', '.join(BACKENDS)}")
    texts = read_sentences(sentences, file, examples)
    chosen = options.make_policy(policy, delta, window, margin, value_range, patience)
    names = label_names(model)
    if backend == "rtl":
        with _Progress(len(texts) * (1 if policy == "none" else 2)) as progress:
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
    _print_answers(answers, backend)
    mismatches = sum(a.mismatches or 0 for a in answers)
    if json_file is not None:
        document: dict[str, Any] = {
            "header": results.header(seed, sha256),
            "backend": backend,
            "policy": chosen.model_dump(mode="json"),
            "array": array if backend == "rtl" else None,
            "mismatches": mismatches,
            "sentences": [a.as_json() for a in answers],
        }
        results.write_json(json_file, document)
    if mismatches:
        first = next(a.first_mismatch for a in answers if a.first_mismatch)
        raise results.PromiseBroken(f"{mismatches} integers differ from the golden model; the first: {first}")


def _print_answers(answers: list[Answer], backend: str) -> None:
    from golden_model.results import print_table

    columns = ["sentence", "class", "conf.", "exit"]
    hardware = backend == "rtl"
    if hardware:
        columns += ["cycles", "without exit", "saved", "tensors", "integers", "unequal"]
    rows = []
    for a in answers:
        row: list[object] = [
            a.text if len(a.text) <= SHOWN_TEXT else a.text[: SHOWN_TEXT - 1] + "…",
            a.label_name,
            f"{max(a.probabilities):.3f}",
            f"{a.exit_iteration}/{a.iterations}",
        ]
        if hardware:
            assert a.cycles is not None
            assert a.cycles_full is not None
            row += [
                f"{a.cycles:,}",
                f"{a.cycles_full:,}",
                f"{a.cycles_full / a.cycles:.1f}x",
                a.checkpoints,
                f"{a.elements:,}",
                a.mismatches,
            ]
        rows.append(row)
    print_table(f"{len(answers)} sentences, {backend}", columns, rows)
    if not hardware:
        return
    total = sum(a.cycles or 0 for a in answers)
    full = sum(a.cycles_full or 0 for a in answers)
    unequal = sum(a.mismatches or 0 for a in answers)
    tensors, integers = sum(a.checkpoints or 0 for a in answers), sum(a.elements or 0 for a in answers)
    verdict = "all equal" if unequal == 0 else f"{unequal} UNEQUAL"
    typer.echo(
        f"{tensors:,} named tensors, {integers:,} integers compared, golden model to RTL: {verdict}.\n"
        f"{total:,} cycles with exit, {full:,} without: {full / total:.2f}x fewer."
    )


class _Progress:
    """Build phase, then simulated sentences."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._build = self._bar.add_task("building the simulation (minutes, then cached)", total=None)
        self._run = self._bar.add_task("simulating", total=total, start=False)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def built(self) -> None:
        """The build phase is over."""
        self._bar.update(self._build, total=1, completed=1, description="simulation built")
        self._bar.start_task(self._run)

    def advance(self, text: str, mismatches: int) -> None:
        """One more run was simulated and compared."""
        self._bar.advance(self._run)
        verdict = "equal" if mismatches == 0 else f"{mismatches} UNEQUAL"
        self._bar.console.print(f"  {verdict}: {text}", highlight=False, no_wrap=True, overflow="ellipsis")


def parse_lengths(text: str) -> list[int]:
    """``"5,16"`` to [5, 16].

    Raises:
        ValueError: a part is not a number.
    """
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not part.isdecimal():
            raise ValueError(f"length {part!r} in {text!r} is not a number of tokens")
    return [int(part) for part in parts]


def simulate(
    preset: Annotated[str, typer.Option(help="nano, small, base or large.")] = "nano",
    array: ArrayOption = "4x4",
    lengths: Annotated[str, typer.Option(help="Tokens of the sentences, separated by commas.")] = "5,16,1",
    model: Annotated[
        Path | None, typer.Option(help="Model folder, instead of random integers of the preset.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of checkpoint, tokens and undefined values.")] = 1,
    latency: Annotated[int, typer.Option(min=1, help="Of the memory, in cycles.")] = 20,
    stall_mode: Annotated[int, typer.Option(min=0, max=3, help="Of the memory: 0 never, 1 at random …")] = 0,
    fast: Annotated[bool, typer.Option(help="Optimised build, undefined values zero.")] = False,
    watchdog: Annotated[
        int, typer.Option(min=1, help="Cycles after which the hardware drops a sentence.")
    ] = 100_000_000,
    run_dir: RunDirOption = Path("runs/simulation"),
    json_file: options.JsonOption = None,
) -> None:
    """Runs whole sentences of a preset, compares every named tensor, and says where the cycles went."""
    from golden_model import results
    from sim.performance import performance_rows, run_preset

    rows, columns = parse_array(array)
    counts = parse_lengths(lengths)
    report, machine, sha256 = run_preset(
        preset, rows, columns, counts, model=model, seed=seed, latency=latency,
        stall_mode=stall_mode, fast=fast, watchdog=watchdog, run_dir=run_dir,
    )  # fmt: skip
    table = performance_rows(report, machine)
    results.print_table(
        f"{preset}, {array} array: utilisation = products / (multipliers x cycles)",
        ["tokens", "iter.", "cycles", "utilisation", "bound", *IDLE_REASONS, "tensors", "unequal"],
        [
            (
                r["tokens"],
                r["iterations"],
                f"{r['cycles']:,}",
                f"{100 * r['utilisation']:.1f} %",
                f"{100 * r['bound']:.1f} %",
                *(f"{100 * r['idle'][reason] / r['cycles']:.2f} %" for reason in IDLE_REASONS),
                r["checkpoints"],
                r["mismatches"],
            )
            for r in table
        ],
    )
    if json_file is not None:
        document = {
            "header": results.header(seed, sha256),
            "preset": preset,
            "array": array,
            "sentences": table,
        }
        results.write_json(json_file, document)
    if not report.equal:
        first = next((o.comparison.first for o in report.outcomes if o.comparison.first), None)
        waves = [f"waves: {report.waves}"] if report.waves else []
        raise results.PromiseBroken("; ".join([*report.errors, *([str(first)] if first else []), *waves]))


def register(app: typer.Typer) -> None:
    """Adds the simulation's commands to ``app``."""
    app.command("run")(run)
    app.command("simulate")(simulate)
