"""The layer split by rows is Hugging Face's layer: the same numbers within float rounding."""

from __future__ import annotations

import pytest
import torch

from golden_model.config import PRESETS, ElbertConfig
from golden_model.float.albert import ElbertForSequenceClassification

LENGTHS = [9, 1, 4, 12]


def make_model(**changes: object) -> ElbertForSequenceClassification:
    """Random weights, float64, of a size at which every row of attention matters."""
    config = ElbertConfig(**{**PRESETS["nano"].model_dump(), **changes})
    torch.manual_seed(3)
    model = ElbertForSequenceClassification.from_config(config).eval().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


@pytest.mark.parametrize("padded", [False, True], ids=["all real", "padded"])
@pytest.mark.parametrize("act", ["gelu", "gelu_new"])
@torch.inference_mode()
def test_any_rows_are_those_of_the_whole_layer(act: str, padded: bool) -> None:
    """[CLS] first and the rest after it, over all iterations, each from the rows that were put together."""
    model = make_model(hidden_act=act)
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(4, 64, (len(LENGTHS), max(LENGTHS)), generator=generator)
    real = torch.arange(ids.shape[1]) < torch.tensor(LENGTHS)[:, None]
    mask = (real if padded else torch.ones_like(real)).long()
    states = list(model.states(ids, mask))
    bias = model.attention_bias(states[0], mask)
    assert (bias is not None) == padded
    hidden = states[0]
    for whole in states[1:]:
        keys, values = model.keys_values(hidden)
        first = model.rows(hidden[:, :1], keys, values, bias)
        others = model.rows(hidden[:, 1:], keys, values, bias)
        hidden = torch.cat([first, others], dim=1)
        torch.testing.assert_close(hidden[mask.bool()], whole[mask.bool()], rtol=0, atol=1e-12)
        torch.testing.assert_close(model.classify(first), model.classify(whole), rtol=0, atol=1e-12)
    assert (states[-1] - states[0]).abs().max() > 0.1  # the layer does something


@torch.inference_mode()
def test_a_row_that_padding_hides_changes_nothing() -> None:
    model = make_model()
    ids = torch.tensor([[7, 8, 9, 10, 11]])
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    hidden = model.embed(ids)
    bias = model.attention_bias(hidden, mask)
    keys, values = model.keys_values(hidden)
    first = model.rows(hidden[:, :1], keys, values, bias)
    alone = model.rows(hidden[:, :1], keys[:, :, :3], values[:, :, :3], None)
    torch.testing.assert_close(first, alone, rtol=0, atol=1e-12)
    unmasked = model.rows(hidden[:, :1], keys, values, None)
    assert (first - unmasked).abs().max() > 1e-3
