"""Evaluation of float and golden backends on a table, and its numbers against direct computation."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from elbert.show.evaluation import print_evaluation
from golden_model.config import PRESETS
from golden_model.data.tables import Columns, load_dataset
from golden_model.evaluation.backends import FloatBackend, GoldenBackend, model_folder, open_backend, tokenize
from golden_model.evaluation.predictions import write_predictions
from golden_model.evaluation.score import cost_of, evaluate, evaluate_file, examine, examine_file
from golden_model.exits import ExitMode, ExitPolicy, exit_iterations
from golden_model.files import sha256_of
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.confidence import integer_confidence
from golden_model.integer.model import GoldenModel
from golden_model.integer.synthetic import random_checkpoint
from golden_model.text.tokenizer import ElbertTokenizer

NANO = PRESETS["nano"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def make_tokenizer() -> ElbertTokenizer:
    """One piece per word ``w0`` .. ``w58``."""
    pieces = {piece: i for i, piece in enumerate(SPECIAL + [f"w{i}" for i in range(59)])}
    full = Tokenizer(WordLevel(pieces, unk_token="[UNK]"))
    full.pre_tokenizer = Whitespace()
    full.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return ElbertTokenizer(full)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of both forms and a table of 30 sentences."""
    root = tmp_path_factory.mktemp("model")
    torch.manual_seed(3)
    ElbertForSequenceClassification.from_config(NANO).save_pretrained(root / "float")
    make_tokenizer().save(root / "float")
    random_checkpoint(NANO, 2).save(root / "integer", copy_from=root / "float")
    generator = torch.Generator().manual_seed(4)
    rows = ["sentence\tlabel"]
    for _ in range(30):
        length = int(torch.randint(1, 20, (1,), generator=generator))
        words = torch.randint(0, 59, (length,), generator=generator).tolist()
        rows.append(
            " ".join(f"w{w}" for w in words) + f"\t{int(torch.randint(0, 2, (1,), generator=generator))}"
        )
    (root / "dev.tsv").write_text("\n".join(rows) + "\n")
    return root


@pytest.mark.parametrize("backend", ["float", "golden"])
def test_without_exit_everything_is_reported(folder: Path, backend: str) -> None:
    result = evaluate_file(backend, folder, folder / "dev.tsv")
    assert json.loads(json.dumps(result)) == result
    assert (result["samples"], result["iterations"]) == (30, 4)
    assert (result["cost"], result["speedup"], result["mean_exit_iteration"]) == (1.0, 1.0, 4.0)
    assert result["exits"] == [0, 0, 0, 30]
    assert len(result["accuracy_per_iteration"]) == 4
    assert result["accuracy_per_iteration"][-1] == pytest.approx(result["accuracy"])
    assert 0.5 <= result["mean_confidence"] <= 1
    assert result["data"]["sha256"] == sha256_of(folder / "dev.tsv")
    name = {"float": "float/model.safetensors", "golden": "integer/integer.safetensors"}[backend]
    assert result["header"]["checkpoint_sha256"] == sha256_of(folder / name)


def test_golden_numbers_are_those_of_its_logits(folder: Path) -> None:
    data = load_dataset(folder)
    backend = GoldenBackend(folder)
    sentences = tokenize(data, backend)
    assert max(len(ids) for ids, _ in sentences) == NANO.max_position_embeddings
    logits = GoldenModel(IntegerCheckpoint.load(folder / "integer")).all_iterations(sentences)
    policy = ExitPolicy(mode=ExitMode.entropy, delta=0.7)
    exits = exit_iterations(policy.to_fixed(), integer_confidence(logits))
    assert len(exits.unique()) > 1
    labels = logits[exits - 1, torch.arange(30)].argmax(-1)
    told: list[int] = []
    result = evaluate(backend, data, policy, told.append)
    assert sum(told) == 30
    assert result["accuracy"] == pytest.approx(float((labels == torch.tensor(data.labels)).double().mean()))
    assert result["exits"] == torch.bincount(exits, minlength=5)[1:].tolist()
    counts = result["exits"]
    assert result["cost"] == pytest.approx(sum(i * n for i, n in enumerate(counts, 1)) / (4 * sum(counts)))
    assert result["speedup"] == pytest.approx(1 / result["cost"])
    assert result["accuracy_per_iteration"] is None


def test_float_backend_answers_in_the_order_given(folder: Path) -> None:
    backend = FloatBackend(folder)
    sentences = tokenize(load_dataset(folder), backend)
    together = backend.answer(sentences, ExitPolicy())
    assert together.logits is not None
    for i in (0, 7, 29):
        alone = backend.answer([sentences[i]], ExitPolicy())
        assert alone.logits is not None
        torch.testing.assert_close(alone.logits[:, 0], together.logits[:, i], atol=1e-5, rtol=1e-4)


def test_cost_is_elberts_definition() -> None:
    assert cost_of(torch.tensor([1, 1, 4]), 4) == pytest.approx(6 / 12)


def test_the_tables_show_the_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_evaluation(evaluate_file("golden", folder, folder, limit=5))
    text = capsys.readouterr().out
    assert "golden" in text
    assert "1.00x" in text
    assert "4.00 of 4" in text


def test_wrong_arguments_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="backend 'rtl' is not one of float, golden"):
        open_backend("rtl", folder)
    with pytest.raises(FileNotFoundError, match=r"no golden checkpoint: no integer\.json"):
        model_folder(tmp_path, "golden")
    with pytest.raises(ValueError, match="limit 0 is below 1"):
        evaluate_file("golden", folder, folder, limit=0)
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\nw1\t0\nw2\t2\n")
    with pytest.raises(ValueError, match=r"row 3: class '2' is beyond the model's 2 classes, 0 to 1$"):
        evaluate_file("golden", folder, tmp_path)
    with pytest.raises(ValueError, match="metric 'bleu' is not one of accuracy, f1, mcc"):
        evaluate(GoldenBackend(folder), load_dataset(folder), metric="bleu")
    with pytest.raises(ValueError, match=r"dev\.tsv holds no rows$"):
        evaluate(GoldenBackend(folder), load_dataset(folder).head(0))
    assert model_folder(folder / "integer", "golden") == folder / "integer"


NAMES = ["negative", "positive"]


def write_words(folder: Path, target: Path, swap: bool = False) -> Path:
    """The folder's table with its numbers as words."""
    words = dict(zip("01", NAMES[::-1] if swap else NAMES, strict=True))
    rows = [line.split("\t") for line in (folder / "dev.tsv").read_text().splitlines()[1:]]
    target.write_text("sentence\tlabel\n" + "".join(f"{text}\t{words[label]}\n" for text, label in rows))
    return target


@pytest.fixture(scope="module")
def two_ways(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same float model with its classes in either order: classifier and names."""
    found = {}
    for key, order in (("straight", [0, 1]), ("reversed", [1, 0])):
        found[key] = tmp_path_factory.mktemp(key)
        shutil.copytree(folder / "float", found[key] / "float")
        weights = load_file(folder / "float" / "model.safetensors")
        for name in ("classifier.weight", "classifier.bias"):
            weights[name] = weights[name][order].contiguous()
        save_file(weights, found[key] / "float" / "model.safetensors", metadata={"format": "pt"})
        config = json.loads((folder / "float" / "config.json").read_text())
        config["id2label"] = {str(i): NAMES[order[i]] for i in range(2)}
        config["label2id"] = {NAMES[order[i]]: i for i in range(2)}
        (found[key] / "float" / "config.json").write_text(json.dumps(config))
    return found


def test_a_model_scores_the_same_however_it_numbers_its_classes(
    folder: Path, two_ways: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_words(folder, tmp_path / "dev.tsv")
    monkeypatch.setenv("ELBERT_DATA", str(tmp_path))
    (tmp_path / "SST-2").mkdir()
    shutil.copy(folder / "dev.tsv", tmp_path / "SST-2")
    only = tmp_path / "only.tsv"  # rows of one class
    only.write_text("".join(f"{line}\n" for line in table.read_text().splitlines() if "negative" not in line))
    numbers = evaluate_file("float", two_ways["straight"], folder / "dev.tsv")
    assert 0 < numbers["accuracy"] < 1
    assert numbers["accuracy"] != 0.5  # else a swap could not be told
    results = {}
    for source in (table, only, None):
        both = {
            key: evaluate_file("float", model, source, task=None if source else "sst2")
            for key, model in two_ways.items()
        }
        for name in ("accuracy", "f1", "mcc", "accuracy_per_iteration", "f1_of", "exits", "mean_confidence"):
            assert both["straight"][name] == pytest.approx(both["reversed"][name]), name
        assert both["reversed"]["f1_of"] == "positive"
        results[source] = both["reversed"]
    for name in ("accuracy", "f1", "mcc"):
        assert results[table][name] == results[None][name] == numbers[name]
    assert results[table]["classes"] == {
        "by": "name", "of": {"negative": 1, "positive": 0}, "model": ["positive", "negative"],
    }  # fmt: skip
    assert numbers["classes"] == {"by": "number", "of": {"0": 0, "1": 1}, "model": NAMES}
    data = load_dataset(only)
    right = [p.right for p in examine(FloatBackend(two_ways["reversed"]), data).predictions()]
    assert results[only]["accuracy"] == pytest.approx(sum(right) / len(right))


def test_golden_answers_are_named_by_the_labels_beside_the_model(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "integer", tmp_path / "integer")
    table = write_words(folder, tmp_path / "dev.tsv")
    with pytest.raises(
        ValueError, match=r"dev\.tsv: row \d+: class '\w+' is a word, and the model has no names"
    ):
        evaluate_file("golden", tmp_path, table)
    plain = evaluate_file("golden", tmp_path, folder / "dev.tsv")
    assert plain["classes"] == {"by": "number", "of": {"0": 0, "1": 1}, "model": None}
    for names in (NAMES, NAMES[::-1]):
        (tmp_path / "labels.json").write_text(json.dumps(names))
        found = evaluate_file("golden", tmp_path, write_words(folder, table, names != NAMES))
        assert (found["accuracy"], found["mcc"]) == (plain["accuracy"], pytest.approx(plain["mcc"]))
    (tmp_path / "labels.json").write_text('["bad", "good"]')
    with pytest.raises(
        ValueError, match=r"'negative' is none of the model's 'bad', 'good'; the data's .*'positive'"
    ):
        evaluate_file("golden", tmp_path, table)


def test_a_task_is_refused_to_a_model_of_other_classes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder / "integer", tmp_path / "integer")
    monkeypatch.setenv("ELBERT_DATA", str(tmp_path))
    (tmp_path / "SST-2").mkdir()
    shutil.copy(folder / "dev.tsv", tmp_path / "SST-2")
    nameless = evaluate_file("golden", tmp_path, None, task="sst2")  # the task's files write numbers
    assert nameless["classes"] == {"by": "number", "of": {"negative": 0, "positive": 1}, "model": None}
    assert nameless["accuracy"] == evaluate_file("golden", tmp_path, folder / "dev.tsv")["accuracy"]
    (tmp_path / "labels.json").write_text('["cat", "dog"]')
    with pytest.raises(
        ValueError, match=r"'negative' is none of the model's 'cat', 'dog'; the data's .*'positive'"
    ):
        evaluate_file("golden", tmp_path, None, task="sst2")
    (tmp_path / "FinancialPhraseBank").mkdir()
    rows = "".join(f"{c},w{i} w{i + 1}\n" for i in range(50) for c in ("negative", "neutral", "positive"))
    (tmp_path / "FinancialPhraseBank" / "all-data.csv").write_text("result,content\n" + rows)
    with pytest.raises(
        ValueError,
        match=r"fpb has 3 classes, the model 2: 'negative', 'neutral', 'positive' against 'cat', 'dog'$",
    ):
        evaluate_file("golden", tmp_path, None, task="fpb")


def test_predictions_say_each_row_and_add_up(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('["dull", "Good"]')
    shutil.copytree(folder / "integer", tmp_path / "integer")
    table = tmp_path / "dev.csv"
    table.write_text(
        'sentence1,sentence2,label\nw1,w2,good\n\nw3,"w,\u20ac""4",good\n' + "w5," + "w6 " * 40 + ",good\n"
    )
    policy = ExitPolicy(mode=ExitMode.entropy, delta=0.7)
    found = examine_file("golden", tmp_path, table, policy)
    rows = list(found.predictions())
    assert [(p.row, p.text, p.pair, p.label, p.truncated) for p in rows] == [
        (2, "w1", "w2", "good", False),
        (4, "w3", 'w,\u20ac"4', "good", False),
        (5, "w5", ("w6 " * 40).strip(), "good", True),
    ]
    assert found.result["truncated"] == 1
    assert {p.answer for p in rows} <= {"good", "dull"}
    assert [p.right for p in rows] == [p.answer == "good" for p in rows]
    assert found.result["accuracy"] == pytest.approx(sum(p.right for p in rows) / 3)
    assert found.result["mean_confidence"] == pytest.approx(sum(p.confidence for p in rows) / 3)
    assert found.result["mean_exit_iteration"] == pytest.approx(sum(p.exit_iteration for p in rows) / 3)
    assert evaluate_file("golden", tmp_path, table, policy) == found.result
    for name in ("out.jsonl", "out.csv"):
        write_predictions(tmp_path / name, found.predictions())
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines if line] == [asdict(p) for p in rows]
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert [each["pair"] for each in written] == [p.pair for p in rows]
    assert [(int(each["row"]), float(each["confidence"])) for each in written] == [
        (p.row, p.confidence) for p in rows
    ]
    with pytest.raises(ValueError, match=r"out\.xls: suffix '\.xls' is not one of \.csv, \.jsonl"):
        write_predictions(tmp_path / "out.xls", rows)
    again = load_dataset(tmp_path / "out.csv", columns=Columns("text", "pair", "label"))
    assert again.texts == [p.text for p in rows]


def test_a_limit_takes_the_first_rows_and_still_knows_all_classes(folder: Path) -> None:
    found = examine_file("golden", folder, folder / "dev.tsv", limit=3)
    whole = examine_file("golden", folder, folder / "dev.tsv")
    assert found.result["samples"] == 3
    assert list(found.predictions()) == list(whole.predictions())[:3]
    assert found.result["classes"] == whole.result["classes"]
    long = [p.truncated for p in whole.predictions()]
    assert whole.result["truncated"] == sum(long) > 0
    assert [len(p.text.split()) + 2 > NANO.max_position_embeddings for p in whole.predictions()] == long


@pytest.mark.parametrize("backend", ["float", "golden"])
def test_multiply_adds_are_those_of_lengths_and_exits(folder: Path, backend: str):
    opened = open_backend(backend, folder)
    policy = ExitPolicy(mode="entropy", delta=0.9)
    found = examine(opened, load_dataset(folder), policy)
    lengths = [len(ids) for ids, _ in tokenize(found.data, opened)]
    exits, config = found.answers.exits.tolist(), opened.config
    counted = found.result["multiply_adds"]
    assert counted["full_depth"] == config.num_hidden_layers * sum(map(config.layer_products, lengths))
    assert counted["all_rows"] == sum(
        e * config.layer_products(n) for n, e in zip(lengths, exits, strict=True)
    )
    saved = sum(config.layer_products(n) - config.answer_products(n) for n in lengths)
    assert counted["all_rows"] - counted["answer_first"] == saved > 0
