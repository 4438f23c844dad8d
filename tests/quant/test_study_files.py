"""The exit study's files and command: tables that notice damage, cache, resumption, runs, ``study exits``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from typer.testing import CliRunner

from elbert.cli import build_app
from golden_model.data.tables import TextDataset
from golden_model.data.tasks import find_task, load_task
from golden_model.evaluation.score import evaluate_file
from golden_model.exits import ExitPolicy
from golden_model.float.albert import ElbertForSequenceClassification, load_float
from golden_model.float.files import write_checkpoint
from golden_model.float.methods.files import write_heads
from golden_model.float.methods.load import load_method
from golden_model.float.methods.model import ExitModel
from golden_model.integer.checkpoint import IntegerCheckpoint
from quant.calibrate import calibrate
from quant.studies.exits.grids import Setting
from quant.studies.exits.rows import LABELS_FILE, Rows, read_labels, rows_digest, table_name, task_rows
from quant.studies.exits.sources import Source, expected_names, find_forms, find_runs
from quant.studies.exits.store import PUBLISHED, Store
from quant.studies.exits.sweep import sweep
from quant.studies.exits.table import Facts, LogitTable, TableError

KEYS = {
    "header", "task", "metric", "accuracy_full", "accuracy_albert", "accuracy_per_iteration", "points",
    "headline", "equal_cost", "methods", "quantisation", "verdict",
}  # fmt: skip


@pytest.fixture
def data_root(float_folder: Path, tmp_path: Path) -> Path:
    """A data root with an SST-2 of 30 made-up dev sentences."""
    root = tmp_path / "data"
    (root / "SST-2").mkdir(parents=True)
    shutil.copy(float_folder / "dev.tsv", root / "SST-2")
    return root


@pytest.fixture
def data(data_root: Path) -> TextDataset:
    return load_task("sst2", "dev", data_root)


@pytest.fixture
def model_folder(float_folder: Path, tmp_path: Path, data: TextDataset) -> Path:
    """A model folder whose integer form was calibrated from its float form."""
    folder = tmp_path / "model"
    shutil.copytree(float_folder, folder / "float")
    (folder / "labels.json").write_text('["negative", "positive"]')
    model, tokenizer, config = load_float(folder / "float")
    sentences = tokenizer.encode_many(data.texts, config.max_position_embeddings)
    calibrate(model, sentences).save(folder / "integer", copy_from=folder / "float")
    return folder


@pytest.fixture
def make_run(float_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a nano run of a method below ``methods``, untrained: its heads are random."""

    def make(method: str, iterations: int | None = None, **record: Any) -> Path:
        backbone, tokenizer, _ = load_float(float_folder)
        model = ExitModel(backbone, method, iterations, seed=5)
        name = method if iterations is None else f"{method}-{iterations}"
        folder = tmp_path / "methods" / name / "latest"
        facts = {"method": method, "training_cost": {"macs": 10}, "step": 8, "total_steps": 8, **record}
        write_checkpoint(folder, model.backbone.model, tokenizer, facts)
        write_heads(folder, model)
        return folder

    return make


def make_store(tmp_path: Path, data: TextDataset, published: Path | None = None) -> Store:
    return Store("sst2", Rows.of(data), tmp_path / "cache", published)


# ------------------------------------------------------------------------------------------------- tables


@pytest.fixture(scope="module")
def table() -> LogitTable:
    facts = Facts(
        name="elbert",
        backend="golden",
        task="sst2",
        iterations=3,
        samples=7,
        classes=2,
        checkpoint_sha256="12" * 32,
        data_sha256="34" * 32,
        rows_sha256="56" * 32,
        added_parameters=5,
        layer_macs=77.5,
        exit_macs=[1, 2, 3],
        training={"seconds": 3.25, "options": {"seed": 1}},
    )
    generator = torch.Generator().manual_seed(1)
    return LogitTable(facts, torch.randint(-3000, 3000, (3, 7, 2), generator=generator, dtype=torch.int32))


def test_a_table_comes_back_and_is_the_same_file_every_time(table: LogitTable, tmp_path: Path) -> None:
    one, two = tmp_path / "new" / "one.safetensors", tmp_path / "two.safetensors"
    table.save(one)
    table.save(two)
    assert one.read_bytes() == two.read_bytes()
    back = LogitTable.load(one)
    assert back.facts == table.facts
    assert torch.equal(back.logits, table.logits)
    assert list(one.parent.iterdir()) == [one]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(table: LogitTable, tmp_path: Path, where: float, bit: int) -> None:
    path = tmp_path / "table.safetensors"
    table.save(path)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    path.write_bytes(bytes(content))
    with pytest.raises(TableError, match=r"table\.safetensors"):
        LogitTable.load(path)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_noticed(table: LogitTable, tmp_path: Path, share: float) -> None:
    path = tmp_path / "table.safetensors"
    table.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(TableError):
        LogitTable.load(path)


def test_other_files_are_no_tables(table: LogitTable, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    with pytest.raises(FileNotFoundError, match=r"other\.safetensors"):
        LogitTable.load(path)
    save_file({"logits": torch.zeros(2, 2, 2)}, path)
    with pytest.raises(TableError, match="not a logit table"):
        LogitTable.load(path)
    path.write_text("{}")
    with pytest.raises(TableError):
        LogitTable.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 8}, "the facts of elbert say"),
        ({"backend": "float"}, "the facts of elbert say"),
        ({"exit_macs": [1.0]}, "exit_macs has 1 entries for 3 iterations"),
        ({"classes": 9}, "less than or equal to 8"),
        ({"version": 2}, "version"),
    ],
)
def test_facts_and_logits_have_to_agree(table: LogitTable, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogitTable(Facts.model_validate(table.facts.model_dump() | change), table.logits)


def test_logits_have_to_be_finite(table: LogitTable) -> None:
    facts = table.facts.model_copy(update={"backend": "float"})
    logits = table.logits.float()
    logits[1, 2, 0] = float("nan")
    with pytest.raises(ValueError, match="not all finite"):
        LogitTable(facts, logits)


def test_a_table_of_before_keeps_its_hash(table: LogitTable, tmp_path: Path) -> None:
    assert (table.facts.class_names, table.facts.answer_macs) == (None, None)
    assert table.sha256 == "a7a2ecbd9e7b4df89dab8ab904d9740f4be46c1d62ee9c5a38cdf797efcbdac6"
    facts = table.facts.model_copy(update={"answer_macs": [7.5, 7.5, 20.0]})
    assert LogitTable(facts, table.logits).sha256 != table.sha256
    LogitTable(facts, table.logits).save(tmp_path / "new.safetensors")
    assert LogitTable.load(tmp_path / "new.safetensors").facts == facts


def test_rows_are_known_by_their_text_alone(data: TextDataset) -> None:
    same = replace(data, texts=[f" {text}  " for text in data.texts], source="elsewhere", sha256="0")
    assert rows_digest(same) == rows_digest(data)
    assert rows_digest(replace(data, labels=data.labels[::-1])) == rows_digest(data)
    assert rows_digest(data.head(29)) != rows_digest(data)
    assert rows_digest(replace(data, texts=data.texts[::-1])) != rows_digest(data)
    assert rows_digest(replace(data, pairs=data.texts)) != rows_digest(data)
    joined = replace(data, texts=["a b", "c"]), replace(data, texts=["a", "b c"])
    assert rows_digest(joined[0]) != rows_digest(joined[1])


# ------------------------------------------------------------------------------------------------ sources


def test_tables_hold_what_the_models_say(model_folder: Path, data_root: Path, data: TextDataset) -> None:
    floating, golden = (source.compute("sst2", Rows.of(data)) for source in find_forms(model_folder))
    for table, backend in ((floating, "float"), (golden, "golden")):
        direct = evaluate_file(backend, model_folder, data_root / "SST-2")
        right = (table.labels == torch.tensor(data.labels)).double().mean(1)
        assert right.tolist() == pytest.approx(direct["accuracy_per_iteration"])
        assert table.facts.checkpoint_sha256 == direct["header"]["checkpoint_sha256"]
        assert table.facts.data_sha256 == direct["data"]["sha256"]
        policy = ExitPolicy(mode="bias_1", delta=0.3, window=2, margin=0.05)
        told = evaluate_file(backend, model_folder, data_root / "SST-2", policy)
        exits = sweep(table, [Setting(policy)]).exits[0]
        assert torch.bincount(exits.long(), minlength=5)[1:].tolist() == told["exits"]
    assert golden.facts.checkpoint_sha256 == IntegerCheckpoint.load(model_folder / "integer").sha256
    assert floating.facts.layer_macs > 0
    assert floating.facts.exit_macs == [32 * 32 + 32 * 2] * 4
    for facts in (floating.facts, golden.facts):
        assert facts.answer_macs is not None
        assert set(facts.answer_macs) == {facts.answer_macs[0]}
        assert 0 < facts.answer_macs[0] < facts.layer_macs


def test_runs_are_found_by_name_and_say_what_they_add(
    make_run: Callable[..., Path], tmp_path: Path, data: TextDataset
) -> None:
    for method in ("elbert", "deebert", "fastbert", "pabee"):
        make_run(method)
    make_run("albert", 2)
    (tmp_path / "methods" / "albert-3").mkdir()  # not begun
    (tmp_path / "methods" / "notes").mkdir()
    shutil.copytree(tmp_path / "methods" / "elbert", tmp_path / "methods" / "elbert-published")
    sources = {source.name: source for source in find_runs(tmp_path / "methods")}
    once = sources.pop("elbert-published")
    assert (once.method, once.sha256) == ("elbert", sources["elbert"].sha256)
    assert list(sources) == ["albert-2", "deebert", "elbert", "fastbert", "pabee"]
    tables = {name: source.compute("sst2", Rows.of(data)) for name, source in sources.items()}
    for name, source in sources.items():
        assert source.sha256 == tables[name].facts.checkpoint_sha256 == load_method(source.folder).sha256
        assert tables[name].facts.training["training_cost"] == {"macs": 10}
    head = 32 * 32 + 32 * 2
    assert tables["albert-2"].facts.exit_macs == [0, head]
    assert tables["deebert"].facts.exit_macs == [head] * 4
    assert tables["fastbert"].facts.exit_macs[0] > head
    assert tables["fastbert"].facts.exit_macs[3] == head
    # keys and values of every token, the rest of [CLS] alone; a branch attends between all rows
    tokenizer = sources["elbert"].opened.tokenizer
    lengths = [len(ids) for ids, _ in tokenizer.encode_many(data.texts, 64)]
    answer = fmean(2 * n * 32 * 32 + 2 * 32 * 32 + 2 * 32 * 64 + 2 * n * 32 for n in lengths)
    layer = tables["elbert"].facts.layer_macs
    saved = {name: table.facts.answer_macs for name, table in tables.items()}
    assert saved.pop("albert-2") == [answer] * 2
    assert saved.pop("fastbert") == [layer] * 3 + [answer]
    assert list(saved.values()) == [[answer] * 4] * 3
    added = {name: table.facts.added_parameters for name, table in tables.items()}
    assert added["elbert"] == added["albert-2"] == 0
    assert added["deebert"] == 3 * (head + 32 + 2)
    assert added["pabee"] == 3 * (32 * 2 + 2)
    assert find_runs(tmp_path / "nowhere") == []
    assert expected_names(12) == [
        "elbert", "pabee", "albert-12", "deebert", "fastbert",
        "albert-1", "albert-2", "albert-3", "albert-4", "albert-6",
    ]  # fmt: skip


def test_a_run_under_a_wrong_name_is_refused(
    make_run: Callable[..., Path], tmp_path: Path, data: TextDataset
) -> None:
    make_run("deebert").parent.rename(tmp_path / "methods" / "pabee")
    (source,) = find_runs(tmp_path / "methods")
    with pytest.raises(ValueError, match="was trained as deebert, expected pabee"):
        source.compute("sst2", Rows.of(data))
    three = replace(data, label_names=["a", "b", "c"])
    (tmp_path / "methods" / "pabee").rename(tmp_path / "methods" / "deebert")
    (source,) = find_runs(tmp_path / "methods")
    with pytest.raises(ValueError, match="has 2 classes, task sst2 3"):
        source.compute("sst2", Rows.of(three))


# -------------------------------------------------------------------------------------------------- store


def test_what_is_cached_is_not_computed_again(
    model_folder: Path, data: TextDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path, data)
    first = store.gather(find_forms(model_folder))
    assert first.origins == {"elbert-float": "computed", "elbert-golden": "computed"}
    monkeypatch.setattr(Source, "compute", lambda *arguments: pytest.fail("computed again"))
    again = store.gather(find_forms(model_folder))
    assert again.origins == {"elbert-float": "cache", "elbert-golden": "cache"}
    assert again.notes == []
    for name, table in first.tables.items():
        assert again.tables[name].sha256 == table.sha256


def test_an_interrupted_study_goes_on_where_it_was(
    model_folder: Path, data: TextDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path, data)
    compute = Source.compute

    def interrupted(source: Source, *arguments: Any) -> LogitTable:
        if source.backend == "golden":
            raise KeyboardInterrupt
        return compute(source, *arguments)

    monkeypatch.setattr(Source, "compute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.gather(find_forms(model_folder))
    monkeypatch.setattr(Source, "compute", compute)
    assert store.gather(find_forms(model_folder)).origins == {
        "elbert-float": "cache", "elbert-golden": "computed",
    }  # fmt: skip


@pytest.mark.parametrize("damage", ["truncate", "flip", "foreign"])
def test_a_broken_cache_is_named_and_rebuilt(
    model_folder: Path, data: TextDataset, tmp_path: Path, damage: str
) -> None:
    heard: list[str] = []
    store = replace(make_store(tmp_path, data), say=heard.append)
    good = store.gather(find_forms(model_folder))
    (path,) = (tmp_path / "cache").glob("*elbert-golden*")
    whole = path.read_bytes()
    if damage == "truncate":
        path.write_bytes(whole[:-5])
    elif damage == "flip":
        path.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    else:
        facts = good.tables["elbert-golden"].facts.model_copy(update={"checkpoint_sha256": "0" * 64})
        LogitTable(facts, good.tables["elbert-golden"].logits).save(path)
    found = store.gather(find_forms(model_folder))
    assert found.origins == {"elbert-float": "cache", "elbert-golden": "computed"}
    assert len(found.notes) == 1
    assert path.name in found.notes[0]
    assert heard == found.notes
    assert path.read_bytes() == whole


def test_kept_logits_from_before_answer_first_are_made_anew(
    model_folder: Path, data: TextDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, place = make_store(tmp_path, data), tmp_path / "published"
    tables = store.gather(find_forms(model_folder)).tables
    (path,) = (tmp_path / "cache").glob("*elbert-golden*")
    whole = path.read_bytes()
    table = tables["elbert-golden"]
    old = LogitTable(table.facts.model_copy(update={"answer_macs": None}), table.logits)
    old.save(path)
    store.publish([old], place)
    store = make_store(tmp_path, data, place)
    found = store.gather(find_forms(model_folder))
    assert found.origins == {"elbert-float": "cache", "elbert-golden": "computed"}
    assert [note.startswith("made anew: ") for note in found.notes] == [True, True]
    assert path.read_bytes() == whole
    # without the checkpoint, or the texts, they serve as they are
    assert store.gather([]).tables["elbert-golden"].facts.answer_macs is None
    old.save(path)
    absent = replace(store, rows=replace(store.rows, absent="not here"))
    assert absent.gather(find_forms(model_folder)).origins["elbert-golden"] == "published"


def test_published_logits_serve_without_a_checkpoint_but_never_for_another(
    model_folder: Path, data: TextDataset, tmp_path: Path
) -> None:
    found = make_store(tmp_path, data).gather(find_forms(model_folder))
    place = tmp_path / "published"
    paths = make_store(tmp_path, data).publish(found.tables.values(), place)
    assert [path.relative_to(place).as_posix() for path in paths] == [
        "sst2/elbert-float.safetensors", "sst2/elbert-golden.safetensors", "sst2/labels.json",
    ]  # fmt: skip
    reader = Store("sst2", Rows.of(data), tmp_path / "other", place)
    assert reader.gather([]).origins == {"elbert-float": "published", "elbert-golden": "published"}
    assert reader.gather(find_forms(model_folder)).origins["elbert-golden"] == "published"
    assert not (tmp_path / "other").exists()
    # the model was trained further: the published logits are not its own
    model = ElbertForSequenceClassification.from_pretrained(model_folder / "float")
    with torch.no_grad():
        model.model.classifier.bias += 1
    model.save_pretrained(model_folder / "float")
    changed = reader.gather(find_forms(model_folder))
    assert changed.origins == {"elbert-float": "computed", "elbert-golden": "published"}
    assert "of another checkpoint" in changed.notes[0]
    # other sentences: of no use to anyone
    short = Store("sst2", Rows.of(data.head(20)), tmp_path / "other", place).gather([])
    assert short.tables == {}
    assert all("of another sentences" in note for note in short.notes)


def test_the_first_rows_of_a_kept_table_serve(
    model_folder: Path, data: TextDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, place = make_store(tmp_path, data), tmp_path / "published"
    whole = store.gather(find_forms(model_folder))
    store.publish(whole.tables.values(), place)
    rows = Rows.of(data).head(20)
    computed = Store("sst2", rows, tmp_path / "new", None).gather(find_forms(model_folder))
    assert set(computed.origins.values()) == {"computed"}
    monkeypatch.setattr(Source, "compute", lambda *arguments: pytest.fail("computed again"))
    again = Store("sst2", rows, tmp_path / "new", None).gather(find_forms(model_folder))
    heard: list[str] = []
    cut = Store("sst2", rows, tmp_path / "cache", None, heard.append).gather(find_forms(model_folder))
    sliced = Store("sst2", rows, tmp_path / "none", place).gather([])
    assert [set(each.origins.values()) for each in (again, cut, sliced)] == [
        {"cache"}, {"cache"}, {"published"},
    ]  # fmt: skip
    assert heard == [
        "the first 20 of logits of all 30 sentences; multiply-adds are means over all of them"
    ] == sliced.notes  # once, not per table  # fmt: skip
    for name, table in computed.tables.items():
        for other in (again, cut, sliced):
            found = other.tables[name]
            assert torch.equal(found.labels, table.labels)
            assert found.facts.rows_sha256 == table.facts.rows_sha256 == rows.sha256
            assert found.facts.samples == 20
    golden = (computed.tables["elbert-golden"].logits, sliced.tables["elbert-golden"].logits)
    assert torch.equal(*golden)
    # kept first rows are of no use for all of them, nor for others
    assert Store("sst2", Rows.of(data), tmp_path / "new", None).gather([]).tables == {}
    other = Store("sst2", Rows.of(replace(data, texts=data.texts[::-1])).head(20), tmp_path / "none", place)
    assert other.gather([]).tables == {}
    with pytest.raises(ValueError, match="20 of 30 sentences are not published"):
        Store("sst2", rows, tmp_path / "none", place).publish(sliced.tables.values(), place)


@pytest.fixture
def reverse_folder(model_folder: Path) -> Path:
    """The same model with its classes the other way round, and named so."""
    folder = model_folder.parent / "reverse"
    shutil.copytree(model_folder, folder)
    model = ElbertForSequenceClassification.from_pretrained(folder / "float")
    with torch.no_grad():
        for part in (model.model.classifier.weight, model.model.classifier.bias):
            part.copy_(part.flip(0))
    model.save_pretrained(folder / "float")
    for place in (folder, folder / "integer"):
        (place / "labels.json").write_text('["positive", "negative"]')
    return folder


def test_classes_are_matched_by_name(
    model_folder: Path, reverse_folder: Path, data: TextDataset, tmp_path: Path
) -> None:
    rows = Rows.of(data)
    (one, *_), (other, *_) = find_forms(model_folder), find_forms(reverse_folder)
    first, second = (
        Store("sst2", rows, tmp_path / "cache", None).gather([source]).tables["elbert-float"]
        for source in (one, other)
    )
    assert second.facts.class_names == ["positive", "negative"]
    assert torch.equal(first.labels, second.labels)
    assert not torch.equal(first.logits, second.logits)
    # as kept: the table itself says which classes it is of
    place = tmp_path / "published"
    Store("sst2", rows, tmp_path / "cache", None).publish([second], place)
    assert read_labels(place / "sst2").classes == ["negative", "positive"]  # type: ignore[union-attr]
    (found,) = Store("sst2", rows, tmp_path / "none", place).gather([]).tables.values()
    assert torch.equal(found.labels, first.labels)
    # a model of other classes is none of this task
    (reverse_folder / "integer" / "labels.json").unlink()
    (reverse_folder / "labels.json").write_text('["positive", "neutral"]')
    with pytest.raises(ValueError, match=r"reverse.* on sst2: class 'neutral' is none of"):
        Store("sst2", rows, tmp_path / "new", None).gather(find_forms(reverse_folder)[:1])


def test_a_published_table_without_names_is_of_the_classes_beside_it(
    model_folder: Path, data: TextDataset, tmp_path: Path
) -> None:
    rows, place = Rows.of(data), tmp_path / "published"
    found = make_store(tmp_path, data).gather(find_forms(model_folder))
    bare = [
        LogitTable(table.facts.model_copy(update={"class_names": None}), table.logits)
        for table in found.tables.values()
    ]
    assert "class_names" not in bare[0].facts.model_dump_json()
    make_store(tmp_path, data).publish(bare, place)
    reader = Store("sst2", rows, tmp_path / "none", place)
    assert set(reader.gather([]).tables) == {"elbert-float", "elbert-golden"}
    turned = replace(rows, classes=["positive", "negative"], labels=[1 - label for label in rows.labels])
    for name, table in Store("sst2", turned, tmp_path / "none", place).gather([]).tables.items():
        assert torch.equal(table.labels, 1 - found.tables[name].labels)
    foreign = Store("sst2", replace(rows, classes=["down", "up"]), tmp_path / "none", place).gather([])
    assert foreign.tables == {}
    assert "class 'negative' is none of" in foreign.notes[0]
    (place / "sst2" / LABELS_FILE).unlink()
    unnamed = Store("sst2", rows, tmp_path / "none", place).gather([])
    assert unnamed.tables == {}
    assert "does not say which classes" in unnamed.notes[0]


def test_published_labels_stand_for_a_data_set_that_is_not_here(
    model_folder: Path, data_root: Path, data: TextDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, task = tmp_path / "published", find_task("sst2")
    make_store(tmp_path, data).publish([], place)
    monkeypatch.setenv("ELBERT_DATA", str(data_root))
    here = task_rows(task, None, place)
    assert here.absent is None
    monkeypatch.delenv("ELBERT_DATA")
    rows = task_rows(task, None, place)
    assert "ELBERT_DATA is not set" in str(rows.absent)
    for key in ("labels", "classes", "total", "sha256", "data_sha256"):
        assert getattr(rows, key) == getattr(here, key)
    assert rows.head(7).sha256 == here.head(7).sha256 != here.sha256
    monkeypatch.setattr("quant.studies.exits.rows.load_task", load_task_here)
    with pytest.raises(FileNotFoundError, match=r"no logits of .*model.*no texts to compute them from"):
        Store("sst2", rows, tmp_path / "new", place).gather(find_forms(model_folder))
    # a folder that was asked for is the one that is read
    with pytest.raises(FileNotFoundError):
        task_rows(task, tmp_path / "nowhere", place)
    with pytest.raises(FileNotFoundError):
        task_rows(task, None, tmp_path / "nothing published")
    # other sentences in its place are noticed
    changed = replace(data, texts=["w1", *data.texts[1:]])
    monkeypatch.setattr("quant.studies.exits.rows.load_task", lambda *arguments: changed)
    with pytest.raises(ValueError, match="holds other sentences than SST-2 dev, labels published"):
        rows.data()


def load_task_here(task: Any, split: str, root: Path | None = None) -> TextDataset:
    """Like ``load_task`` where no package fetches from the hub."""
    raise FileNotFoundError(f"task {task.name} is not here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 2]}, "label 2 of row 2 is not in 0..1"),
        ({"labels": []}, "labels"),
        ({"rows_sha256": "12"}, "rows_sha256"),
        ({"texts": ["w1"]}, "texts"),
    ],
)
def test_broken_labels_are_named(
    data: TextDataset, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    make_store(tmp_path, data).publish([], tmp_path)
    path = tmp_path / "sst2" / LABELS_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message) as error:
        read_labels(path.parent)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_every_table_of_the_project_is_whole_and_of_the_labels_beside_it() -> None:
    paths = sorted(PUBLISHED.glob("*/*.safetensors"))
    assert len(paths) >= 48
    assert {path.parent.name for path in paths if path.stem == "elbert-published"} == {
        "sst2", "trec", "fpb", "cola",
    }  # fmt: skip
    for path in paths:
        table, labels = LogitTable.load(path), read_labels(path.parent)
        assert labels is not None
        facts = table.facts
        assert (facts.task, facts.name) == (path.parent.name, path.stem)
        assert (facts.rows_sha256, facts.data_sha256) == (labels.rows_sha256, labels.data_sha256)
        assert (facts.samples, facts.classes) == (len(labels.labels), len(labels.classes))
        assert facts.answer_macs is not None
        reads_all = [macs == facts.layer_macs for macs in facts.answer_macs]
        assert reads_all == [
            facts.name == "fastbert" and i < facts.iterations for i in range(1, 1 + len(reads_all))
        ]
        assert tuple(labels.classes) == find_task(labels.task).label_names
        if facts.iterations == 12:  # a score far from chance: classes are not mixed up
            right = (table.labels[-1] == torch.tensor(labels.labels)).double().mean()
            assert float(right) > 0.65


# ------------------------------------------------------------------------------------------------ command


def stated(result: dict[str, Any]) -> dict[str, Any]:
    """What a result says, but for the commit, which somebody may make between two runs."""
    return {key: result[key] for key in KEYS} | {"header": result["header"] | {"commit": None}}


def run(*arguments: str | Path | int) -> tuple[int, str, BaseException | None]:
    """Exit code, output and exception of ``study exits``."""
    app = build_app()
    result = CliRunner().invoke(app, ["study", "exits", *map(str, arguments)])
    return result.exit_code, result.output, result.exception


def test_the_command_from_runs_and_table_to_figures(
    model_folder: Path, data_root: Path, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    for method in ("elbert", "deebert", "pabee"):
        make_run(method)
    make_run("fastbert", step=3)
    for iterations in (2, 4):
        make_run("albert", iterations)
    output, file = tmp_path / "study", tmp_path / "result.json"
    common: list[str | Path | int] = [
        "--task", "sst2", "--models", tmp_path / "methods", "--elbert", model_folder, "--data", data_root,
        "--cache", tmp_path / "cache", "--logits", tmp_path / "published", "--splits", 3, "--bootstrap", 20,
        "--output", output, "--json", file,
    ]  # fmt: skip
    code, text, error = run(*common, "--save-logits")
    assert code == 0, error
    for part in ("ELBERT", "PABEE", "at 2x", "train --task sst2 --method all", "albert-1, albert-3"):
        assert part in text
    result = json.loads(file.read_text())
    assert set(result) >= KEYS
    assert result == json.loads((output / "study.json").read_text())
    assert {path.name for path in output.iterdir()} == {
        "points.csv", "study.json",
        *(f"{name}.svg" for name in ("pareto", "differences", "exits", "quantisation")),
        *(f"{name}.png" for name in ("pareto", "differences", "exits", "quantisation")),
    }  # fmt: skip
    assert set(result["headline"]["loss_0_5"]) == set(result["equal_cost"]["3x"]) == {
        "elbert", "elbert-bias_1", "elbert-bias_2", "elbert-bias_3", "elbert-entropy", "elbert-patience",
        "deebert", "fastbert", "pabee", "albert", "elbert-float", "elbert-golden", "elbert-all-rows",
    }  # fmt: skip
    assert result["missing"] == ["albert-1", "albert-3"]
    assert result["methods"]["pabee"]["added_parameters"] == 3 * 66
    assert result["methods"]["pabee"]["training"]["training_cost"] == {"macs": 10}
    assert "fastbert was measured unfinished, at step 3 of 8" in result["verdict"]
    assert set(result["origins"].values()) == {"computed"}
    first = stated(result)
    # the logits alone, without any checkpoint, give the same study
    shutil.rmtree(tmp_path / "methods")
    shutil.rmtree(tmp_path / "cache")
    code, _, error = run(*common, "--quiet", "--figures", "svg")
    assert code == 0, error
    result = json.loads(file.read_text())
    assert set(result["origins"].values()) == {"published"}
    assert stated(result) == first


def test_the_command_needs_no_data_set(
    model_folder: Path, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "result.json"
    common: list[str | Path | int] = [
        "--task", "sst2", "--elbert", model_folder, "--models", tmp_path / "none", "--cache",
        tmp_path / "cache", "--logits", tmp_path / "published", "--splits", 2, "--bootstrap", 5, "--output",
        tmp_path / "study", "--json", file, "--figures", "pdf",
    ]  # fmt: skip
    code, _, error = run(*common, "--data", data_root, "--save-logits", "--quiet")
    assert code == 0, error
    first = json.loads(file.read_text())
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.delenv("ELBERT_DATA", raising=False)
    code, text, error = run(*common)
    assert code == 0, error
    assert text.count("scored by the labels published") == 1
    result = json.loads(file.read_text())
    assert stated(result) == stated(first)
    assert result["data"] | {"source": ""} == first["data"] | {"source": ""}
    assert {path.suffix for path in (tmp_path / "study").iterdir()} == {".csv", ".json", ".pdf"}
    code, text, error = run(*common, "--limit", 12)
    assert code == 0, error
    assert text.count("the first 12 of logits of all 30 sentences") == 1
    assert json.loads(file.read_text())["data"]["samples"] == 12
    code, _, error = run(*common, "--limit", 12, "--save-logits")
    assert "--save-logits is for all sentences" in str(error)


def test_a_table_of_ones_own(
    reverse_folder: Path, make_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = (reverse_folder / "float" / "dev.tsv").read_text().splitlines()[1:]
    names = ("Negative", "positive")
    table = tmp_path / "my.reviews.csv"
    table.write_text(
        "kind,words\n" + "".join(f"{names[int(line[-1])]},{line[:-2]}\n" for line in lines), encoding="utf-16"
    )
    common: list[str | Path | int] = [
        table, "--text-column", "words", "--label-column", "kind", "--encoding", "utf-16", "--splits", 2,
        "--bootstrap", 5, "--quiet", "--figures", "png",
    ]  # fmt: skip
    code, _, error = run(*common, "--elbert", reverse_folder, "--limit", 20)
    assert code == 0, error
    result = json.loads(Path("runs/study/exits/my/study.json").read_text())
    assert (result["task"], result["metric"], result["data"]["samples"]) == ("my", "accuracy", 20)
    assert result["data"]["classes"] == ["positive", "negative"]
    told = evaluate_file("float", reverse_folder, reverse_folder / "float", limit=20)
    # its own table writes numbers, which are those of the model: 0 for what is positive here
    assert result["accuracy_full"] == pytest.approx(1 - told["accuracy"])
    assert set(result["origins"].values()) == {"computed"}
    # runs beside it
    make_run("elbert")
    make_run("pabee")
    code, _, error = run(*common, "--models", "methods", "--elbert", reverse_folder)
    assert code == 0, error
    result = json.loads(Path("runs/study/exits/my/study.json").read_text())
    assert set(result["methods"]) == {"elbert", "pabee", "elbert-float", "elbert-golden"}
    assert result["notes"] == [
        f"methods/{name}/latest names no classes: taken as 'positive', 'negative', in this order"
        for name in ("elbert", "pabee")
    ]


def test_a_table_of_other_classes_is_refused(reverse_folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "my.tsv"
    table.write_text("text\tlabel\nw1\tpositive\nw2\tneutral\n")
    common = ("--elbert", reverse_folder, "--cache", tmp_path / "cache", "--output", tmp_path / "out")
    _, _, error = run(table, *common)
    assert isinstance(error, ValueError)
    for part in ("my.tsv", "'neutral'", "'negative'"):
        assert part in str(error)
    for arguments, message in (
        ((table, "--task", "sst2"), "not both"),
        ((table, "--save-logits"), "--save-logits is for tasks"),
        ((table, "--data", tmp_path), "--data is for tasks"),
        (("--task", "sst2", "--text-column", "text"), "has its own columns"),
        ((table, "--models", tmp_path / "none"), "holds no run of a method"),
        ((table, "--figures", "svg,jpg"), "'jpg' is not one of svg, png, pdf"),
        ((table, "--json", tmp_path), "is a folder; name a file in it"),
        ((table, "--output", table), "is a file, not a folder"),
    ):
        chosen = common[2:] if "--models" in arguments else common
        _, _, error = run(*(*chosen[:-2], *arguments) if "--output" in arguments else (*chosen, *arguments))
        assert isinstance(error, ValueError), arguments
        assert message in str(error)
    assert not (tmp_path / "out").exists()


def test_a_table_names_its_study() -> None:
    assert table_name("a/my.tsv.xz") == table_name("a/my") == table_name("a/my/") == "my"
    assert table_name("hub:owner/reviews/default") == "default"


def test_wrong_arguments_are_named(model_folder: Path, data_root: Path, tmp_path: Path) -> None:
    common = ("--data", data_root, "--cache", tmp_path / "cache", "--quiet")
    _, _, error = run("--task", "nli", *common)
    assert isinstance(error, ValueError)
    assert "task 'nli' is not one of sst2" in str(error)
    _, _, error = run("--elbert", tmp_path / "nowhere", *common)
    assert isinstance(error, FileNotFoundError)
    assert "nowhere" in str(error)
    code, text, _ = run("--splits", 0, "--elbert", model_folder, *common)
    assert code == 2
    assert "splits" in text
    assert not (tmp_path / "cache").exists()
