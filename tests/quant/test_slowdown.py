"""The slow-down study: what may be changed, what the search finds, and what caps make of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from elbert.cli import build_app
from golden_model.data.tables import load_dataset
from golden_model.evaluation.backends import Backend, open_backend
from golden_model.exits import Confidence, ExitPolicy, exit_iterations
from golden_model.float.albert import load_float
from quant.calibrate import calibrate
from quant.studies.slowdown.neighbours import Neighbours
from quant.studies.slowdown.run import TEXTS, read_caps, study
from quant.studies.slowdown.search import OBJECTIVES, Search, SearchOptions, word_embedding
from quant.studies.slowdown.store import Store
from quant.studies.slowdown.words import split_words, substitute

pytestmark = pytest.mark.usefixtures("one_thread")

POLICIES = {
    "entropy": ExitPolicy(mode="entropy", delta=0.9),
    "bias_1": ExitPolicy(mode="bias_1", delta=0.0, window=2, margin=0.05),
    "patience": ExitPolicy(mode="patience", patience=1),
}
OPTIONS = SearchOptions(changed=0.4, candidates=5, similarity=0.1)


@pytest.fixture
def backend(float_folder: Path) -> Backend:
    return open_backend("float", float_folder)


@pytest.fixture
def model_folder(float_folder: Path, tmp_path: Path) -> Path:
    """Both forms of the nano model."""
    folder = tmp_path / "model"
    shutil.copytree(float_folder, folder / "float")
    model, tokenizer, config = load_float(folder / "float")
    texts = load_dataset(float_folder, "dev").texts
    sentences = tokenizer.encode_many(texts, config.max_position_embeddings)
    calibrate(model, sentences).save(folder / "integer", copy_from=folder / "float")
    return folder


def make_search(backend: Backend, **options: Any) -> Search:
    chosen = SearchOptions(**{**OPTIONS.as_dict(), **options})
    return Search(backend, word_embedding(backend), POLICIES, chosen)


def judge_all(backend: Backend, texts: Sequence[str]) -> list[tuple[dict[str, int], int]]:
    """Exits and full depth's class of every text, by what the search does not use."""
    logits = backend.answer([backend.tokenizer.encode(text, 16) for text in texts], ExitPolicy()).logits
    assert logits is not None
    trajectory = Confidence.from_logits(logits)
    exits = {name: exit_iterations(policy, trajectory).tolist() for name, policy in POLICIES.items()}
    classes = logits[-1].argmax(-1).tolist()
    return [({name: exits[name][i] for name in POLICIES}, said) for i, said in enumerate(classes)]


def judge(backend: Backend, text: str) -> tuple[dict[str, int], int]:
    """Of one text."""
    return judge_all(backend, [text])[0]


def test_words_are_where_they_stand_and_stop_where_the_model_stops_reading(backend: Backend) -> None:
    text = "w1, (w22)  the w3 7 w4"
    words = split_words(backend.tokenizer, text, None, 16)
    assert [(word.text, text[word.start : word.end]) for word in words] == [
        (t, t) for t in ("w1", "w22", "the", "w3", "w4")
    ]
    assert [word.substitutable for word in words] == [True, True, False, True, True]
    ids, _ = backend.tokenizer.encode(text, 16)
    for word in (words[0], words[1], words[3]):
        assert [ids[t] for t in word.tokens] == backend.tokenizer.encode(word.text, 3)[0][1:-1]
    assert substitute(text, None, words, {4: "x", 0: "longer"}) == ("longer, (w22)  the w3 7 x", None)
    assert [w.text for w in split_words(backend.tokenizer, "w1 w2 w3 w4", None, 4)] == ["w1", "w2"]


def test_neighbours_are_the_nearest_whole_words(backend: Backend) -> None:
    embedding = word_embedding(backend).detach()
    near = Neighbours(backend.tokenizer, embedding, 6, 0.2)
    places = backend.tokenizer.encode("w7", 3)[0][1:-1]
    cosines = torch.nn.functional.cosine_similarity(embedding[places], embedding)
    best = [i for i in cosines.argsort(descending=True).tolist() if i >= 5 and i != places[0]]
    expected = [i for i in best if float(cosines[i]) >= 0.2][:6]
    found = near.of("w7", places)
    assert [n.text for n in found] == backend.tokenizer.pieces(expected)
    assert [n.cosine for n in found] == pytest.approx([float(cosines[i]) for i in expected], abs=1e-5)
    assert near.of("strange", [backend.tokenizer.unk_id]) == []


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("keep", [True, False])
def test_attacks_keep_their_bounds_and_find_no_more_than_trying_everything(
    backend: Backend, objective: str, keep: bool
) -> None:
    search = make_search(backend, objective=objective, keep_answer=keep)
    slower = 0
    for text in ("w1 w2 w3 w4 w5", "w40 w11 w58 w9", "w30 w31 w32 w33 w34 w35", "w1", "12 , ."):
        found = search.attack(text)
        clean, answer = judge(backend, text)
        words, near = search.openings(text, None)
        assert found.allowed == int(0.4 * len(words))
        everything = {name: {clean[name]} for name in POLICIES}
        texts = [
            substitute(text, None, words, {p: n.text for p, n in zip(places, chosen, strict=True)})[0]
            for count in range(1, found.allowed + 1)
            for places in combinations(near, count)
            for chosen in product(*(near[place] for place in places))
        ]
        for exits, said in judge_all(backend, texts) if texts else []:
            if said == answer or not keep:
                for name, at in exits.items():
                    everything[name].add(at)
        for name in POLICIES:
            attacked, drawn = found.attacked[name], found.random[name]
            exits, said = judge(backend, attacked.text)
            assert exits[name] == attacked.exit
            assert clean[name] <= attacked.exit <= max(everything[name])
            assert attacked.kept == (said == answer)
            assert attacked.kept or not keep
            assert len(attacked.changes) <= found.allowed
            assert (attacked.text == text) == (not attacked.changes) == (attacked.exit == clean[name])
            assert len(drawn.changes) == len(attacked.changes)
            for change in (*attacked.changes, *drawn.changes):
                assert (change.new, change.cosine) in [(n.text, n.cosine) for n in near[change.word]]
            slower += attacked.exit > clean[name]
    assert slower


def test_one_word_allowed_and_one_open_finds_what_trying_everything_finds(backend: Backend) -> None:
    search = make_search(backend, changed=0.5, candidates=40)
    gained = 0
    for i in range(12):
        text = f"w{i} the"  # the second word is none that may be substituted
        found = search.attack(text)
        words, near = search.openings(text, None)
        clean, answer = judge(backend, text)
        for name in POLICIES:
            tried = judge_all(backend, [substitute(text, None, words, {0: n.text})[0] for n in near[0]])
            slowest = max([exits[name] for exits, said in tried if said == answer] + [clean[name]])
            assert found.attacked[name].exit == slowest
            gained += slowest > clean[name]
    assert gained


def test_what_is_found_depends_on_seed_and_sentence_alone(backend: Backend) -> None:
    texts = [f"w{i} w{i + 3} w{i + 9} w{i + 20} w{i + 7}" for i in range(8)]
    first = [make_search(backend).attack(text) for text in texts]
    assert [make_search(backend).attack(text) for text in reversed(texts)] == first[::-1]
    other = [make_search(backend, seed=1).attack(text) for text in texts]
    assert [each.attacked for each in other] == [each.attacked for each in first]
    assert [each.random for each in other] != [each.random for each in first]


def run_study(
    searched: Backend, reported: Backend, kind: str, folder: Path, data_folder: Path, **rest: Any
) -> dict[str, Any]:
    data = load_dataset(data_folder, "dev").head(rest.pop("limit", 12))
    caps = read_caps(None, 4)
    return study(searched, reported, kind, data, POLICIES, OPTIONS, caps, folder, **rest)


@pytest.mark.parametrize("kind", ["float", "golden"])
def test_caps_bound_every_exit_and_the_highest_is_none(model_folder: Path, tmp_path: Path, kind: str) -> None:
    searched, reported = open_backend("float", model_folder), open_backend(kind, model_folder)
    result = run_study(searched, reported, kind, tmp_path / "out", model_folder / "float")
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    data = load_dataset(model_folder / "float", "dev").head(12)
    lines = [json.loads(line) for line in (tmp_path / "out" / "attacks.jsonl").read_text().splitlines()]
    assert len(lines) == 12 * len(POLICIES)
    config = reported.config
    for name, policy in POLICIES.items():
        found = result["policies"][name]
        own = [line for line in lines if line["policy"] == name]
        texts = {
            "clean": [line["text"] for line in own],
            "random": [line["random"]["text"] for line in own],
            "attacked": [line["attacked"]["text"] for line in own],
        }
        assert texts["clean"] == data.texts
        full = sum(
            4 * config.layer_products(len(i)) for i, _ in reported.tokenizer.encode_many(data.texts, 16)
        )
        for kind_of_text in TEXTS:
            # the backend's own early exit says the same as the kept logits
            sentences = reported.tokenizer.encode_many(texts[kind_of_text], 16)
            answers = reported.answer(sentences, policy)
            exits = [line["exits"][kind_of_text] for line in own]
            assert answers.exits.tolist() == exits
            right = (answers.labels == torch.tensor(data.labels)).double().mean()
            assert found[kind_of_text]["accuracy"] == pytest.approx(float(right))
            for entry in found["caps"]:
                limited = [min(e, entry["cap"]) for e in exits]
                products = sum(
                    config.layer_products(len(ids)) * (e - 1) + config.answer_products(len(ids))
                    for (ids, _), e in zip(sentences, limited, strict=True)
                )
                got = entry[kind_of_text]
                assert got["mean_exit_iteration"] == pytest.approx(sum(limited) / 12)
                assert got["cost_macs"] == pytest.approx(products / full)
                assert got["cost_macs"] <= entry["worst_cost_macs"] + 1e-12
                assert sum(got["exits"]) == 12
                assert not any(got["exits"][entry["cap"] :])
            last = found["caps"][-1]
            assert last["cap"] == 4
            assert last[kind_of_text] == {key: found[kind_of_text][key] for key in last[kind_of_text]}
        if kind == "float":
            assert all(line["exits"]["attacked"] >= line["exits"]["clean"] for line in own)
            assert found["slowdown"]["iterations"] > 1


def test_an_interrupted_study_goes_on_and_a_broken_file_is_made_anew(backend, float_folder, tmp_path) -> None:
    whole = run_study(backend, backend, "float", tmp_path / "whole", float_folder)
    folder = tmp_path / "parts"
    run_study(backend, backend, "float", folder, float_folder, limit=5)
    kept = sorted((folder / "found").iterdir())
    assert len(kept) == 5
    stamps = [path.stat().st_mtime_ns for path in kept[1:]]
    kept[0].write_text("{")
    notes: list[str] = []
    assert run_study(backend, backend, "float", folder, float_folder, say=notes.append) == whole
    assert len(notes) == 1
    assert "made anew" in notes[0]
    assert kept[0].name in notes[0]
    assert [path.stat().st_mtime_ns for path in kept[1:]] == stamps
    assert len(list((folder / "found").iterdir())) == 12


def test_what_decides_is_in_the_key(backend: Backend, tmp_path: Path) -> None:
    search = make_search(backend)
    base = Store(tmp_path, search)
    keys = {base.key("w1 w2", None), base.key("w1 w3", None), base.key("w1 w2", "w3")}
    for options in ({"changed": 0.5}, {"seed": 3}, {"keep_answer": False}, {"objective": "uniform"}):
        keys.add(Store(tmp_path, make_search(backend, **options)).key("w1 w2", None))
    search = Search(backend, word_embedding(backend), {"patience": POLICIES["patience"]}, OPTIONS)
    keys.add(Store(tmp_path, search).key("w1 w2", None))
    assert len(keys) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"changed": 0.0}, "changed 0 is not a share above 0"),
        ({"changed": 1.5}, "changed 1.5"),
        ({"candidates": 0}, "candidates 0 is not in 1..1000"),
        ({"similarity": 2.0}, "similarity 2 is not in 0..1"),
        ({"objective": "slow"}, "objective 'slow' is not one of exit, uniform"),
    ],
)
def test_options_out_of_bounds_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchOptions(**options)


def test_caps_are_read_or_named() -> None:
    assert read_caps(None, 4) == [2, 3, 4]
    assert read_caps(None, 1) == [1]
    assert read_caps("4, 1,4", 4) == [1, 4]
    for text, part in (("0", "'0'"), ("3,5", "'5'"), ("two", "'two'"), ("", "''")):
        with pytest.raises(ValueError, match=rf"{part} is not an iteration of 1..4"):
            read_caps(text, 4)


def command(*arguments: object) -> tuple[int, BaseException | None]:
    done = CliRunner().invoke(build_app(), ["study", "slowdown", *map(str, arguments)])
    return done.exit_code, done.exception


def test_the_command_writes_result_figure_and_texts_apart(model_folder: Path, tmp_path: Path) -> None:
    table = model_folder / "float" / "dev.tsv"
    out, file = tmp_path / "out", tmp_path / "r.json"
    common = (table, "--model", model_folder, "--limit", 6, "--similarity", 0.1, "--output", out)
    code, failure = command(*common, "--json", file, "--caps", "2,4", "--delta", 0.9, "--window", 2)
    assert code == 0, failure
    result = json.loads(file.read_text())
    assert result["backend"] == "golden"
    assert (result["samples"], result["iterations"], result["caps"]) == (6, 4, [2, 4])
    assert list(result["policies"]) == ["bias_1", "entropy", "patience"]
    assert {"clean", "random", "attacked", "changes", "slowdown", "caps"} <= set(result["policies"]["bias_1"])
    assert result["header"]["checkpoint_sha256"] != result["searched_sha256"]
    assert result["search"]["evaluations"] > 6
    content = file.read_text()
    texts = [text for text in load_dataset(table).texts if " " in text]
    assert texts
    assert not [text for text in texts if text in content]
    names = {path.name for path in out.iterdir()}
    assert {"study.json", "attacks.jsonl", "slowdown.svg", "slowdown.png", "found"} <= names


def test_bad_input_ends_in_one_line(model_folder: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.tsv"
    short.write_text("text\tlabel\nw1\t0\nw2\t1\n")
    closed = tmp_path / "closed.tsv"
    closed.write_text("text\tlabel\nthe of and to in it\t0\nw1\t1\n")
    table = model_folder / "float" / "dev.tsv"
    common = ("--model", model_folder, "--output", tmp_path / "out")
    for arguments, message in (
        ((short,), "short.tsv: --changed 0.2 of 1 words"),
        ((closed,), "closed.tsv: no word of a sentence has a neighbour"),
        ((table, "--caps", "5"), "'5' is not an iteration of 1..4"),
        ((table, "--policies", "none"), "policy none lets no sentence leave early"),
        ((table, "--policies", "bias_9"), "bias_9"),
        ((table, "--changed", "2"), "changed 2"),
        ((table, "--backend", "rtl"), "backend 'rtl' is not one of"),
        ((table, "--figures", "jpg"), "'jpg' is not one of"),
    ):
        code, failure = command(*arguments, *common)
        assert code != 0
        assert isinstance(failure, ValueError), (arguments, failure)
        assert message in str(failure)
        assert "\n" not in str(failure)
