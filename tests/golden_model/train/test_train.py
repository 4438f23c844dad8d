"""Joint loss, batches, the trainer and its command, on a task a nano model learns in seconds."""

from __future__ import annotations

import json
import math
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import AlbertForSequenceClassification
from typer.testing import CliRunner

from elbert.cli import build_app
from golden_model.config import PRESETS
from golden_model.data.metrics import iteration_scores, scores
from golden_model.data.tables import load_dataset
from golden_model.evaluation.backends import open_backend
from golden_model.evaluation.score import evaluate
from golden_model.exits import ExitPolicy
from golden_model.float.albert import load_float
from golden_model.float.batches import Encoded, collate, encode
from golden_model.provenance import ROOT
from golden_model.train.batches import epoch_batches
from golden_model.train.export import export
from golden_model.train.joint import JointOptions
from golden_model.train.loss import JointLoss
from golden_model.train.setup import Splits, Vocabulary, prepare
from golden_model.train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")

FAST = {
    "epochs": 6,
    "batch_size": 16,
    "learning_rate": 3e-3,
    "evaluate_every": 25,
    "save_every": 10,
    "max_length": 16,
    "seed": 3,
}


def make_trainer(task: Path, output: Path, **changes: object) -> Trainer:
    return prepare(
        Splits.of_folder(str(task)),
        PRESETS["nano"],
        JointOptions.model_validate({**FAST, **changes}),
        output,
        init="fresh",
        tokenizer_folder=task,
    )


# ---------------------------------------------------------------- loss


def test_dynamic_loss_is_the_released_codes_formula():
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 5, 3), torch.tensor([0, 2, 1, 1, 0])
    loss = JointLoss(4)
    with torch.no_grad():
        loss.t.copy_(torch.tensor([4.0, -1.0, 0.5]))
    each = [float(functional.cross_entropy(logits[i], labels)) for i in range(4)]
    sigmoid = [1 / (1 + math.exp(-t)) for t in (4.0, -1.0, 0.5)]
    expected = sum(s * e for s, e in zip(sigmoid, each, strict=False)) + (4 - sum(sigmoid)) * each[3]
    total, found = loss(logits, labels)
    assert float(total.detach()) == pytest.approx(expected, rel=1e-6)
    assert found.tolist() == pytest.approx(each, rel=1e-6)
    assert float(loss.weights().detach().sum()) == pytest.approx(4.0, rel=1e-6)
    total.backward()
    slope = [s * (1 - s) * (e - each[3]) for s, e in zip(sigmoid, each, strict=False)]
    assert loss.t.grad.tolist() == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_start_and_equal_weights():
    assert JointLoss(3).t.tolist() == [4.0, 4.0]
    equal = JointLoss(3, "equal")
    assert equal.weights().tolist() == [1.0, 1.0, 1.0]
    assert not equal.t.requires_grad
    logits, labels = torch.randn(3, 2, 2), torch.tensor([1, 0])
    total, each = equal(logits, labels)
    assert float(total) == pytest.approx(float(each.sum()), rel=1e-6)
    assert JointLoss(3, "linear").weights().tolist() == [0.5, 1.0, 1.5]
    assert float(JointLoss(12, "linear").weights().sum()) == pytest.approx(12)
    single = JointLoss(1)
    assert single.weights().tolist() == [1.0]


def test_illegal_losses_are_refused():
    with pytest.raises(ValueError, match="weighting 'late' is not one of"):
        JointLoss(3, "late")
    with pytest.raises(ValueError, match="iterations 0 is below 1"):
        JointLoss(0)
    with pytest.raises(ValueError, match="logits hold 2 iterations, the loss 3"):
        JointLoss(3)(torch.zeros(2, 1, 2), torch.tensor([0]))


# ---------------------------------------------------------------- scores and batches


def test_scores_against_hand_counts():
    # labels/answers give: true positive 3, false positive 1, false negative 2, true negative 4
    labels = torch.tensor([1, 1, 1, 1, 1, 0, 0, 0, 0, 0])
    answers = torch.tensor([1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    found = scores(answers, labels, 2)
    assert found.accuracy == pytest.approx(0.7)
    assert found.f1 == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert found.mcc == pytest.approx((3 * 4 - 1 * 2) / math.sqrt(4 * 5 * 5 * 6))
    assert scores(torch.zeros_like(labels), labels, 2).mcc == 0.0
    three = scores(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 1]), 3)
    assert three.f1 == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        scores(torch.tensor([2]), torch.tensor([0]), 2)
    with pytest.raises(ValueError, match="do not pair up"):
        scores(torch.tensor([1]), torch.tensor([0, 1]), 2)


def test_every_sample_once_an_epoch_and_hardly_any_padding():
    draw = random.Random(1)
    lengths = [draw.randint(3, 60) for _ in range(1000)]
    batches = epoch_batches(lengths, 32, seed=5, epoch=0)
    assert sorted(i for b in batches for i in b) == list(range(1000))
    assert [len(b) for b in batches].count(32) == 31
    padded = sum(max(lengths[i] for i in b) * len(b) for b in batches)
    assert padded < 1.05 * sum(lengths)
    assert batches == epoch_batches(lengths, 32, seed=5, epoch=0)
    assert batches != epoch_batches(lengths, 32, seed=5, epoch=1)
    assert batches != epoch_batches(lengths, 32, seed=6, epoch=0)
    first = [max(lengths[i] for i in b) for b in batches]
    assert first != sorted(first)  # lengths come in random order
    with pytest.raises(ValueError, match="batch_size 0"):
        epoch_batches(lengths, 0, 0, 0)
    with pytest.raises(ValueError, match="no sentences"):
        epoch_batches([], 4, 0, 0)


def test_collation_pads_ids_mask_and_types():
    encoded = Encoded(
        [[3, 7, 4], [3, 4], [3, 8, 9, 4]], [[0, 0, 0], [0, 0], [0, 0, 1, 1]], torch.tensor([1, 0, 1])
    )
    batch = collate(encoded, [1, 2], pad_id=5)
    assert batch.ids.tolist() == [[3, 4, 5, 5], [3, 8, 9, 4]]
    assert batch.mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch.types.tolist() == [[0, 0, 0, 0], [0, 0, 1, 1]]
    assert batch.labels.tolist() == [0, 1]
    assert batch.index.tolist() == [1, 2]


# ---------------------------------------------------------------- trainer


def test_training_learns_and_writes_complete_checkpoints(task: Path, tmp_path: Path):
    record = make_trainer(task, tmp_path / "run").run()
    assert record["step"] == record["total_steps"] == 120
    assert record["best"]["dev_accuracy"][-1] >= 0.9
    assert record["history"][-1]["train_loss"] < 0.5 * record["history"][0]["train_loss"]
    assert record["history"][-1]["exit_weights"] != record["history"][0]["exit_weights"]
    assert record["inputs"]["train"]["rows"] == 320
    assert len(record["inputs"]["train"]["sha256"]) == 64
    assert record["header"]["versions"]["torch"]
    for name in ("latest", "best"):
        folder = tmp_path / "run" / name
        model, tokenizer, config = load_float(folder)
        assert config.vocab_size == 64
        dev = encode(load_dataset(task, "dev"), tokenizer, 16)
        batch = collate(dev, range(len(dev)), tokenizer.pad_id)
        with torch.inference_mode():
            ours = model(batch.ids, batch.mask, batch.types)
            theirs = AlbertForSequenceClassification.from_pretrained(folder).eval()(
                input_ids=batch.ids, attention_mask=batch.mask, token_type_ids=batch.types
            )
        torch.testing.assert_close(ours[-1], theirs.logits, rtol=0, atol=1e-5)
        saved = json.loads((folder / "training.json").read_text())
        entry = saved["best"] if name == "best" else saved["history"][-1]
        found = [round(s.accuracy, 6) for s in iteration_scores(ours, dev.labels)]
        assert found == entry["dev_accuracy"]
        assert load_file(folder / "exit_weights.safetensors")["t"].shape == (3,)
    assert not list((tmp_path / "run").rglob("*.part"))


def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(task: Path, tmp_path: Path):
    whole = make_trainer(task, tmp_path / "whole", max_steps=45)
    whole.run()
    make_trainer(task, tmp_path / "parts", max_steps=45).run(stop_after=17)
    torch.manual_seed(99)  # resuming must bring its own state
    parts = make_trainer(task, tmp_path / "parts", max_steps=45)
    assert parts.resume()
    assert parts.step == 17
    parts.run()
    for (name, one), (_, two) in zip(whole.objective.named(), parts.objective.named(), strict=True):
        assert torch.equal(one, two), name
    strip = ("train_loss",)  # a mean over the steps since the start of the process
    assert [{k: v for k, v in e.items() if k not in strip} for e in whole.history] == [
        {k: v for k, v in e.items() if k not in strip} for e in parts.history
    ]


def test_resume_refuses_other_options_and_other_data(task: Path, tmp_path: Path):
    run = tmp_path / "run"
    make_trainer(task, run).run(stop_after=2)
    with pytest.raises(ValueError, match=r"trained with learning_rate 0\.003, asked for 0\.5"):
        make_trainer(task, run, learning_rate=0.5).resume()
    longer = make_trainer(task, run, epochs=9)
    assert longer.resume()
    assert longer.total_steps == 180
    assert longer.record()["plans"] == [
        {"from_step": 0, "total_steps": 120},
        {"from_step": 2, "total_steps": 180},
    ]
    with (task / "train.tsv").open("a") as file:
        file.write("good\t1\n")
    with pytest.raises(ValueError, match="trained on other inputs: train differ"):
        make_trainer(task, run).resume()
    assert not make_trainer(task, tmp_path / "empty").resume()


def test_an_option_younger_than_the_run_counts_as_its_default(task: Path, tmp_path: Path):
    path = tmp_path / "run" / "state.safetensors"
    make_trainer(task, path.parent).run(stop_after=1)
    with safe_open(path, "pt") as file:
        state = json.loads(file.metadata()["state"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for name in ("head_learning_rate", "self_distillation"):
        del state["options"][name]
    save_file(tensors, path, {"state": json.dumps(state)})
    assert make_trainer(task, path.parent).resume()
    with pytest.raises(ValueError, match=r"trained with self_distillation 0\.0, asked for 0\.5"):
        make_trainer(task, path.parent, self_distillation=0.5).resume()


def test_learning_rate_rises_then_falls_to_zero(task: Path, tmp_path: Path):
    trainer = make_trainer(task, tmp_path, max_steps=100, warmup=0.1)
    factors = [trainer.rate_factor(i) for i in range(101)]
    assert factors[0] > 0
    assert factors[:10] == sorted(factors[:10])
    assert factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == 0.0


def test_bfloat16_autocast_trains_float32_weights(task: Path, tmp_path: Path):
    trainer = make_trainer(task, tmp_path, autocast="bfloat16", weighting="equal")
    first = [trainer.train_step(list(range(16))) for _ in range(30)]
    assert first[-1] < 0.7 * first[0]
    assert {p.dtype for p in trainer.objective.model.parameters()} == {torch.float32}
    assert torch.equal(trainer.objective.joint_loss.t.detach(), torch.full((3,), 4.0))


def test_pruned_vocabulary_and_local_checkpoint_as_start(task: Path, tmp_path: Path):
    texts = tmp_path / "texts.tsv"
    texts.write_text("id\ttext\n0\tunfilms a a a\n")
    config = PRESETS["nano"].model_copy(update={"vocab_size": 14})
    trainer = prepare(
        Splits.of_folder(str(task)),
        config,
        JointOptions.model_validate(FAST),
        tmp_path / "run",
        init="fresh",
        tokenizer_folder=task,
        vocabulary=Vocabulary([texts]),
    )
    assert trainer.objective.tokenizer.size == 14
    kept = {trainer.objective.tokenizer.full.id_to_token(i) for i in trainer.objective.tokenizer.kept}
    assert {"good", "bad", "film", "the", "very", "is", ",", "a"} <= kept
    assert trainer.facts["vocabulary"] == {"pieces": 14, "of": 20}
    trainer.run(stop_after=25)
    second = prepare(
        Splits.of_folder(str(task)),
        config,
        JointOptions.model_validate(FAST),
        tmp_path / "b",
        init=str(tmp_path / "run/latest"),
    )
    assert second.objective.tokenizer.kept == trainer.objective.tokenizer.kept
    for (name, one), (_, two) in zip(
        trainer.objective.model.named_parameters(), second.objective.model.named_parameters(), strict=True
    ):
        assert torch.equal(one, two), name


def test_export_stores_half_precision_and_measures_it(task: Path, tmp_path: Path):
    make_trainer(task, tmp_path / "run").run()
    record = export(tmp_path / "run" / "best", tmp_path / "out", load_dataset(task, "dev"))
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float16}
    assert len(record["stored"]["dev_accuracy"]) == 4
    assert record["stored"]["dev_accuracy"][-1] >= 0.9
    assert json.loads((tmp_path / "out" / "training.json").read_text()) == record
    assert (tmp_path / "out" / "exit_weights.safetensors").is_file()
    before = load_float(tmp_path / "run" / "best")[0].state_dict()
    for name, value in load_float(tmp_path / "out")[0].state_dict().items():
        assert torch.equal(value, before[name].half().float()), name


def test_trimmed_vocabulary_keeps_the_ranked_head(task: Path, tmp_path: Path):
    config = PRESETS["nano"].model_copy(update={"vocab_size": 14})
    options = JointOptions.model_validate({**FAST, "max_steps": 5})
    trainer = prepare(
        Splits.of_folder(str(task)), config, options, tmp_path / "run", init="fresh", tokenizer_folder=task
    )
    trainer.run()
    record = export(tmp_path / "run" / "latest", tmp_path / "out", load_dataset(task, "dev"), vocabulary=8)
    model, tokenizer, trimmed = load_float(tmp_path / "out")
    assert trimmed == trainer.objective.model.config.model_copy(update={"vocab_size": 8})
    assert tokenizer.kept == trainer.objective.tokenizer.kept[:8]
    whole, _ = trainer.objective.tokenizer.encode("good bad film the very is ,", 16)
    found, _ = tokenizer.encode("good bad film the very is ,", 16)
    assert found == [i if i < 8 else tokenizer.unk_id for i in whole]
    assert found.count(tokenizer.unk_id) == 4
    assert record["stored"]["dev_unknown_tokens"] > 0
    for (name, one), (_, two) in zip(
        model.named_parameters(), trainer.objective.model.named_parameters(), strict=True
    ):
        assert torch.equal(one, two[: len(one)].half().float()), name
    with pytest.raises(ValueError, match=r"vocabulary of 15 pieces is not in 5\.\.14"):
        export(tmp_path / "run" / "latest", tmp_path / "no", load_dataset(task, "dev"), vocabulary=15)


# ---------------------------------------------------------------- evaluation and commands


def test_summary_counts_exits_and_cost(task: Path, tmp_path: Path):
    make_trainer(task, tmp_path / "run").run()
    data = load_dataset(task, "dev")
    backend = open_backend("float", tmp_path / "run" / "best")
    full = evaluate(backend, data)
    assert full["exits"] == [0, 0, 0, 80]
    assert full["cost"] == full["speedup"] == 1.0
    assert full["accuracy"] == full["accuracy_per_iteration"][-1] >= 0.9
    early = evaluate(backend, data, ExitPolicy(mode="entropy", delta=1.0))
    assert early["exits"] == [80, 0, 0, 0]
    assert early["speedup"] == 4.0
    assert early["accuracy"] == full["accuracy_per_iteration"][0]
    assert early["accuracy_per_iteration"] is None
    some = evaluate(backend, data, ExitPolicy(mode="patience", patience=1))
    assert sum(some["exits"]) == 80
    assert some["exits"][0] == 0
    left = sum(i * n for i, n in enumerate(some["exits"], start=1))
    assert some["cost"] == pytest.approx(left / (4 * 80))
    assert some["speedup"] == pytest.approx(1 / some["cost"])


def invoke(*arguments: object):
    app = build_app()
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_commands_train_resume_and_eval(task: Path, tmp_path: Path):
    options = ["--preset", "nano", "--init", "fresh", "--tokenizer", task, "--epochs", 6, "--batch-size", 16]
    options += ["--learning-rate", 3e-3, "--evaluate-every", 25, "--threads", 1, "--seed", 3]
    run, record = tmp_path / "run", tmp_path / "record.json"
    first = invoke("train", task, "--output", run, *options, "--stop-after", 30)
    assert first.exit_code == 0, first.output
    assert "dev accuracy" in first.output
    again = invoke("train", task, "--output", run, *options)
    assert isinstance(again.exception, ValueError)
    assert "holds a run already" in str(again.exception)
    done = invoke("train", task, "--output", run, *options, "--resume", "--json", record, "--quiet")
    assert done.exit_code == 0, done.output
    assert json.loads(record.read_text())["step"] == 120
    result = tmp_path / "eval.json"
    table = invoke(
        "eval",
        task / "dev.tsv",
        "--model",
        run / "best",
        "--policy",
        "bias_1",
        "--window",
        2,
        "--json",
        result,
    )
    assert table.exit_code == 0, table.output
    found = json.loads(result.read_text())
    assert found["policy"]["mode"] == "bias_1"
    assert found["samples"] == sum(found["exits"]) == 80
    assert found["accuracy"] >= 0.9
    assert found["accuracy_per_iteration"] is None
    assert found["header"]["checkpoint_sha256"]
    assert "speedup" in table.output


def test_commands_refuse_what_is_not_there(task: Path, tmp_path: Path):
    for arguments, message in (
        ((task, "--preset", "tiny"), "preset 'tiny' is not one of"),
        ((tmp_path / "none", "--preset", "nano", "--init", "fresh"), "neither a file nor a folder"),
        ((task, "--preset", "nano", "--init", "fresh"), "needs a tokenizer folder"),
        ((task, "--preset", "nano", "--max-length", 17), "max_length 17 is above max_position_embeddings 16"),
        ((task, "--preset", "nano", "--weighting", "late"), "weighting"),
    ):
        found = invoke("train", *arguments, "--output", tmp_path / "run")
        assert isinstance(found.exception, ValueError | OSError)
        assert message in str(found.exception)
    resumed = invoke(
        *("train", task, "--preset", "nano", "--init", "fresh", "--tokenizer", task),
        *("--output", tmp_path / "run", "--resume"),
    )
    assert "to resume from" in str(resumed.exception)
    assert isinstance(invoke("eval", task / "dev.tsv", "--backend", "rtl").exception, ValueError)


def test_told_to_end_it_saves_and_resumes(task: Path, tmp_path: Path):
    """A background job (SIGINT ignored, as shells start them) gets SIGTERM in mid-run."""
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nfrom elbert.cli import main\nmain()\n"
    )
    run = tmp_path / "run"
    options = ["--preset", "nano", "--init", "fresh", "--tokenizer", str(task), "--max-steps", "1000000"]
    options += ["--threads", "1", "--evaluate-every", "1000000", "--save-every", "5"]
    job = subprocess.Popen(
        [sys.executable, "-c", script, "train", str(task), "--output", str(run), *options],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not (run / "state.safetensors").is_file() and time.monotonic() < deadline:
            assert job.poll() is None
            time.sleep(0.05)
        job.terminate()
        assert job.wait(60) == 128 + signal.SIGTERM
    finally:
        job.kill()
    trainer = prepare(
        Splits.of_folder(str(task)),
        PRESETS["nano"],
        JointOptions(max_steps=1_000_000, max_length=16),
        run,
        init="fresh",
        tokenizer_folder=task,
    )
    assert trainer.resume()
    assert trainer.step >= 5
    before = trainer.step
    trainer.run(stop_after=before + 1)
    assert trainer.step == before + 1


def test_a_start_keeps_the_order_of_its_classes(task: Path, tmp_path: Path):
    """A checkpoint that numbers the same classes otherwise is trained on in its own order, by name."""
    splits = Splits.of_folder(str(task))
    names = splits.train.label_names
    assert splits.in_order_of(None) == splits
    assert splits.in_order_of(["other", "names"]) == splits
    turned = splits.in_order_of(names[::-1])
    assert turned.train.label_names == turned.dev.label_names == names[::-1]
    for before, after in ((splits.train, turned.train), (splits.dev, turned.dev)):
        assert [before.label_names[i] for i in before.labels] == [after.label_names[i] for i in after.labels]
