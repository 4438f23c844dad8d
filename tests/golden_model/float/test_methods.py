"""The other early-exit methods: losses, what is frozen, what is counted, files, and all of them in a row."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from transformers import AlbertForSequenceClassification, BertConfig, BertForSequenceClassification
from typer.testing import CliRunner

from elbert.cli import build_app
from golden_model.config import PRESETS
from golden_model.data.tables import load_dataset
from golden_model.evaluation.backends import open_backend
from golden_model.evaluation.score import evaluate
from golden_model.files import sha256_of
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.float.batches import collate, encode
from golden_model.float.logits import all_logits
from golden_model.float.methods.count import Work, answer_macs, bert_macs, count, exit_macs, layer_macs
from golden_model.float.methods.heads import HEADS, Branch
from golden_model.float.methods.load import load_method
from golden_model.float.methods.model import ExitModel
from golden_model.float.methods.names import METHODS, compared_runs, run_name
from golden_model.provenance import ROOT
from golden_model.text.tokenizer import ElbertTokenizer
from golden_model.train.joint import JointExits, JointOptions, SelfDistillation
from golden_model.train.loss import FixedLoss
from golden_model.train.methods import train_all, train_method
from golden_model.train.setup import Splits, Teaching, prepare

pytestmark = pytest.mark.usefixtures("one_thread")

NANO = PRESETS["nano"]
FAST = {
    "epochs": 6,
    "batch_size": 16,
    "learning_rate": 3e-3,
    "evaluate_every": 50,
    "save_every": 50,
    "max_length": 16,
    "seed": 3,
}
RUNS = ["elbert", "pabee", "albert-4", "deebert", "fastbert", "albert-1", "albert-2", "albert-3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_task) -> Path:
    return make_task(tmp_path_factory.mktemp("methods") / "task")


def start(data: Path, **changes: object) -> partial:
    options = JointOptions.model_validate({**FAST, **changes})
    return partial(prepare, Splits.of_folder(str(data)), NANO, options, init="fresh", tokenizer_folder=data)


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory) -> tuple[Path, dict]:
    """Every run of a comparison, trained, and what training all of them returned."""
    folder = tmp_path_factory.mktemp("runs")
    return folder, train_all(start(data), folder)


def nano(method: str, iterations: int | None = None, classes: int = 3) -> ExitModel:
    torch.manual_seed(1)
    config = NANO.model_copy(update={"num_labels": classes})
    return ExitModel(ElbertForSequenceClassification.from_config(config), method, iterations, seed=7)


def sentences(data: Path, folder: Path) -> tuple[list, torch.Tensor]:
    method = load_method(folder)
    dev = encode(load_dataset(data, "dev"), method.tokenizer, 16)
    return list(zip(dev.ids, dev.types, strict=True)), dev.labels


# ---------------------------------------------------------------- names


def test_what_a_comparison_trains_and_where():
    assert [run_name(*run) for run in compared_runs(4)] == RUNS
    assert [run_name(*run) for run in compared_runs(12)][5:] == [f"albert-{k}" for k in (1, 2, 3, 4, 6)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("berxit",), "method 'berxit' is not one of elbert, pabee"),
        (("albert", 5), r"iterations 5 is not in 1\.\.4"),
        (("albert", 0), r"iterations 0 is not in 1\.\.4"),
        (("pabee", 2), "iterations 2 of pabee: only albert is cut"),
    ],
)
def test_illegal_methods_are_refused(arguments: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        nano(*arguments)


def test_own_exits_want_two_iterations():
    config = NANO.model_copy(update={"num_hidden_layers": 1})
    with pytest.raises(ValueError, match="deebert wants an exit before the last: 1 iterations"):
        ExitModel(ElbertForSequenceClassification.from_config(config), "deebert")


# ---------------------------------------------------------------- models


def test_elbert_and_albert_are_the_backbone_and_nothing_more():
    model = nano("elbert")
    ids = torch.randint(6, 20, (3, 7))
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [1] * 7])
    assert torch.equal(model(ids, mask), model.backbone(ids, mask))
    assert model.added_parameters == 0
    cut = nano("albert", 2)
    assert cut.config.num_hidden_layers == cut.iterations == 2
    assert torch.equal(cut(ids, mask), model(ids, mask)[:2])
    assert torch.equal(cut(ids, mask, exits=[2])[0], model(ids, mask)[1])
    logits, hidden = model(ids, mask, exits=[1, 3], hidden_states=True)
    assert logits.shape == (2, 3, 3)
    assert hidden.shape == (4, 3, 7, 32)
    with pytest.raises(ValueError, match=r"iteration 5 is not in 1\.\.4"):
        model(ids, mask, exits=[5])


@pytest.mark.parametrize("method", ["deebert", "fastbert", "pabee"])
def test_padding_changes_no_answer(method: str):
    model = nano(method)
    ids = torch.randint(6, 20, (1, 5))
    padded = functional.pad(ids, (0, 4))
    mask = functional.pad(torch.ones_like(ids), (0, 4))
    torch.testing.assert_close(model(padded, mask), model(ids), rtol=0, atol=1e-5)


def test_added_parameters_by_hand():
    # nano: hidden 32; 3 classes; exits of their own at 3 of 4 iterations
    highway = (32 * 32 + 32) + (32 * 3 + 3)
    branch = (32 * 128 + 128) + 5 * (128 * 128 + 128) + (128 * 3 + 3)
    found = {method: nano(method).added_parameters for method in METHODS}
    assert found == {
        "elbert": 0,
        "albert": 0,
        "pabee": 3 * (32 * 3 + 3),
        "deebert": 3 * highway,
        "fastbert": 3 * branch,
    }


def test_heads_start_as_the_released_codes_do():
    deebert, again = nano("deebert"), nano("deebert")
    pooler = deebert.backbone.model.albert.pooler
    for head in deebert.heads:
        assert torch.equal(head.pooler.weight, pooler.weight)
        assert head.pooler.weight is not pooler.weight
        assert not head.classifier.bias.any()
    for one, two in zip(deebert.heads.parameters(), again.heads.parameters(), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(deebert.heads[0].classifier.weight, deebert.heads[1].classifier.weight)


def test_fastbert_branch_is_attention_between_two_linears():
    model = nano("fastbert")
    head, hidden = model.heads[0], torch.randn(2, 6, 32)
    assert isinstance(head, Branch)
    narrow = torch.tanh(head.down(hidden))
    attention = torch.nn.MultiheadAttention(128, 2, batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([m.weight for m in (head.query, head.key, head.value)]))
        attention.in_proj_bias.copy_(torch.cat([m.bias for m in (head.query, head.key, head.value)]))
        attention.out_proj.load_state_dict(head.out.state_dict())
    context, _ = attention(narrow, narrow, narrow)
    expected = head.classifier(torch.tanh(head.dense(context[:, 0])))
    torch.testing.assert_close(head(hidden, None, model.backbone), expected, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- losses


def objective(data: Path, method: str, tmp_path: Path, **changes: object) -> JointExits:
    if method in ("deebert", "fastbert"):
        first = tmp_path / "first"
        train_method(start(data, max_steps=1), first, "albert")
        trainer = start(data, **changes)(tmp_path / "run", method=method, stage_one=first)
    else:
        trainer = start(data, **changes)(tmp_path / "run", method=method)
    return trainer.objective


def batch_of(found: JointExits, index: range):
    return collate(found.train_data, index, found.tokenizer.pad_id)


def test_pabee_weighs_by_depth(data: Path, tmp_path: Path):
    found = objective(data, "pabee", tmp_path)
    batch = batch_of(found, range(8))
    logits = found.model(batch.ids, batch.mask, batch.types)
    each = [functional.cross_entropy(logits[i], batch.labels) for i in range(4)]
    expected = (each[0] + 2 * each[1] + 3 * each[2] + 4 * each[3]) / 10
    torch.testing.assert_close(found.loss(range(8)), expected)
    # its classifiers share the pooler
    pooled = torch.tanh(found.model.backbone.model.albert.pooler(torch.zeros(1, 32)))
    own = found.model.heads[1]
    torch.testing.assert_close(own(torch.zeros(1, 1, 32), None, found.model.backbone), own.classifier(pooled))


def test_albert_learns_its_last_exit_alone(data: Path, tmp_path: Path):
    found = start(data)(tmp_path / "run", method="albert", iterations=2).objective
    batch = batch_of(found, range(8))
    logits = found.model.backbone(batch.ids, batch.mask, batch.types)
    torch.testing.assert_close(found.loss(range(8)), functional.cross_entropy(logits[1], batch.labels))


def test_deebert_sums_all_exits_but_the_last(data: Path, tmp_path: Path):
    found = objective(data, "deebert", tmp_path)
    batch = batch_of(found, range(8))
    logits = found.model(batch.ids, batch.mask, batch.types)
    expected = sum(functional.cross_entropy(logits[i], batch.labels) for i in range(3))
    torch.testing.assert_close(found.loss(range(8)), expected)


def test_fastbert_learns_the_last_exits_probabilities_without_labels(data: Path, tmp_path: Path):
    found = objective(data, "fastbert", tmp_path)
    assert isinstance(found, SelfDistillation)
    batch = batch_of(found, range(8))
    logits = found.model(batch.ids, batch.mask, batch.types)
    target = torch.softmax(logits[3], -1)
    expected = sum(
        (target * (target.log() - torch.log_softmax(logits[i], -1))).sum(-1).mean() for i in range(3)
    )
    before = found.loss(range(8))
    torch.testing.assert_close(before, expected)
    found.train_data.labels.neg_().sub_(1)
    assert torch.equal(found.loss(range(8)), before)
    # learning rate and length of the paper's second stage
    assert found.options.learning_rate == pytest.approx(10 * FAST["learning_rate"])
    assert found.options.epochs == pytest.approx(10)


def test_teachers_answers_enter_every_cross_entropy():
    torch.manual_seed(0)
    logits, labels, teacher = torch.randn(2, 5, 3), torch.tensor([0, 2, 1, -1, 0]), torch.randn(5, 3)
    loss = FixedLoss([1 / 3, 2 / 3])
    expected = 0.0
    for i, weight in enumerate((1 / 3, 2 / 3)):
        student = torch.log_softmax(logits[i] / 2, -1)
        soft = 4 * functional.kl_div(student, torch.softmax(teacher / 2, -1), reduction="none").sum(-1)
        hard = functional.cross_entropy(logits[i], labels, reduction="none", ignore_index=-1)
        expected += weight * torch.where(labels < 0, soft, 0.3 * hard + 0.7 * soft).mean()
    torch.testing.assert_close(loss.soft(logits, labels, teacher, 0.7, 2.0), expected)
    alike = loss.soft(logits, labels, teacher, [0.7, 0.7], 2.0)
    torch.testing.assert_close(alike, expected)
    for weights in ([], [1.0, -0.5]):
        with pytest.raises(ValueError, match="are not one or more numbers from 0 up"):
            FixedLoss(weights)


def test_self_distillation_teaches_the_earlier_exits_the_last_ones_answers(data: Path, tmp_path: Path):
    found = objective(data, "elbert", tmp_path, self_distillation=0.4, temperature=2.0)
    batch = batch_of(found, range(8))
    logits = found.model(batch.ids, batch.mask, batch.types)
    weights = found.joint_loss.weights().detach()
    target = torch.softmax(logits[3] / 2, -1).detach()
    expected = weights[3] * functional.cross_entropy(logits[3], batch.labels)
    for i in range(3):
        ours = torch.log_softmax(logits[i] / 2, -1)
        soft = 4 * functional.kl_div(ours, target, reduction="batchmean")
        hard = functional.cross_entropy(logits[i], batch.labels)
        expected = expected + weights[i] * (0.6 * hard + 0.4 * soft)
    loss = found.loss(range(8))
    torch.testing.assert_close(loss, expected)
    ours, theirs = (
        torch.autograd.grad(value, [found.model.backbone.model.classifier.weight], retain_graph=True)[0]
        for value in (loss, expected)
    )
    torch.testing.assert_close(ours, theirs)  # no gradient through the target

    plain = objective(data, "pabee", tmp_path / "pabee", self_distillation=0.4)  # ELBERT's alone
    torch.testing.assert_close(
        plain.loss(range(8)), objective(data, "pabee", tmp_path / "pabee").loss(range(8))
    )
    with pytest.raises(ValueError, match=r"soft 0.5 and self_distillation 0.4 are two teachers"):
        objective(data, "elbert", tmp_path / "two", self_distillation=0.4, soft=0.5)


def test_only_elbert_minds_how_its_exits_are_weighted(data: Path, tmp_path: Path):
    for method in ("elbert", "pabee"):
        first = start(data, max_steps=2)(tmp_path / method, method=method)
        first.run()
        other = start(data, max_steps=2, weighting="linear", self_distillation=0.5)
        again = other(tmp_path / method, method=method)
        if method == "elbert":
            with pytest.raises(ValueError, match="was trained with weighting 'dynamic', asked for 'linear'"):
                again.resume()
        else:
            assert again.resume()
            assert again.finished


def test_what_answers_learns_at_its_own_rate(data: Path, tmp_path: Path):
    for method in ("elbert", "pabee", "deebert"):
        found = objective(data, method, tmp_path / method, learning_rate=1e-4, head_learning_rate=1e-3)
        rates = {name: group.learning_rate for group in found.groups for name, _ in group.parameters}
        assert set(rates) >= {name for name, _ in found.named()}
        for name, rate in rates.items():
            answers = any(part in name for part in ("pooler", "classifier", "heads."))
            assert rate == (1e-2 if name.startswith("exit_weights.") else 1e-3 if answers else 1e-4), name
        assert len(set(rates.values())) == {"elbert": 3, "pabee": 2, "deebert": 1}[method]
    alike = objective(data, "pabee", tmp_path / "alike", learning_rate=1e-4)
    assert {group.learning_rate for group in alike.groups} == {1e-4}


def test_every_method_learns_from_a_teacher(data: Path, tmp_path: Path, make_full):
    config = BertConfig(
        vocab_size=20, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "teacher")
    ElbertTokenizer(make_full()).save(tmp_path / "teacher")
    begin = partial(start(data, soft=0.5, max_steps=2), teaching=Teaching(tmp_path / "teacher"))
    found = train_all(begin, tmp_path / "runs")["methods"]
    for name in RUNS:
        stages = found[name]["training_cost"]["stages"]
        # FastBERT's second stage has no use for another teacher
        assert [stage["teacher_macs"] > 0 for stage in stages] == [True, name != "fastbert"][: len(stages)]


# ---------------------------------------------------------------- training


def test_every_method_learns(data: Path, runs: tuple[Path, dict]):
    folder, found = runs
    assert list(found["methods"]) == RUNS
    for name, each in found["methods"].items():
        accuracy = each["dev_accuracy"]
        assert len(accuracy) == each["iterations"] == (int(name[-1]) if name[-1].isdigit() else 4)
        assert accuracy[-1] >= 0.9, name
        if each["method"] != "albert":
            assert min(accuracy[:-1]) >= 0.7, name
            assert accuracy[-2] >= 0.85, name
        assert each["added_parameters"] == load_method(folder / name / "latest").added_parameters
    assert found["methods"]["albert-4"]["dev_accuracy"][-1] == found["methods"]["deebert"]["dev_accuracy"][-1]


@pytest.mark.parametrize("method", ["deebert", "fastbert"])
def test_second_stage_leaves_the_backbone_bit_for_bit(runs: tuple[Path, dict], method: str):
    folder, _ = runs
    before = load_file(folder / "albert-4" / "latest" / "model.safetensors")
    after = load_file(folder / method / "latest" / "model.safetensors")
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]), name
    heads = load_file(folder / method / "latest" / "exits.safetensors")
    fresh = nano(method, classes=2).heads.state_dict()
    assert heads.keys() == fresh.keys()


def test_cut_albert_is_an_ordinary_albert(data: Path, runs: tuple[Path, dict]):
    folder = runs[0] / "albert-2" / "latest"
    theirs = AlbertForSequenceClassification.from_pretrained(folder).eval()
    given, _ = sentences(data, folder)
    ids = torch.tensor([given[0][0]])
    ours = load_method(folder).logits(given[:1])
    assert theirs.config.num_hidden_layers == 2
    torch.testing.assert_close(ours[-1].float(), theirs(input_ids=ids).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", RUNS)
def test_loaded_method_answers_as_it_did_in_training(data: Path, runs: tuple[Path, dict], name: str):
    folder = runs[0] / name / "latest"
    method = load_method(folder)
    given, labels = sentences(data, folder)
    done: list[int] = []
    logits = method.logits(given, done.append)
    assert logits.dtype == torch.float64
    assert logits.shape == (method.iterations, len(given), 2)
    assert sum(done) == len(given)
    record = json.loads((folder / "training.json").read_text())
    assert record["method"] == method.method == name.split("-")[0]
    accuracy = (logits.argmax(-1) == labels).double().mean(1)
    assert [round(float(v), 6) for v in accuracy] == record["history"][-1]["dev_accuracy"]
    backend = open_backend("float", folder)
    assert backend.sha256 == method.sha256
    found = evaluate(backend, load_dataset(data, "dev"))
    assert found["accuracy_per_iteration"] == pytest.approx(accuracy.tolist())
    torch.testing.assert_close(method.logits(given[::-1]), logits.flip(1), rtol=0, atol=1e-5)
    assert method.training == record["training_cost"] == runs[1]["methods"][name]["training_cost"]
    assert method.config.num_hidden_layers == method.iterations
    added = (folder / "exits.safetensors").is_file()
    assert (
        added == (method.added_parameters > 0) == (method.sha256 != sha256_of(folder / "model.safetensors"))
    )
    assert not list(folder.rglob("*.part"))
    with pytest.raises(ValueError, match="no sentences to answer"):
        method.logits([])


def test_older_record_is_elberts(runs: tuple[Path, dict], tmp_path: Path):
    folder = tmp_path / "old"
    shutil.copytree(runs[0] / "elbert" / "latest", folder)
    record = json.loads((folder / "training.json").read_text())
    for key in ("method", "iterations", "added_parameters", "training_cost"):
        del record[key]
    (folder / "training.json").write_text(json.dumps(record))
    method = load_method(folder)
    assert (method.method, method.iterations, method.training) == ("elbert", 4, {})


def test_broken_folders_are_refused(runs: tuple[Path, dict], tmp_path: Path):
    folder = tmp_path / "broken"
    shutil.copytree(runs[0] / "deebert" / "latest", folder)
    heads = load_file(folder / "exits.safetensors")
    del heads["1.pooler.weight"]
    save_file(heads, folder / "exits.safetensors")
    with pytest.raises(ValueError, match=r"1 tensors are not those of deebert, first '1\.pooler\.weight'"):
        load_method(folder)
    (folder / "exits.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no exits\.safetensors, which deebert adds"):
        load_method(folder)
    (folder / "training.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no training\.json"):
        load_method(folder)


def test_elbert_goes_on_from_a_finished_albert(data: Path, runs: tuple[Path, dict], tmp_path: Path):
    first = runs[0] / "albert-4"
    begin = start(data, head_learning_rate=1e-2)
    trainer = begin(tmp_path / "run", method="elbert", stage_one=first)
    assert trainer.options == trainer.objective.options == begin.args[2]
    start_weights = trainer.objective.model.backbone.model.state_dict()
    for name, value in load_file(first / "latest" / "model.safetensors").items():
        assert torch.equal(value, start_weights[name]), name
    record = trainer.run()
    stages = record["training_cost"]["stages"]
    assert [stage["stage"] for stage in stages] == [1, 2]
    assert record["training_cost"]["macs"] == sum(stage["macs"] for stage in stages)
    assert stages[0]["macs"] == runs[1]["methods"]["albert-4"]["training_cost"]["macs"]
    assert record["added_parameters"] == 0
    moved = load_file(tmp_path / "run" / "latest" / "model.safetensors")
    before = load_file(first / "latest" / "model.safetensors")
    layer = "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight"
    assert not torch.equal(moved[layer], before[layer])


def test_all_may_start_elbert_from_albert(data: Path, tmp_path: Path):
    seen: list[str] = []
    begin = start(data, max_steps=1, evaluate_every=1)
    found = train_all(begin, tmp_path, after_albert=True, report=lambda name, t: seen.append(name))
    assert seen == ["pabee", "albert-4", "deebert", "fastbert", "elbert", *RUNS[5:]]
    assert len(found["methods"]["elbert"]["training_cost"]["stages"]) == 2
    with pytest.raises(ValueError, match="was trained on other inputs: init"):
        train_all(begin, tmp_path)


def test_all_skips_what_is_finished_and_resumes_what_is_not(data: Path, tmp_path: Path):
    begin = start(data, max_steps=6, evaluate_every=3, save_every=2)
    train_method(begin, tmp_path / "elbert", "elbert")
    stopped = train_method(begin, tmp_path / "pabee", "pabee", stop_after=3)
    assert stopped["step"] == 3
    finished = sha256_of(tmp_path / "elbert")
    seen: list[tuple[str, int]] = []
    found = train_all(begin, tmp_path, report=lambda name, t: seen.append((name, t.step)))
    assert seen[:3] == [("elbert", 6), ("pabee", 3), ("albert-4", 0)]
    assert [name for name, _ in seen] == RUNS
    assert sha256_of(tmp_path / "elbert") == finished
    whole = train_all(begin, tmp_path / "whole")
    for name in RUNS:
        for part in ("model.safetensors", "exits.safetensors"):
            paths = [folder / name / "latest" / part for folder in (tmp_path, tmp_path / "whole")]
            assert paths[0].is_file() == paths[1].is_file()
            if paths[0].is_file():
                assert sha256_of(paths[0]) == sha256_of(paths[1]), name
    before = sha256_of(tmp_path)
    again = train_all(begin, tmp_path)
    assert sha256_of(tmp_path) == before
    assert again == found
    assert whole["methods"].keys() == found["methods"].keys()
    with pytest.raises(ValueError, match=r"trained with learning_rate 0\.003, asked for 0\.5"):
        train_all(start(data, max_steps=6, learning_rate=0.5), tmp_path)


def test_stage_one_must_be_a_finished_whole_albert_of_the_same_data(
    data: Path, runs: tuple[Path, dict], tmp_path: Path, make_task
):
    begin = start(data, max_steps=4)
    with pytest.raises(ValueError, match="deebert wants a finished stage one"):
        begin(tmp_path / "a", method="deebert")
    with pytest.raises(ValueError, match="pabee has no use for a finished stage one"):
        begin(tmp_path / "a", method="pabee", stage_one=runs[0] / "albert-4")
    for wrong, message in (("elbert", "is elbert with 4 of 4"), ("albert-2", "is albert with 2 of 4")):
        with pytest.raises(ValueError, match=message):
            begin(tmp_path / "a", method="deebert", stage_one=runs[0] / wrong)
    train_method(start(data, max_steps=4, save_every=2), tmp_path / "half", "albert", stop_after=2)
    with pytest.raises(ValueError, match="at step 2 of 4: not finished"):
        begin(tmp_path / "a", method="deebert", stage_one=tmp_path / "half")
    other = make_task(tmp_path / "other")
    with (other / "train.tsv").open("a") as file:
        file.write("good\t1\n")
    with pytest.raises(ValueError, match="trained on other inputs: train differ"):
        start(other, max_steps=4)(tmp_path / "a", method="deebert", stage_one=runs[0] / "albert-4")


# ---------------------------------------------------------------- counting


@pytest.mark.parametrize("method", HEADS)
def test_a_head_says_whether_it_reads_more_than_the_first_row(method: str):
    model = nano(method)
    one = torch.randn(2, 6, 32)
    other = torch.cat([one[:, :1], torch.randn(2, 5, 32)], 1)
    with torch.inference_mode():
        same = torch.equal(*(model.heads[0](hidden, None, model.backbone) for hidden in (one, other)))
    assert HEADS[method].reads_all_rows == (not same)


def measured(run) -> int:
    """Multiply-adds that PyTorch's counter sees, which counts two FLOPs for each."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("method", METHODS)
def test_forward_pass_counts_what_pytorch_counts(method: str):
    model = nano(method).requires_grad_(False)
    ids = torch.randint(6, 20, (3, 9))
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    every = list(range(1, 5))
    assert measured(lambda: model(ids, mask)) == 3 * Work(model, every).macs(9)
    assert measured(lambda: model(ids, mask, exits=[2])) == 3 * Work(model, [2]).macs(9)


def test_hand_count_of_nano():
    # hidden 32, embedding 16, intermediate 64, 3 classes, 9 tokens
    layer = 9 * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 9 * 9 * 32
    own = 32 * 32 + 32 * 3
    branch = 9 * (32 * 128 + 4 * 128 * 128) + 2 * 9 * 9 * 128 + 128 * 128 + 128 * 3
    model = nano("fastbert")
    assert layer_macs(model.config, 9) == layer
    assert [exit_macs(model, i, 9) for i in (1, 2, 3, 4)] == [branch] * 3 + [own]
    assert exit_macs(nano("deebert"), 1, 9) == exit_macs(nano("pabee"), 1, 9) == own
    # keys and values of all rows, the rest of [CLS] alone
    rows = 2 * 9 * 32 * 32 + 2 * 32 * 32 + 2 * 32 * 64 + 2 * 9 * 32
    saved = [answer_macs(model.config, kind, 9) for kind in (None, *HEADS.values())]
    assert saved == [rows, rows, layer, rows]
    assert list(HEADS) == ["deebert", "fastbert", "pabee"]
    model.backbone.requires_grad_(False)
    stage = 9 * 16 * 32 + 4 * layer + 3 * 3 * branch + own
    assert Work(model, [1, 2, 3, 4]).macs(9) == stage
    joint = nano("elbert")
    assert Work(joint, [1, 2, 3, 4]).macs(9) == 3 * (9 * 16 * 32 + 4 * (layer + own))
    cost = count(Work(joint, [1, 2, 3, 4]), [(2, 9), (1, 9), (4, 5)], steps=3, seconds=1.26)
    five = 3 * (5 * 16 * 32 + 4 * (5 * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 25 * 32 + own))
    assert cost.macs == 3 * 3 * (9 * 16 * 32 + 4 * (layer + own)) + 4 * five
    assert (cost.tokens, cost.steps, cost.seconds, cost.teacher_macs) == (47, 3, 1.3, 0)


@pytest.mark.parametrize("method", METHODS)
def test_training_counts_what_pytorch_counts(method: str, data: Path, tmp_path: Path):
    found = objective(data, method, tmp_path)
    length = found.lengths[0]
    index = [i for i, n in enumerate(found.lengths) if n == length][:4]

    def step() -> None:
        found.loss(index).backward()

    counted = len(index) * found.work.macs(length)
    seen = measured(step)
    if method in ("elbert", "pabee", "albert"):
        assert seen == counted
    else:
        # the first product of a head has no gradient to hand on to the frozen hidden state
        spared = {"deebert": 32 * 32, "fastbert": length * 32 * 128}[method]
        assert seen == counted - len(index) * 3 * spared


def test_teachers_forward_pass_is_counted():
    config = BertConfig(
        vocab_size=20, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    model = BertForSequenceClassification(config).eval()
    model.set_attn_implementation("eager")
    ids = torch.randint(6, 20, (3, 9))
    with torch.no_grad():
        assert measured(lambda: model(ids)) == 3 * bert_macs(config, 9)


def test_record_says_what_training_cost(runs: tuple[Path, dict]):
    found = runs[1]["methods"]
    first = found["albert-4"]["training_cost"]
    assert [stage["stage"] for stage in first["stages"]] == [1]
    assert first["steps"] == 120
    assert first["teacher_macs"] == 0
    for method, steps in (("deebert", 120), ("fastbert", 200)):
        cost = found[method]["training_cost"]
        assert cost["stages"][0] == first["stages"][0]
        assert cost["stages"][1]["steps"] == steps
        for key in ("macs", "tokens", "steps", "seconds"):
            assert cost[key] == pytest.approx(sum(stage[key] for stage in cost["stages"]))
    # six epochs of 320 sentences in batches of like length: hardly any padding
    assert found["elbert"]["training_cost"]["tokens"] == first["tokens"]
    # one joint training costs what a plain ALBERT's does, but for three more exits
    extra = found["elbert"]["training_cost"]["macs"] - first["macs"]
    assert extra == 6 * 320 * 3 * 3 * (32 * 32 + 32 * 2)
    assert found["elbert"]["training_cost"]["macs"] == found["pabee"]["training_cost"]["macs"]


# ---------------------------------------------------------------- commands


def invoke(*arguments: object):
    app = build_app()
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_commands_train_a_method_and_all(data: Path, tmp_path: Path):
    options = ["--preset", "nano", "--init", "fresh", "--tokenizer", data, "--max-steps", 4]
    options += ["--batch-size", 16, "--threads", 1, "--seed", 3, "--evaluate-every", 2]
    one = invoke("train", data, "--method", "fastbert", "--output", tmp_path / "one", *options)
    assert one.exit_code == 0, one.output
    assert load_method(tmp_path / "one" / "latest").method == "fastbert"
    assert load_method(tmp_path / "one" / "stage-1" / "latest").method == "albert"
    again = invoke("train", data, "--method", "fastbert", "--output", tmp_path / "one", *options)
    assert "holds a run already" in str(again.exception)
    cut = invoke(
        *("train", data, "--method", "albert", "--iterations", 2, "--output", tmp_path / "cut", *options)
    )
    assert cut.exit_code == 0, cut.output
    assert load_method(tmp_path / "cut" / "latest").iterations == 2
    runs, result = tmp_path / "runs", tmp_path / "all.json"
    found = invoke("train", data, "--method", "all", "--output", runs, *options, "--json", result)
    assert found.exit_code == 0, found.output
    assert "fastbert: step 0 of 7" in found.output
    table = json.loads(result.read_text())
    assert list(table["methods"]) == RUNS
    assert table["header"]["seed"] == 3
    named = invoke(
        *("train", data, "--method", "deebert", "--stage-one", runs / "albert-4"),
        *("--output", tmp_path / "named", *options, "--quiet"),
    )
    assert named.exit_code == 0, named.output
    heads = [tmp_path / "named", runs / "deebert"]
    assert len({sha256_of(folder / "latest" / "exits.safetensors") for folder in heads}) == 1
    for arguments, message in (
        (("--method", "bert"), "method 'bert' is not one of elbert, pabee"),
        (("--method", "all", "--iterations", 2), "--iterations 2 is for one method"),
        (("--method", "elbert", "--iterations", 2), "only albert is cut"),
        (("--device", "tpu"), "device 'tpu' is not one of cpu, cuda"),
        (("--device", "cuda:99"), "device 'cuda:99': there are"),
    ):
        refused = invoke("train", data, *arguments, "--output", tmp_path / "no", *options)
        assert isinstance(refused.exception, ValueError), refused.output
        assert message in str(refused.exception)
    assert not (tmp_path / "no").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_training_on_cuda_resumes_and_answers_alike(data: Path, tmp_path: Path):
    begin = partial(start(data, max_steps=6, autocast="bfloat16"), device="cuda")
    train_method(begin, tmp_path / "run", "elbert", stop_after=3)
    record = train_method(begin, tmp_path / "run", "elbert", resume=True)
    assert record["step"] == 6
    folder = tmp_path / "run" / "latest"
    given, _ = sentences(data, folder)
    on_cpu, on_cuda = (load_method(folder, device).logits(given) for device in ("cpu", "cuda"))
    torch.testing.assert_close(on_cpu, on_cuda, rtol=1e-3, atol=1e-3)


def test_logits_of_a_whole_set_are_those_of_its_batches(data: Path, runs: tuple[Path, dict]):
    method = load_method(runs[0] / "fastbert" / "latest")
    dev = encode(load_dataset(data, "dev"), method.tokenizer, 16)
    found = all_logits(method.model, dev, method.tokenizer.pad_id, batch_size=7)
    given = list(zip(dev.ids, dev.types, strict=True))
    torch.testing.assert_close(found.double(), method.logits(given), rtol=0, atol=1e-5)


# ---------------------------------------------------------------- several processes


def test_two_processes_train_as_one_does(data: Path, tmp_path: Path):
    """Both stages of DeeBERT, begun by one process, resumed by two with a share of every batch each."""
    pytest.importorskip("accelerate")
    begin = start(data, max_steps=5, batch_size=15, evaluate_every=2, save_every=1)
    whole = train_method(begin, tmp_path / "one", "deebert")
    train_method(begin, tmp_path / "two", "deebert", stop_after=3)
    assert not (tmp_path / "two" / "latest").exists()
    options = ["--preset", "nano", "--init", "fresh", "--tokenizer", data, "--max-steps", 5, "--seed", 3]
    options += ["--batch-size", 15, "--learning-rate", 3e-3, "--evaluate-every", 2, "--save-every", 1]
    options += ["--threads", 1, "--device", "cpu", "--resume", "--json", tmp_path / "record.json"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    command += ["-m", "elbert", "train", data, "--method", "deebert", "--output", tmp_path / "two"]
    done = subprocess.run(
        [str(part) for part in (*command, *options)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best step") == 1, done.stdout  # one process prints
    for part in ("stage-1/latest/model", "latest/model", "latest/exits"):
        one, two = (load_file(tmp_path / run / f"{part}.safetensors") for run in ("one", "two"))
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6)
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["training_cost"]["macs"] == whole["training_cost"]["macs"]
    assert [entry["step"] for entry in record["history"]] == [2, 4, 5]
    for one, two in zip(whole["history"], record["history"], strict=True):
        for key in ("dev_loss", "train_loss"):
            assert two[key] == pytest.approx(one[key], rel=1e-4)
