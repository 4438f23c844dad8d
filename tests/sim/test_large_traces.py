"""Machines whose traces need the widest fields: many token blocks, many addresses of the value memory."""

from __future__ import annotations

import pytest
import torch

from golden_model.config import ElbertConfig
from golden_model.integer.synthetic import random_checkpoint, random_sentence
from hw.params import Machine
from sim.machine import Job, simulate


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hidden", "heads", "length"),
    [
        (8, 1, 257),  # one row: token block 256
        (520, 5, 1),  # value words 0..66,559
    ],
)
def test_every_record_finds_its_element(hidden: int, heads: int, length: int) -> None:
    config = ElbertConfig(
        vocab_size=16,
        embedding_size=8,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=2 * hidden,
        num_hidden_layers=1,
        max_position_embeddings=512,
    )
    machine = Machine(model=config, rows=1, columns=4, trace=True)
    sentence = random_sentence(config, length, torch.Generator().manual_seed(1))
    report = simulate(machine, random_checkpoint(config, seed=1), [Job(sentence)], waves_on_failure=False)
    assert report.equal, (report.errors, [str(o.comparison.first) for o in report.outcomes])
