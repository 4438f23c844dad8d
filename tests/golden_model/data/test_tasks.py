"""The registry of tasks: every layout, its classes and splits, and the exact splits of the real data."""

from __future__ import annotations

import importlib.util
import json
import lzma
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from typer.testing import CliRunner

from elbert.cli import build_app
from golden_model.config import PRESETS
from golden_model.data.metrics import METRICS
from golden_model.data.tables import TextDataset
from golden_model.data.tasks import (
    DATA_VARIABLE,
    TASKS,
    HubTable,
    Task,
    check_source,
    data_root,
    find_task,
    load_task,
)
from golden_model.evaluation.score import evaluate_file
from golden_model.integer.synthetic import random_checkpoint
from golden_model.text.tokenizer import ElbertTokenizer

NANO = PRESETS["nano"]

SPLITS = {
    ("sst2", "train"): {"negative": 29780, "positive": 37569},
    ("sst2", "dev"): {"negative": 428, "positive": 444},
    ("rte", "train"): {"entailment": 1249, "not_entailment": 1241},
    ("rte", "dev"): {"entailment": 146, "not_entailment": 131},
    ("mrpc", "train"): {"not_equivalent": 1190, "equivalent": 2496},
    ("mrpc", "dev"): {"not_equivalent": 133, "equivalent": 257},
    ("cola", "train"): {"unacceptable": 2528, "acceptable": 6023},
    ("cola", "dev"): {"unacceptable": 322, "acceptable": 721},
    ("trec", "train"): {"ABBR": 83, "DESC": 1035, "ENTY": 1119, "HUM": 1081, "LOC": 747, "NUM": 819},
    ("trec", "dev"): {"ABBR": 3, "DESC": 127, "ENTY": 129, "HUM": 138, "LOC": 87, "NUM": 76},
    ("fpb", "train"): {"negative": 499, "neutral": 2311, "positive": 1099},
    ("fpb", "dev"): {"negative": 105, "neutral": 568, "positive": 264},
    ("imdb", "train"): {"negative": 11497, "positive": 11530},
    ("imdb", "dev"): {"negative": 1003, "positive": 970},
}
"""Rows per class of the real data."""

SHARED_TEXTS = {"cola": 16}
"""Texts in both train and dev; CoLA's own two files share some."""

FILES: dict[str, tuple[str, str, str]] = {
    "sst2": ("SST-2/dev.tsv", "sentence\tlabel\n", "a {i} film\t{c}\n"),
    "rte": ("RTE/dev.tsv", "index\tsentence1\tsentence2\tlabel\n", "{i}\tOne {i}.\tTwo {i}.\t{c}\n"),
    "mrpc": (
        "MRPC/train.tsv",
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n",
        "{c}\t1\t2\tOne {i}.\tTwo {i}.\n",
    ),
    "cola": ("CoLA/dev.tsv", "", "gj04\t{c}\t*\tSentence {i}.\n"),
    "trec": ("TREC/train.label", "", "{c}:fine What is {i} caf\xe9 ?\n"),
    "fpb": ("FinancialPhraseBank/all-data.csv", "result,content\n", '{c},"Sales , in {i} caf\xe9"\n'),
    "imdb": ("IMDB/train.tsv.xz", "id\trating\tlabel\ttext\n", "{i}\t9\t{c}\tA {i}.<br /><br />B.\n"),
}
"""Per task the file its dev split comes from, its header and a row of number i and class c."""


def write_task(root: Path, task: Task, rows: int = 60) -> list[int]:
    """Writes the table of FILES in the task's own layout; returns the classes written."""
    name, header, row = FILES[task.name]
    classes = [i % len(task.label_names) for i in range(rows)]
    stored = task.stored or task.label_names
    text = header + "".join(row.format(i=i, c=stored[c]) for i, c in enumerate(classes))
    data = text.encode(task.columns.encoding)
    path = root / name
    path.parent.mkdir(parents=True)
    path.write_bytes(lzma.compress(data) if path.suffix == ".xz" else data)
    return classes


def test_the_registry_is_consistent():
    assert list(TASKS) == list(FILES)
    for name, task in TASKS.items():
        assert task.name == name
        assert set(task.metrics) <= set(METRICS)
        assert task.metric == task.metrics[0]
        assert len(set(task.label_names)) == len(task.label_names) >= 2
        assert task.stored is None or len(task.stored) == len(task.label_names)
        assert task.max_length <= PRESETS["small"].max_position_embeddings
        assert task.is_pair == (name in ("rte", "mrpc"))
        assert find_task(name) is task
    primary = {"sst2": "accuracy", "rte": "accuracy", "mrpc": "f1", "cola": "mcc"}  # GLUE's
    assert {name: TASKS[name].metric for name in primary} == primary
    with pytest.raises(ValueError, match="task 'qqp' is not one of sst2, rte, mrpc, cola, trec, fpb, imdb"):
        find_task("qqp")


@pytest.mark.parametrize("name", TASKS)
def test_every_layout_is_read(tmp_path: Path, name: str):
    task = TASKS[name]
    classes = write_task(tmp_path, task)
    dev = load_task(name, "dev", tmp_path)
    assert dev.label_names == list(task.label_names)
    assert (dev.pairs is not None) == task.is_pair
    parts = [dev] if task.dev_share is None else [dev, load_task(task, "train", tmp_path)]
    assert sum(map(len, parts)) == len(classes)
    number = {"sst2": 1, "rte": 1, "mrpc": 1, "cola": 1, "trec": 2, "fpb": 3, "imdb": 1}[name]
    for part in parts:
        for text, label in zip(part.texts, part.labels, strict=True):
            assert label == classes[int(text.split()[number].rstrip("."))]
            assert "<" not in text
            assert name not in ("trec", "fpb") or "caf\xe9" in text
    if task.dev_share is not None:
        assert "(dev, cut by text)" in dev.source
        assert not set(dev.texts) & set(parts[1].texts)


def test_splits_that_are_not_there_are_named(tmp_path: Path):
    write_task(tmp_path, TASKS["sst2"])
    write_task(tmp_path, TASKS["trec"])
    for name in ("sst2", "rte", "mrpc", "cola"):
        with pytest.raises(ValueError, match=f"task {name} has no test split.*GLUE does not publish"):
            load_task(name, "test", tmp_path)
    with pytest.raises(ValueError, match=r"task fpb has no test split.*one table"):
        load_task("fpb", "test", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"TREC holds no test split: none of test with "):
        load_task("trec", "test", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"SST-2 holds no train split"):
        load_task("sst2", "train", tmp_path)
    with pytest.raises(ValueError, match="split 'all' is not one of train, dev, test"):
        load_task("sst2", "all", tmp_path)
    (tmp_path / "TREC" / "test.label").write_text("NUM:date When ?\n")
    assert load_task("trec", "test", tmp_path).labels == [5]


def test_a_class_that_is_not_the_tasks_is_named(tmp_path: Path):
    (tmp_path / "RTE").mkdir()
    (tmp_path / "RTE" / "dev.tsv").write_text("index\tsentence1\tsentence2\tlabel\n0\ta\tb\tneutral\n")
    with pytest.raises(ValueError, match=r"row 2: class 'neutral' is none of 'entailment', 'not_entailment'"):
        load_task("rte", "dev", tmp_path)


def test_the_data_root_is_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    with pytest.raises(
        FileNotFoundError, match="ELBERT_DATA is not set; it names the folder that holds SST-2/"
    ):
        data_root()
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere is no folder; it names the one that holds SST-2/"):
        data_root()
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert data_root() == tmp_path
    write_task(tmp_path, TASKS["sst2"], 3)
    assert load_task("sst2").texts == ["a 0 film", "a 1 film", "a 2 film"]


@pytest.mark.skipif(importlib.util.find_spec("datasets") is not None, reason="would go to the hub")
def test_missing_data_say_both_ways_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(FileNotFoundError, match=r"CoLA is no folder; put the data.*hub:nyu-mll/glue/cola"):
        load_task("cola", "dev", tmp_path)
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    with pytest.raises(FileNotFoundError, match=r"task cola: ELBERT_DATA is not set.*package 'datasets'"):
        load_task("cola")


def test_the_hubs_loader_reads_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The package ``datasets`` itself, on a local data set laid out as on the hub."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    (data / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  - name: kind\n    dtype:\n"
        "      class_label:\n        names:\n          '0': LOC\n          '1': NUM\n---\n"
    )
    rows = [f"How many {i} ?,1\nWhere {i} ?,0\n" for i in range(30)]
    (data / "train.csv").write_text("text,kind\n" + "".join(rows[:20]))
    (data / "validation.csv").write_text("text,kind\n" + "".join(rows[20:]))
    columns = TASKS["trec"].hub.columns
    made = Task(
        "made",
        "Nowhere",
        ("number", "place"),
        TASKS["trec"].columns,
        ("accuracy",),
        HubTable(
            f"hub:{data}/default", type(columns)("text", label="kind"), ("NUM", "LOC"), "train+validation"
        ),
        dev_share=0.2,
    )
    rest, dev = load_task(made, "train", tmp_path), load_task(made, "dev", tmp_path)
    assert len(rest) + len(dev) == 60
    for part in (rest, dev):
        assert part.label_names == ["number", "place"]
        assert [text.startswith("Where") for text in part.texts] == [label == 1 for label in part.labels]


def make_model(folder: Path, full: Tokenizer, classes: int = 2) -> Path:
    """A model folder with random integers."""
    ElbertTokenizer(full).save(folder / "tokenizer")
    config = type(NANO)(**{**NANO.model_dump(), "num_labels": classes})
    random_checkpoint(config, 2).save(folder / "integer", copy_from=folder / "tokenizer")
    return folder


def test_eval_scores_a_task_by_its_own_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_full: Callable[[], Tokenizer]
):
    model = make_model(tmp_path / "model", make_full())
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    write_task(tmp_path, TASKS["mrpc"], 100)
    json_file = tmp_path / "result.json"
    arguments = ["eval", "--task", "mrpc", "--backend", "golden", "--model", str(model)]
    done = CliRunner().invoke(build_app(), [*arguments, "--json", str(json_file)])
    assert done.exit_code == 0, done.output
    assert "f1 (primary)" in done.output
    assert "accuracy" in done.output
    result = json.loads(json_file.read_text())
    assert (result["task"], result["samples"]) == ("mrpc", len(load_task("mrpc")))
    assert result["metric"] == {"name": "f1", "value": result["f1"]}
    assert "cut by text" in result["data"]["source"]
    plain = evaluate_file("golden", model, tmp_path / "MRPC" / "train.tsv", limit=3)
    assert (plain["task"], plain["metric"]["name"]) == (None, "accuracy")


def test_eval_names_what_does_not_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_full: Callable[[], Tokenizer]
):
    model = make_model(tmp_path / "model", make_full())
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    write_task(tmp_path, TASKS["fpb"])
    with pytest.raises(ValueError, match="task fpb has 3 classes, the model 2"):
        evaluate_file("golden", model, None, task="fpb")
    with pytest.raises(ValueError, match="name a table or a task"):
        evaluate_file("golden", model, None)
    with pytest.raises(ValueError, match=r"both the table my\.tsv and the task fpb"):
        evaluate_file("golden", model, "my.tsv", task="fpb")
    with pytest.raises(ValueError, match="either a table or --task, not neither"):
        check_source(None, None)
    with pytest.raises(ValueError, match="task fpb has its own columns"):
        evaluate_file("golden", model, None, task="fpb", columns=TASKS["trec"].columns)
    with pytest.raises(ValueError, match="task 'mnli' is not one of sst2"):
        evaluate_file("golden", model, None, task="mnli")


def plain_texts(data: TextDataset) -> set[str]:
    return {" ".join(text.lower().split()) for text in (*data.texts, *(data.pairs or ()))}


@pytest.mark.parametrize("name", TASKS)
def test_the_real_splits(name: str):
    task = TASKS[name]
    if not (Path(os.environ.get(DATA_VARIABLE, "")) / task.folder).is_dir():
        pytest.skip(f"{DATA_VARIABLE} holds no {task.folder}")
    parts = {split: load_task(task, split) for split in ("train", "dev")}
    for split, data in parts.items():
        counts = Counter(data.label_names[label] for label in data.labels)
        assert dict(counts) == SPLITS[name, split]
        assert all(plain_texts(data))
    shared = plain_texts(parts["train"]) & plain_texts(parts["dev"])
    if name == "rte":  # GLUE's own files; a premise occurs with several hypotheses, a pair only once
        pairs = [set(zip(part.texts, part.pairs or (), strict=True)) for part in parts.values()]
        assert not pairs[0] & pairs[1]
    else:
        assert len(shared) == SHARED_TEXTS.get(name, 0)
    again = load_task(task, "dev")
    assert (again.texts, again.labels) == (parts["dev"].texts, parts["dev"].labels)


def test_the_documentation_has_these_numbers():
    text = (Path(__file__).parents[3] / "docs" / "tasks.md").read_text(encoding="utf-8")
    for name, task in TASKS.items():
        share = "file" if task.dev_share is None else f"{100 * task.dev_share:.0f} %"
        train, dev = (SPLITS[name, split] for split in ("train", "dev"))
        per_class = ", ".join(f"{dev[label]:,}" for label in task.label_names)
        row = f"| `{name}` | {share} | {sum(train.values()):,} | {sum(dev.values()):,} | {per_class} |"
        assert row in text
        assert f"| `{name}` | `{task.folder}/`" in text
        assert ", ".join(task.label_names) in text
