"""Names of classes: found in every place that may hold them, and refused by file where they are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elbert.bundled import BUNDLED
from golden_model.labels import LABELS_FILE, MAX_NAME, check_names, read_label_names, write_label_names

NAMES = ["bad", "good"]


def write(folder: Path, name: str, content: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_each_place_names_the_classes(tmp_path: Path) -> None:
    write(tmp_path / "a", "config.json", {"id2label": {"1": "good", "0": "bad"}})
    write(tmp_path / "b", "integer.json", {"config": {"num_labels": 2}, "metadata": {"label_names": NAMES}})
    write(tmp_path / "c", LABELS_FILE, NAMES)
    write(tmp_path / "d", LABELS_FILE, {"1": "good", "0": "bad"})
    write(tmp_path / "e" / "float", "config.json", {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}})
    write(tmp_path / "e", LABELS_FILE, NAMES)
    for place in ("a", "b", "c", "d", "e", "e/float"):
        assert read_label_names(tmp_path / place) == NAMES, place
        assert read_label_names(tmp_path / place, 2) == NAMES
        with pytest.raises(ValueError, match="2 classes, the model has 3"):
            read_label_names(tmp_path / place, 3)
    assert read_label_names(BUNDLED) == read_label_names(BUNDLED / "integer") == ["negative", "positive"]


def test_a_model_folder_is_named_by_what_lies_in_it_not_by_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, LABELS_FILE, ["other", "names", "altogether"])
    model = tmp_path / "model"
    write(model / "float", "config.json", {"id2label": {"0": "bad", "1": "good"}})
    assert read_label_names(model) == NAMES
    (model / "integer").mkdir()
    monkeypatch.chdir(model / "integer")
    write(model, LABELS_FILE, NAMES)
    assert read_label_names(Path()) == NAMES  # "." lies somewhere too


def test_numbers_are_no_names(tmp_path: Path) -> None:
    assert read_label_names(tmp_path) is None
    for names in (["LABEL_0", "LABEL_1"], ["0", "1"]):
        write(tmp_path, "config.json", {"id2label": dict(enumerate(names))})
        assert read_label_names(tmp_path) is None
        write(tmp_path, LABELS_FILE, NAMES)
        assert read_label_names(tmp_path) == NAMES
        (tmp_path / LABELS_FILE).unlink()
    assert check_names(["1", "0"], "x") == ["1", "0"]  # not what the numbers say


def test_more_than_ten_classes_keep_their_order() -> None:
    names = [f"class {i}" for i in range(12)]
    assert check_names({str(i): name for i, name in reversed(list(enumerate(names)))}, "x") == names


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("bad", "'bad', expected a list of names"),
        (3, "3, expected a list"),
        (["bad", 1], "the name of class 1 is 1, expected text"),
        (["bad", None], "the name of class 1 is None, expected text"),
        (["bad", " "], "the name of class 1 is empty"),
        (["bad", "bad"], "classes 0 and 1 are both named 'bad'"),
        (["bad", "x" * (MAX_NAME + 1)], f"{MAX_NAME + 1} characters, above {MAX_NAME}"),
        (["bad", "go\nod"], r"'go\nod', not one line of text"),
        (["bad", "\x1b[31m"], "not one line of text"),
        (["bad", "\ud800"], "not one line of text"),
        ([], "names no class"),
        ({}, "names no class"),
        (["bad"], "names 1 classes, the model has 2"),
        ({"0": "bad", "2": "good"}, "names 2 classes, but not class 1"),
        ({"0": "bad", "00": "good"}, "names class 0 twice"),
        ({"0": "bad", "one": "good"}, "'one' is not the number of a class"),
        ({"0": "bad", "-1": "good"}, "'-1' is not the number of a class"),
        ({"0": "bad", "\u0661": "good"}, "is not the number of a class"),
        ({"0": "bad", "9" * 5000: "good"}, "is not the number of a class"),
    ],
)
def test_wrong_names_are_refused_by_file(tmp_path: Path, value: Any, text: str) -> None:
    write(tmp_path, LABELS_FILE, json.dumps(value))
    with pytest.raises(ValueError, match=r"labels\.json") as caught:
        read_label_names(tmp_path, 2)
    message = str(caught.value)
    assert text in message
    assert "\n" not in message
    assert len(message) < len(str(tmp_path)) + 200


def test_broken_files_are_named(tmp_path: Path) -> None:
    for content, text in (
        ("[", "Expecting value: line 1 column 2"),
        ("[" * 100_000, "nested too deeply"),
        ("\ud800", ""),
    ):
        (tmp_path / LABELS_FILE).write_bytes(content.encode("utf-8", "surrogatepass"))
        with pytest.raises(ValueError, match=rf"labels\.json is not JSON.*{text}"):
            read_label_names(tmp_path)


def test_names_that_disagree_are_refused_by_both_files(tmp_path: Path) -> None:
    write(tmp_path / "float", "config.json", {"id2label": {"0": "bad", "1": "good"}})
    write(tmp_path, LABELS_FILE, ["good", "bad"])
    for folder in (tmp_path, tmp_path / "float"):
        with pytest.raises(ValueError, match="correct one of them, or remove labels") as caught:
            read_label_names(folder)
        assert "config.json: id2label names the classes ['bad', 'good']" in str(caught.value)
        assert f"{tmp_path / LABELS_FILE} ['good', 'bad']" in str(caught.value)


def test_what_is_written_is_read_and_checked_before(tmp_path: Path) -> None:
    names = ["sehr schlecht", "na\u00efve", "\u597d"]
    write_label_names(tmp_path, names)
    assert read_label_names(tmp_path) == names
    with pytest.raises(ValueError, match="both named"):
        write_label_names(tmp_path, ["a", "a"])
    assert read_label_names(tmp_path) == names
