"""Whole sentences through the simulated accelerator, compared with the golden model."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from golden_model.exits import ExitMode, FixedExitPolicy
from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.model import GoldenModel, Sentence, SentenceResult, Trace
from hw.accelerator import Accelerator
from hw.cycles.memory import MemoryTiming
from hw.emit import to_verilog
from hw.engine.engine import TRACES
from hw.image import Image, build_image
from hw.params import Machine
from sim.agents.activity import ACTIVITY_ARGUMENT, ACTIVITY_FILE, Activity, read_activity, with_activity
from sim.agents.system import memory_plusargs, system_sources
from sim.agents.trace import read_trace
from sim.build import BuildOptions, build
from sim.checker import Checker, Comparison
from sim.driver import policy_settings
from sim.ecp5 import ECP5_CELLS
from sim.run import BenchResult, run_bench
from sim.watchdog import default_watchdog

MEMORY_SLACK = 1 << 12
LEAST_MEMORY = 1 << 20
"""Bytes; so that all small images of a machine share one build, whatever their sentences and checkpoints."""
DEFAULT_MEMORY = MemoryTiming()
BENCH = "sim.benches.machine_bench"
_IMAGE, _RESULTS = "image.bin", "results.jsonl"
"""Files in the simulator's working folder, named to it without that folder's path: Verilog's file names are
bounded in length."""
NO_EXIT = FixedExitPolicy(mode=ExitMode.none)


@dataclass(frozen=True)
class Job:
    """One sentence to run: tokens and policy, and its model where it is not the run's."""

    sentence: Sentence
    policy: FixedExitPolicy = NO_EXIT
    checkpoint: IntegerCheckpoint | None = None


@dataclass(frozen=True)
class Outcome:
    """One sentence's results: what the registers say, what the golden model says, how they compare."""

    registers: dict[str, Any]
    golden: SentenceResult
    comparison: Comparison

    @property
    def cycles(self) -> int:
        """Cycles from start to done."""
        return int(self.registers["cycles"])


@dataclass(frozen=True)
class Report:
    """A run: its outcomes (fewer than jobs if it broke off) and what the simulator says of it."""

    outcomes: list[Outcome]
    bench: BenchResult
    errors: list[str] = field(default_factory=list)
    waves: Path | None = None
    """VCD of the repeated failure."""
    activity: dict[int, Activity] = field(default_factory=dict)
    """By sentence, where it was asked for."""
    folder: Path | None = None
    """The run's own, below ``run_dir``: log, image, traces, waves; None, and no waves, where it is gone."""

    @property
    def equal(self) -> bool:
        """Every sentence ran and no integer differed."""
        return (
            self.bench.passed and not self.errors and all(o.comparison.mismatches == 0 for o in self.outcomes)
        )


@functools.lru_cache(maxsize=4)
def accelerator_verilog(machine: Machine) -> str:
    """Verilog of the accelerator as module ``accelerator``."""
    return to_verilog(Accelerator(machine), "accelerator")


def accelerator_system(machine: Machine, memory_bytes: int) -> dict[str, str]:
    """Sources of the simulated system: accelerator, memory, trace monitors, the technology's cells."""
    sources = system_sources(accelerator_verilog(machine), "accelerator", memory_bytes=memory_bytes)
    return sources | (ECP5_CELLS if machine.technology == "ecp5" else {})


def image_settings(image: Image, sentence: int) -> dict[str, int]:
    """The base registers for a sentence of an image."""
    return {
        "TOKENS_BASE": image.tokens[sentence],
        "EMBEDDING_BASE": image.embedding,
        "POSITION_BASE": image.position,
        "LAYER_BASE": image.layer,
        "PARAMETERS_BASE": image.parameters,
        "EMBEDDING_LAYER_BASE": image.embedding_layer,
    }


def memory_size(image: Image) -> int:
    """Simulated memory for an image: a power of two, ``LEAST_MEMORY`` or more; images share builds by it."""
    return memory_size_for(len(image.contents))


def memory_size_for(used: int) -> int:
    """Likewise, for so many bytes."""
    return max(LEAST_MEMORY, 1 << (used + MEMORY_SLACK - 1).bit_length())


def lay_out(
    checkpoint: IntegerCheckpoint, machine: Machine, jobs: Sequence[Job]
) -> tuple[bytes, list[dict[str, int]]]:
    """Memory contents, an image per checkpoint one behind the other, and the base registers of every job."""
    models = [job.checkpoint or checkpoint for job in jobs]
    contents, bases = b"", [{} for _ in jobs]  # type: tuple[bytes, list[dict[str, int]]]
    for model in {id(model): model for model in models}.values():
        numbers = [number for number, used in enumerate(models) if used is model]
        image = build_image(model, machine, [jobs[number].sentence for number in numbers])
        for place, number in enumerate(numbers):
            own = image_settings(image, place)
            bases[number] = {name: base + len(contents) for name, base in own.items()}
        contents += image.contents
    return contents, bases


def job_settings(machine: Machine, job: Job, bases: dict[str, int], watchdog: int) -> dict[str, int]:
    """Registers of one sentence."""
    return {
        "LENGTH": len(job.sentence[0]),
        "ITERATIONS": machine.model.num_hidden_layers,
        **policy_settings(job.policy),
        **bases,
        "WATCHDOG": watchdog,
    }


def simulate(
    machine: Machine,
    checkpoint: IntegerCheckpoint,
    jobs: Sequence[Job],
    *,
    seed: int = 1,
    memory: MemoryTiming = DEFAULT_MEMORY,
    stall_mode: int = 0,
    fast: bool = False,
    watchdog: int | None = None,
    timeout_s: float = 1200.0,
    waves_on_failure: bool = True,
    run_dir: Path | None = None,
    sources: dict[str, str] | None = None,
    image: Image | None = None,
    overrides: dict[str, int] | None = None,
    on_sentence: Callable[[int, Outcome], None] | None = None,
    activity: bool = False,
) -> Report:
    """Runs the jobs on the simulated accelerator and compares every named tensor with the golden model.

    Args:
        machine: with ``trace``.
        checkpoint: of the machine's geometry; of every job that brings none of its own.
        jobs: the sentences.
        seed: of undefined values in the simulation.
        memory: latency and bandwidth of the memory.
        stall_mode: of the memory, see sim/agents/axi_memory.v.
        fast: optimised build whose undefined values are zero.
        watchdog: cycles after which a sentence ends with error WATCHDOG; by default more than any takes.
        timeout_s: wall-clock limit of the simulation.
        waves_on_failure: a failed run is repeated with waves.
        run_dir: folder in which the run makes one of its own, for log, traces and waves. That stays only
            where not all was equal; without ``run_dir`` it never does.
        sources: replaces the generated Verilog (fault planting).
        image: replaces the generated memory image (fault planting).
        overrides: registers written with other values than the jobs say (fault planting).
        on_sentence: called as soon as a sentence was simulated and compared, with its number.
        activity: record what array and bus did when.

    Raises:
        ValueError: a job is longer than the machine allows, or the geometries differ.
    """
    if not machine.trace:
        raise ValueError("machine.trace is False; the comparison needs the trace ports")
    if image:
        contents, bases = image.contents, [image_settings(image, number) for number in range(len(jobs))]
    else:
        contents, bases = lay_out(checkpoint, machine, jobs)
    if watchdog is None:
        watchdog = default_watchdog(machine, memory, stall_mode)
    settings = [
        job_settings(machine, job, base, watchdog) | (overrides or {})
        for job, base in zip(jobs, bases, strict=True)
    ]
    sources = sources or accelerator_system(machine, memory_size_for(len(contents)))
    if activity:
        sources = with_activity(sources)
    # What is not fast is short: the compiler's time counts, see BuildOptions.
    options = BuildOptions(fast=True, optimize=3) if fast else BuildOptions(optimize=0)
    build(sources, top="system", options=options)  # what does not build leaves no folder
    with _private_folder(run_dir) as folder:
        (folder / _IMAGE).write_bytes(contents)
        collector = _Collector(machine, checkpoint, jobs, folder, on_sentence)
        with collector:
            bench = run_bench(
                sources=sources,
                top="system",
                test_module=BENCH,
                test_args={"jobs": settings, "results": _RESULTS, "stall_mode": stall_mode},
                seed=seed,
                timeout_s=timeout_s,
                waves_on_failure=waves_on_failure,
                build_options=options,
                plusargs=[
                    f"+axi_image={_IMAGE}",
                    *memory_plusargs(memory),
                    *(f"+{name}_file={name}.bin" for name in TRACES),
                    *([ACTIVITY_ARGUMENT] if activity else []),
                ],
                run_dir=folder,
                check=False,
            )
        errors = [f"{name}: {message}" for name, message in bench.failures]
        if bench.passed and len(collector.outcomes) != len(jobs):
            errors.append(f"{len(collector.outcomes)} of {len(jobs)} sentences have results")
        unequal = next((i for i, o in enumerate(collector.outcomes) if o.comparison.mismatches), None)
        waves = bench.waves
        if unequal is not None and waves_on_failure:
            waves = _repeat_with_waves(
                sources, folder, settings[unequal], stall_mode, seed, memory, timeout_s
            )
        done = read_activity(folder / ACTIVITY_FILE) if activity else {}
        report = Report(collector.outcomes, bench, errors, waves, done, folder)
        if report.equal or run_dir is None:
            shutil.rmtree(folder)
            gone = dataclasses.replace(bench, log=None, run_dir=None, waves=None)
            report = Report(collector.outcomes, gone, errors, activity=done)
        return report


@contextlib.contextmanager
def _private_folder(parent: Path | None) -> Iterator[Path]:
    """A new folder, below ``parent`` or among the system's temporary ones; an interrupt removes it.

    So two simulations never meet, whatever ``parent`` they were given.
    """
    if parent is not None:
        parent = Path(parent).absolute()
        parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
    try:
        yield folder
    except BaseException as error:
        if parent is None or not isinstance(error, Exception):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            error.add_note(f"the run's files: {folder}")
        raise


def _repeat_with_waves(
    sources: dict[str, str],
    folder: Path,
    job: dict[str, int],
    stall_mode: int,
    seed: int,
    memory: MemoryTiming,
    timeout_s: float,
) -> Path | None:
    """Runs one sentence again, with a VCD beside the first run's files; its path."""
    again = folder / "waves"
    again.mkdir(exist_ok=True)
    run_bench(
        sources=sources,
        top="system",
        test_module=BENCH,
        test_args={"jobs": [job], "results": _RESULTS, "stall_mode": stall_mode},
        seed=seed,
        timeout_s=timeout_s,
        waves_on_failure=False,
        build_options=BuildOptions(trace=True, optimize=0),  # one sentence: the build is most of it
        plusargs=[
            f"+axi_image=../{_IMAGE}",
            *memory_plusargs(memory),
            "--trace-file",
            "waves.vcd",
        ],
        run_dir=again,
        check=False,
    )
    return again / "waves.vcd" if (again / "waves.vcd").exists() else None


class _Collector:
    """Compares sentences while the simulation goes on with the next."""

    def __init__(self, machine, checkpoint, jobs, folder, on_sentence) -> None:  # type: ignore[no-untyped-def]
        self.checkpoint = checkpoint
        self.checker = Checker(machine)
        self.jobs, self.folder, self.on_sentence = jobs, folder, on_sentence
        self.results = folder / _RESULTS
        self.outcomes: list[Outcome] = []
        self.failure: BaseException | None = None
        self._stop = threading.Event()
        self._given_up = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> _Collector:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._given_up = exception[0] is not None
        self._stop.set()
        self._thread.join()
        if self.failure and exception[0] is None:
            raise self.failure

    def _lines(self) -> list[dict[str, Any]]:
        if not self.results.exists():
            return []
        text = self.results.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def _work(self) -> None:
        try:
            while True:
                stopping = self._stop.is_set()
                for number, registers in enumerate(self._lines()):
                    if self._given_up:
                        return
                    if number >= len(self.outcomes) and registers["error"] == "NONE":
                        self._compare(number, registers)
                if stopping:
                    return
                self._stop.wait(0.2)
        except BaseException as error:  # handed to the main thread
            self.failure = error

    def _compare(self, number: int, registers: dict[str, Any]) -> None:
        job = self.jobs[number]
        # the accelerator computes all rows in all iterations
        model = GoldenModel(job.checkpoint or self.checkpoint)
        [golden] = model.run([job.sentence], job.policy, trace=Trace(), answer_first=False)
        traces = {name: read_trace(self.folder / f"{name}.bin") for name in TRACES}
        outcome = Outcome(registers, golden, self.checker.compare(number, golden, traces, registers))
        self.outcomes.append(outcome)
        if self.on_sentence:
            self.on_sentence(number, outcome)
