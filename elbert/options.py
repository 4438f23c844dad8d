"""Command-line options that several commands share: exit policy, data, geometry, training, output."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elbert.outputs import check_files
from golden_model.config import PRESETS, ElbertConfig, find_preset


def _not_a_folder(path: Path | None) -> Path | None:
    check_files(json=path)
    return path


PolicyOption = Annotated[
    str,
    typer.Option(
        "--policy",
        help="none, entropy, entropy_raw, patience, bias_1, bias_2 or bias_3; certified, or a certificate's "
        "FILE.json: the thresholds that calibrate-exits chose.",
    ),
]
DeltaOption = Annotated[float, typer.Option(help="Stage 1: exit below this entropy; 0 switches it off.")]
WindowOption = Annotated[int, typer.Option(help="N: iterations in the confidence window.")]
MarginOption = Annotated[float, typer.Option(help="m: distance from 0.5 that counts as one side.")]
RangeOption = Annotated[float, typer.Option("--range", help="r: most that bias_3 lets the window vary.")]
PatienceOption = Annotated[int, typer.Option(help="Iterations that must repeat the answer (PABEE).")]
TextColumnOption = Annotated[str | None, typer.Option("--text-column", help="Column of the text.")]
PairColumnOption = Annotated[str | None, typer.Option("--pair-column", help="Column of a second text.")]
LabelColumnOption = Annotated[str | None, typer.Option("--label-column", help="Column of the class.")]
HeaderOption = Annotated[bool, typer.Option(help="Whether tables begin with column names.")]
EncodingOption = Annotated[str, typer.Option(help="Encoding of the tables.")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Only the first so many rows.")]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of PyTorch.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
JsonOption = Annotated[
    Path | None,
    typer.Option("--json", callback=_not_a_folder, help="Write the result here, for machines."),
]

AnswerFirstOption = Annotated[
    bool,
    typer.Option(
        "--answer-first/--no-answer-first",
        help="Answer from [CLS] before the other rows are computed: the same answers, fewer multiply-adds.",
    ),
]
RunDirOption = Annotated[Path, typer.Option(help="Logs, traces, and waves of a failure go here.")]
ArrayOption = Annotated[str, typer.Option(help="Multiplier array, ROWSxCOLUMNS: 4x4, 8x8, 8x16, 4x32 …")]
BandwidthOption = Annotated[str, typer.Option(help="Of the memory, in bytes a cycle: 0.5, 4.3 …, unlimited.")]
LatencyOption = Annotated[int, typer.Option(help="Of the memory, in cycles.")]

PresetOption = Annotated[str, typer.Option(help=f"Geometry: {', '.join(PRESETS)}.")]
ConfigOption = Annotated[Path | None, typer.Option(help="A config.json instead of the preset.")]

EpochsOption = Annotated[float, typer.Option(help="Times over the data.")]
MaxStepsOption = Annotated[int | None, typer.Option(help="Steps in all, instead of epochs.")]
BatchSizeOption = Annotated[int, typer.Option(help="Samples a step, over all processes.")]
LearningRateOption = Annotated[
    float, typer.Option(help="The highest: it rises over the first 6 % of the steps, then falls to 0.")
]
AutocastOption = Annotated[str, typer.Option(help="none or bfloat16.")]
MaxLengthOption = Annotated[int | None, typer.Option(help="Tokens; by default the geometry's longest.")]
SeedOption = Annotated[int, typer.Option(help="Of fresh weights and of the order of the samples.")]
EvaluateEveryOption = Annotated[int, typer.Option(help="Steps between evaluations.")]
SaveEveryOption = Annotated[int, typer.Option(help="Steps between saves.")]
StopAfterOption = Annotated[int | None, typer.Option(help="Pause after this many steps in all.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")]


def read_config(preset: str, file: Path | None) -> ElbertConfig:
    """The geometry of a preset, or of a Hugging Face ``config.json``; raises ValueError for neither."""
    if file is not None:
        return ElbertConfig.from_json(file)
    return find_preset(preset)


def use_threads(count: int | None) -> None:
    """Has PyTorch compute with so many threads; None: as many as it chooses."""
    if count is not None:
        import torch

        torch.set_num_threads(count)
