"""The compiled kernels give the plain form's integers: extremes, random geometries, every contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.exits import ExitMode, ExitPolicy
from golden_model.integer import golden
from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.contract import Contract
from golden_model.integer.fused import build, kernels
from golden_model.integer.fused.model import FusedGoldenModel
from golden_model.integer.model import GoldenModel, Sentence, Trace
from golden_model.integer.ops.fixed import requantize
from golden_model.integer.ops.hidden import add_residual, hidden_operand
from golden_model.integer.ops.layernorm import layernorm
from golden_model.integer.ops.matmul import matmul
from golden_model.integer.ops.table import lookup
from golden_model.integer.rails import RAILS, rail_checkpoint, rail_sentences
from golden_model.integer.synthetic import random_checkpoint, random_sentences
from golden_model.numerics import HIDDEN_MAX, OFFSET_LIMIT, OPERAND_MAX

SMALL = ElbertConfig(
    vocab_size=40,
    embedding_size=12,
    hidden_size=24,
    num_attention_heads=3,
    intermediate_size=50,
    num_hidden_layers=3,
    max_position_embeddings=33,
    num_labels=3,
)
ODD = ElbertConfig(
    vocab_size=20,
    embedding_size=5,
    hidden_size=15,
    num_attention_heads=5,
    intermediate_size=17,
    num_hidden_layers=2,
    max_position_embeddings=19,
    type_vocab_size=1,
)


@pytest.fixture(params=["packed", "bytes"])
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to a product, whichever this processor would take."""
    monkeypatch.setattr(kernels, "fast_kernel_pays", lambda device: request.param == "bytes")
    return str(request.param)


def assert_same(checkpoint: IntegerCheckpoint, sentences: list[Sentence], **how: object) -> None:
    """All results and all named tensors, those of the plain form."""
    plain = GoldenModel(checkpoint).run(sentences, trace=Trace(), **how)
    fused = FusedGoldenModel(checkpoint).run(sentences, trace=Trace(), **how)
    for index, (wanted, found) in enumerate(zip(plain, fused, strict=True)):
        assert list(wanted.taps) == list(found.taps)
        for name, tensor in wanted.taps.items():
            assert found.taps[name].dtype == torch.int64
            assert torch.equal(tensor, found.taps[name]), f"sentence {index}: {name}"
        assert (wanted.label, wanted.exit_iteration) == (found.label, found.exit_iteration)
        for name in ("logits", "probabilities", "entropy", "entropy_raw"):
            assert torch.equal(getattr(wanted, name), getattr(found, name)), f"sentence {index}: {name}"


@pytest.mark.parametrize("config", [SMALL, ODD], ids=["small", "odd"])
@pytest.mark.parametrize("answer_first", [True, False])
def test_random_checkpoints(config: ElbertConfig, answer_first: bool, product: str) -> None:
    for seed in range(3):
        checkpoint = random_checkpoint(config, seed)
        assert_same(checkpoint, random_sentences(config, 9, seed), answer_first=answer_first)


@pytest.mark.parametrize("name", list(RAILS))
def test_rails(name: str, product: str) -> None:
    assert_same(rail_checkpoint(RAILS[name], SMALL), rail_sentences(SMALL), answer_first=False)


def test_exits_and_batches() -> None:
    checkpoint = random_checkpoint(SMALL, 5)
    sentences = random_sentences(SMALL, 30, 5)
    exits = {
        r.exit_iteration
        for r in GoldenModel(checkpoint).run(sentences, ExitPolicy(mode=ExitMode.entropy, delta=0.8))
    }
    assert len(exits) > 1
    for tokens in (1, 64, 4096):
        assert_same(
            checkpoint, sentences, policy=ExitPolicy(mode=ExitMode.entropy, delta=0.8), batch_tokens=tokens
        )


@pytest.mark.parametrize(
    "contract",
    [
        Contract(hidden_bits=4, attention_hidden_bits=6, pooler_hidden_bits=4, query_bits=4, key_bits=6),
        Contract(value_bits=4, context_bits=4, ffn_activation_bits=6, pooler_output_bits=4),
        Contract(exponentials_bits=4, exp_index_bits=4, ffn_index_bits=6, pooler_index_bits=12),
        Contract(norm_fraction_bits=14, rsqrt_bits=20, embedding_normalized_bits=4),
        Contract(norm_fraction_bits=2, rsqrt_bits=4, hidden_headroom=2),
    ],
    ids=["operands", "products", "tables", "fine norm", "coarse norm"],
)
def test_contracts(contract: Contract, product: str) -> None:
    assert_same(random_checkpoint(SMALL, 1, contract), random_sentences(SMALL, 7, 1))


@pytest.mark.parametrize("threads", [2, 3])
def test_rows_over_threads(threads: int, product: str) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_same(random_checkpoint(SMALL, 2), random_sentences(SMALL, 20, 2))
    finally:
        torch.set_num_threads(before)


def ends(low: int, high: int, count: int, seed: int) -> Tensor:
    """Values of low..high, a third of them at the ends."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(low, high + 1, (count,), generator=generator)
    kind = torch.randint(0, 6, (count,), generator=generator)
    return torch.where(kind == 0, low, torch.where(kind == 1, high, values))


def test_every_shift_of_a_requantisation(product: str) -> None:
    """Shifts 0..63, multipliers and offsets at their ends, the largest sums of 4096 products."""
    inputs, outputs, rows = 4096, 64 * 4, 5
    weight = ends(-OPERAND_MAX, OPERAND_MAX, outputs * inputs, 0).to(torch.int8).view(outputs, inputs)
    weight[::4], weight[1::4] = OPERAND_MAX, -OPERAND_MAX
    x = ends(-OPERAND_MAX, OPERAND_MAX, rows * inputs, 1).to(torch.int8).view(rows, inputs)
    x[0], x[1] = OPERAND_MAX, -OPERAND_MAX
    shift = torch.arange(outputs) // 4
    multiplier = torch.tensor([65535, 32768, 0, 65535] * 64)
    offset = torch.tensor([OFFSET_LIMIT - 1, 1 - OFFSET_LIMIT, 5, 0] * 64)
    channels = kernels.Channels(*(t.to(torch.int32) for t in (offset, multiplier, shift)))
    packed = kernels.Weight(weight)
    for low, high, dtype in ((-127, 127, torch.int8), (-(1 << 17), (1 << 17) - 1, torch.int32)):
        wanted = requantize(matmul(x, weight), offset, multiplier, shift, low, high)
        found = kernels.linear(x, packed, channels, kernels.After(low, high, dtype))
        assert found.dtype == dtype
        assert torch.equal(wanted, found.to(torch.int64))
        assert wanted.min() == low
        assert wanted.max() == high


def test_residual_and_table(product: str) -> None:
    rows, inputs, outputs = 7, 33, 18
    weight = ends(-127, 127, outputs * inputs, 2).to(torch.int8).view(outputs, inputs)
    x = ends(-127, 127, rows * inputs, 3).to(torch.int8).view(rows, inputs)
    offset, multiplier = ends(-9, 9, outputs, 4), torch.full((outputs,), 40000)
    channels = kernels.Channels(
        *(t.to(torch.int32) for t in (offset, multiplier, torch.full((outputs,), 14)))
    )
    update = requantize(matmul(x, weight), offset, multiplier, 14, -(1 << 17), (1 << 17) - 1)
    hidden = ends(-HIDDEN_MAX, HIDDEN_MAX, rows * outputs, 5).view(rows, outputs)
    after = kernels.After(
        -(1 << 17), (1 << 17) - 1, torch.int32, residual=hidden.to(torch.int16), residual_high=(1 << 17) - 1
    )
    found = kernels.linear(x, kernels.Weight(weight), channels, after)
    wanted = add_residual(hidden, update)
    assert torch.equal(wanted, found.to(torch.int64))
    assert ((wanted == (1 << 17) - 1) | (wanted == -(1 << 17))).any()
    table = ends(-127, 127, 1024, 6)
    index = requantize(matmul(x, weight), offset, multiplier, 14, -512, 511)
    after = kernels.After(-512, 511, torch.int8, table=table.to(torch.int8))
    found = kernels.linear(x, kernels.Weight(weight), channels, after)
    assert torch.equal(lookup(table, index), found.to(torch.int64))


@pytest.mark.parametrize(("fraction_bits", "root_bits"), [(11, 16), (14, 20), (2, 4)])
@pytest.mark.parametrize("width", [1, 7, 1024])
def test_layernorm(fraction_bits: int, root_bits: int, width: int) -> None:
    """Rows without spread, of one outlier, of both ends; gamma, beta and shift at theirs."""
    top = (1 << 17) - 1
    y = ends(-top - 1, top, 40 * width, 7).view(40, width)
    y[0], y[1], y[2] = 0, top, -top - 1
    y[3], y[4], y[5] = 0, 5, torch.arange(width) % 2 * (2 * top + 1) - top - 1
    y[3, 0] = top
    gamma, beta = ends(-(1 << 15), (1 << 15) - 1, width, 8), ends(-(1 << 31), (1 << 31) - 1, width, 9)
    shift = ends(0, 63, width, 10)
    parameters = (t.to(torch.int32) for t in (gamma, beta, shift))
    norm = kernels.Norm(*parameters, fraction_bits, fraction_bits + 7, root_bits)
    for limit, dtype in ((HIDDEN_MAX, torch.int16), (OPERAND_MAX, torch.int8)):
        wanted = layernorm(y, gamma, beta, shift, -limit, limit, fraction_bits, root_bits)
        found = kernels.layernorm(y.to(torch.int32), norm, limit, dtype)
        assert found.dtype == dtype
        assert torch.equal(wanted, found.to(torch.int64))


@pytest.mark.parametrize(("shift", "limit"), [(8, 127), (1, 127), (12, 7), (14, 1)])
def test_operand(shift: int, limit: int) -> None:
    hidden = torch.arange(-HIDDEN_MAX, HIDDEN_MAX + 1)
    found = kernels.operand(hidden.to(torch.int16), shift, limit)
    assert torch.equal(hidden_operand(hidden, shift, limit), found.to(torch.int64))


def test_longest_sentence() -> None:
    """512 keys that are all alike: the largest sum of exponentials and of weighted values."""
    config = SMALL.model_copy(update={"max_position_embeddings": 512})
    checkpoint = random_checkpoint(config, 3)
    checkpoint.tensors["embedding.position_type"].zero_()
    sentence = ([7] * 512, [0] * 512)
    assert_same(replace(checkpoint), [sentence, ([1], [0]), ([2] * 511, [1] * 511)])


def test_wrong_arguments_are_refused() -> None:
    weight = kernels.Weight(torch.ones(3, 4, dtype=torch.int8))
    zeros = torch.zeros(3, dtype=torch.int32)
    after = kernels.After(-1, 1, torch.int8)
    with pytest.raises(TypeError, match=r"torch\.int64.*expected torch\.int8"):
        kernels.linear(
            torch.ones(2, 4, dtype=torch.int64), weight, kernels.Channels(zeros, zeros, zeros), after
        )
    with pytest.raises(ValueError, match="strides"):
        kernels.linear(
            torch.ones(2, 4, dtype=torch.int8),
            weight,
            kernels.Channels(torch.zeros(6, dtype=torch.int32)[::2], zeros, zeros),
            after,
        )
    after = kernels.After(-1, 1, torch.int32, residual=torch.zeros(2, 2, dtype=torch.int16))
    with pytest.raises(ValueError, match=r"residual \(2, 2\) is not \(2, 3\)"):
        kernels.linear(
            torch.ones(2, 4, dtype=torch.int8), weight, kernels.Channels(zeros, zeros, zeros), after
        )
    with pytest.raises(ValueError, match="4 inputs"):
        kernels.linear(
            torch.ones(2, 5, dtype=torch.int8),
            weight,
            kernels.Channels(zeros, zeros, zeros),
            kernels.After(-1, 1, torch.int8),
        )


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CXX", "no-such-compiler")
    for cached in (build.load, kernels._functions):
        cached.cache_clear()
    golden._told.clear()
    yield
    for cached in (build.load, kernels._functions):
        cached.cache_clear()


def test_without_a_compiler(no_compiler: None, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = random_checkpoint(ODD)
    assert type(golden.open_golden(checkpoint)) is GoldenModel
    assert "CXX=no-such-compiler is not found" in caplog.text
    with pytest.raises(build.NoCompilerError, match="CXX=no-such-compiler is not found"):
        golden.open_golden(checkpoint, kernels="fused")


def test_the_form_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = random_checkpoint(ODD)
    assert type(golden.open_golden(checkpoint)) is FusedGoldenModel
    assert type(golden.open_golden(checkpoint, kernels="plain")) is GoldenModel
    monkeypatch.setenv(golden.VARIABLE, "plain")
    assert type(golden.open_golden(checkpoint)) is GoldenModel
    monkeypatch.setenv(golden.VARIABLE, "quick")
    with pytest.raises(ValueError, match="ELBERT_KERNELS 'quick' is not one of auto, fused, plain"):
        golden.open_golden(checkpoint)
    with pytest.raises(ValueError, match="'fused' on meta"):
        golden.open_golden(checkpoint, "meta", kernels="fused")


def test_a_broken_source_names_the_compilers_error(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("ELBERT_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "FLAGS", ("-std=c++17", "-fno-such-flag"))
    build.load.cache_clear()
    with pytest.raises(build.NoCompilerError, match=r"ended with 1: .*no-such-flag"):
        build.load()
    build.load.cache_clear()
