"""Checkpoints run beside their float model: a :class:`Cell` for every named tensor and iteration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.checkpoint import MATMULS, IntegerCheckpoint
from golden_model.integer.golden import open_golden
from golden_model.integer.model import GoldenModel, Sentence, Trace
from golden_model.integer.scales import input_name, named_tensors, short_name
from golden_model.progress import Progress
from quant.quality import ANSWERS, Quality, full_name, weight_sqnr
from quant.report.quantisation.cells import Cell, Grid
from quant.report.quantisation.fresh import iteration_alone
from quant.report.quantisation.reasons import below_bound, reason
from quant.report.quantisation.rules import RULES, made_once
from quant.schemes import Scheme
from quant.trace import trace_float


@dataclass
class Compared:
    """A checkpoint after its run.

    Members:
        checkpoint: What ran.
        cells: By full name, in the order of the computation.
        equal: Sentences with the float model's answer, per iteration.
        sentences, tokens: What was run.
        weights: SQNR of every stored weight, dB.
    """

    checkpoint: IntegerCheckpoint
    cells: dict[str, Cell]
    equal: list[int]
    sentences: int
    tokens: int
    weights: dict[str, float]

    @property
    def iterations(self) -> int:
        return self.checkpoint.config.num_hidden_layers

    @property
    def agreement(self) -> list[float]:
        """Share of sentences with the float model's answer, per iteration."""
        return [count / self.sentences for count in self.equal]

    def rows(self, short: str) -> Iterator[tuple[int, Cell]]:
        """(row, cell) of a tensor; row r is iteration r + 1, and the embedding's have row 0 alone."""
        for row in range(1 if made_once(short) else self.iterations):
            yield row, self.cells[full_name(short, row)]

    def quality(self) -> Quality:
        """The same as ``quality.measure`` reports: its bounds and warnings."""
        found = Quality(self.sentences, self.tokens, agreement=self.agreement, weights=self.weights)
        scheme = Scheme.from_dict(self.checkpoint.metadata.get("scheme", {}))
        found.weight_bits = min(scheme.weights(name).weight_bits for name in MATMULS)
        for short in RULES:
            cells = [cell for _, cell in self.rows(short)]
            found.sqnr[short] = [cell.fit.sqnr for cell in cells]
            found.error[short] = [cell.fit.error for cell in cells]
            found.saturated[short] = [cell.fit.share_saturated for cell in cells]
            found.used[short] = [cell.used for cell in cells]
        return found

    def as_dict(self) -> dict[str, Any]:
        """For JSON: a tensor's cells, in the order of the iterations."""
        return {
            short: [
                cell.as_dict()
                | {"below_bound": below_bound(short, cell), "reason": reason(short, row, self.cells)}
                for row, cell in self.rows(short)
            ]
            for short in RULES
        }


def compare(
    model: ElbertForSequenceClassification,
    checkpoints: Mapping[str, IntegerCheckpoint],
    sentences: Sequence[Sentence],
    progress: Progress | None = None,
) -> dict[str, Compared]:
    """Runs sentences, one by one and in all iterations, through the float model and every checkpoint.

    Every iteration is run a second time, alone, on the float model's own hidden state rounded to its grid:
    what it loses then it has made itself. Memory holds one sentence's tensors and, per cell, sums and two
    histograms.

    Args:
        model: What the checkpoints were calibrated from; computed in float64, not changed.
        checkpoints: By a name each; of the model's geometry, with their scales.
        sentences: Of the model's vocabulary.
        progress: Told how many more sentences are done.

    Raises:
        ValueError: there are no sentences; a checkpoint is of another geometry or lacks a scale; the float
            model computes something that is not finite. The message names what.
    """
    if not sentences:
        raise ValueError("the reasons of a quantisation are measured on at least one sentence")
    for name, checkpoint in checkpoints.items():
        check_geometry(name, checkpoint, model)
    names = [name for name in named_tensors(model.config) if short_name(name) not in ANSWERS]
    labels = [f"iteration.{i}.exit.label" for i in range(1, model.config.num_hidden_layers + 1)]
    tokens = sum(len(ids) for ids, _ in sentences)
    sides = {
        name: Compared(
            checkpoint,
            {tensor: Cell(Grid.of(checkpoint, tensor)) for tensor in names},
            [0] * len(labels),
            len(sentences),
            tokens,
            weight_sqnr(model, checkpoint),
        )
        for name, checkpoint in checkpoints.items()
    }
    golden = {name: open_golden(checkpoint) for name, checkpoint in checkpoints.items()}
    plain = {name: GoldenModel(checkpoint) for name, checkpoint in checkpoints.items()}
    for number, (sentence, real) in enumerate(zip(sentences, trace_float(model, sentences), strict=True)):
        for name, side in sides.items():
            (result,) = golden[name].run([sentence], trace=Trace(), answer_first=False)
            for tensor, cell in side.cells.items():
                try:
                    cell.add(real[tensor], result.taps[tensor])
                except ValueError as error:
                    raise ValueError(f"{tensor} of the float model, sentence {number}: {error}") from error
            _add_fresh(plain[name], side.cells, real)
            for row, label in enumerate(labels):
                side.equal[row] += int(real[label]) == int(result.taps[label])
        if progress is not None:
            progress(1)
    return sides


def _add_fresh(golden: GoldenModel, cells: Mapping[str, Cell], real: Mapping[str, Tensor]) -> None:
    """What every iteration makes of the float model's input to it."""
    for iteration in range(1, golden.config.num_hidden_layers + 1):
        source = input_name(iteration)
        exact = cells[source].grid.nearest(real[source])
        for tensor, integers in iteration_alone(golden, iteration, exact):
            cells[tensor].add_fresh(real[tensor], integers)


def check_geometry(name: str, checkpoint: IntegerCheckpoint, model: ElbertForSequenceClassification) -> None:
    """Raises ValueError where a checkpoint cannot come from the float model, naming the first difference."""
    own, wanted = checkpoint.config.model_dump(), model.config.model_dump()
    for key, value in wanted.items():
        if own[key] != value:
            raise ValueError(f"{name} has {key} {own[key]}, the float model {value}")
