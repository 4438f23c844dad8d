"""``elbert.load(folder).classify(...)``: names, batches, policies, tensors, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import elbert
from golden_model.config import PRESETS
from golden_model.exits import Confidence, exit_iterations
from golden_model.float.logits import sentence_logits
from golden_model.integer.synthetic import random_checkpoint
from golden_model.labels import write_label_names

TEXTS = ["w1 w2 w3", "w4", "w7 w50 w9 w9 w2 w30", "w5 w6"]
EAGER = elbert.ExitPolicy(mode="bias_1", delta=0.6, window=2, margin=0.2)
"""Under it the random integers leave at different iterations."""
EAGER_FLOAT = elbert.ExitPolicy(mode="bias_1", delta=0.9, window=2, margin=0.01)
"""The same for the float model, which is less sure."""


@pytest.fixture
def folder(float_folder: Path, tmp_path: Path) -> Path:
    """A model folder with a float and a (different, random) integer nano model."""
    model = tmp_path / "model"
    shutil.copytree(float_folder, model / "float")
    random_checkpoint(PRESETS["nano"], seed=3).save(model / "integer", copy_from=float_folder)
    return model


def test_classes_have_the_names_of_the_folder_or_else_numbers(folder: Path):
    assert elbert.load(folder).id2label == {0: "0", 1: "1"}
    write_label_names(folder, ["bad", "good"])
    model = elbert.load(folder)
    assert model.id2label == {0: "bad", 1: "good"}
    assert model.label2id == {"bad": 0, "good": 1}
    for backend in ("float", "golden"):
        for answer in model.classify(TEXTS, backend=backend):
            assert answer.label == model.id2label[answer.label_id]
            assert answer.score == answer.probabilities[answer.label_id] == max(answer.probabilities)


def test_the_bundled_model_opens_without_a_folder():
    model = elbert.load()
    assert model.id2label == {0: "negative", 1: "positive"}
    assert model.classify("a wonderful film").label == "positive"


@pytest.mark.parametrize(("backend", "policy"), [("float", EAGER_FLOAT), ("golden", EAGER)])
def test_one_text_and_a_list_of_it_are_answered_alike(folder: Path, backend: str, policy: elbert.ExitPolicy):
    model = elbert.load(folder)
    together = model.classify(TEXTS, policy=policy, backend=backend)
    assert [a.text for a in together] == TEXTS
    assert len({a.exit_iteration for a in together}) > 1
    for text, found in zip(TEXTS, together, strict=True):
        alone = model.classify(text, policy=policy, backend=backend)
        assert (alone.label, alone.exit_iteration) == (found.label, found.exit_iteration)
        assert alone.confidences == pytest.approx(found.confidences, abs=1e-6)
        assert len(alone.confidences) == alone.exit_iteration
    assert model.classify([], backend=backend) == []


def test_float_answers_are_those_of_the_whole_trajectory(folder: Path):
    model = elbert.load(folder)
    answers = model.classify(TEXTS, policy=EAGER_FLOAT, backend="float")
    opened = model.float
    sentences = opened.tokenizer.encode_many(TEXTS, 16)
    trajectory = Confidence.from_logits(sentence_logits(opened.model, sentences, opened.tokenizer.pad_id))
    exits = exit_iterations(EAGER_FLOAT, trajectory)
    assert [a.exit_iteration for a in answers] == exits.tolist()
    for i, answer in enumerate(answers):
        wanted = trajectory.probabilities[exits[i] - 1, i].tolist()
        assert answer.probabilities == pytest.approx(wanted, abs=1e-6)


def test_policies_by_name_by_thresholds_and_none(folder: Path):
    model = elbert.load(folder)
    assert {a.exit_iteration for a in model.classify(TEXTS, policy=None)} == {4}
    assert {a.exit_iteration for a in model.classify(TEXTS, policy="none")} == {4}
    always = elbert.ExitPolicy(mode="entropy", delta=1.0)
    assert {a.exit_iteration for a in model.classify(TEXTS, policy=always)} == {1}
    with pytest.raises(ValueError, match=r"mode 'soon' is not one of none, entropy"):
        model.classify(TEXTS, policy="soon")


def test_what_was_read_is_told(folder: Path):
    model = elbert.load(folder)
    short, long = model.classify(["w1 nothing", " ".join(["w3"] * 30)])
    assert short.tokens == ("[CLS]", "w1", "[UNK]", "[SEP]")
    assert len(short.ids) == len(short.token_type_ids) == 4
    assert (short.truncated, long.truncated) == (False, True)
    assert len(long.ids) == 16
    document = json.loads(json.dumps(long.as_json()))
    assert document["truncated"] is True
    assert document["cycles"] is None


def test_traced_tensors_are_the_golden_models_by_pattern(folder: Path):
    model = elbert.load(folder)
    answer = model.classify("w1 w2", policy=None, trace="iteration.2.*")
    assert answer.tensors
    assert all(name.startswith("iteration.2.") for name in answer.tensors)
    assert all(tensor.dtype == torch.int64 for tensor in answer.tensors.values())
    several = model.classify("w1 w2", policy=None, trace=["embedding.*", "iteration.*.logits"])
    assert set(several.tensors) > {"embedding.sum", "iteration.4.logits"}
    assert not model.classify("w1 w2").tensors
    with pytest.raises(ValueError, match=r"tensor 'hidden' was not traced"):
        answer.dequantize("hidden")
    with pytest.raises(ValueError, match="was not calibrated"):  # random integers have no units
        answer.dequantize("iteration.2.hidden")


def test_real_units_are_those_of_the_float_model():
    model = elbert.load()
    answer = model.classify("not bad at all", policy=None, trace="iteration.12.logits")
    exact = torch.tensor(answer.probabilities, dtype=torch.float64)
    assert torch.allclose(answer.dequantize("iteration.12.logits").softmax(-1), exact, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": ""}, "text 1 is empty"),
        ({"texts": ["good", " \n"]}, "text 2 is empty"),
        ({"texts": ["good", 3]}, "text 2 is a int, expected text"),
        ({"texts": ["a"], "pairs": ["b", "c"]}, "1 texts and 2 pairs"),
        ({"texts": "a", "pairs": ["b"]}, "one text has one pair"),
        ({"texts": ["a"], "pairs": "b"}, "a list of pairs"),
        ({"texts": "a", "backend": "fpga"}, "backend 'fpga' is not one of float, golden, rtl"),
        ({"texts": "a", "backend": "float", "trace": "*"}, "backend float has none"),
    ],
)
def test_what_can_not_be_meant_is_refused(folder: Path, arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        elbert.load(folder).classify(**arguments)


def test_a_folder_without_a_model_says_what_was_looked_for(tmp_path: Path, folder: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no golden checkpoint: no integer\.json"):
        elbert.load(tmp_path / "empty")
    shutil.rmtree(folder / "integer")
    model = elbert.load(folder)
    assert model.classify("w1", backend="float").iterations == 4
    with pytest.raises(FileNotFoundError, match="holds no golden checkpoint"):
        model.classify("w1", backend="golden")


@pytest.mark.slow
def test_hardware_answers_like_the_golden_model(folder: Path, tmp_path: Path):
    model = elbert.load(folder)
    simulation = elbert.Simulation(array="4x4", run_dir=tmp_path / "run")
    found = model.classify(
        TEXTS, policy=EAGER, backend="rtl", trace="iteration.1.logits", simulation=simulation
    )
    for hardware, golden in zip(found, model.classify(TEXTS, policy=EAGER), strict=True):
        assert hardware.label == golden.label
        assert hardware.probabilities == golden.probabilities
        assert hardware.confidences == golden.confidences
        assert set(hardware.tensors) == {"iteration.1.logits"}
        assert hardware.hardware is not None
        assert hardware.hardware.mismatches == 0
        assert hardware.hardware.cycles <= hardware.hardware.cycles_full


def test_one_form_answers_whatever_is_wrong_with_the_other(folder: Path):
    (folder / "integer" / "integer.json").write_text("{}")
    model = elbert.load(folder)
    assert model.classify("w1", backend="float").label in model.label2id
    with pytest.raises(ValueError, match=r"integer\.json"):
        model.classify("w1", backend="golden")


def test_golden_answers_do_not_wait_for_transformers() -> None:
    """It takes longer to import than a sentence to answer, and the float model alone needs it."""
    code = (
        "import sys, elbert\n"
        "elbert.load().classify('a fine film', backend='golden')\n"
        "import quant.report.decisions.figures\n"
        "print([name for name in ('transformers', 'torch._dynamo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
