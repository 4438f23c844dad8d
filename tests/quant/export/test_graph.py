"""Exported graphs against the golden model: every named tensor, at the rails, in two runtimes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from golden_model.config import PRESETS, ElbertConfig
from golden_model.integer.checkpoint import MATMULS, IntegerCheckpoint
from golden_model.integer.contract import Contract
from golden_model.integer.gauge import reached
from golden_model.integer.model import GoldenModel, Sentence, Trace
from golden_model.integer.rails import (
    LONG_SUMS,
    LONGEST_SUMS,
    RAILS,
    SMALL,
    rail_checkpoint,
    rail_sentences,
)
from golden_model.integer.synthetic import random_checkpoint, random_sentences
from golden_model.text.tokenizer import ElbertTokenizer

needs_extra = "the extra 'export' is not installed"
onnx = pytest.importorskip("onnx", reason=needs_extra)
onnxruntime = pytest.importorskip("onnxruntime", reason=needs_extra)

from quant.export.graph.rules import LARGEST_SHIFT  # noqa: E402 (after the skip: it imports onnx)
from quant.export.graph.whole import (  # noqa: E402
    INPUTS,
    OUTPUT,
    GraphOptions,
    build_graph,
    graph_tensors,
    weight_bits,
)

BUNDLED = Path(__file__).parents[3] / "models" / "elbert-small-sst2"
ALL = GraphOptions(outputs=("*",))
Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


def open_onnx(graph: Any) -> Run:
    """A graph of standard operators in onnxruntime."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), settings)
    names = [output.name for output in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(None, feed), strict=True))


def open_qonnx(graph: Any) -> Run:
    """A graph with widths in QONNX's own executor, node by node."""
    pytest.importorskip("qonnx", reason="the package qonnx is not installed (extra 'dev')")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    wrapper = ModelWrapper(graph)
    return lambda feed: execute_onnx(wrapper, feed)


def real_rows(name: str, values: np.ndarray, tokens: int) -> Tensor:
    """What is left of an output without the rows and keys behind the sentence."""
    found = torch.from_numpy(values)
    if name == OUTPUT or found.dim() == 1:
        return found
    return found[:, :tokens, :tokens] if found.dim() == 3 else found[:tokens]


def assert_equal(
    checkpoint: IntegerCheckpoint, sentences: Sequence[Sentence], run: Run, length: int, filler: int = 0
) -> None:
    """Every named tensor of every sentence is the golden model's."""
    golden = GoldenModel(checkpoint).run(sentences, trace=Trace(), answer_first=False)
    for (ids, types), wanted in zip(sentences, golden, strict=True):
        empty = length - len(ids)
        parts = [*ids, *[filler] * empty], [*types, *[0] * empty], [1] * len(ids) + [0] * empty
        out = run({name: np.array(part, np.int64) for name, part in zip(INPUTS, parts, strict=True)})
        assert set(out) == {OUTPUT, *graph_tensors(checkpoint)}
        for name, values in out.items():
            expected = wanted.logits if name == OUTPUT else wanted.taps[name]
            found = real_rows(name, values, len(ids))
            assert found.dtype == torch.int64
            assert torch.equal(found, expected), f"{name} of {len(ids)} tokens"


@pytest.mark.parametrize("name", RAILS)
def test_every_tensor_is_the_golden_models_at_the_rails(name: str) -> None:
    checkpoint, sentences = rail_checkpoint(RAILS[name], SMALL, 1), rail_sentences(SMALL, 1)
    counts = reached(checkpoint, sentences)
    assert all(counts[each] for each in RAILS[name].reaches)
    run = open_onnx(build_graph(checkpoint, ALL))
    assert_equal(checkpoint, sentences, run, SMALL.max_position_embeddings)


def test_the_longest_sums_are_exact() -> None:
    checkpoint, sentences = rail_checkpoint(LONG_SUMS, LONGEST_SUMS, 1), rail_sentences(LONGEST_SUMS, 1)
    assert all(reached(checkpoint, sentences)[each] for each in LONG_SUMS.reaches)
    run = open_onnx(build_graph(checkpoint, ALL))
    assert_equal(checkpoint, sentences, run, LONGEST_SUMS.max_position_embeddings)


@pytest.mark.parametrize(
    "contract",
    [
        Contract(hidden_bits=6, hidden_headroom=2, rsqrt_bits=13, norm_fraction_bits=8, exp_index_bits=5),
        Contract(exponentials_bits=4, context_bits=5, ffn_index_bits=7, pooler_index_bits=12, rsqrt_bits=18),
        Contract(query_bits=4, key_bits=6, value_bits=3, ffn_activation_bits=4, pooler_output_bits=5),
    ],
    ids=["norms", "tables", "operands"],
)
def test_other_contracts_are_said_too(contract: Contract) -> None:
    config = PRESETS["nano"].model_copy(update={"num_labels": 3, "num_hidden_layers": 2})
    checkpoint = random_checkpoint(config, 5, contract)
    run = open_onnx(build_graph(checkpoint, replace(ALL, length=11)))
    assert_equal(checkpoint, random_sentences(config, 4, 3, longest=11), run, 11, filler=63)


@pytest.mark.parametrize("rail", [None, "operands", "shifts", "hidden"])
def test_qonnx_executes_the_same_integers(rail: str | None) -> None:
    config = SMALL.model_copy(update={"num_hidden_layers": 1, "max_position_embeddings": 5})
    checkpoint = random_checkpoint(config, 2) if rail is None else rail_checkpoint(RAILS[rail], config)
    run = open_qonnx(build_graph(checkpoint, replace(ALL, quant=True)))
    sentences = [each for each in rail_sentences(config) if len(each[0]) != 1]
    assert_equal(checkpoint, sentences[:1], run, config.max_position_embeddings)


def test_qonnx_tools_see_the_widths() -> None:
    pytest.importorskip("qonnx", reason="the package qonnx is not installed (extra 'dev')")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.infer_datatypes import InferDataTypes

    config = SMALL.model_copy(update={"num_hidden_layers": 1})
    checkpoint = random_checkpoint(config, 2, Contract(ffn_activation_bits=6, exponentials_bits=5))
    checkpoint.tensors["ffn.output.weight"].clamp_(-7, 7)
    wrapper = ModelWrapper(build_graph(checkpoint, GraphOptions(quant=True))).transform(InferDataTypes())
    seen = {
        name: wrapper.get_tensor_datatype(name).name
        for name in (
            "attention.query.weight.int32",
            "ffn.output.weight.int32",
            "iteration.1.ffn.activation",
            "iteration.1.attention.exponentials",
            "iteration.1.attention.query",
            "iteration.1.hidden",
            "embedding.sum",
        )
    }
    assert list(seen.values()) == ["INT8", "INT4", "INT6", "UINT5", "INT8", "INT16", "INT18"]


def test_weights_are_stored_once_as_integers_for_all_iterations() -> None:
    checkpoint = random_checkpoint(PRESETS["nano"], 1)
    graph = build_graph(checkpoint).graph
    stored = {each.name: each for each in graph.initializer}
    for name in MATMULS:
        weight = onnx.numpy_helper.to_array(stored[f"{name}.weight"])
        assert weight.dtype == np.int8
        assert np.array_equal(weight.T, checkpoint.tensors[f"{name}.weight"].numpy())
        readers = [node for node in graph.node if f"{name}.weight" in node.input]
        assert len(readers) == 1
    products = [node for node in graph.node if "attention.query.weight.int32" in node.input]
    assert len(products) == PRESETS["nano"].num_hidden_layers
    assert {node.domain for node in graph.node} == {""}


@pytest.mark.parametrize(("largest", "bits"), [(127, 8), (64, 8), (63, 7), (7, 4), (3, 3), (1, 2), (0, 2)])
def test_a_weights_bits_are_the_fewest_of_a_symmetric_range(largest: int, bits: int) -> None:
    assert weight_bits(torch.tensor([[0, -largest]], dtype=torch.int8)) == bits


def test_shifts_that_int64_cannot_say_change_nothing() -> None:
    largest = torch.tensor([(1 << 45) - 1, -(1 << 45)])
    half, divisor = 1 << (LARGEST_SHIFT - 1), 1 << LARGEST_SHIFT
    assert ((largest + half) // divisor).tolist() == [0, 0]  # as by 63 bits


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (GraphOptions(length=0), "length 0 is not in 1..9"),
        (GraphOptions(length=10), "length 10 is not in 1..9"),
        (GraphOptions(outputs=("logits", "iteration.3.*")), "no tensor of the graph fits 'logits'"),
        (GraphOptions(outputs=("iteration.1.exit.*",)), "no tensor of the graph fits 'iteration.1.exit"),
    ],
)
def test_what_a_graph_cannot_be_is_refused(options: GraphOptions, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_graph(random_checkpoint(SMALL), options)


def bundled() -> tuple[IntegerCheckpoint, list[Sentence]]:
    tokenizer = ElbertTokenizer.from_folder(BUNDLED / "integer")
    checkpoint = IntegerCheckpoint.load(BUNDLED / "integer")
    return checkpoint, [tokenizer.encode("a fine film", 8)]


def test_the_bundled_model_is_exact_in_onnxruntime() -> None:
    checkpoint, sentences = bundled()
    run = open_onnx(build_graph(checkpoint, replace(ALL, length=8)))
    assert_equal(checkpoint, sentences, run, 8)


@pytest.mark.slow
def test_the_bundled_model_is_exact_in_qonnx() -> None:
    checkpoint, sentences = bundled()
    run = open_qonnx(build_graph(checkpoint, GraphOptions(True, 8, ("*",))))
    assert_equal(checkpoint, sentences, run, 8)


def test_the_mask_alone_says_what_exists() -> None:
    config: ElbertConfig = SMALL
    checkpoint = random_checkpoint(config, 4)
    run = open_onnx(build_graph(checkpoint))
    ids, types = [3, 1, 4], [0, 0, 1]
    out = []
    for filler in (0, 15):
        parts = ids + [filler] * 6, types + [1] * 6, [1, 1, 1] + [0] * 6
        out.append(run({n: np.array(p, np.int64) for n, p in zip(INPUTS, parts, strict=True)})[OUTPUT])
    assert np.array_equal(*out)
    everything = ids + [15] * 6, types + [1] * 6, [1] * 9
    other = run({n: np.array(p, np.int64) for n, p in zip(INPUTS, everything, strict=True)})[OUTPUT]
    assert not np.array_equal(out[0], other)
