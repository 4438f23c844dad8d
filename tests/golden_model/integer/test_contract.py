"""Contracts that are not the hardware's: the golden model keeps every rule, and files name the widths."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from scalar_model import ScalarModel

from golden_model.config import PRESETS
from golden_model.files import sha256_of
from golden_model.integer.checkpoint import (
    METADATA_FILE,
    TENSOR_FILE,
    CheckpointError,
    IntegerCheckpoint,
    tensor_specs,
)
from golden_model.integer.contract import HARDWARE, HIDDEN_OPERANDS, OPERANDS, Contract
from golden_model.integer.gauge import reached
from golden_model.integer.model import GoldenModel, Trace
from golden_model.integer.ops.hidden import hidden_operand, split_hidden
from golden_model.integer.ops.layernorm import normalize
from golden_model.integer.ops.softmax import exp_table
from golden_model.integer.rails import RAILS, SMALL, rail_checkpoint, rail_sentences
from golden_model.integer.scales import limit_of, operand_of, operand_step
from golden_model.integer.synthetic import random_checkpoint, random_sentences

NANO = PRESETS["nano"]
BUNDLED = Path(__file__).parents[3] / "models" / "elbert-small-sst2" / "integer"


def activations(bits: int, **more: int) -> Contract:
    """Every operand of the same width."""
    return Contract.from_dict({field: bits for field in OPERANDS.values()} | more)


CONTRACTS = {
    "A6": activations(6),
    "A4": activations(4),
    "A2": activations(2),
    "A4 headroom": activations(4, hidden_headroom=3),
    "A8 headroom": Contract(hidden_headroom=2),
    "widest headroom": Contract(hidden_headroom=7),
    "each its own": Contract(
        embedding_normalized_bits=7,
        hidden_bits=6,
        attention_hidden_bits=5,
        pooler_hidden_bits=3,
        query_bits=4,
        key_bits=5,
        value_bits=6,
        exponentials_bits=3,
        context_bits=7,
        ffn_activation_bits=2,
        pooler_output_bits=4,
    ),
    "small tables": Contract(exp_index_bits=3, ffn_index_bits=3, pooler_index_bits=4, exponentials_bits=5),
    "large tables": Contract(ffn_index_bits=16, pooler_index_bits=12),
    "coarse LayerNorm": Contract(norm_fraction_bits=2, rsqrt_bits=4),
    "odd root": Contract(norm_fraction_bits=7, rsqrt_bits=9),
    "fine LayerNorm": Contract(norm_fraction_bits=14, rsqrt_bits=20),
}
ENDS = {
    "operands": ("attention.query", "attention.key", "attention.value", "attention.context"),
    "hidden": ("embedding.projection", "embedding.norm", "attention.norm", "ffn.norm"),
    "indices": ("ffn.intermediate", "pooler"),
    "residual": ("attention.residual", "ffn.residual"),
}
"""Rails whose ends are reached whatever the widths."""


@pytest.mark.parametrize("rail", [*ENDS, "all low", "all high", "flat", "halves", "shifts"])
@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_every_named_tensor_is_the_written_rule_at_the_rails(contract: Contract, rail: str) -> None:
    checkpoint = rail_checkpoint(RAILS[rail], SMALL, 0, contract)
    sentences = rail_sentences(SMALL)
    found = reached(checkpoint, sentences)
    for name in ENDS.get(rail, ()):
        assert found[f"{name}.low"], name
        assert found[f"{name}.high"], name
    scalar = ScalarModel(checkpoint)
    results = GoldenModel(checkpoint).run(sentences, trace=Trace(), answer_first=False)
    for (ids, types), result in zip(sentences, results, strict=True):
        for name, values in scalar.run(list(ids), list(types)).items():
            assert result.taps[name].tolist() == values, name


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_ranges_are_filled_and_kept(contract: Contract) -> None:
    """Random checkpoints of a contract use its widths, and no tensor leaves them."""
    results = GoldenModel(random_checkpoint(NANO, 1, contract)).run(
        random_sentences(NANO, 12, seed=3), trace=Trace(), answer_first=False
    )
    for operand, bits in contract.operands():
        if operand in HIDDEN_OPERANDS:
            continue
        name = operand if operand.startswith("embedding.") else f"iteration.2.{operand}"
        largest = max(int(result.taps[name].abs().max()) for result in results)
        limit = 2**bits - 1 if operand == "attention.exponentials" else 2 ** (bits - 1) - 1
        assert limit == contract.limit(operand) == limit_of(name, contract)
        assert limit / 4 <= largest <= limit, operand


def test_operands_of_hidden_states_saturate_where_their_range_ends() -> None:
    checkpoint = rail_checkpoint(RAILS["hidden"], SMALL, 0, activations(4))
    found = reached(checkpoint, rail_sentences(SMALL))
    assert all(found[f"{operand}.operand"] for operand in HIDDEN_OPERANDS)
    assert not any(
        reached(rail_checkpoint(RAILS["hidden"], SMALL), rail_sentences(SMALL))[f"{operand}.operand"]
        for operand in HIDDEN_OPERANDS
    )
    hidden = torch.arange(-32639, 32640)
    assert torch.equal(hidden_operand(hidden, 8, 127), split_hidden(hidden)[0])
    for bits in range(2, 9):
        for headroom in (0, 1, 7):
            contract = activations(bits, hidden_headroom=headroom)
            shift = contract.hidden_shift("hidden")
            assert shift == 16 - bits - headroom
            limit = 2 ** (bits - 1) - 1
            expected = [max(-limit, min(limit, math.floor(v / 2**shift + 0.5))) for v in hidden.tolist()]
            assert hidden_operand(hidden, shift, limit).tolist() == expected
    with pytest.raises(KeyError):
        HARDWARE.hidden_shift("attention.query")


def test_layernorm_of_the_finest_contract_stays_exact() -> None:
    """The longest row at both ends of the residual: no intermediate leaves int64."""
    row = torch.full((1024,), -(1 << 17))
    row[7] = (1 << 17) - 1
    other = torch.where(torch.arange(1024) % 2 == 0, (1 << 17) - 1, -(1 << 17))
    for fraction, bits in ((14, 20), (2, 4), (11, 16)):
        for y in (row, other, torch.arange(1024) % 2):
            values, n = y.tolist(), len(y)
            s1 = sum(values)
            variance = max(n * sum(v * v for v in values) - s1 * s1, 1)
            e = (variance.bit_length() - 1) // 2
            root = math.isqrt((1 << (3 * bits - 2)) // ((variance << (bits - 2)) // 4**e))
            root = min(root, 2**bits - 1)
            end = 1 << (fraction + 6)
            expected = []
            for v in values:
                t = (((n * v - s1) << fraction) + (1 << e >> 1)) >> e
                expected.append((max(-end, min(end - 1, t)) * root + (1 << (bits - 1))) >> bits)
            assert normalize(y, fraction, bits).tolist() == expected


def test_exponentials_of_fewer_entries_span_the_same_distance() -> None:
    assert exp_table() == exp_table(8, 8)
    for bits in range(2, 9):
        for index_bits in range(3, 9):
            table = exp_table(bits, index_bits)
            assert len(table) == 2**index_bits
            assert (table[0], table[-1]) == (2**bits - 1, 0)
            assert table == sorted(table, reverse=True)
            assert table[2 ** (index_bits - 3)] == math.floor((2**bits - 1) * math.exp(-1) + 0.5)  # 1 nat


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"query_bits": 9}, "query_bits is 9, not in 2..8"),
        ({"query_bits": 1}, "query_bits is 1, not in 2..8"),
        ({"key_bits": 4.0}, "key_bits is 4.0, expected an integer in 2..8"),
        ({"key_bits": True}, "key_bits is True, expected an integer in 2..8"),
        ({"exp_index_bits": 2}, "exp_index_bits is 2, not in 3..8"),
        ({"exp_index_bits": 9}, "exp_index_bits is 9, not in 3..8"),
        ({"ffn_index_bits": 17}, "ffn_index_bits is 17, not in 3..16"),
        ({"pooler_index_bits": 2}, "pooler_index_bits is 2, not in 3..16"),
        ({"norm_fraction_bits": 15}, "norm_fraction_bits is 15, not in 2..14"),
        ({"rsqrt_bits": 21}, "rsqrt_bits is 21, not in 4..20"),
        ({"hidden_headroom": 8}, "hidden_headroom is 8, not in 0..7"),
        ({"keys_bits": 4}, "'keys_bits' is not one of attention_hidden_bits, "),
    ],
)
def test_a_wrong_width_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        Contract.from_dict(values)
    assert "\n" not in str(caught.value)


def test_a_contract_is_told_by_its_differences() -> None:
    assert Contract() == HARDWARE
    assert HARDWARE.is_hardware
    HARDWARE.check_hardware()
    assert HARDWARE.differences() == {}
    for each in fields(Contract):
        contract = replace(
            HARDWARE, **{each.name: getattr(HARDWARE, each.name) + (each.name == "hidden_headroom")}
        )
        assert contract.is_hardware == (each.name != "hidden_headroom")
    for name, contract in CONTRACTS.items():
        assert Contract.from_dict(contract.differences()) == contract, name
        assert not contract.is_hardware
    with pytest.raises(ValueError, match="checkpoint contract: query_bits is 4, the hardware's is 8"):
        Contract(query_bits=4).check_hardware()


def test_every_matmul_has_an_operand() -> None:
    read = {operand_of(matmul) for matmul in ("embedding.projection", "ffn.output", "pooler", "classifier")}
    assert read == {"embedding.normalized", "ffn.activation", "pooler.hidden", "pooler.output"}
    assert operand_step("attention.query") == operand_step("pooler") == 256
    assert operand_step("ffn.intermediate", activations(4)) == 4096
    assert operand_step("attention.output", activations(4)) == 1


# ---------------------------------------------------------------------------- files


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads((folder / METADATA_FILE).read_text())
    change(document)
    (folder / METADATA_FILE).write_text(json.dumps(document))


def test_a_contract_travels_with_the_checkpoint_and_its_hash(tmp_path: Path) -> None:
    contract = Contract(key_bits=4, ffn_index_bits=6)
    original = random_checkpoint(NANO, 5, contract)
    original.save(tmp_path)
    document = json.loads((tmp_path / METADATA_FILE).read_text())
    assert document["version"] == 2
    assert document["contract"] == {"key_bits": 4, "ffn_index_bits": 6}
    loaded = IntegerCheckpoint.load(tmp_path)
    assert loaded.contract == contract
    assert loaded.sha256 == original.sha256 == sha256_of(tmp_path / TENSOR_FILE)
    # same tensors, other widths: another model, another hash
    other = replace(original, contract=replace(contract, rsqrt_bits=8))
    assert other.sha256 != original.sha256


def test_the_hardwares_contract_is_not_written(tmp_path: Path) -> None:
    random_checkpoint(NANO, 5).save(tmp_path)
    document = json.loads((tmp_path / METADATA_FILE).read_text())
    assert document["version"] == 1
    assert "contract" not in document
    assert IntegerCheckpoint.load(tmp_path).contract == HARDWARE


def test_the_bundled_checkpoint_is_the_hardwares() -> None:
    checkpoint = IntegerCheckpoint.load(BUNDLED)
    assert checkpoint.contract.is_hardware
    assert checkpoint.sha256 == "aed199feec99e9d807e5e62b9337d6d19fd85119feb15f68d7c6e0ef109ebcc7"
    specs, wide = tensor_specs(checkpoint.config), tensor_specs(checkpoint.config, HARDWARE)
    assert specs == wide


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d["contract"].update(key_bits=5),
            "contract is {'ffn_index_bits': 6, 'key_bits': 5}, that of",
        ),
        (lambda d: d["contract"].update(key_bits=12), "contract: key_bits is 12, not in 2..8"),
        (lambda d: d["contract"].update(widths=1), "contract: 'widths' is not one of"),
        (lambda d: d.update(contract=3), "contract is 3, expected an object"),
        (lambda d: d.update(version=1), "version is 1, expected 2"),
        (lambda d: d.pop("contract"), "version is 2, expected 1"),
        (
            lambda d: (d.pop("contract"), d.update(version=1)),
            "contract is {}, that of integer.safetensors is",
        ),
    ],
)
def test_a_wrong_contract_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    random_checkpoint(NANO, 5, Contract(key_bits=4, ffn_index_bits=6)).save(tmp_path)
    edit(tmp_path, change)
    with pytest.raises(CheckpointError, match=re.escape(message)) as caught:
        IntegerCheckpoint.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_tensors_have_to_fit_the_contract() -> None:
    checkpoint = random_checkpoint(NANO, 5)
    with pytest.raises(CheckpointError, match=r"ffn.table has shape \(4, 1024\), expected \(4, 64\)"):
        replace(checkpoint, contract=Contract(ffn_index_bits=6))
    with pytest.raises(CheckpointError, match=r"pooler.table holds -\d+, below -7"):
        replace(checkpoint, contract=Contract(pooler_output_bits=4))
