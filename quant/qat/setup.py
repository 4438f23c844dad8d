"""Puts a training under a scheme together: a float second stage with its model exchanged."""

from __future__ import annotations

from pathlib import Path

from golden_model.train.joint import JointExits
from golden_model.train.methods import Prepare
from golden_model.train.stage_two import checkpoint_of
from golden_model.train.trainer import Trainer
from quant.observe import Progress
from quant.qat.objective import Origin, QuantizedExits, QuantizedModel, QuantizedOptions, calibration_rows
from quant.qat.start import calibrated_start
from quant.samples import choose_samples
from quant.schemes import Scheme


def under_scheme(prepare: Prepare, scheme: Scheme, folder: Path, progress: Progress | None = None) -> Prepare:
    """``prepare`` for a training under a scheme: the same data, loss, teachers and counted cost.

    Args:
        prepare: Makes a second stage of ELBERT (``golden_model.train.setup.prepare``) from ``folder``, its
            options :class:`QuantizedOptions`. Its teachers answer in floats, before anything is rounded.
        scheme: What is trained for.
        folder: The finished float ELBERT: a run, or a checkpoint.
        progress: Told how many more sentences calibration has watched.
    """

    def prepare_quantized(
        output: Path, *, method: str = "elbert", iterations: int | None = None, stage_one: Path | None = None
    ) -> Trainer:
        trainer = prepare(output, method=method, iterations=iterations, stage_one=stage_one)
        return quantized(trainer, scheme, checkpoint_of(folder), progress)

    return prepare_quantized


def quantized(trainer: Trainer, scheme: Scheme, folder: Path, progress: Progress | None = None) -> Trainer:
    """A trainer that has not begun, with its model under a scheme.

    Raises:
        ValueError: it trains another method than ELBERT; or as :func:`quant.calibrate.calibrate`.
    """
    stage, options = trainer.objective, trainer.options
    if not isinstance(stage, JointExits) or stage.model.method != "elbert":
        raise ValueError("a scheme's integers are ELBERT's: other methods have no integer form to train for")
    if not isinstance(options, QuantizedOptions):
        raise TypeError(f"options are {type(options).__name__}, expected QuantizedOptions")
    data, rows = stage.train_data, calibration_rows(stage.train_data)
    chosen = [rows[i] for i in choose_samples(len(rows), options.samples, options.seed)]
    sentences = [(data.ids[i], data.types[i]) for i in chosen]
    fake = calibrated_start(stage.model.backbone, sentences, scheme, progress)
    provenance = {
        "float_sha256": trainer.facts["start_sha256"],
        "data_sha256": trainer.facts["train"]["sha256"],
        "samples": len(chosen),
        "seed": options.seed,
    }
    tokens = sum(len(ids) for ids, _ in sentences)
    calibration = {"sentences": len(sentences), "tokens": tokens}
    facts = trainer.facts | {
        "scheme": fake.scheme.as_dict(),
        "calibrated_sha256": fake.checkpoint().sha256,  # a resumed run starts from the very same integers
    }
    objective = QuantizedExits(
        QuantizedModel(fake),
        stage.tokenizer,
        data,
        stage.dev_data,
        options,
        Origin(folder, {"calibration": calibration, "provenance": provenance}),
        stage.stage_one,
        stage.answers,
    )
    found = Trainer(objective, options, trainer.output, facts)
    if stage.answers is not None:
        stage.answers.limit(asked_for(found))
    return found


def asked_for(trainer: Trainer) -> set[int]:
    """Samples that a run's plan comes to."""
    epochs = -(-trainer.total_steps // trainer.steps_per_epoch)
    if epochs > 1:
        return set(range(len(trainer.objective.lengths)))
    return {i for index in trainer.batches(0)[: trainer.total_steps] for i in index}
