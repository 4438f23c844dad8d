"""Training under a scheme on a task a nano model learns in seconds: loss, resuming, cost, integers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from elbert.cli import build_app
from golden_model.config import PRESETS
from golden_model.float.batches import collate
from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.golden import open_golden
from golden_model.train.answers import ANSWERS_FILE
from golden_model.train.joint import JointOptions
from golden_model.train.setup import Splits, prepare
from golden_model.train.stage_two import StageTwo
from golden_model.train.trainer import Trainer
from quant.qat.objective import QuantizedExits, QuantizedOptions
from quant.qat.setup import under_scheme
from quant.schemes import Scheme
from tests.golden_model.conftest import write_task

pytestmark = pytest.mark.usefixtures("one_thread")

FAST = {"batch_size": 8, "evaluate_every": 50, "save_every": 5, "max_length": 16, "seed": 3}
QUANTIZED = {
    **FAST,
    "max_steps": 8,
    "learning_rate": 2e-3,
    "head_learning_rate": 6e-3,
    "weighting": "equal",
    "exits": 2,
    "last_weight": 0.3,
    "soft": 0.6,
    "step_learning_rate": 1e-2,
    "samples": 48,
}
TWO_BITS = Scheme(weight_bits=2, weight_observer="mse", rounding="gptq", correct_bias=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("qat") / "task")


@pytest.fixture(scope="module")
def first(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished float ELBERT of four iterations."""
    folder = tmp_path_factory.mktemp("first") / "run"
    options = JointOptions.model_validate({**FAST, "batch_size": 16, "max_steps": 60, "learning_rate": 3e-3})
    splits = Splits.of_folder(str(data))
    prepare(splits, PRESETS["nano"], options, folder, init="fresh", tokenizer_folder=data).run()
    return folder


def trainer(data: Path, first: Path, output: Path, scheme: Scheme = TWO_BITS, **changes: Any) -> Trainer:
    def make(output: Path, **_: Any) -> Trainer:
        options = QuantizedOptions.model_validate({**QUANTIZED, **changes})
        splits = Splits.of_folder(str(data))
        return prepare(splits, PRESETS["nano"], options, output, stage_two=StageTwo(first))

    return under_scheme(make, scheme, first)(output)


def objective_of(made: Trainer) -> QuantizedExits:
    assert isinstance(made.objective, QuantizedExits)
    return made.objective


def values(made: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in made.objective.named()}


def test_two_bits_learn_what_their_rounding_lost(data: Path, first: Path, tmp_path: Path) -> None:
    """Weights and scales move, the integers' loss on dev data falls, and the record is the integers'."""
    scheme = Scheme(weight_bits=2, granularity="tensor")
    rates = {"learning_rate": 1e-3, "head_learning_rate": 2e-3, "step_learning_rate": 3e-3}
    made = trainer(data, first, tmp_path / "run", scheme, batch_size=16, max_steps=24, **rates)
    objective, before = objective_of(made), values(made)
    assert {name for name in before if name.startswith("steps.")} == {
        f"steps.{name}" for name in objective.model.fake.steps
    }
    with torch.inference_mode():
        start = objective.evaluate()
    record = made.run()
    after = values(made)
    assert record["history"][-1]["dev_loss"] < 0.7 * start["dev_loss"]
    moved = [
        name for name in before if name.startswith("steps.") and not torch.equal(before[name], after[name])
    ]
    assert len(moved) > 0.9 * len(objective.model.fake.steps)

    folder = tmp_path / "run" / "latest"
    stored = IntegerCheckpoint.load(folder)
    assert set(stored.tensors["ffn.output.weight"].unique().tolist()) <= {-3, -1, 1, 3}
    dev = objective.dev_data
    sentences = list(zip(dev.ids, dev.types, strict=True))
    answers = open_golden(stored).all_iterations(sentences).argmax(-1)
    shares = (answers == dev.labels).double().mean(1).tolist()
    assert record["history"][-1]["dev_accuracy"] == [round(share, 6) for share in shares]
    assert stored.metadata["training"]["step"] == 24
    assert stored.metadata["provenance"]["float_sha256"] == record["inputs"]["start_sha256"]
    assert stored.metadata["calibration"]["sentences"] == 48


@pytest.mark.parametrize(
    "scheme",
    [
        TWO_BITS,
        Scheme(weight_bits=2, ternary=True, granularity="tensor", activation_bits=6, symmetric=False),
        Scheme(weight_bits=4, granularity="group", group_size=16, scales="shared"),
    ],
    ids=["W2, gptq", "ternary, A6, asymmetric", "groups, shared scales"],
)
def test_the_golden_model_answers_what_the_trained_one_does(
    data: Path, first: Path, tmp_path: Path, scheme: Scheme
) -> None:
    """Every logit of every iteration, from the folder that was written."""
    made = trainer(data, first, tmp_path / "run", scheme, max_steps=4)
    made.run()
    objective = objective_of(made)
    fake = copy.deepcopy(objective.model.fake).double()
    fake.exact = True
    dev, index = objective.dev_data, list(range(40))
    batch = collate(dev, index, objective.tokenizer.pad_id)
    with torch.no_grad():
        logits = fake(batch.ids, batch.mask, batch.types)
    stored = IntegerCheckpoint.load(tmp_path / "run" / "latest")
    wanted = open_golden(stored).all_iterations([(dev.ids[i], dev.types[i]) for i in index])
    assert torch.equal((logits * 1024).long(), wanted)
    start = trainer(data, first, tmp_path / "again", scheme)
    assert stored.sha256 != start.facts["calibrated_sha256"]  # it is the trained one that is equal


def test_a_run_that_is_interrupted_ends_like_one_that_is_not(data: Path, first: Path, tmp_path: Path) -> None:
    whole = trainer(data, first, tmp_path / "whole", average=0.5)
    whole.run()
    trainer(data, first, tmp_path / "parts", average=0.5).run(stop_after=5)
    parts = trainer(data, first, tmp_path / "parts", average=0.5)
    assert parts.resume()
    assert parts.step == 5
    parts.run()
    wanted, found = values(whole), values(parts)
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    folders = [tmp_path / name / "latest" for name in ("whole", "parts")]
    one, two = (IntegerCheckpoint.load(folder) for folder in folders)
    assert one.sha256 == two.sha256
    state = load_file(tmp_path / "parts" / "state.safetensors")
    assert "optimizer/exp_avg/steps.iteration/1/hidden" in state

    other = trainer(data, first, tmp_path / "parts", Scheme(weight_bits=3), average=0.5)
    with pytest.raises(ValueError, match="scheme, calibrated_sha256 differ"):
        other.resume()
    with pytest.raises(ValueError, match="samples 48, asked for 40"):
        trainer(data, first, tmp_path / "parts", average=0.5, samples=40).resume()


def test_its_cost_is_that_of_the_same_stage_in_floats(data: Path, first: Path, tmp_path: Path) -> None:
    """But for the teacher, which answers those samples alone that the plan comes to."""
    made = trainer(data, first, tmp_path / "quantized", max_steps=3)
    options = QuantizedOptions.model_validate({**QUANTIZED, "max_steps": 3})
    splits = Splits.of_folder(str(data))
    plain = prepare(splits, PRESETS["nano"], options, tmp_path / "float", stage_two=StageTwo(first))
    costs = [each.run()["training_cost"] for each in (made, plain)]
    teachers = []
    for cost in costs:
        for part in (cost, *cost["stages"]):
            del part["seconds"]
            teachers.append(part.pop("teacher_macs"))
    assert costs[0] == costs[1]
    assert [stage["stage"] for stage in costs[0]["stages"]] == [1, 2]
    answers = objective_of(made).answers
    assert answers is not None
    seen = sorted(i for index in made.batches(0)[:3] for i in index)
    assert sorted(i for index in answers.batches() for i in index) == seen
    kept = load_file(tmp_path / "quantized" / ANSWERS_FILE)["own"]
    assert torch.nonzero(kept.isfinite().all(1)).flatten().tolist() == seen
    assert 0 < teachers[0] < teachers[3] / 10
    for steps, serve in ((2, True), (4, False)):
        other = objective_of(trainer(data, first, tmp_path / "quantized", max_steps=steps)).answers
        assert other is not None
        assert (other._read() is not None) == serve, steps


# ---------------------------------------------------------------- the command


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(build_app(), [str(argument) for argument in arguments])


def test_command_trains_resumes_and_what_it_writes_is_evaluated(
    data: Path, first: Path, tmp_path: Path
) -> None:
    run, record, scheme = tmp_path / "run", tmp_path / "record.json", tmp_path / "mine.json"
    scheme.write_text('{"weight_bits": 3, "mixed": {"classifier": {"weight_bits": 8}}}')
    options = ["--stage-two", first, "--quantize", scheme, "--max-steps", 4, "--batch-size", 8]
    options += ["--threads", 1, "--samples", 20, "--step-learning-rate", 2e-3, "--exits", 1, "--quiet"]
    paused = invoke("train", data, "--output", run, *options, "--stop-after", 2)
    assert paused.exit_code == 0, paused.output
    done = invoke("train", data, "--output", run, *options, "--resume", "--json", record)
    assert done.exit_code == 0, done.output
    found = json.loads(record.read_text())
    assert found["step"] == 4
    assert found["inputs"]["scheme"]["weight_bits"] == 3
    assert (found["options"]["samples"], found["options"]["step_learning_rate"]) == (20, 2e-3)
    scored = tmp_path / "scored.json"
    evaluated = invoke(
        "eval", data, "--model", run / "latest", "--backend", "golden", "--json", scored, "--quiet"
    )
    assert evaluated.exit_code == 0, evaluated.output
    accuracy = json.loads(scored.read_text())["accuracy_per_iteration"]
    assert found["best"]["dev_accuracy"] == pytest.approx(accuracy, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--quantize", "w2a8"], "--quantize w2a8 trains on from a finished elbert"),
        (["--quantize", "w2a8", "--method", "pabee", "--stage-two", "FIRST"], "from a finished elbert"),
        (["--stage-two", "FIRST", "--samples", 5], "--samples and --step-learning-rate are for --quantize"),
        (["--stage-two", "FIRST", "--quantize", "w9a9"], "'w9a9' is neither a file .json nor one of w8a8"),
        (["--stage-two", "FIRST", "--quantize", "w2a8", "--step-learning-rate", 0], "step_learning_rate"),
    ],
)
def test_bad_input_is_refused_by_name(
    data: Path, first: Path, tmp_path: Path, given: list[object], message: str
) -> None:
    arguments = [first if each == "FIRST" else each for each in given]
    found = invoke("train", data, "--output", tmp_path / "run", *arguments)
    assert isinstance(found.exception, ValueError), found.output
    with pytest.raises(ValueError, match=message):
        raise found.exception
    assert not (tmp_path / "run" / "state.safetensors").exists()
