"""What several tests of the golden model share."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from golden_model.text.tokenizer import ElbertTokenizer

SPECIAL = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "film", "is", "good", "bad", "act", "##ing", "un", "##even", "very", ".", ",", "##s", "a"]


def small_tokenizer() -> Tokenizer:
    """WordPiece of 20 pieces laid out as BERT's, truncation and padding baked in on purpose."""
    vocabulary = {piece: i for i, piece in enumerate(SPECIAL + WORDS)}
    full = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    full.normalizer = normalizers.BertNormalizer()
    full.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    full.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 3), ("[SEP]", 4)],
    )
    full.enable_truncation(6)
    full.enable_padding(length=12)
    return full


@pytest.fixture
def make_full() -> Callable[[], Tokenizer]:
    """Makes small WordPiece tokenizers: 0 [PAD], 2 [UNK], 3 [CLS], 4 [SEP], 5 [MASK], words from 6."""
    return small_tokenizer


def write_task(folder: Path) -> Path:
    """SST-2's layout, with a tokenizer: a sentence is positive when it has more good than bad in it."""
    draw = random.Random(0)
    folder.mkdir(parents=True)
    for split, rows in (("train", 320), ("dev", 80)):
        lines = ["sentence\tlabel"]
        while len(lines) <= rows:
            words = [draw.choice(["good", "bad", "film", "the", "very", "is", ","]) for _ in range(8)]
            words = words[: draw.randint(2, 8)]
            lead = words.count("good") - words.count("bad")
            if lead:
                lines.append(f"{' '.join(words)} \t{int(lead > 0)}")
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    ElbertTokenizer(small_tokenizer()).save(folder)
    return folder


@pytest.fixture(scope="session")
def make_task() -> Callable[[Path], Path]:
    """Writes a task that a nano model learns in seconds into a new folder."""
    return write_task


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """Folder of such a task."""
    return write_task(tmp_path / "task")
