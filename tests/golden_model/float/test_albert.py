"""The float ELBERT is Hugging Face's ALBERT, read after every iteration, with nothing added."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AlbertForSequenceClassification,
    BertConfig,
    BertModel,
)

from elbert.bundled import BUNDLED
from golden_model.config import PRESETS, ElbertConfig
from golden_model.float.albert import ElbertForSequenceClassification, elbert_config, hugging_face_config
from golden_model.text.tokenizer import ElbertTokenizer
from golden_model.train.initialise import MINILM_PACKAGE, from_bert_layer, minilm_folder

FLOAT = BUNDLED / "float"


def nano(**changes: object) -> ElbertConfig:
    return ElbertConfig(**{**PRESETS["nano"].model_dump(), **changes})


def make_model(config: ElbertConfig, spread: float = 0.3) -> ElbertForSequenceClassification:
    """Random weights of a size at which every iteration matters (the usual 0.02 hardly moves anything)."""
    torch.manual_seed(11)
    model = ElbertForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * spread)
    return model


def make_batch(config: ElbertConfig, lengths: list[int]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    shape = (len(lengths), max(lengths))
    ids = torch.randint(4, config.vocab_size, shape, generator=generator)
    types = torch.randint(0, 2, shape, generator=generator)
    mask = (torch.arange(shape[1])[None] < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": types * mask}


@pytest.mark.parametrize("act", ["gelu", "gelu_new"])
@pytest.mark.parametrize("labels", [2, 5])
def test_last_iteration_is_hugging_faces_answer(act, labels):
    config = nano(hidden_act=act, num_labels=labels)
    model, batch = make_model(config), make_batch(config, [16, 7, 1, 9])
    with torch.inference_mode():
        logits, hidden = model(**batch, hidden_states=True)
        theirs = model.model(**batch, output_hidden_states=True)
    assert logits.shape == (4, 4, labels)
    assert hidden.shape == (5, 4, 16, 32)
    torch.testing.assert_close(logits[-1], theirs.logits, rtol=0, atol=1e-6)
    torch.testing.assert_close(hidden[-1], theirs.hidden_states[-1], rtol=0, atol=1e-6)
    assert (logits[0] - logits[-1]).abs().max() > 0.01  # the iterations differ, so the test can fail


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_iteration_i_is_the_model_of_i_layers(depth):
    config = nano()
    model, batch = make_model(config), make_batch(config, [5, 12])
    shallow = AlbertForSequenceClassification(hugging_face_config(nano(num_hidden_layers=depth))).eval()
    shallow.load_state_dict(model.model.state_dict())
    with torch.inference_mode():
        logits = model(**batch)
        cut = model(**batch, num_iterations=depth)
        theirs = shallow(**batch).logits
    torch.testing.assert_close(logits[depth - 1], theirs, rtol=0, atol=1e-5)
    torch.testing.assert_close(cut, logits[:depth], rtol=0, atol=0)


def test_the_two_activations_differ():
    torch.manual_seed(0)
    exact, tanh = make_model(nano(hidden_act="gelu")), make_model(nano(hidden_act="gelu_new"))
    batch = make_batch(exact.config, [9])
    with torch.inference_mode():
        assert not torch.equal(exact(**batch), tanh(**batch))


def test_no_parameter_is_added():
    for config in (nano(), nano(num_labels=6, embedding_size=32), PRESETS["small"]):
        ours = ElbertForSequenceClassification.from_config(config)
        theirs = AlbertForSequenceClassification(hugging_face_config(config))
        assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
        assert {n.removeprefix("model.") for n, _ in ours.named_parameters()} == {
            n for n, _ in theirs.named_parameters()
        }
        assert len(list(ours.buffers())) == len(list(theirs.buffers()))


def test_padding_and_batch_do_not_change_a_sentence():
    config = nano()
    model, batch = make_model(config), make_batch(config, [16, 3])
    alone = {name: value[1:, :3] for name, value in batch.items()}
    with torch.inference_mode():
        torch.testing.assert_close(model(**batch)[:, 1:], model(**alone), rtol=0, atol=1e-5)


def test_checkpoint_of_hugging_face_opens_and_saves_back(tmp_path: Path):
    config = AlbertConfig(
        vocab_size=50,
        embedding_size=8,
        hidden_size=24,
        num_attention_heads=3,
        intermediate_size=40,
        num_hidden_layers=3,
        max_position_embeddings=20,
        num_labels=3,
        hidden_act="gelu_new",
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
        classifier_dropout_prob=0.1,
    )
    torch.manual_seed(1)
    source = AlbertForSequenceClassification(config).half()
    source.save_pretrained(tmp_path / "theirs")
    model = ElbertForSequenceClassification.from_pretrained(tmp_path / "theirs")
    assert model.config == elbert_config(config)
    assert model.config.num_labels == 3
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    for name, value in source.state_dict().items():
        assert torch.equal(model.model.state_dict()[name], value.float()), name
    batch = make_batch(model.config, [20, 4])
    model.train()  # dropout is off even so
    assert torch.equal(model(**batch), model(**batch))
    model.save_pretrained(tmp_path / "ours")
    again = AlbertForSequenceClassification.from_pretrained(tmp_path / "ours").eval()
    with torch.inference_mode():
        torch.testing.assert_close(again(**batch).logits, model(**batch)[-1], rtol=0, atol=1e-6)


def test_illegal_checkpoints_are_refused_by_name(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        ElbertForSequenceClassification.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="num_hidden_groups is 2"):
        elbert_config(AlbertConfig(num_hidden_groups=2))
    with pytest.raises(ValueError, match="inner_group_num is 2"):
        elbert_config(AlbertConfig(inner_group_num=2))
    folder = tmp_path / "broken"
    make_model(nano()).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    del weights["albert.pooler.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 of 27 weights, first 'albert\.pooler\.weight'"):
        ElbertForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(
        FileNotFoundError, match=r"pytorch_model\.bin but no model\.safetensors: pickled weights are never"
    ):
        ElbertForSequenceClassification.from_pretrained(folder)


def test_masked_lm_checkpoint_becomes_a_classifier_only_when_asked(tmp_path: Path):
    torch.manual_seed(2)
    source = AlbertForMaskedLM(hugging_face_config(nano()))
    source.save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match="is a masked-LM ALBERT: it has no classifier and no pooler to answer with"
    ):
        ElbertForSequenceClassification.from_pretrained(tmp_path)
    model = ElbertForSequenceClassification.from_pretrained(tmp_path, new_classifier=True, num_labels=4)
    assert model.config.num_labels == 4
    assert model.model.classifier.weight.shape == (4, 32)
    layer = "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight"
    assert torch.equal(model.model.state_dict()[layer], source.state_dict()[layer])


def test_bounds_of_forward():
    config = nano()
    model = make_model(config)
    with pytest.raises(ValueError, match=r"num_iterations 5 is not in 1\.\.4"):
        model(torch.ones(1, 3, dtype=torch.long), num_iterations=5)
    with pytest.raises(ValueError, match=r"num_iterations 0 is not in 1\.\.4"):
        model(torch.ones(1, 3, dtype=torch.long), num_iterations=0)
    with pytest.raises(ValueError, match=r"length 17 is not in 1\.\.16"):
        model(torch.ones(1, 17, dtype=torch.long))


def make_bert(folder: Path, layers: int = 3, width: int = 32) -> BertModel:
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=20,
        hidden_size=width,
        num_attention_heads=2,
        intermediate_size=64,
        num_hidden_layers=layers,
        max_position_embeddings=24,
        hidden_act="gelu",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    bert = BertModel(config).eval()
    with torch.no_grad():
        for parameter in bert.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    bert.save_pretrained(folder)
    return bert


def test_start_from_a_bert_layer_computes_what_the_bert_does(make_full, tmp_path: Path):
    """Embedding equals BERT's, one iteration equals BERT's last layer on the same input, ids remapped."""
    bert = make_bert(tmp_path)
    kept = [0, 2, 3, 4, 5, 8, 9, 13]
    tokenizer = ElbertTokenizer(make_full(), kept)
    config = nano(vocab_size=8, embedding_size=32, hidden_act="gelu")
    model = ElbertForSequenceClassification.from_config(config).eval()
    from_bert_layer(model, tmp_path, tokenizer)
    compact = torch.tensor([[2, 5, 7, 1, 6, 3]])
    original = torch.tensor([[kept[i] for i in compact[0].tolist()]])
    with torch.inference_mode():
        embedded = model.embed(compact)
        torch.testing.assert_close(embedded, bert.embeddings(original), rtol=0, atol=1e-5)
        ours = model.model.albert.encoder.albert_layer_groups[0](embedded, None)
        layer = bert.encoder.layer[-1](embedded, None)
        layer = layer[0] if isinstance(layer, tuple) else layer
        torch.testing.assert_close(ours, layer, rtol=0, atol=1e-5)
        other = bert.encoder.layer[0](embedded, None)
        other = other[0] if isinstance(other, tuple) else other
    assert (ours - other).abs().max() > 0.01
    assert torch.equal(model.model.albert.pooler.weight, 0.5 * torch.eye(32))


def test_start_that_does_not_fit_is_refused(make_full, tmp_path: Path):
    make_bert(tmp_path)
    tokenizer = ElbertTokenizer(make_full())
    cases = [
        ({"embedding_size": 16}, "embedding_size 16 is not the pretrained hidden size 32"),
        ({"embedding_size": 32, "vocab_size": 19}, "tokenizer of 20 pieces, vocab_size 19"),
        ({"embedding_size": 32, "max_position_embeddings": 25}, "position_embeddings: 25 rows wanted, 24"),
        (
            {"embedding_size": 32, "intermediate_size": 60},
            r"ffn\.weight: shape \(60, 32\) wanted, \(64, 32\)",
        ),
    ]
    for changes, message in cases:
        model = ElbertForSequenceClassification.from_config(nano(**changes))
        with pytest.raises(ValueError, match=message):
            from_bert_layer(model, tmp_path, tokenizer)
    model = ElbertForSequenceClassification.from_config(nano(embedding_size=32))
    with pytest.raises(ValueError, match=r"layer 3 is not in -3\.\.2"):
        from_bert_layer(model, tmp_path, tokenizer, layer=3)


def test_start_from_the_real_minilm():
    pytest.importorskip(MINILM_PACKAGE)
    folder = minilm_folder()
    tokenizer = ElbertTokenizer.from_folder(folder)
    assert tokenizer.size == 30522
    assert json.loads((folder / "config.json").read_text())["hidden_act"] == PRESETS["small"].hidden_act
    config = PRESETS["small"].model_copy(update={"vocab_size": tokenizer.size})
    model = ElbertForSequenceClassification.from_config(config).eval()
    from_bert_layer(model, folder, tokenizer)
    bert = BertModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    ids, types = tokenizer.encode("a film that is hardly ever dull", 64)
    with torch.inference_mode():
        ours = model.embed(torch.tensor([ids]), torch.tensor([types]))
        theirs = bert.embeddings(torch.tensor([ids]), token_type_ids=torch.tensor([types]))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.skipif(not FLOAT.is_dir(), reason="no bundled checkpoint")
def test_bundled_checkpoint_knows_good_from_bad():
    from golden_model.float.albert import load_float

    model, tokenizer, config = load_float(FLOAT)
    preset = PRESETS["small"]
    assert config == preset.model_copy(update={"vocab_size": config.vocab_size})
    assert tokenizer.size == config.vocab_size <= preset.vocab_size
    for text, label in (
        ("a wonderful , moving film", 1),
        ("dull , lifeless and predictable", 0),
        ("one of the best performances of the year", 1),
        ("a complete waste of time", 0),
    ):
        ids, types = tokenizer.encode(text, config.max_position_embeddings)
        with torch.inference_mode():
            logits = model(torch.tensor([ids]), token_type_ids=torch.tensor([types]))
        assert logits.shape == (12, 1, 2)
        assert int(logits[-1, 0].argmax()) == label, text
