"""Small float models that calibrate in a second, made here and nowhere trained; and what reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from golden_model.cache import cache_dir
from golden_model.config import PRESETS, ElbertConfig
from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.model import Sentence
from golden_model.integer.synthetic import random_sentences
from golden_model.text.tokenizer import ElbertTokenizer
from quant.reproducible import one_thread as on_one_thread

CONFIGS = {
    "nano": PRESETS["nano"],
    "three classes": ElbertConfig(
        vocab_size=97,
        embedding_size=12,
        hidden_size=24,
        num_attention_heads=3,
        intermediate_size=40,
        num_hidden_layers=5,
        max_position_embeddings=23,
        num_labels=3,
        hidden_act="gelu",
    ),
}


@cache
def make_model(name: str) -> ElbertForSequenceClassification:
    """Random weights, large enough that tokens differ, biases and LayerNorms not at their trivial values."""
    torch.manual_seed(11)
    model = ElbertForSequenceClassification.from_config(CONFIGS[name]).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            if key.endswith("LayerNorm.weight") or key.endswith("layer_norm.weight"):
                value.copy_(0.7 + 0.6 * torch.rand(value.shape))
            elif key.endswith(".bias"):
                value.copy_(0.1 * torch.randn(value.shape))
            elif "embeddings" in key:
                value.copy_(torch.randn(value.shape))
            else:
                value.copy_(torch.randn(value.shape) * value.shape[-1] ** -0.5)
    return model


@pytest.fixture(params=sorted(CONFIGS))
def float_model(request: pytest.FixtureRequest) -> ElbertForSequenceClassification:
    return make_model(request.param)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Nano models are too small to share: more threads only wait for each other."""
    with on_one_thread():
        yield


@pytest.fixture
def runtime_of_all() -> Callable[[Path], None]:
    """Gives a test's own cache of builds the objects of Verilator's run-time library that every test shares.

    They take half a minute to compile, and are no part of what a private cache is for.
    """
    shared = cache_dir() / "runtime"  # before the test sets a cache of its own

    def share(cache: Path) -> None:
        shared.mkdir(parents=True, exist_ok=True)
        cache.mkdir(parents=True, exist_ok=True)
        (cache / "runtime").symlink_to(shared)

    return share


@pytest.fixture
def sentences(float_model: ElbertForSequenceClassification) -> list[Sentence]:
    return random_sentences(float_model.config, 60, seed=1)


@pytest.fixture
def float_folder(tmp_path: Path) -> Path:
    """A nano float checkpoint with a tokenizer of one piece per word, and ``train.tsv`` and ``dev.tsv``."""
    folder = tmp_path / "float"
    make_model("nano").save_pretrained(folder)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = {piece: i for i, piece in enumerate(special + [f"w{i}" for i in range(59)])}
    full = Tokenizer(models.WordLevel(pieces, unk_token="[UNK]"))
    full.pre_tokenizer = pre_tokenizers.Whitespace()
    full.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    ElbertTokenizer(full).save(folder)
    generator = torch.Generator().manual_seed(4)
    for name, count in (("train", 50), ("dev", 30)):
        rows = ["sentence\tlabel"]
        for i in range(count):
            length = int(torch.randint(1, 14, (1,), generator=generator))
            words = torch.randint(0, 59, (length,), generator=generator).tolist()
            rows.append(" ".join(f"w{w}" for w in words) + f"\t{i % 2}")
        (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    return folder
