"""A class of the data is the model's class of that name, wherever either puts it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.data.labels import LabelMatch, as_number, find_names, in_order, match_labels


def test_words_are_found_by_name_whatever_the_order():
    found = match_labels(["negative", "positive"], ["positive", "negative"], 2, "dev.tsv")
    assert dict(found) == {"negative": 1, "positive": 0}
    assert (found.by, found["negative"], found.get("neutral"), len(found)) == ("name", 1, None, 2)
    assert str(found) == "negative = 1 negative, positive = 0 positive (by name)"
    assert json.loads(json.dumps(found.as_dict())) == {
        "by": "name",
        "of": {"negative": 1, "positive": 0},
        "model": ["positive", "negative"],
    }
    alone = match_labels(["positive"], ["negative", "positive"], 2, "dev.tsv")
    assert dict(alone) == {"positive": 1}


def test_letter_case_and_space_around_count_only_where_both_are_there():
    assert match_labels([" NEG"], ["pos", "Neg "], 2, "t").classes == (1,)
    assert match_labels(["neg", "NEG"], ["NEG", "neg"], 2, "t").classes == (1, 0)  # exactly first
    assert match_labels(["neg", "NEG"], ["neg", "pos"], 2, "t").classes == (0, 0)
    with pytest.raises(
        ValueError, match=r"t: row 4: class 'Neg' is like several of the model's 'NEG', 'neg'$"
    ):
        match_labels(["Neg"], ["NEG", "neg"], 2, "t", rows=[4])


def test_a_word_that_the_model_does_not_know_is_named_by_row():
    with pytest.raises(
        ValueError,
        match=r"t: row 7: class 'bad' is none of the model's 'neg', 'pos'; the data's classes: 'neg', 'bad'$",
    ):
        match_labels(["neg", "bad"], ["neg", "pos"], 2, "t", rows=[2, 7])
    with pytest.raises(
        ValueError, match=r"^t: class '0' is none of the model's"
    ):  # words with a number among them
        match_labels(["0", "pos"], ["neg", "pos"], 2, "t")


def test_numbers_are_classes_and_words_need_names():
    for names in (None, ["neg", "pos"]):
        found = match_labels(["0", "1"], names, 2, "t")
        assert (found.classes, found.by) == ((0, 1), "number")
    assert str(match_labels(["1"], None, 2, "t")) == "1 = 1 (by number)"
    assert match_labels(["1"], None, 2, "t").as_dict() == {"by": "number", "of": {"1": 1}, "model": None}
    with pytest.raises(ValueError, match=r"t: row 3: class '2' is beyond the model's 2 classes, 0 to 1$"):
        match_labels(["0", "2"], ["neg", "pos"], 2, "t", rows=[2, 3])
    with pytest.raises(ValueError, match=r"class '1000000000' is beyond the model's 2 classes"):
        match_labels(["1000000000"], None, 2, "t")
    with pytest.raises(
        ValueError, match=r"t: row 5: class 'pos' is a word, .*no names.*JSON list to labels\.json"
    ):
        match_labels(["0", "pos"], None, 2, "t", rows=[2, 5])


def test_a_model_whose_names_are_numbers_is_matched_by_them():
    found = match_labels(["1", "2"], ["2", "1"], 2, "t")
    assert (found.classes, found.by) == ((1, 0), "name")
    with pytest.raises(ValueError, match=r"class '0' is none of the model's '1', '2'"):  # not by place
        match_labels(["0", "1"], ["1", "2"], 2, "t")
    with pytest.raises(ValueError, match=r"class 'a' is none of the model's '1', '2'"):
        match_labels(["a"], ["1", "2"], 2, "t")


def test_data_that_give_names_and_numbers_are_matched_by_name_before_number():
    words, numbers = ["negative", "positive"], [0, 1]
    assert match_labels(words, ["positive", "negative"], 2, "t", numbers=numbers).classes == (1, 0)
    assert match_labels(words, None, 2, "t", numbers=numbers).by == "number"
    assert match_labels(words, ["1", "0"], 2, "t", numbers=numbers).classes == (1, 0)
    with pytest.raises(ValueError, match=r"class 'negative' is none of the model's 'bad', 'good'"):
        match_labels(words, ["bad", "good"], 2, "t", numbers=numbers)


def test_names_that_are_not_one_a_class_are_refused():
    with pytest.raises(ValueError, match=r"the model has 3 classes and 2 names: 'a', 'b'$"):
        match_labels(["a"], ["a", "b"], 3, "t")


def test_titles_are_the_datas_words_first():
    found = match_labels(["NEG", "neg"], ["pos", "neg", "neutral"], 3, "t")
    assert found.titles == ["pos", "NEG", "neutral"]
    assert match_labels(["1"], None, 2, "t").titles == ["0", "1"]


NAMES = ["c", "a", "b", "D"]


@settings(deadline=None)
@given(st.permutations(range(4)), st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True))
def test_the_order_of_classes_is_the_datas_and_not_the_models(order: list[int], rows: list[int]):
    """What scores are of does not change with how a model numbers its classes."""
    names = [NAMES[i] for i in order]
    whole = match_labels(NAMES, names, 4, "t")  # a task: its own order
    assert [names[i] for i in whole.order] == NAMES
    some = match_labels(in_order([NAMES[i] for i in rows]), names, 4, "t")  # a table: by alphabet
    assert [names[i] for i in some.order] == sorted(NAMES, key=str.casefold)
    numbers = match_labels(["1", "3"], names, 4, "t")
    assert numbers.order == [0, 1, 2, 3]


@settings(deadline=None)
@given(st.lists(st.text(max_size=6), min_size=1, max_size=6), st.lists(st.text(max_size=6), max_size=6))
def test_matching_never_invents_a_class(words: list[str], names: list[str]):
    try:
        found = match_labels(words, names or None, len(names) or 3, "t", rows=list(range(len(words))))
    except ValueError:
        return
    for word, i in zip(words, found.classes, strict=True):
        if found.by == "number":
            assert int(word) == i
        elif as_number(word) is None or as_number(names[i]) is None:
            assert names[i].strip().casefold() == word.strip().casefold()
        else:
            assert int(names[i]) == int(word)


def test_words_in_order_and_numbers():
    assert in_order(["10", "9", "10"]) == ["9", "10"]
    assert in_order(["10", "9", "a"]) == ["10", "9", "a"]
    assert in_order(["b", "C", "a", "B"]) == ["a", "B", "b", "C"]
    cased = match_labels(["Positive"], ["negative", "positive"], 2, "t")
    assert cased.order == [0, 1]  # F1 is of the same class however the data write it
    assert [as_number(word) for word in ("7", "-1", "1.0", "\u0661", "", "9" * 5000)] == [7, *[None] * 5]
    assert find_names(["B"], ["a", "b"], "t") == [1]
    assert isinstance(match_labels(["a"], ["a"], 1, "t"), LabelMatch)
