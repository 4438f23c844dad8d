"""Pretraining by hidden states, the teacher, and learning from its answers, on nano-size models."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import BertConfig, BertForSequenceClassification, BertModel

from golden_model.config import PRESETS
from golden_model.float.albert import load_float
from golden_model.float.batches import collate
from golden_model.text.tokenizer import ElbertTokenizer
from golden_model.train.distillation import BertTeacher, hidden_errors, iteration_of_layer
from golden_model.train.initialise import LAYER
from golden_model.train.joint import JointOptions
from golden_model.train.loss import JointLoss
from golden_model.train.pretrain import PretrainingOptions, prepare_pretraining
from golden_model.train.setup import Splits, Teaching, prepare, prepare_teacher
from golden_model.train.texts import Unlabelled, hold_out, read_pairs, read_sentences, split_sentences
from golden_model.train.trainer import TrainingOptions

pytestmark = pytest.mark.usefixtures("one_thread")

NANO = PRESETS["nano"].model_copy(update={"embedding_size": 32})
"""The pretrained start's embedding is as wide as its hidden state."""


@pytest.fixture
def bert(tmp_path: Path, make_full) -> Path:
    """A bare BERT of two layers in nano's geometry, drawn at random, with its tokenizer."""
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=20,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
        initializer_range=0.2,
    )
    folder = tmp_path / "bert"
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    ElbertTokenizer(make_full()).save(folder)
    return folder


def sentences(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    words = ["good", "bad", "film", "the", "very", "is", ",", "acting", "uneven", "films"]
    return [" ".join(draw.choices(words, k=draw.randint(2, 8))) for _ in range(count)]


def pretraining(bert: Path, output: Path, **changes: object):
    values = {"max_steps": 150, "batch_size": 16, "learning_rate": 3e-3, "max_length": 16, **changes}
    options = PretrainingOptions.model_validate({"evaluate_every": 50, "save_every": 1000, **values})
    texts: list[tuple[str, str | None]] = [(text, None) for text in sentences(400)]
    texts += [(text, "the film is good") for text in sentences(40, 1)]
    return prepare_pretraining(texts, NANO, options, output, bert, held_out_one_in=10)


# ---------------------------------------------------------------- text


def test_sentences_of_documents(tmp_path: Path):
    text = "It was dull.<br /><br />Really, truly dull! Was it? No. " + "x" * 500 + ". It was not so bad."
    assert split_sentences(text, shortest=6) == [
        "It was dull.",
        "Really, truly dull!",
        "Was it?",
        "It was not so bad.",
    ]
    table = tmp_path / "texts.tsv"
    table.write_text(
        "id\ttext\n0\tThe first document here. It ends.\n1\tThe second document here.\n2\tNot read.\n"
    )
    assert list(read_sentences(table, rows=2)) == ["The first document here.", "The second document here."]


def test_neighbouring_sentences_make_pairs_within_a_document(tmp_path: Path):
    table = tmp_path / "reviews.tsv"
    documents = ["The first of three. The second of three. The third of three.", "One stands alone here."]
    table.write_text("\n".join(["text", *documents, "A last pair begins. A last pair ends.", ""]))
    pairs = [("The first of three.", "The second of three."), ("A last pair begins.", "A last pair ends.")]
    assert list(read_pairs(table)) == pairs
    assert list(read_pairs(table, rows=2)) == pairs[:1]


def test_held_out_texts_depend_on_the_text_alone():
    texts = [f"text number {i}" for i in range(2000)]
    kept, held = hold_out(texts + texts[:5], 20)
    assert sorted(kept + held) == sorted(texts)
    assert 60 < len(held) < 140
    again = hold_out(reversed(texts), 20)[1]
    assert set(again) == set(held)
    with pytest.raises(ValueError, match="one_in 1 is below 2"):
        hold_out(texts, 1)


# ---------------------------------------------------------------- measures


def test_error_is_the_share_of_variance_missed():
    torch.manual_seed(0)
    teacher = torch.randn(2, 3, 4, 8)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    assert hidden_errors(teacher.clone(), teacher, mask).tolist() == [0.0, 0.0]
    real = mask.bool()
    mean = torch.stack([layer[real].mean(0) for layer in teacher])
    constant = mean[:, None, None].expand_as(teacher)
    assert hidden_errors(constant, teacher, mask).tolist() == pytest.approx([1.0, 1.0], rel=1e-5)
    padded = teacher.clone()
    padded[:, ~real] = 1e6  # padding does not count
    assert hidden_errors(padded, teacher, mask).tolist() == [0.0, 0.0]
    assert iteration_of_layer(3, 2) == [2, 4, 6]


def test_soft_loss_against_its_formula():
    torch.manual_seed(0)
    logits, teacher = torch.randn(3, 4, 2), torch.randn(4, 2)
    labels = torch.tensor([1, -1, 0, 1])
    loss = JointLoss(3, "equal")
    expected = 0.0
    for i in range(3):
        for n in range(4):
            p, q = (torch.softmax(v / 2.0, -1) for v in (teacher[n], logits[i, n]))
            soft = 4.0 * float((p * (p / q).log()).sum())
            hard = float(functional.cross_entropy(logits[i, n], labels[n].clamp(min=0)))
            expected += soft if labels[n] < 0 else 0.3 * hard + 0.7 * soft
    found = loss.soft(logits, labels, teacher, 0.7, 2.0)
    assert float(found) == pytest.approx(expected / 4, rel=1e-5)
    late = JointLoss(4, start=-5.0)
    assert float(late.weights()[-1].detach()) == pytest.approx(4 - 3 / (1 + math.exp(5)), rel=1e-5)


# ---------------------------------------------------------------- pretraining


def test_layer_learns_to_be_iterated_and_nothing_else_moves(bert: Path, tmp_path: Path):
    trainer = pretraining(bert, tmp_path / "run")
    before = {n: p.clone() for n, p in trainer.objective.model.model.named_parameters()}
    start = trainer.objective.evaluate()["held_out_error"]
    record = trainer.run()
    end = record["best"]["held_out_error"]
    assert len(end) == 2
    assert end[1] < 0.5 * start[1]
    for name, parameter in trainer.objective.model.model.named_parameters():
        if name.startswith(("albert.pooler", "classifier")):
            continue  # written from the teacher
        assert torch.equal(parameter, before[name]) != name.startswith(LAYER), name
    model, tokenizer, config = load_float(tmp_path / "run" / "latest")
    assert config.vocab_size == tokenizer.size == 20
    assert record["inputs"]["train"]["rows"] + record["inputs"]["held_out"]["rows"] <= 440
    words = "albert.embeddings.word_embeddings.weight"
    theirs = load_file(bert / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert torch.equal(model.model.state_dict()[words], theirs)


def test_resumed_pretraining_equals_the_uninterrupted_one(bert: Path, tmp_path: Path):
    whole = pretraining(bert, tmp_path / "whole", max_steps=30)
    whole.run()
    pretraining(bert, tmp_path / "parts", max_steps=30).run(stop_after=11)
    parts = pretraining(bert, tmp_path / "parts", max_steps=30)
    assert parts.resume()
    parts.run()
    for (name, one), (_, two) in zip(whole.objective.named(), parts.objective.named(), strict=True):
        assert torch.equal(one, two), name


def test_illegal_pretraining_is_refused(bert: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="2 layers at 3 iterations each are 6, above num_hidden_layers 4"):
        pretraining(bert, tmp_path, stretch=3)
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        BertTeacher.from_folder(tmp_path / "none")
    with pytest.raises(ValueError, match="has no classifier: it wants num_labels"):
        BertTeacher.from_folder(bert)


# ---------------------------------------------------------------- teacher


def test_teacher_learns_and_teaches(bert: Path, task: Path, tmp_path: Path):
    splits = Splits.of_folder(str(task))
    options = TrainingOptions(
        epochs=8, batch_size=16, learning_rate=3e-3, max_length=16, evaluate_every=1000, save_every=1000
    )
    fine = prepare_teacher(splits, options, tmp_path / "teacher", bert)
    assert fine.run()["best"]["dev_accuracy"][0] >= 0.9
    folder = tmp_path / "teacher" / "best"
    BertForSequenceClassification.from_pretrained(folder)

    # the teacher's own states, then its pooler and classifier behind them: an answer without any label
    taught = pretraining(folder, tmp_path / "taught", max_steps=250)
    taught.run()
    assert json.loads((tmp_path / "taught/latest/config.json").read_text())["id2label"] == {
        "0": "0",
        "1": "1",
    }
    model, tokenizer, _ = load_float(tmp_path / "taught" / "latest")
    teacher = BertTeacher.from_folder(folder)
    dev = fine.objective.dev_data
    batch = collate(dev, range(len(dev)), tokenizer.pad_id)
    with torch.inference_mode():
        ours = model(batch.ids, batch.mask, batch.types)[1].argmax(-1)
        theirs = teacher(batch.ids, batch.mask, batch.types)[0].argmax(-1)
    assert float((ours == theirs).float().mean()) > 0.8

    joint = JointOptions(
        **{**options.model_dump(), "max_steps": 60}, soft=0.7, hidden=0.1, freeze="embeddings"
    )
    texts = tmp_path / "more.tsv"
    texts.write_text("text\n" + "\n".join(f"{text}." for text in sentences(200, 9)) + "\n")
    student = prepare(
        splits,
        NANO,
        joint,
        tmp_path / "student",
        init=str(tmp_path / "taught" / "latest"),
        teaching=Teaching(folder),
        unlabelled=Unlabelled([texts]),
    )
    objective = student.objective
    assert int((objective.train_data.labels < 0).sum()) == student.facts["teacher"]["unlabelled"]["rows"] > 50
    albert = objective.model.backbone.model
    frozen = {n: p.clone() for n, p in albert.named_parameters() if not p.requires_grad}
    assert {n for n in frozen if "word_embeddings" in n}
    assert student.run()["best"]["dev_accuracy"][-1] >= 0.85
    for name, value in albert.named_parameters():
        assert name not in frozen or torch.equal(value, frozen[name]), name

    with pytest.raises(ValueError, match="ask for a teacher"):
        prepare(splits, NANO, joint, tmp_path / "no", init=str(tmp_path / "taught" / "latest"))
