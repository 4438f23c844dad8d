"""Checkpoints that others made: read, or refused by one line that names the cause and the way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AlbertForMultipleChoice,
    AlbertForQuestionAnswering,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    AlbertModel,
    BertConfig,
    BertForSequenceClassification,
)
from transformers.utils import logging

from golden_model.config import FIXED_SETTINGS, MAX_LAYER_NORM_EPS, PRESETS, ElbertConfig
from golden_model.evaluation.backends import FloatBackend
from golden_model.files import sha256_of
from golden_model.float.albert import ElbertForSequenceClassification, load_float
from golden_model.float.methods.files import weights_sha256
from golden_model.float.weights import INDEX_FILE, read_weights, weight_files
from golden_model.text.tokenizer import ElbertTokenizer

WORDS = "albert.embeddings.word_embeddings.weight"
SIZES = {
    "vocab_size": 20,
    "embedding_size": 16,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "max_position_embeddings": 16,
}
IDS = torch.tensor([[3, 6, 7, 9, 4]])

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, make_full: Callable[[], Any]) -> Make:
    """Writes a foreign folder: a class of transformers, changes of its configuration, how it is saved."""

    def write(kind: Any = AlbertForSequenceClassification, *, config: Any = None, **saving: Any) -> Path:
        logging.disable_progress_bar()
        torch.manual_seed(0)
        folder = tmp_path / f"model{len(list(tmp_path.iterdir()))}"
        kind(AlbertConfig(**{**SIZES, **(config or {})})).save_pretrained(folder, **saving)
        ElbertTokenizer(make_full()).save(folder)
        return folder

    return write


def configure(folder: Path, **changes: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def change(folder: Path, edit: Callable[[dict[str, Tensor]], Any]) -> Path:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def refusal(folder: Path) -> str:
    """What the float backend says: one line."""
    with pytest.raises((ValueError, OSError)) as caught:
        FloatBackend(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    assert "errors.pydantic.dev" not in message
    return message


def test_a_foreign_checkpoint_computes_what_transformers_does(make: Make) -> None:
    for changes in ({}, {"hidden_act": "gelu_pytorch_tanh"}, {"layer_norm_eps": MAX_LAYER_NORM_EPS}):
        folder = make(config=changes)
        theirs = AlbertForSequenceClassification.from_pretrained(folder).eval()
        ours, _, config = load_float(folder)
        assert config.hidden_act == "gelu_new"
        with torch.inference_mode():
            torch.testing.assert_close(ours(IDS)[-1], theirs(IDS).logits, rtol=0, atol=1e-6)


def test_old_names_of_layer_norms_and_stored_positions_are_read(make: Make) -> None:
    folder = make()
    expected = load_float(folder)[0].state_dict()

    def age(tensors: dict[str, Tensor]) -> None:
        for name in [n for n in tensors if ".LayerNorm." in n]:
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta")
            tensors[old] = tensors.pop(name)
        tensors["albert.embeddings.position_ids"] = torch.arange(16)[None]

    found = load_float(change(folder, age))[0].state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_groups": 2}, "num_hidden_groups is 2"),
        ({"inner_group_num": 2}, "inner_group_num is 2"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"problem_type": "regression"}, "problem_type is 'regression'; ELBERT answers with one class"),
        ({"problem_type": "multi_label_classification"}, "problem_type is 'multi_label_classification'"),
        ({"is_decoder": True}, "is_decoder is True"),
        ({"add_cross_attention": True}, "add_cross_attention is True"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder is True"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads is {'0': [1]}"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is {'bits': 4}"),
        ({"hidden_act": "relu"}, "hidden_act 'relu' is not one of 'gelu', 'gelu_new', 'gelu_pytorch_tanh'"),
        ({"hidden_act": "gelu_fast"}, "hidden_act 'gelu_fast' is not one of"),
        ({"hidden_act": "gelu_python"}, "hidden_act 'gelu_python' is not one of"),
        ({"layer_norm_eps": 0.1}, "layer_norm_eps 0.1 is above 1e-05"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps nan"),
        ({"vocab_size": 10**9}, "vocab_size 1000000000: input should be less than or equal to 65536"),
        ({"hidden_size": "wide"}, "hidden_size 'wide'"),
        ({"pad_token_id": 20}, "pad_token_id 20 is not in 0..19"),
        ({"initializer_range": "x"}, "initializer_range"),
        ({"id2label": ["a", "b"]}, "id2label is a list"),
        ({"id2label": {"0": "a", "2": "b"}}, "id2label names 2 classes, but not class 1"),
        ({"num_labels": 3, "id2label": {"0": "a", "1": "b"}}, "num_labels is 3, id2label names 2 classes"),
        ({"model_type": "distilbert"}, "ELBERT reads an AlbertForSequenceClassification"),
    ],
)
def test_settings_that_change_the_answers_are_refused_by_name(
    make: Make, changes: dict[str, Any], message: str
) -> None:
    found = refusal(configure(make(), **changes))
    assert message in found
    assert "config.json" in found


def test_every_fixed_setting_is_refused_and_its_own_value_taken() -> None:
    nano = PRESETS["nano"].model_dump()
    for key, (allowed, reason) in FIXED_SETTINGS.items():
        for value in allowed:
            ElbertConfig.from_dict({**nano, key: value})
        with pytest.raises(ValueError, match=f"^{key} is 'otherwise'; ") as caught:
            ElbertConfig.from_dict({**nano, key: "otherwise"})
        assert reason in str(caught.value)


def test_settings_that_change_no_answer_are_ignored(make: Make) -> None:
    odd = {"classifier_dropout": 0.3, "classifier_dropout_prob": 0.5, "torch_dtype": "float16", "to_dict": 1}
    folder = configure(make(), gap_size=0, **odd)
    model = load_float(folder)[0]
    assert model.model.config.classifier_dropout_prob == 0.0
    assert model.model.dtype == torch.float32
    model.save_pretrained(folder.parent / "again")


def test_a_vocabulary_too_large_is_refused_before_anything_is_allocated(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = configure(make(), vocab_size=65537, max_position_embeddings=10**12)
    monkeypatch.setattr(torch.nn.Embedding, "__init__", lambda *_, **__: pytest.fail("allocated"))
    found = refusal(folder)
    assert "vocab_size 65537" in found
    assert "max_position_embeddings 1000000000000" in found


# ------------------------------------------------------------------------------------ which kind of folder


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (AlbertModel, "is an ALBERT without a head: it has no classifier"),
        (AlbertForMaskedLM, "is a masked-LM ALBERT: it has no classifier and no pooler"),
        (AlbertForTokenClassification, "is an AlbertForTokenClassification: it has no pooler"),
        (AlbertForQuestionAnswering, "is an AlbertForQuestionAnswering: it has no classifier and no pooler"),
        (AlbertForMultipleChoice, "is an AlbertForMultipleChoice: it has no classifier of sentences"),
    ],
)
def test_a_model_without_classifier_is_named_and_trains_by_the_command_it_is_told(
    make: Make, kind: Any, what: str
) -> None:
    folder = make(kind)
    message = refusal(folder)
    assert what in message
    assert message.endswith(f"elbert train DATA --init {folder} --output RUN")
    model = ElbertForSequenceClassification.from_pretrained(folder, new_classifier=True, num_labels=3)
    assert model.config.num_labels == 3
    name = next(n for n in load_file(folder / "model.safetensors") if n.endswith("ffn.weight"))
    stored = load_file(folder / "model.safetensors")[name]
    assert torch.equal(dict(model.model.named_parameters())["albert." + name.removeprefix("albert.")], stored)


def test_another_body_is_never_filled_up_with_random_weights(make: Make) -> None:
    """Only pooler and classifier may start fresh."""
    folder = change(make(), lambda t: t.update({WORDS: torch.ones(19, 16)}))
    with pytest.raises(ValueError, match=r"word_embeddings\.weight has shape \(19, 16\), config\.json asks"):
        ElbertForSequenceClassification.from_pretrained(folder, new_classifier=True, num_labels=2)
    name = "albert.encoder.embedding_hidden_mapping_in.bias"
    folder = change(make(AlbertForMaskedLM), lambda t: t.pop(name))
    with pytest.raises(ValueError, match=r"lacks 1 of 27 weights"):
        ElbertForSequenceClassification.from_pretrained(folder, new_classifier=True, num_labels=2)


@pytest.mark.parametrize("prefix", ["module.", "model.", "albert.", "_orig_mod."])
def test_prefixed_names_are_told_apart(make: Make, prefix: str) -> None:
    def rename(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            if prefix != "albert." or name.startswith("albert."):
                tensors[prefix + name] = tensors.pop(name)

    message = refusal(change(make(), rename))
    assert f"begin with {prefix!r}" in message
    assert "save the inner one" in message


def test_another_architecture_is_named(tmp_path: Path, make: Make) -> None:
    logging.disable_progress_bar()
    sizes = {k: v for k, v in SIZES.items() if k != "embedding_size"}
    BertForSequenceClassification(BertConfig(**sizes)).save_pretrained(tmp_path / "bert")
    message = refusal(tmp_path / "bert")
    assert "is of a BertForSequenceClassification (model_type 'bert')" in message
    assert f"elbert train DATA --teacher {tmp_path / 'bert'} --soft 0.5 --output RUN" in message
    folder = make()
    (folder / "model.safetensors").write_bytes((tmp_path / "bert" / "model.safetensors").read_bytes())
    assert "weights of another architecture: the word embedding is 'bert.embeddings" in refusal(folder)
    save_file({"x": torch.ones(1)}, folder / "model.safetensors")
    assert "what it holds begins with 'x'" in refusal(folder)


def test_classes_that_disagree_are_named(make: Make) -> None:
    folder = configure(make(), id2label={"0": "a", "1": "b", "2": "c"})
    assert "config.json says 3 classes, classifier.bias has 2: correct id2label" in refusal(folder)


def test_weights_without_a_place_are_refused(make: Make) -> None:
    """A second group of layers that config.json does not speak of would be left out in silence."""
    name = "albert.encoder.albert_layer_groups.1.albert_layers.0.ffn.bias"
    assert f"{name!r} has no place" in refusal(change(make(), lambda t: t.update({name: torch.ones(64)})))


def test_missing_files_say_how_they_are_made(make: Make, tmp_path: Path) -> None:
    folder = make()
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json: .*model\.config\.save_pretrained"):
        load_float(folder)
    folder = make(AlbertForMaskedLM)
    (folder / "model.safetensors").unlink()
    assert refusal(folder) == f"{folder} holds no model.safetensors"
    torch.save({}, folder / "pytorch_model.bin")
    message = refusal(folder)
    assert "pickled weights are never read" in message
    assert "from transformers import AlbertForMaskedLM as M; M.from_pretrained(" in message
    save_file({"x": torch.ones(1)}, tmp_path / "other.safetensors")
    (folder / "pytorch_model.bin").unlink()
    (tmp_path / "other.safetensors").rename(folder / "other.safetensors")
    assert "but other.safetensors: rename it" in refusal(folder)
    (tmp_path / "file").write_text("x")
    assert refusal(tmp_path / "file").endswith("is a file, expected the folder of a checkpoint")
    assert "there is no such folder" in refusal(tmp_path / "nothing")


# ------------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_one_value_that_is_not_finite_is_named(make: Make, value: float, dtype: torch.dtype) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        for name in tensors:
            tensors[name] = tensors[name].to(dtype)
        tensors[WORDS][7, 3] = value

    assert f"model.safetensors: {WORDS}[7, 3] is {value}, not a finite float32" in refusal(
        change(make(), spoil)
    )


def test_what_float32_cannot_hold_is_named(make: Make) -> None:
    folder = change(
        make(), lambda t: t.update({"classifier.bias": torch.tensor([0, 1e300], dtype=torch.float64)})
    )
    assert "classifier.bias[1] is 1e+300, not a finite float32" in refusal(folder)


def test_integers_are_no_weights(make: Make) -> None:
    folder = change(make(), lambda t: t.update({"classifier.bias": torch.zeros(2, dtype=torch.int8)}))
    assert "classifier.bias is torch.int8, expected torch.float32" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "sees"),
    [
        (WORDS, "every word is the same"),
        ("albert.encoder.embedding_hidden_mapping_in.weight", "every sentence is the same"),
        ("albert.embeddings.LayerNorm.weight", "every sentence is the same"),
        ("albert.pooler.weight", "every answer is the same"),
        ("classifier.weight", "every answer is the same"),
    ],
)
def test_weights_that_are_all_zero_are_refused(make: Make, name: str, sees: str) -> None:
    message = refusal(change(make(), lambda t: t[name].zero_()))
    assert f"{name} is all zeros: {sees}" in message


def test_several_files_are_one_checkpoint(make: Make) -> None:
    single, several = make(), make(max_shard_size="10KB")
    files = weight_files(several)
    assert len(files) > 1
    assert weights_sha256(single) == sha256_of(single / "model.safetensors")
    backend = FloatBackend(several)
    first = backend.sha256
    ours, theirs = backend.model.state_dict(), load_float(single)[0].state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    tensors = load_file(files[-1])
    tensors[min(tensors)] += 1
    save_file(tensors, files[-1])
    assert FloatBackend(several).sha256 != first


def test_an_index_that_is_wrong_is_named(make: Make) -> None:
    folder = make(max_shard_size="10KB")
    path = folder / INDEX_FILE
    good = json.loads(path.read_text())

    def with_map(**changes: Any) -> str:
        path.write_text(json.dumps({"weight_map": {**good["weight_map"], **changes}}))
        return refusal(folder)

    assert "'../model.safetensors' is not the name of a file beside it" in with_map(x="../model.safetensors")
    assert "holds no gone.safetensors, which" in with_map(x="gone.safetensors")
    assert "names 'x', which no file holds" in with_map(x=good["weight_map"][WORDS])
    path.write_text("{}")
    assert "has no weight_map" in refusal(folder)
    path.write_text(json.dumps(good))
    first, second = weight_files(folder)[:2]
    save_file({**load_file(second), **load_file(first)}, second)
    with pytest.raises(ValueError, match="as another file of"):
        read_weights(folder)


def test_a_pointer_of_git_lfs_is_named(make: Make) -> None:
    folder = make()
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "git lfs pull" in refusal(folder)


def test_a_vocabulary_smaller_than_the_tokenizers_is_refused(make: Make) -> None:
    folder = make(config={"vocab_size": 19})
    assert "the tokenizer holds 20 pieces, the embedding 19" in refusal(folder)


def test_pairs_need_a_second_token_type(make: Make) -> None:
    backend = FloatBackend(make(config={"type_vocab_size": 1}))
    ids, types = backend.tokenizer.encode("good", 16, "bad")
    with pytest.raises(ValueError, match="one token type"):
        backend.model(torch.tensor([ids]), token_type_ids=torch.tensor([types]))
