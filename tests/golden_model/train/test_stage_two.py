"""ELBERT's second stage on a task a nano model learns in seconds: what learns, from whom, at what cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForSequenceClassification
from typer.testing import CliRunner

from elbert.cli import build_app
from golden_model.config import PRESETS
from golden_model.float.albert import load_float
from golden_model.float.batches import collate, encode
from golden_model.float.logits import all_logits
from golden_model.float.methods.count import Work
from golden_model.text.tokenizer import ElbertTokenizer
from golden_model.train.answers import BATCH, mean_answers
from golden_model.train.average import TailAverage
from golden_model.train.distillation import BertTeacher
from golden_model.train.export import export
from golden_model.train.joint import JointOptions
from golden_model.train.setup import Splits, Teaching, prepare
from golden_model.train.stage_two import StageTwo
from golden_model.train.texts import Unlabelled
from golden_model.train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")

FAST = {"batch_size": 16, "evaluate_every": 50, "save_every": 5, "max_length": 16, "seed": 3}
SECOND = {
    **FAST,
    "max_steps": 12,
    "learning_rate": 2e-3,
    "head_learning_rate": 6e-3,
    "weighting": "equal",
    "exits": 2,
    "soft": 0.6,
    "freeze": "embeddings",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_task) -> Path:
    return make_task(tmp_path_factory.mktemp("stages") / "task")


@pytest.fixture(scope="module")
def first(data: Path, tmp_path_factory) -> Path:
    """A finished ELBERT of four iterations whose earlier exits were given up."""
    folder = tmp_path_factory.mktemp("first") / "run"
    options = JointOptions.model_validate(
        {**FAST, "max_steps": 60, "learning_rate": 3e-3, "exit_start": -6.0}
    )
    prepare(
        Splits.of_folder(str(data)), PRESETS["nano"], options, folder, init="fresh", tokenizer_folder=data
    ).run()
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    """A BERT classifier of random weights with the task's tokenizer."""
    from tests.golden_model.conftest import small_tokenizer

    folder = tmp_path_factory.mktemp("bert") / "teacher"
    config = BertConfig(
        vocab_size=20, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    ElbertTokenizer(small_tokenizer()).save(folder)
    return folder


def second(
    data: Path,
    first: Path,
    output: Path,
    own: float | None = None,
    teacher: Path | None = None,
    method: str = "elbert",
    texts: Path | None = None,
    **changes: object,
) -> Trainer:
    return prepare(
        Splits.of_folder(str(data)),
        PRESETS["nano"],
        JointOptions.model_validate({**SECOND, **changes}),
        output,
        teaching=None if teacher is None else Teaching(teacher),
        method=method,
        stage_two=StageTwo(first, own),
        unlabelled=None if texts is None else Unlabelled([texts]),
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def parameters(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in trainer.objective.named()}


# ---------------------------------------------------------------- what learns


@pytest.mark.parametrize(("exits", "last"), [(1, 0.0), (2, 0.0), (2, 0.3), (4, 0.0)])
def test_loss_is_that_of_the_first_exits_and_of_the_last_as_weighted(
    data: Path, first: Path, tmp_path: Path, exits: int, last: float
):
    trainer = second(data, first, tmp_path, exits=exits, last_weight=last, soft=0.25, temperature=3.0)
    objective, index = trainer.objective, list(range(16))
    ran: list[int] = []
    layer = objective.model.backbone.model.albert.encoder.albert_layer_groups[0]
    objective.answers.of(index, objective.device)
    hook = layer.register_forward_hook(lambda *_: ran.append(1))
    found = objective.loss(index)
    hook.remove()
    assert len(ran) == (4 if last else exits)  # behind the exits that learn nothing is computed

    start, tokenizer, _ = load_float(first / "latest")
    train = encode(Splits.of_folder(str(data)).train, tokenizer, 16)
    batch = collate(train, index, tokenizer.pad_id)
    logits = start(batch.ids, batch.mask, batch.types)
    target = torch.softmax(logits[-1].detach() / 3.0, -1)
    expected = torch.zeros(())
    for iteration, weight in {**dict.fromkeys(range(exits), 1.0), **({3: last} if last else {})}.items():
        hard = functional.cross_entropy(logits[iteration], batch.labels)
        ours = torch.log_softmax(logits[iteration] / 3.0, -1)
        kl = (target * (target.log() - ours)).sum(-1).mean()
        expected = expected + weight * (0.75 * hard + 0.25 * 9.0 * kl)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    found.backward()
    expected.backward()
    theirs = dict(start.model.named_parameters())
    trained = {name for name, _ in objective.named()}
    assert trained == {n for n in theirs if "embedding" not in n}
    for name, parameter in objective.model.backbone.model.named_parameters():
        if name in trained:
            torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-4, atol=1e-6)
        else:
            assert parameter.grad is None, name


def test_embedding_and_projection_stay_and_first_exits_learn(data: Path, first: Path, tmp_path: Path):
    record = second(data, first, tmp_path / "run", max_steps=60).run()
    before, after = weights(first / "latest"), weights(tmp_path / "run" / "latest")
    for name, value in before.items():
        assert torch.equal(value, after[name]) == ("embedding" in name), name
    start = json.loads((first / "latest" / "training.json").read_text())["history"][-1]
    cross = "dev_cross_entropy"
    assert sum(record["history"][-1][cross][:2]) < 0.9 * sum(start[cross][:2])
    assert record["history"][-1]["exit_weights"] == [1.0, 1.0]
    assert record["best"]["dev_accuracy"][1] == max(e["dev_accuracy"][1] for e in record["history"])


# ---------------------------------------------------------------- teachers


def test_own_answers_are_the_starts_at_full_depth_and_kept(data: Path, first: Path, tmp_path: Path):
    run = tmp_path / "run"
    trainer = second(data, first, run)
    trainer.run(stop_after=3)
    start, tokenizer, _ = load_float(first / "latest")
    train = encode(Splits.of_folder(str(data)).train, tokenizer, 16)
    expected = all_logits(start, train, tokenizer.pad_id)
    kept = load_file(run / "answers.safetensors")
    assert kept.keys() == {"own"}
    torch.testing.assert_close(kept["own"], expected[-1], rtol=0, atol=1e-5)
    assert (expected[-1] - expected[-2]).abs().max() > 1e-3  # no other exit's
    index = [7, 300, 2]
    cpu = torch.device("cpu")
    assert torch.equal(trainer.objective.answers.of(index, cpu), kept["own"][index])

    # what was kept is what is read; of another start or precision it is computed anew
    with safe_open(run / "answers.safetensors", "pt") as file:
        facts = file.metadata()
    save_file({"own": kept["own"] + 1}, run / "answers.safetensors", facts)
    assert torch.equal(second(data, first, run).objective.answers.of(index, cpu), kept["own"][index] + 1)
    other = second(data, first, run, autocast="bfloat16").objective.answers.of(index, cpu)
    torch.testing.assert_close(other, kept["own"][index], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("own", [None, 0.0, 0.8])
def test_a_bert_teaches_beside_the_own_full_depth(
    data: Path, first: Path, bert: Path, tmp_path: Path, own: float | None
):
    trainer = second(data, first, tmp_path, own=own, teacher=bert)
    trainer.run(stop_after=1)
    kept = load_file(tmp_path / "answers.safetensors")
    share = 0.5 if own is None else own
    assert kept.keys() == ({"own", "teacher"} if share else {"teacher"})
    teacher = BertTeacher.from_folder(bert).eval()
    train = encode(Splits.of_folder(str(data)).train, teacher.tokenizer, 16)
    index = [0, 5, 9]
    batch = collate(train, index, teacher.tokenizer.pad_id)
    with torch.inference_mode():
        expected = (1 - share) * torch.softmax(teacher(batch.ids, batch.mask, batch.types)[0] / 2, -1)
    if share:
        expected = expected + share * torch.softmax(kept["own"][index] / 2, -1)
    found = trainer.objective.answers.of(index, torch.device("cpu"))
    torch.testing.assert_close(torch.softmax(found / 2, -1), expected, rtol=1e-5, atol=1e-6)
    assert trainer.record()["inputs"]["own_answers"] == share


def test_own_full_depth_answers_unlabelled_sentences(data: Path, first: Path, tmp_path: Path):
    texts = tmp_path / "more.tsv"
    texts.write_text("text\nthe film is very very good. bad film is , bad.\nthe film is very very good.\n")
    options = JointOptions.model_validate({**SECOND, "max_steps": 2})
    task, stage = Splits.of_folder(str(data)), StageTwo(first)
    given = Unlabelled([texts])
    trainer = prepare(task, PRESETS["nano"], options, tmp_path / "run", stage_two=stage, unlabelled=given)
    labels = trainer.objective.train_data.labels
    assert trainer.facts["unlabelled"]["rows"] == 2
    assert labels.tolist() == [*task.train.labels, -1, -1]
    start, tokenizer, _ = load_float(first / "latest")
    ids = torch.tensor([tokenizer.encode("the film is very very good.", 16)[0]])
    found = trainer.objective.answers.of([320], torch.device("cpu"))
    torch.testing.assert_close(found, start(ids)[-1].detach(), rtol=0, atol=1e-5)
    # without a label the teacher's answer is all there is to learn
    target = torch.softmax(found / 2, -1)
    ours = torch.log_softmax(start(ids)[:2] / 2, -1)
    expected = 4 * (target * (target.log() - ours)).sum(-1).mean(-1).sum()
    assert float(trainer.objective.loss([320]).detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    trainer.run()
    shorter = prepare(task, PRESETS["nano"], options, tmp_path / "run", stage_two=StageTwo(first))
    with pytest.raises(ValueError, match="trained on other inputs: unlabelled differ"):
        shorter.resume()
    assert trainer.record()["training_cost"]["stages"][1]["teacher_macs"] > shorter.objective.answers.macs


def test_a_tasks_training_texts_are_answered_without_labels(
    data: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "sets" / "RTE"
    folder.mkdir(parents=True)
    lines = ["index\tsentence1\tsentence2\tlabel", "0\ta good film\ta film\tentailment"]
    (folder / "train.tsv").write_text("\n".join([*lines, "1\ta bad plot\ta film\tnot_entailment", ""]))
    monkeypatch.setenv("ELBERT_DATA", str(tmp_path / "sets"))
    more = Unlabelled(tasks=["rte"])
    options = JointOptions.model_validate({**SECOND, "max_steps": 2})
    splits = Splits.of_folder(str(data))
    trainer = prepare(
        splits, PRESETS["nano"], options, tmp_path / "run", stage_two=StageTwo(first), unlabelled=more
    )
    found = trainer.objective.train_data
    bare = second(data, first, tmp_path / "bare").objective.train_data
    tokenizer = trainer.objective.tokenizer
    texts = [ids for ids, _ in tokenizer.encode_many(["a good film", "a bad plot", "a film"], 16)]
    assert found.ids == bare.ids + texts  # each text once, and alone
    assert found.labels[-3:].tolist() == [-1, -1, -1]
    assert trainer.run()["inputs"]["unlabelled"]["rows"] == 3


def test_mean_of_answers_that_are_sure_stays_finite():
    sure = torch.tensor([[400.0, -400.0]])
    found = mean_answers([(0.25, sure), (0.75, -sure)], 1.0)
    assert torch.softmax(found, -1).tolist() == [pytest.approx([0.25, 0.75])]
    assert torch.equal(mean_answers([(1.0, sure)], 2.0), sure)
    both = mean_answers([(0.25, sure), (0.75, sure)], 1.0)
    assert torch.isfinite(both).all()


# ---------------------------------------------------------------- average, resuming


def test_average_is_the_mean_over_the_last_steps(data: Path, first: Path, tmp_path: Path):
    trainer = second(data, first, tmp_path, average=0.5, max_steps=11, evaluate_every=4)
    plain = second(data, first, tmp_path / "plain", max_steps=11, evaluate_every=4)
    seen: list[dict[str, torch.Tensor]] = []
    for done in range(1, 12):
        trainer.run(stop_after=done)
        plain.run(stop_after=done)
        seen.append(parameters(trainer))
        for name, value in parameters(plain).items():  # measuring the mean leaves what is trained alone
            assert torch.equal(value, seen[-1][name]), (done, name)
    # of 11 steps the last 5: behind 6 = round(0.5 · 11)
    assert trainer.record()["averaged_steps"] == 5
    stored = weights(tmp_path / "latest")
    moved = 0.0
    for name, last in seen[-1].items():
        mean = torch.stack([entry[name].double() for entry in seen[-5:]]).mean(0)
        torch.testing.assert_close(stored[name].double(), mean, rtol=1e-5, atol=1e-6)
        moved += float((stored[name] - last).abs().sum())
    assert moved > 0
    start, tokenizer, _ = load_float(tmp_path / "latest")
    dev = encode(Splits.of_folder(str(data)).dev, tokenizer, 16)
    logits = all_logits(start, dev, tokenizer.pad_id)
    measured = trainer.history[-1]["dev_cross_entropy"]
    assert measured == pytest.approx(
        [float(functional.cross_entropy(each, dev.labels)) for each in logits], abs=1e-5
    )


def test_a_longer_plan_begins_the_average_anew():
    parameter = torch.nn.Parameter(torch.zeros(2))
    average = TailAverage([("p", parameter)], 0.5)
    for step in range(1, 5):
        with torch.no_grad():
            parameter.fill_(step)
        average.stepped(step, 4)
    assert average.count == 2
    assert average.tensors()["p"].tolist() == [3.5, 3.5]
    for step in range(5, 13):  # now of 12: the last six
        with torch.no_grad():
            parameter.fill_(step)
        average.stepped(step, 12)
        assert average.count == max(0, step - 6)
    assert average.tensors()["p"].tolist() == [9.5, 9.5]
    with average.applied():
        assert parameter.tolist() == [9.5, 9.5]
    assert parameter.tolist() == [12.0, 12.0]


@pytest.mark.parametrize("pause", [3, 9])
def test_resumed_run_equals_the_uninterrupted_one(data: Path, first: Path, tmp_path: Path, pause: int):
    options = {"average": 0.5, "last_weight": 0.2, "evaluate_every": 4}
    whole = second(data, first, tmp_path / "whole", **options)
    whole.run()
    second(data, first, tmp_path / "parts", **options).run(stop_after=pause)
    torch.manual_seed(99)
    parts = second(data, first, tmp_path / "parts", **options)
    assert parts.resume()
    assert parts.average.count == max(0, pause - 6)
    parts.run()
    for name, value in parameters(whole).items():
        assert torch.equal(value, parameters(parts)[name]), name
    for name in ("latest", "best"):
        one, two = weights(tmp_path / "whole" / name), weights(tmp_path / "parts" / name)
        assert all(torch.equal(value, two[key]) for key, value in one.items())
    with pytest.raises(ValueError, match=r"trained with average 0\.5, asked for 0\.25"):
        second(data, first, tmp_path / "parts", **{**options, "average": 0.25}).resume()
    with pytest.raises(ValueError, match=r"trained with exits 2, asked for 3"):
        second(data, first, tmp_path / "parts", **{**options, "exits": 3}).resume()


# ---------------------------------------------------------------- cost


def test_cost_counts_stages_answers_and_the_iterations_that_run(data: Path, first: Path, tmp_path: Path):
    trainer = second(data, first, tmp_path, max_steps=4)
    record = trainer.run()
    cost = record["training_cost"]
    before = json.loads((first / "latest" / "training.json").read_text())["training_cost"]
    assert cost["stages"][0] == before["stages"][0]
    assert [stage["stage"] for stage in cost["stages"]] == [1, 2]
    for key in ("macs", "teacher_macs", "tokens", "steps"):
        assert cost[key] == sum(stage[key] for stage in cost["stages"])
    stage = cost["stages"][1]
    model = trainer.objective.model
    batches = list(trainer.processed())
    assert stage["macs"] == sum(rows * Work(model, [1, 2]).macs(width) for rows, width in batches)
    # the answers: what PyTorch's counter sees of full depth, over the samples once
    answers = trainer.objective.answers
    source = answers.sources["own"][1]
    total = 0
    for index in answers.batches():
        assert len(index) <= BATCH
        with FlopCounterMode(display=False) as counter:
            source.logits(index, torch.device("cpu"))
        total += counter.get_total_flops() // 2
    assert sorted(i for index in answers.batches() for i in index) == list(range(320))
    assert stage["teacher_macs"] == answers.macs == total
    labels_alone = second(data, first, tmp_path / "labels", max_steps=4, soft=0.0).run()
    assert labels_alone["training_cost"]["stages"][1]["teacher_macs"] == 0
    assert not (tmp_path / "labels" / "answers.safetensors").exists()


def test_a_second_stage_may_follow_a_second_stage_or_an_export(data: Path, first: Path, tmp_path: Path):
    second(data, first, tmp_path / "two", max_steps=2).run()
    third = second(data, tmp_path / "two", tmp_path / "three", max_steps=2).run()
    assert [stage["steps"] for stage in third["training_cost"]["stages"]] == [60, 2, 2]
    assert third["method"] == "elbert"
    export(first / "latest", tmp_path / "float", Splits.of_folder(str(data)).dev)
    record = second(data, tmp_path / "float", tmp_path / "four", max_steps=2).run()
    assert [stage["steps"] for stage in record["training_cost"]["stages"]] == [60, 2]


# ---------------------------------------------------------------- the other methods, with the same budget

OTHERS = {"weighting": "dynamic", "exits": None, "freeze": "none"}


@pytest.mark.parametrize("method", ["pabee", "deebert", "fastbert"])
def test_the_other_methods_go_on_from_the_same_start(data: Path, first: Path, tmp_path: Path, method: str):
    texts = tmp_path / "more.tsv"
    texts.write_text("text\na good film with a plot that works. a bad plot, and a film that fails.\n")
    trainer = second(data, first, tmp_path / "run", method=method, texts=texts, max_steps=4, **OTHERS)
    objective = trainer.objective
    assert (objective.train_data.labels < 0).sum() == 2
    begun = weights(first / "latest")
    backbone = {k: v.clone() for k, v in objective.model.backbone.model.state_dict().items()}
    for name, value in begun.items():
        assert torch.equal(backbone[name], value), name
    record = trainer.run()
    # the two-stage methods' layer stays: their exits stand behind the start's own hidden states
    after = weights(tmp_path / "run" / "latest")
    moved = [name for name, value in begun.items() if not torch.equal(after[name], value)]
    assert bool(moved) == (method == "pabee")
    assert record["inputs"]["init"] == "stage-two"
    assert record["inputs"]["unlabelled"]["rows"] == 2
    assert record["added_parameters"] > 0
    stages = record["training_cost"]["stages"]
    assert [stage["steps"] for stage in stages] == [60, {"fastbert": 7}.get(method, 4)]
    if method == "fastbert":  # it learns its own last exit, which runs beside the branches
        assert objective.answers is None
        assert stages[1]["teacher_macs"] == 0
    else:
        assert stages[1]["teacher_macs"] == objective.answers.macs > 0
        kept = load_file(tmp_path / "run" / "answers.safetensors")["own"]
        elberts = second(data, first, tmp_path / "elbert", texts=texts, max_steps=1)
        elberts.run()
        assert torch.equal(kept, load_file(tmp_path / "elbert" / "answers.safetensors")["own"])


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exits": 5}, r"exits 5 is not in 1\.\.4"),
        ({"exits": 4, "last_weight": 0.1}, r"last_weight 0\.1: with 4 exits the last one learns already"),
        ({"weighting": "dynamic"}, "weighting 'dynamic': the exits of the first iterations weigh equal"),
        ({"hidden": 1.0}, r"hidden 1\.0: a second stage learns answers"),
        ({"self_distillation": 0.5}, r"self_distillation 0\.5: a second stage's teacher"),
        ({"own": 0.5}, r"own_answers 0\.5 leaves a share to a teacher, and there is none"),
        ({"own": 1.5}, r"own_answers 1\.5 is not in 0\.\.1"),
    ],
)
def test_what_a_second_stage_cannot_do(data: Path, first: Path, tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        second(data, first, tmp_path, **changes)


def test_start_must_be_a_finished_elbert_of_the_same_data(
    data: Path, first: Path, bert: Path, tmp_path: Path, make_task
):
    with pytest.raises(ValueError, match=r"own_answers 1\.0 leaves the teacher nothing"):
        second(data, first, tmp_path / "a", own=1.0, teacher=bert)
    second(data, first, tmp_path / "half", max_steps=4).run(stop_after=2)
    half = second(data, first, tmp_path / "half", max_steps=4)
    half.resume()
    half.write_latest()
    with pytest.raises(ValueError, match="at step 2 of 4: not finished"):
        second(data, tmp_path / "half", tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="none"):
        second(data, tmp_path / "none", tmp_path / "a")
    other = make_task(tmp_path / "other")
    with (other / "train.tsv").open("a") as file:
        file.write("good\t1\n")
    with pytest.raises(ValueError, match="trained on other inputs: train differ"):
        second(other, first, tmp_path / "a")
    with pytest.raises(ValueError, match="albert has none: not --method albert"):
        second(data, first, tmp_path / "a", method="albert")


# ---------------------------------------------------------------- the command


def invoke(*arguments: object):
    return CliRunner().invoke(build_app(), [str(a) for a in arguments])


def test_command_goes_on_from_a_run(data: Path, first: Path, tmp_path: Path):
    run, record = tmp_path / "run", tmp_path / "record.json"
    options = ["--stage-two", first, "--max-steps", 6, "--batch-size", 16, "--threads", 1, "--average", 0.5]
    options += ["--freeze", "embeddings", "--learning-rate", 2e-3, "--head-learning-rate", 6e-3]
    paused = invoke("train", data, "--output", run, *options, "--stop-after", 4)
    assert paused.exit_code == 0, paused.output
    done = invoke("train", data, "--output", run, *options, "--resume", "--json", record, "--quiet")
    assert done.exit_code == 0, done.output
    found = json.loads(record.read_text())
    assert (found["step"], found["averaged_steps"]) == (6, 3)
    chosen = {
        key: found["options"][key] for key in ("exits", "last_weight", "soft", "temperature", "weighting")
    }
    assert chosen == {"exits": 2, "last_weight": 0.0, "soft": 0.6, "temperature": 2.0, "weighting": "equal"}
    assert found["options"]["max_length"] == 16  # the start's geometry, not the preset's
    assert found["inputs"]["init"] == "stage-two"
    assert found["inputs"]["own_answers"] == 1.0
    assert load_float(run / "latest")[2].num_hidden_layers == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--exits", 2), "--last-weight and --own-answers are for --stage-two"),
        (("--last-weight", 0.1), "are for --stage-two"),
        (("--own-answers", 1), "are for --stage-two"),
        (("--unlabelled-task", "trec"), "--unlabelled-task trec: there is no --teacher to answer it"),
        (("--stage-two", "FIRST", "--unlabelled-task", "none"), "'none'"),
        (("--unlabelled", "more.tsv"), r"--unlabelled more\.tsv: there is no --teacher to answer it"),
        (("--stage-two", "FIRST", "--init", "fresh"), "--init has no use: --stage-two"),
        (("--stage-two", "FIRST", "--vocabulary-size", 9), "--vocabulary-size has no use: --stage-two"),
        (("--stage-two", "FIRST", "--method", "all"), "--stage-two .* is for one method, not for all"),
        (("--stage-two", "FIRST", "--method", "albert"), "albert has none: not --method albert"),
        (("--stage-two", "FIRST", "--method", "pabee", "--exits", 2), "are elbert's: pabee weighs"),
        (("--stage-two", "FIRST", "--method", "deebert", "--last-weight", 1), "are elbert's: deebert weighs"),
        (
            ("--stage-two", "FIRST", "--method", "fastbert", "--own-answers", 1),
            "fastbert learns its own last",
        ),
        (("--stage-two", "FIRST", "--method", "teacher"), "goes on from a finished elbert: not teacher"),
        (("--stage-two", "FIRST", "--stage-one", "FIRST"), "takes no stage one"),
        (("--stage-two", "none"), "none"),
    ],
)
def test_command_refuses(data: Path, first: Path, tmp_path: Path, arguments: tuple, message: str):
    given = [first if a == "FIRST" else a for a in arguments]
    found = invoke("train", data, "--output", tmp_path / "run", *given)
    assert isinstance(found.exception, ValueError | OSError), found.output
    with pytest.raises(type(found.exception), match=message):
        raise found.exception
