"""What several tests of the golden model share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

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
