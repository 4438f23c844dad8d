"""Evaluation of float and golden backends on a table, and its numbers against direct computation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from elbert.show.evaluation import print_evaluation
from golden_model.config import PRESETS
from golden_model.data.tables import load_dataset
from golden_model.evaluation.backends import FloatBackend, GoldenBackend, model_folder, open_backend, tokenize
from golden_model.evaluation.score import cost_of, evaluate, evaluate_file
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
    with pytest.raises(ValueError, match="class 2, the model 2 classes"):
        evaluate_file("golden", folder, tmp_path)
    assert model_folder(folder / "integer", "golden") == folder / "integer"
