"""``elbert bench golden``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elbert import options, policies
from elbert.bundled import BUNDLED
from elbert.progress import bars
from elbert.results import deliver

if TYPE_CHECKING:
    from golden_model.exits import FixedExitPolicy
    from golden_model.integer.checkpoint import IntegerCheckpoint
    from golden_model.integer.model import Sentence

SHAPES = "small:64,base:64,base:128"


def golden(
    shapes: Annotated[
        str, typer.Option(help="PRESET:TOKENS with commas between, random integers; none for none.")
    ] = SHAPES,
    sample: Annotated[
        str, typer.Option(help="Task whose dev sentences run on --model, with --policy; none for none.")
    ] = "sst2",
    limit: Annotated[int, typer.Option(min=1, help="Sentences of the sample.")] = 256,
    model: Annotated[
        Path | None, typer.Option(help="Model folder of the sample; by default the bundled one.")
    ] = None,
    policy: options.PolicyOption = policies.POLICY,
    batch: Annotated[int, typer.Option(min=1, help="Sentences computed together.")] = 16,
    repetitions: Annotated[int, typer.Option(min=1, help="Of every measurement; medians count.")] = 5,
    memory: Annotated[
        bool, typer.Option("--memory", help="Peak memory of each too, in a new process.")
    ] = False,
    kernels: Annotated[
        str, typer.Option(help="auto, fused or plain: the compiled kernels or the plain form.")
    ] = "auto",
    threads: options.ThreadsOption = 1,
    seed: Annotated[int, typer.Option(help="Of integers and tokens.")] = 0,
    quiet: options.QuietOption = False,
    json_file: options.JsonOption = None,
) -> None:
    """Sentences a second of the golden model beside Hugging Face's float32 ALBERT of the same shape."""
    from elbert.show.speed import print_speed
    from golden_model.evaluation.speed import machine_facts
    from golden_model.provenance import header

    options.use_threads(threads)
    wanted = _parse(shapes)
    sha256, mean_exit = None, None
    rows: list[dict[str, Any]] = []
    with bars(quiet)("repetitions", (len(wanted) + (sample != "none")) * (repetitions + 1)) as advance:
        measure = _Measure(batch, repetitions, kernels, memory, lambda: advance(1))
        if sample != "none":
            chosen = policies.choose_policy(policy, model or BUNDLED, "golden").to_fixed()
            row, sha256 = measure.sample(sample, limit, model or BUNDLED, chosen)
            mean_exit = row["mean_exit"]
            rows.append(row)
        rows += [measure.random(preset, length, seed, mean_exit) for preset, length in wanted]
    document = {
        "header": header(seed, sha256),
        "machine": machine_facts(kernels),
        "policy": policy,
        "repetitions": repetitions,
        "shapes": rows,
    }
    deliver(document, json_file, lambda: print_speed(document))


def _parse(shapes: str) -> list[tuple[str, int]]:
    """``small:64,base:128`` to names and lengths; raises ValueError naming the part that is none."""
    from golden_model.config import find_preset

    found = []
    for part in shapes.split(",") if shapes != "none" else ():
        name, _, tokens = part.partition(":")
        most = find_preset(name).max_position_embeddings
        if not tokens.isdecimal() or not 1 <= int(tokens) <= most:
            raise ValueError(f"--shapes {part!r} is not {name}:TOKENS with TOKENS in 1..{most}")
        found.append((name, int(tokens)))
    return found


@dataclass(frozen=True)
class _Measure:
    """What all shapes have in common."""

    batch: int
    repetitions: int
    kernels: str
    memory: bool
    done: Callable[[], None]

    def sample(
        self, task: str, limit: int, model: Path, policy: FixedExitPolicy
    ) -> tuple[dict[str, Any], str]:
        """A row of a task's sentences on a trained model under a policy, and the checkpoint's hash."""
        from golden_model.data.tasks import load_task
        from golden_model.evaluation.backends import GoldenBackend, tokenize

        backend = GoldenBackend(model)
        sentences = tokenize(load_task(task, "dev"), backend)[:limit]
        row = self._row(backend.model.checkpoint, sentences, policy)
        return {"preset": None, "sample": task, **row}, backend.sha256

    def random(self, preset: str, length: int, seed: int, mean_exit: float | None) -> dict[str, Any]:
        """A row of one batch of random sentences; with exits whose mean is the sample's."""
        import torch

        from golden_model.config import find_preset
        from golden_model.evaluation.speed import policy_for_mean_exit
        from golden_model.integer.golden import open_golden
        from golden_model.integer.synthetic import random_checkpoint, random_sentence

        config = find_preset(preset)
        checkpoint = random_checkpoint(config, seed)
        generator = torch.Generator().manual_seed(seed)
        sentences = [random_sentence(config, length, generator) for _ in range(self.batch)]
        policy = None
        if mean_exit is not None:
            policy = policy_for_mean_exit(open_golden(checkpoint, kernels=self.kernels), sentences, mean_exit)
        return {"preset": preset, "sample": None, **self._row(checkpoint, sentences, policy)}

    def _row(
        self, checkpoint: IntegerCheckpoint, sentences: Sequence[Sentence], policy: FixedExitPolicy | None
    ) -> dict[str, Any]:
        from golden_model.evaluation.speed import measure_speed, peak_memory

        peak = None
        if self.memory:
            longest = sorted(sentences, key=lambda sentence: len(sentence[0]))[-self.batch :]
            peak = peak_memory(checkpoint, longest, self.kernels)
        speed = measure_speed(
            checkpoint, sentences, self.batch, policy, self.repetitions, self.kernels, self.done
        )
        return {**asdict(speed), "peak_mib": peak}
