"""``elbert report quantisation``: its numbers against numpy's, its reasons, its page in a browser."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from golden_model.config import PRESETS
from golden_model.exits import ExitMode, ExitPolicy, exit_iterations
from golden_model.float.albert import ElbertForSequenceClassification, load_float
from golden_model.integer.checkpoint import MATMULS, IntegerCheckpoint
from golden_model.integer.model import GoldenModel, Sentence, Trace
from golden_model.integer.scales import input_name, limit_of, scale_of, short_name
from golden_model.integer.synthetic import random_checkpoint, random_sentences
from quant.calibrate import calibrate
from quant.quality import MOST_SATURATED, full_name, measure
from quant.report.quantisation.ablation import KEY, read_ablation
from quant.report.quantisation.cells import PERCENTILES, Cell, Grid
from quant.report.quantisation.exits import exits_under_quantisation, make_judge
from quant.report.quantisation.figures import draw_all
from quant.report.quantisation.fresh import iteration_alone
from quant.report.quantisation.histogram import SIDE, Histogram
from quant.report.quantisation.page import render_page, scheme_line, write_page
from quant.report.quantisation.reasons import below_bound, reason
from quant.report.quantisation.record import Extras, Opened, Source, describe, open_checkpoints, short_names
from quant.report.quantisation.rules import RULES, inputs, made_once
from quant.report.quantisation.tensors import Compared, compare
from quant.report.quantisation.weights import Range, describe_integers, describe_scales
from quant.schemes import Scheme
from quant.studies.bits.ablation import SCALES, SCOPES
from quant.studies.exits.comparison import POINTS, Runner
from quant.studies.exits.contenders import Contender
from quant.studies.exits.grids import Setting, grid
from quant.studies.exits.rows import Rows
from quant.studies.exits.run import Options
from quant.studies.exits.sweep import sweep
from quant.studies.exits.table import Facts, LogitTable
from quant.trace import trace_float

NUMERICS = Path(__file__).parents[2] / "docs" / "numerics.md"
LENGTHS = 12
"""Sentences compared: enough for every reason, few enough for seconds."""

# ------------------------------------------------------------------------ histograms


def counted(*parts: list[float]) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(torch.tensor(part, dtype=torch.float64))
    return histogram


def test_a_histogram_does_not_depend_on_order_or_parts() -> None:
    generator = np.random.default_rng(3)
    values = np.concatenate([generator.normal(0, 1e-3, 900), generator.normal(0, 40, 90), [0.0, -0.0, 1e-9]])
    whole = counted(values.tolist())
    shuffled = generator.permutation(values)
    parts = counted(*(part.tolist() for part in np.array_split(shuffled, 40)))
    assert torch.equal(whole.counts, parts.counts)
    assert (whole.exponent, whole.lowest, whole.highest) == (parts.exponent, parts.lowest, parts.highest)
    assert whole.total == len(values)
    assert (whole.lowest, whole.highest) == (values.min(), values.max())
    # the least power of two that holds all: half of it does not
    assert SIDE * whole.width > np.abs(values).max() >= SIDE * whole.width / 2
    expected, _ = np.histogram(values, bins=(np.arange(2 * SIDE + 1) - SIDE) * whole.width)
    assert whole.counts.tolist() == expected.tolist()


@pytest.mark.parametrize("largest", [1.0, 0.5, 3.0, 127.0, 1e-30, -64.0, -1e12])
def test_ends_of_a_histogram_hold_the_largest_value(largest: float) -> None:
    for parts in ([[largest]], [[0.0], [largest]], [[largest / 1000], [largest]], [[largest], [0.0]]):
        histogram = counted(*parts)
        assert histogram.total == sum(map(len, parts))
        place = int(histogram.counts.nonzero()[-1 if largest > 0 else 0]) - SIDE
        assert place * histogram.width <= largest < (place + 1) * histogram.width


def test_zeros_alone_are_counted_and_shown() -> None:
    histogram = counted([0.0, 0.0, 0.0])
    assert histogram.as_dict() == {"start": 0.0, "width": 1.0, "counts": [3]}
    assert histogram.quantiles((0.0, 0.5, 1.0)) == [0.0, 0.0, 0.0]
    histogram.add(torch.tensor([5.0], dtype=torch.float64))
    assert histogram.total == 4
    assert histogram.counts[SIDE] == 3


def test_quantiles_are_within_a_bin_of_numpys() -> None:
    values = np.random.default_rng(5).standard_t(3, 5000) * 0.3
    histogram = counted(values.tolist())
    shares = [0.0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.99, 0.999, 1.0]
    found = histogram.quantiles(shares)
    exact = np.quantile(values, shares, method="inverted_cdf")
    assert np.abs(np.array(found) - exact).max() <= histogram.width
    assert (found[0], found[-1]) == (values.min(), values.max())


def test_shown_bins_are_few_and_hold_everything() -> None:
    values = np.random.default_rng(6).normal(7, 2, 4000)
    shown = counted(values.tolist()).as_dict(most=20)
    assert 10 <= len(shown["counts"]) <= 20
    assert sum(shown["counts"]) == len(values)
    edges = shown["start"] + shown["width"] * np.arange(len(shown["counts"]) + 1)
    assert shown["counts"] == np.histogram(values, bins=edges)[0].tolist()


def test_what_is_not_finite_or_not_there_is_refused() -> None:
    for value in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="are not all finite"):
            counted([1.0, value])
    with pytest.raises(ValueError, match="no value has been counted"):
        Histogram().quantiles((0.5,))
    empty = counted([])
    assert empty.total == 0
    assert empty.as_dict()["counts"] == []


# ------------------------------------------------------------------------ rules


def test_rules_are_those_of_the_contracts_page() -> None:
    text = NUMERICS.read_text(encoding="utf-8")
    table = text[: text.index("**Which rows exist.**")]
    found = {}
    for names, rule in re.findall(r"^\| (`(?:embedding|iteration)\.[^|]+) \| ([^|]+) \|", table, re.M):
        first, *others = re.findall(r"`([^`]+)`", names)
        first = first.removeprefix("iteration.i.")
        found[first] = rule
        found |= {first.rpartition(".")[0] + other: rule for other in others}
    for name, rule in RULES.items():
        if name.startswith("exit."):
            assert rule.text in text, name
        else:
            assert found[name] == rule.text, name


def test_every_tensor_is_made_of_earlier_ones() -> None:
    config = PRESETS["nano"]
    order = [name for name in _full_names(config.num_hidden_layers)]
    for place, name in enumerate(order):
        iteration = int(name.split(".")[1]) if name.startswith("iteration.") else 1
        made_of = list(inputs(short_name(name), iteration))
        assert all(part in order[:place] for part in made_of), name
        assert bool(made_of) == (name != "embedding.sum")


def _full_names(iterations: int) -> list[str]:
    once = [name for name in RULES if made_once(name)]
    each = [name for name in RULES if not made_once(name)]
    return once + [full_name(name, row) for row in range(iterations) for name in each]


# ------------------------------------------------------------------------ numbers against numpy's


@pytest.fixture
def small(sentences: list[Sentence]) -> list[Sentence]:
    return sentences[:LENGTHS]


SCHEMES = {
    "hardware": Scheme(),
    "clipping": Scheme(observer="percentile", percentile=0.95),
    "study": Scheme(activation_bits=6, weight_bits=4, scales="shared", symmetric=False),
}


def real_and_integers(
    model: ElbertForSequenceClassification, checkpoint: IntegerCheckpoint, sentences: list[Sentence]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """All values of every named tensor, one after the other: (real, integers), each [values, channels]."""
    found: dict[str, list[list[np.ndarray]]] = {}
    golden = GoldenModel(checkpoint)
    for sentence, real in zip(sentences, trace_float(model, sentences), strict=True):
        (result,) = golden.run([sentence], trace=Trace(), answer_first=False)
        for name in _full_names(model.config.num_hidden_layers):
            scale = scale_of(checkpoint, name)
            wide = (-1, len(scale)) if scale.dim() else (-1, 1)
            parts = [real[name].numpy().reshape(wide), result.taps[name].numpy().reshape(wide)]
            found.setdefault(name, []).append(parts)
    return {
        name: (np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))
        for name, parts in found.items()
    }


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_number_of_a_cell_is_numpys(
    float_model: ElbertForSequenceClassification, small: list[Sentence], scheme: str
) -> None:
    checkpoint = calibrate(float_model, small, SCHEMES[scheme])
    found = compare(float_model, {"it": checkpoint}, small)["it"].as_dict()
    zeros = checkpoint.metadata.get("zero_points", {})
    everything = real_and_integers(float_model, checkpoint, small)
    clipped = 0
    for name, (real, integers) in everything.items():
        short = short_name(name)
        row = 0 if made_once(short) else int(name.split(".")[1]) - 1
        cell = found[short][row]
        scale, limit = scale_of(checkpoint, name).numpy(), limit_of(name, checkpoint.contract)
        zero = zeros.get(name, 0)
        low = cell["ends"][0]
        assert cell["ends"] == [0 if short in UNSIGNED else -limit, limit]
        assert cell["zero_point"] == zero

        def decibels(got: np.ndarray, real: np.ndarray = real) -> float:
            noise = ((real - got) ** 2).sum()
            return 200.0 if noise == 0 else 10 * math.log10((real**2).sum() / noise)

        error = real - (integers + zero) * scale
        steps = real / scale - zero
        rounded = np.clip(np.round(steps), low, limit)
        wrong = (np.abs(integers) >= limit) & (np.abs(error) > scale) & (short not in UNSIGNED)
        clipped += int(wrong.sum())
        assert cell["values"] == real.size, name
        assert cell["sqnr_db"] == pytest.approx(decibels(real - error), abs=0.006), name
        assert cell["grid_db"] == pytest.approx(decibels((rounded + zero) * scale), abs=0.006), name
        share = ((real - (rounded + zero) * scale) ** 2).sum() / max((error**2).sum(), 1e-300)
        assert cell["own_share"] == pytest.approx(min(1.0, share), abs=6e-5), name
        assert cell["error_lsb"] == pytest.approx(np.sqrt(((error / scale) ** 2).mean()), rel=1e-5), name
        assert cell["clipped"] == pytest.approx(wrong.mean()), name
        assert cell["range_used"] == pytest.approx(np.abs(integers).max() / limit, rel=1e-5), name
        assert (cell["real"]["min"], cell["real"]["max"]) == pytest.approx((real.min(), real.max()), rel=1e-5)
        assert cell["real"]["rms"] == pytest.approx(np.sqrt((real**2).mean()), rel=1e-5), name
        width = 2.0 ** math.ceil(math.log2(np.abs(real).max() * (1 + 1e-15))) / SIDE
        wanted = np.quantile(real, np.array(PERCENTILES) / 100, method="inverted_cdf")
        assert np.abs(np.array(cell["real"]["percentiles"]) - wanted).max() <= 1.01 * width, name
        assert cell["lsb"] == pytest.approx([scale.min(), scale.max()], rel=1e-5)
        histogram = cell["histogram"]
        edges = histogram["start"] + histogram["width"] * np.arange(len(histogram["counts"]) + 1)
        inside = np.floor((steps - histogram["start"]) / histogram["width"]).astype(int).ravel()
        assert histogram["counts"] == np.bincount(inside, minlength=len(edges) - 1).tolist(), name
        operand = {"embedding.hidden": "hidden"}.get(short, short)
        if operand in ("hidden", "attention.hidden"):
            step, top = 1 << checkpoint.contract.hidden_shift(operand), checkpoint.contract.limit(operand)
            read = np.clip(np.round(real / (scale * step)), -top, top) * scale * step
            assert cell["operand_db"] == pytest.approx(decibels(read), abs=0.006), name
        else:
            assert cell["operand_db"] is None
    assert scheme != "clipping" or clipped > 100


UNSIGNED = ("attention.exponentials", "exit.probabilities", "exit.entropy", "exit.entropy_raw")


def test_what_the_quality_measures_is_the_same(
    float_model: ElbertForSequenceClassification, small: list[Sentence]
) -> None:
    checkpoint = calibrate(float_model, small, SCHEMES["clipping"])
    found = compare(float_model, {"it": checkpoint}, small)["it"].quality()
    assert found.as_dict() == measure(float_model, checkpoint, small).as_dict()
    assert found.warnings() != []


def test_an_iteration_alone_is_the_golden_models(
    float_model: ElbertForSequenceClassification, small: list[Sentence]
) -> None:
    """Started from the hidden state that a run had, it makes every tensor that the run made."""
    golden = GoldenModel(calibrate(float_model, small))
    (result,) = golden.run([small[0]], trace=Trace(), answer_first=False)
    seen = set()
    for iteration in range(1, golden.config.num_hidden_layers + 1):
        for name, tensor in iteration_alone(golden, iteration, result.taps[input_name(iteration)]):
            assert torch.equal(tensor, result.taps[name]), name
            seen.add(name)
    assert seen == {
        name for name in _full_names(golden.config.num_hidden_layers) if name.startswith("iteration.")
    }


def test_what_an_iteration_makes_starts_from_the_exact_state(
    float_model: ElbertForSequenceClassification, small: list[Sentence]
) -> None:
    checkpoint = calibrate(float_model, small)
    cells = compare(float_model, {"it": checkpoint}, small)["it"].cells
    golden = GoldenModel(checkpoint)
    noise: dict[str, float] = {}
    for real in trace_float(float_model, small):
        for iteration in (1, 3):
            source = input_name(iteration)
            exact = (real[source] / scale_of(checkpoint, source)).round().long()
            for name, integers in iteration_alone(golden, iteration, exact):
                error = real[name] - integers * scale_of(checkpoint, name)
                noise[name] = noise.get(name, 0.0) + float(error.square().sum())
    for name, value in noise.items():
        assert cells[name].fresh == pytest.approx(value, rel=1e-9, abs=1e-300), name
    assert cells["embedding.sum"].made is None
    # in iteration 3 most of what is lost came in
    assert cells["iteration.3.attention.query"].made < 0.9  # type: ignore[operator]


def test_a_saturating_tensor_says_so(
    float_model: ElbertForSequenceClassification, small: list[Sentence]
) -> None:
    checkpoint = calibrate(float_model, small, Scheme(observer="percentile", percentile=0.9))
    side = compare(float_model, {"it": checkpoint}, small)["it"]
    cell = side.as_dict()["attention.query"][0]
    assert cell["clipped"] > 0.05 > MOST_SATURATED
    assert cell["below_bound"]
    assert cell["reason"].startswith(f"clipped: {cell['clipped']:.1%} of the values")
    assert cell["range_used"] == 1.0
    # beyond the grid's ends lies about what is clipped
    shown, limit = cell["histogram"], cell["ends"][1]
    edges = shown["start"] + shown["width"] * np.arange(len(shown["counts"]))
    beyond = sum(
        count
        for edge, count in zip(edges, shown["counts"], strict=True)
        if edge >= limit or edge + shown["width"] <= -limit
    )
    assert beyond / cell["values"] == pytest.approx(cell["clipped"], rel=0.5)
    calm = compare(float_model, {"it": calibrate(float_model, small)}, small)["it"].as_dict()
    assert calm["attention.query"][0]["clipped"] == 0.0
    assert not calm["attention.query"][0]["below_bound"]


# ------------------------------------------------------------------------ reasons


def cell_of(scale: float, limit: int, real: list[float], integers: list[int], fresh: float | None) -> Cell:
    found = Cell(Grid(torch.tensor(scale, dtype=torch.float64), 0, limit, False, True, None))
    found.add(torch.tensor(real, dtype=torch.float64), torch.tensor(integers))
    if fresh is not None:
        found.fresh = fresh * found.fit.noise
    return found


def test_every_reason_has_its_words() -> None:
    loud = [10.0, -20.0, 30.0, 40.0]
    exact = cell_of(1.0, 127, loud, [10, -20, 30, 40], 0.0)
    clipped = cell_of(1.0, 127, [400.0, 3.0], [127, 3], 1.0)
    own = cell_of(1.0, 127, [10.4, -20.3, 30.4, 39.6], [10, -20, 30, 40], 1.0)
    before = cell_of(1.0, 127, loud, [13, -17, 33, 44], 0.1)
    here = cell_of(1.0, 127, loud, [13, -17, 33, 44], 0.8)
    unit = cell_of(1 / 32, 2047, [0.01, 0.02], [1, 0], 0.1)

    def of(short: str, cell: Cell) -> str:
        cells = {f"iteration.2.{short}": cell}
        cells |= {name: exact for name in inputs(short, 2)}
        return reason(short, 1, cells)

    assert of("attention.query", exact) == "nothing is lost"
    assert of("attention.query", clipped) == "clipped: 50.0% of the values lie beyond the grid's ends"
    assert of("attention.query", own).startswith("its own grid: 100% of the noise, ")
    assert of("attention.query", own).endswith("the largest value uses 31% of the range")
    assert of("attention.query", before).startswith("from the iterations before: of an exact input this one")
    assert of("attention.query", here).startswith(
        "made in this iteration, 80% of the noise: its noisiest part "
    )
    assert "iteration.1.hidden, 200.0 dB" in of("attention.query", here)
    assert of("attention.scores", unit).startswith("its unit, fixed by the contract: the error is 0.")
    assert not below_bound("attention.scores", unit)
    assert below_bound("attention.query", clipped)
    assert below_bound("attention.query", cell_of(1.0, 127, [1.0, 2.0], [2, 1], 1.0))
    handed = cell_of(1.0, 127, loud, [13, -17, 33, 44], None)
    once = {"embedding.sum": handed, "embedding.normalized": handed}
    assert reason("embedding.sum", 0, once).startswith("the stored tables")
    assert reason("embedding.normalized", 0, once).startswith("handed on: its noisiest part embedding.sum")


# ------------------------------------------------------------------------ weights


def test_a_weight_on_its_rails() -> None:
    integers = torch.tensor([[7, -7, 7, 0], [1, -2, 3, 7]], dtype=torch.int8)
    found = describe_integers(integers, Range(4, 7))
    assert (found["bits"], found["limit"], found["grouped"]) == (4, 7, False)
    assert found["rails"] == 4 / 8
    assert found["zeros"] == 1 / 8
    shown = found["histogram"]
    assert shown["width"] == 1
    assert shown["counts"] == np.bincount(integers.numpy().ravel() + 7, minlength=15).tolist()
    assert shown["start"] == -7
    wide = torch.tensor([[32767, -32767, 0, 200, -200]], dtype=torch.int16)
    found = describe_integers(wide, Range(16, 32767))
    shown = found["histogram"]
    assert shown["width"] == 256
    assert sum(shown["counts"]) == 5
    places = (wide.numpy().ravel().astype(int) - shown["start"]) // shown["width"]
    assert shown["counts"] == np.bincount(places, minlength=len(shown["counts"])).tolist()
    assert found["rails"] == 2 / 5


def test_ranges_of_weights_are_their_schemes(
    float_model: ElbertForSequenceClassification, small: list[Sentence]
) -> None:
    mixed = {"pooler": {"weight_bits": 2}, "classifier": {"weight_bits": 2, "ternary": True}}
    scheme = Scheme.from_dict({"weight_bits": 4, "mixed": mixed | {"ffn.*": {"granularity": "group"}}})
    checkpoint = calibrate(float_model, small, scheme)
    found = {name: Range.of(checkpoint, f"{name}.weight") for name in MATMULS}
    assert found["attention.query"] == Range(4, 7)
    assert found["pooler"] == Range(2, 3)
    assert found["classifier"] == Range(2, 1)
    assert found["ffn.output"].grouped
    assert found["ffn.output"].limit >= int(checkpoint.tensors["ffn.output.weight"].abs().max()) > 7
    assert Range.of(checkpoint, "embedding.word") == Range(8, 127)
    assert Range.of(checkpoint, "embedding.position_type") == Range(16, 32767)
    described = described_weights(float_model, checkpoint, small)
    assert described["ffn.output.weight"]["rails"] is None
    stored = checkpoint.tensors["attention.query.weight"].numpy()
    assert described["attention.query.weight"]["rails"] == pytest.approx((np.abs(stored) == 7).mean())
    assert described["attention.query.weight"]["rails"] > 0  # every channel's largest weight stands there
    scales = np.array(checkpoint.metadata["scales"]["attention.query.weight"])
    shown = described["attention.query.weight"]["scales"]
    assert shown["channels"] == len(scales)
    assert shown["quantiles"] == pytest.approx(np.quantile(scales, (0, 0.25, 0.5, 0.75, 1)), rel=1e-5)
    assert shown["spread"] == pytest.approx(scales.max() / scales.min(), rel=1e-5)


def described_weights(
    model: ElbertForSequenceClassification, checkpoint: IntegerCheckpoint, sentences: list[Sentence]
) -> dict[str, Any]:
    from quant.report.quantisation.weights import describe_weights

    return describe_weights(checkpoint, compare(model, {"it": checkpoint}, sentences[:1])["it"].weights)


def test_scales_that_differ_over_inputs_count_by_the_largest() -> None:
    scale = torch.tensor([[1.0, 2.0], [4.0, 3.0]], dtype=torch.float64)
    assert describe_scales(scale) == {"channels": 2, "quantiles": [2.0, 2.5, 3.0, 3.5, 4.0], "spread": 2.0}
    assert describe_scales(torch.tensor(0.5, dtype=torch.float64))["channels"] == 1


# ------------------------------------------------------------------------ what cannot be compared


def test_what_cannot_be_compared_is_named(
    float_model: ElbertForSequenceClassification, small: list[Sentence]
) -> None:
    checkpoint = calibrate(float_model, small)
    with pytest.raises(ValueError, match="at least one sentence"):
        compare(float_model, {"it": checkpoint}, [])
    with pytest.raises(ValueError, match=r"metadata scales lacks embedding\.sum"):
        compare(float_model, {"it": random_checkpoint(float_model.config)}, small)
    other = float_model.config.model_copy(update={"intermediate_size": 44})
    with pytest.raises(ValueError, match="other has intermediate_size 44, the float model"):
        compare(float_model, {"it": checkpoint, "other": random_checkpoint(other)}, small)
    with torch.no_grad():
        broken = ElbertForSequenceClassification.from_config(float_model.config)
        broken.load_state_dict(float_model.state_dict())
        broken.model.classifier.bias[0] = math.nan
    with pytest.raises(
        ValueError, match=r"iteration\.1\.logits of the float model, sentence 0: .* not all finite"
    ):
        compare(broken, {"it": checkpoint}, small)


def test_names_are_as_short_as_they_may_be(tmp_path: Path) -> None:
    def named(*folders: str) -> list[str]:
        return short_names([tmp_path / folder for folder in folders])

    assert named("a/integer") == ["a"]
    assert named("a/integer", "b/integer") == ["a", "b"]
    assert named("a/x/integer", "b/x/integer") == ["a/x", "b/x"]
    assert named("a", "a/integer") == ["a", "integer"]
    assert named("w4", "w8/integer") == ["w4", "w8"]


# ------------------------------------------------------------------------ exits


def table(name: str, backend: str, logits: Tensor, rows: str = "r") -> LogitTable:
    iterations, samples, classes = logits.shape
    facts = Facts(
        name=name, backend=backend, task="t", iterations=iterations, samples=samples, classes=classes,
        checkpoint_sha256="c", data_sha256="d", rows_sha256=rows, layer_macs=100.0,
        exit_macs=[1.0] * iterations, answer_macs=[40.0] * iterations,
        class_names=[str(i) for i in range(classes)],
    )  # fmt: skip
    return LogitTable(facts, logits)


@pytest.fixture(scope="module")
def tables() -> tuple[LogitTable, LogitTable, Rows]:
    """90 sentences that grow surer over 6 iterations, and their integers with noise on top."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(0, 2, (90,), generator=generator)
    drift = torch.randn(6, 90, generator=generator).cumsum(0) * 0.6 + 0.5 * torch.arange(1, 7)[:, None]
    lead = drift * (2 * labels - 1)
    logits = torch.stack([-lead / 2, lead / 2], -1)
    noisy = logits + 0.25 * torch.randn(logits.shape, generator=generator)
    rows = Rows(labels.tolist(), ["0", "1"], 90, "r", "d", "here", lambda: None)  # type: ignore[arg-type, return-value]
    return table("f", "float", logits.float()), table("g", "golden", (noisy * 1024).round().int()), rows


POLICY = ExitPolicy(mode="bias_1", delta=0.3, window=2, margin=0.2)
OPTIONS = Options(splits=6, bootstrap=30, seed=1)


def test_exits_moved_by_integers_are_counted(tables: tuple[LogitTable, LogitTable, Rows]) -> None:
    floating, golden, rows = tables
    found = exits_under_quantisation(floating, golden, POLICY, make_judge(rows, "accuracy", OPTIONS), OPTIONS)
    f = exit_iterations(POLICY, floating.confidence).numpy()
    g = exit_iterations(POLICY.to_fixed(), golden.confidence).numpy()
    labels = np.array(rows.labels)
    moved = found["as_set"]["difference"]
    counts = {moved["from"] + i: count for i, count in enumerate(moved["counts"]) if count}
    values, times = np.unique(g - f, return_counts=True)
    assert counts == dict(zip(values.tolist(), times.tolist(), strict=True))
    assert len(counts) > 2
    assert found["as_set"]["exit_flips"]["mean"] == pytest.approx((f != g).mean())
    assert found["as_set"]["exit_difference"]["mean"] == pytest.approx((g - f).mean())
    assert found["as_set"]["exit_distance"]["mean"] == pytest.approx(np.abs(g - f).mean())
    at = np.arange(len(f))
    answers = [t.labels.numpy()[e - 1, at] for t, e in ((floating, f), (golden, g))]
    assert found["as_set"]["answer_flips"]["mean"] == pytest.approx((answers[0] != answers[1]).mean())
    assert found["as_set"]["float"]["accuracy"] == pytest.approx((answers[0] == labels).mean())
    assert found["as_set"]["golden"]["accuracy"] == pytest.approx((answers[1] == labels).mean())
    deep = [float((t.labels.numpy()[-1] == labels).mean()) for t in (floating, golden)]
    assert found["full_depth"]["float"] == pytest.approx(deep[0])
    lost = found["as_set"]["golden"]
    assert lost["points_lost"] == pytest.approx(100 * (deep[1] - lost["accuracy"]))
    assert lost["points_lost_float"] == pytest.approx(100 * (deep[0] - lost["accuracy"]))
    assert found["as_set"]["golden"]["mean_exit"] == pytest.approx(g.mean())
    costs = (100.0 * (g - 1) + 40.0 + g) / (600.0 + 1.0)  # whole layers, the answering one, the exits
    assert found["as_set"]["golden"]["cost_macs"] == pytest.approx(costs.mean())
    confusion = np.array(found["as_set"]["confusion"])
    assert confusion[f[0] - 1, g[0] - 1] >= 1
    assert confusion.sum() == 90
    low, high = found["as_set"]["exit_flips"]["interval"]
    assert low < (f != g).mean() < high
    json.dumps(found, allow_nan=False)


def test_kept_thresholds_are_floats_and_recalibrated_ones_the_integers(
    tables: tuple[LogitTable, LogitTable, Rows],
) -> None:
    floating, golden, rows = tables
    judge = make_judge(rows, "accuracy", OPTIONS)
    found = exits_under_quantisation(floating, golden, POLICY, judge, OPTIONS)
    settings = [Setting(ExitPolicy()), Setting(POLICY), *grid(ExitMode.bias_1, 6, 2)]
    outcomes = {t.facts.name: sweep(t, settings) for t in (floating, golden)}
    picked = {}
    for name, each in outcomes.items():
        result = Runner(Contender(name, name, each, each.answers[0]), judge, OPTIONS.caution).at_loss(1.0)
        assert result is not None
        picked[name] = result.fit.rows
    labels = torch.tensor(rows.labels)
    full, deep = ((outcomes[name].answers[0] == labels).double().mean() for name in ("g", "f"))
    for key, by in (("kept", "f"), ("recalibrated", "g")):
        accuracies, costs = [], []
        for half, (first, second) in zip(judge.halves, picked[by].tolist(), strict=True):
            # the first half is treated by what the second picked, and the other way round
            used = torch.where(half, second, first)
            at = torch.arange(90)
            accuracies.append((outcomes["g"].answers[used, at] == labels).double().mean())
            costs.append(outcomes["g"].costs[used, at].mean())
        entry = found["equal_loss"]["loss_1"][key]
        assert entry["accuracy"] == pytest.approx(float(torch.stack(accuracies).mean()))
        assert entry["cost_macs"] == pytest.approx(float(torch.stack(costs).mean()))
        assert entry["points_lost"] == pytest.approx(POINTS * float(full - torch.stack(accuracies).mean()))
        assert entry["points_lost_float"] == pytest.approx(
            POINTS * float(deep - torch.stack(accuracies).mean())
        )
    entries = found["equal_loss"]["loss_1"]
    assert entries["kept"]["cost_macs"] != entries["recalibrated"]["cost_macs"]


def test_exits_without_a_policy_or_of_other_sentences(
    tables: tuple[LogitTable, LogitTable, Rows],
) -> None:
    floating, golden, rows = tables
    judge = make_judge(rows, "accuracy", OPTIONS)
    found = exits_under_quantisation(floating, golden, ExitPolicy(), judge, OPTIONS)
    assert found["equal_loss"] is None
    assert found["as_set"]["exit_flips"]["mean"] == 0.0
    other = table("g", "golden", golden.logits, rows="others")
    with pytest.raises(ValueError, match="f and g are not of the same sentences"):
        exits_under_quantisation(floating, other, POLICY, judge, OPTIONS)
    with pytest.raises(ValueError, match="1 sentences cannot be halved"):
        make_judge(rows.head(1), "accuracy", OPTIONS)


# ------------------------------------------------------------------------ the ablation's file

ROW = {
    "scope": "all operands",
    "bits": 8,
    "scales": "shared",
    "accuracy": 0.9,
    "sqnr_db": 20.0,
    "agreement": 1.0,
}


def write_ablation(path: Path, rows: Any) -> Path:
    path.write_text(json.dumps({"study": "bits", KEY: rows}))
    return path


def ablation_rows() -> list[dict[str, Any]]:
    """All that ``elbert study bits --ablation`` measures, fewest bits first."""
    return [
        ROW | {"scope": scope, "bits": bits, "scales": scales, "accuracy": 0.5 + bits / 20}
        for scope in SCOPES
        for bits in (4, 6, 8)
        for scales in SCALES
    ]


def test_rows_of_an_ablation_are_read_and_ordered(tmp_path: Path) -> None:
    rows = [row | {"more": "is ignored"} for row in ablation_rows()]
    found = read_ablation(write_ablation(tmp_path / "bits.json", rows))
    assert [(row["scope"], row["bits"], row["scales"]) for row in found] == [
        (scope, bits, scales) for scope in SCOPES for bits in (8, 6, 4) for scales in SCALES
    ]
    assert set(found[0]) == set(ROW)
    whole = read_ablation(write_ablation(tmp_path / "whole.json", [ROW | {"accuracy": 1}]))
    assert whole[0]["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "holds no ablation: it is no result of elbert study bits --ablation"),
        ([], "ablation is [], expected a list of rows"),
        ({}, "ablation is {}, expected a list of rows"),
        ([3], "ablation[0] is 3, expected an object"),
        ([ROW, ROW | {"bits": 17}], "ablation[1]: bits 17: input should be less than or equal to 16"),
        ([ROW | {"bits": 6.5}], "ablation[0]: bits 6.5: "),
        ([ROW | {"scales": "own"}], "ablation[0]: scales 'own': input should be 'per_iteration' or 'shared'"),
        ([ROW | {"accuracy": 1.2}], "ablation[0]: accuracy 1.2: input should be less than or equal to 1"),
        ([ROW | {"agreement": -1}], "ablation[0]: agreement -1: "),
        ([ROW | {"sqnr_db": "20"}], "ablation[0]: sqnr_db '20': "),
        ([{k: v for k, v in ROW.items() if k != "scope"}], "ablation[0]: scope "),
        ([ROW, ROW], "ablation[1] repeats scope 'all operands', 8 bits, shared"),
    ],
)
def test_a_broken_ablation_is_named(tmp_path: Path, rows: Any, message: str) -> None:
    path = write_ablation(tmp_path / "bits.json", rows)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_ablation(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_without_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bits.json"
    with pytest.raises(OSError, match=re.escape("bits.json")):
        read_ablation(path)
    for text in ("{", "[1]"):
        path.write_text(text)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            read_ablation(path)


# ------------------------------------------------------------------------ the record, its page and figures


@pytest.fixture
def folders(float_folder: Path) -> tuple[Path, list[Path]]:
    """The nano float checkpoint; its integers of 8 bits, and of 4-bit weights and clipped activations."""
    model, _, _ = load_float(float_folder)
    sentences = random_sentences(model.config, 20, seed=1)
    made = []
    for name, scheme in {
        "w8": Scheme(),
        "w4": Scheme(weight_bits=4, observer="percentile", percentile=0.95),
    }.items():
        made.append(float_folder.parent / name)
        calibrate(model, sentences, scheme, {"float_sha256": "0" * 64}).save(made[-1], copy_from=float_folder)
    return float_folder, made


def make_record(
    folders: tuple[Path, list[Path]], extras: Extras | None = None, count: int = 2
) -> tuple[dict[str, Any], list[Opened], Mapping[str, Compared]]:
    float_folder, made = folders
    model, _, config = load_float(float_folder)
    opened = open_checkpoints(made[:count], float_folder)
    sentences = random_sentences(config, 6, seed=2)
    compared = compare(model, {each.name: each.checkpoint for each in opened}, sentences)
    source = Source(("</script><b>hostile</b>", "0" * 64), None, ["</script><i>", "up"])
    return describe(opened, compared, source, extras or Extras()), opened, compared


@pytest.fixture
def record(folders: tuple[Path, list[Path]], tables: tuple[LogitTable, LogitTable, Rows]) -> dict[str, Any]:
    floating, golden, rows = tables
    judge = make_judge(rows, "accuracy", OPTIONS)
    moved = exits_under_quantisation(floating, golden, POLICY, judge, OPTIONS)
    found, _, _ = make_record(folders, Extras({"w8": moved, "w4": moved}, ablation_rows(), 1))
    return json.loads(json.dumps(found, allow_nan=False))


def test_checkpoints_side_by_side(folders: tuple[Path, list[Path]]) -> None:
    found, opened, compared = make_record(folders)
    assert [each["name"] for each in found["checkpoints"]] == ["w8", "w4"]
    assert list(found["difference"]) == ["w4"]
    for short, values in found["difference"]["w4"].items():
        for row, value in enumerate(values):
            name = full_name(short, row)
            expected = compared["w4"].cells[name].fit.sqnr - compared["w8"].cells[name].fit.sqnr
            assert value == pytest.approx(expected, abs=0.006), name
    assert found["difference"]["w4"]["attention.query"][0] < -3.0
    # the same float model's tensors, whatever the integers
    first, second = (each["tensors"]["hidden"][0]["real"] for each in found["checkpoints"])
    assert first == second
    assert found["header"]["checkpoint_sha256"] == opened[0].checkpoint.sha256
    assert "made from another float model (0000000000000000)" in str(opened[0].note)
    worst = found["checkpoints"][1]["worst"]
    assert [entry["sqnr_db"] for entry in worst] == sorted(entry["sqnr_db"] for entry in worst)
    assert all(entry["reason"] for entry in worst)
    with pytest.raises(ValueError, match="w8 is named twice"):
        open_checkpoints([folders[1][0], folders[1][0]], folders[0])
    json.dumps(found, allow_nan=False)


def test_the_page_holds_its_numbers_and_names_no_address(record: dict[str, Any]) -> None:
    page = render_page(record)
    assert page.count("</script>") == 2
    assert "<b>hostile" not in page
    start = page.index('id="data">') + len('id="data">')
    assert json.loads(page[start : page.index("</script>", start)]) == record
    outside = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|url\(|\bsrc=|<link(?! rel=\"icon\" href=\"data:,\")", outside)
    assert "default-src 'none'" in page


def test_schemes_in_a_line() -> None:
    mixed = {"pooler": {"weight_bits": 2}}
    scheme = {"weight_bits": 4, "equalize": True, "percentile": 0.99, "mixed": mixed}
    line = scheme_line({"scheme": scheme, "contract": {"query_bits": 6}})
    assert line == (
        "weight_bits 4, equalize yes, percentile 0.99, mixed (pooler (weight_bits 2)), "
        "a study's widths, not the hardware's"
    )
    assert scheme_line({"scheme": None, "contract": {}}) == "not said"


def test_figures_are_drawn_in_every_format_and_the_same_again(record: dict[str, Any], tmp_path: Path) -> None:
    names = ["heatmap", "weights", "difference", "exits", "ablation"]
    files = draw_all(record, tmp_path / "a", [".svg", ".pdf"])
    assert [file.name for file in files] == [f"{name}{s}" for name in names for s in (".svg", ".pdf")]
    again = draw_all(record, tmp_path / "b", [".svg"])
    for file in again:
        assert file.read_bytes() == (tmp_path / "a" / file.name).read_bytes()


# ------------------------------------------------------------------------ in a browser


def shown_cells(browser: Any) -> dict[tuple[str, int], float]:
    names = browser.attributes("#heatmap td", "data-tensor")
    rows = browser.attributes("#heatmap td", "data-row")
    values = browser.attributes("#heatmap td", "data-value")
    return {
        (name, int(row)): float(value)
        for name, row, value in zip(names, rows, values, strict=True)
        if value is not None
    }


def test_the_page_shows_its_numbers_and_answers_its_keys(
    browser: Any, record: dict[str, Any], tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page = tmp_path / "page.html"
    write_page(record, page)
    browser.open(page)
    first, second = record["checkpoints"]

    def expected(
        of: Callable[[dict[str, Any]], Any], checkpoint: dict[str, Any]
    ) -> dict[tuple[str, int], float]:
        return {
            (name, row): of(cell)
            for name, cells in checkpoint["tensors"].items()
            for row, cell in enumerate(cells)
            if of(cell) is not None
        }

    def click_measure(value: str) -> None:
        browser.find_element(By.CSS_SELECTOR, f"#measures input[value={value}]").click()

    # every measure of every cell
    for value, key in {
        "sqnr": "sqnr_db", "made": "made_share", "own": "own_share", "clipped": "clipped",
        "error": "error_lsb", "used": "range_used",
    }.items():  # fmt: skip
        click_measure(value)
        assert shown_cells(browser) == expected(lambda cell, key=key: cell[key], first), value
    click_measure("sqnr")
    below = sum(cell["below_bound"] for cells in first["tensors"].values() for cell in cells)
    assert browser.count("#heatmap td.below") == below
    assert browser.texts("#tile-below") == [f"{below} of {browser.count('#heatmap td')}"]
    assert browser.texts("#worst button span:first-child") == [entry["tensor"] for entry in first["worst"]]

    # the drill-down, by mouse, by keys and by the list
    def chosen() -> str:
        return browser.texts("#cell-name")[0]

    assert chosen() == first["worst"][0]["tensor"]
    browser.find_element(By.CSS_SELECTOR, '[data-tensor="attention.scores"][data-row="1"]').click()
    assert chosen() == "iteration.2.attention.scores"
    cell = first["tensors"]["attention.scores"][1]
    assert browser.texts("#cell-rule") == [record["tensors"]["attention.scores"]["rule"]]
    assert browser.texts("#cell-reason") == [f"Why: {cell['reason']}"]
    assert f"{cell['sqnr_db']:.2f} dB" in browser.texts("#cell-numbers [data-number=SQNR]")
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert chosen() == "iteration.3.attention.scores"
    browser.switch_to.active_element.send_keys(Keys.ARROW_UP, Keys.HOME)
    assert chosen() == "iteration.1.attention.value"
    assert browser.switch_to.active_element.get_attribute("aria-selected") == "true"
    browser.switch_to.active_element.send_keys(Keys.PAGE_UP, Keys.ARROW_LEFT)
    assert chosen() == "embedding.sum"
    browser.find_element(By.CSS_SELECTOR, "#worst li:nth-child(2) button").click()
    assert chosen() == first["worst"][1]["tensor"]

    # the histogram marks the integers' ends and follows its switch
    browser.find_element(By.CSS_SELECTOR, '[data-tensor="attention.query"][data-row="0"]').click()
    set_to = browser.attributes("#histogram [data-part=bars]", "d")[0]
    browser.find_element(By.ID, "logarithmic").click()
    assert browser.attributes("#histogram [data-part=bars]", "d")[0] != set_to
    assert browser.attributes("#histogram .end", "data-end") == ["-127", "127"]

    # the other checkpoint, and the difference
    click_measure("difference")
    assert browser.execute_script("return document.getElementById('checkpoint').value") == "1"
    found = shown_cells(browser)
    for name, values in record["difference"]["w4"].items():
        for row, value in enumerate(values):
            assert found[name, row] == pytest.approx(value, abs=0.011), name
    assert browser.texts("#beside tbody th") == ["w8", "w4"]
    click_measure("sqnr")
    assert shown_cells(browser) == expected(lambda cell: cell["sqnr_db"], second)
    assert browser.texts("#cell-reason") == [f"Why: {second['tensors']['attention.query'][0]['reason']}"]
    browser.set_value("checkpoint", "0", "change")
    assert shown_cells(browser) == expected(lambda cell: cell["sqnr_db"], first)

    # weights, exits, ablation
    assert browser.count("#weight-figures article") == len(first["weights"])
    rows = browser.texts("#weight-table tbody td:nth-child(3)")
    assert rows == [f"{entry['sqnr_db']:.2f}" for entry in first["weights"].values()]
    moved = first["exits"]["as_set"]["difference"]
    assert browser.attributes("[data-exits=w8] [data-move]", "data-count") == [
        str(c) for c in moved["counts"] if c
    ]
    assert browser.count("[data-exits]") == 2
    points = browser.attributes("#ablation-figures [data-scales=shared]", "data-value")
    assert len(points) == 3 * len(SCOPES)
    browser.set_value("ablation-measure", "agreement", "change")
    assert set(browser.attributes("#ablation-figures [data-scales]", "data-value")) == {"1"}

    # names for those who do not see
    assert browser.count("#heatmap [aria-label]") == browser.count("#heatmap td")
    assert browser.execute_script(
        "return [...document.querySelectorAll('svg[role=img]')].every((e) => e.getAttribute('aria-label'))"
    )
    assert "NaN" not in browser.execute_script("return document.querySelector('main').innerHTML")

    # a telephone
    for width in (600, 375):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True},
        )
        browser.next_frame()
        wide = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide == [width, width]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert browser.get_log("browser") == []
    assert browser.requests() == [page.as_uri()]


def test_the_page_has_its_colours_by_night(browser: Any, record: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_page(record, page)
    seen = {}
    for scheme in ("light", "dark"):
        browser.open(page, scheme)
        seen[scheme] = [
            browser.brightness("body", "backgroundColor"),
            browser.brightness("body", "color"),
            browser.brightness("#cell", "backgroundColor"),
            browser.brightness("#histogram svg text", "fill"),
        ]
        assert browser.get_log("browser") == []
    ground, ink, panel, label = seen["light"]
    assert min(ground, panel) > 220 > 120 > max(ink, label)
    ground, ink, panel, label = seen["dark"]
    assert max(ground, panel) < 50 < 140 < min(ink, label)


def test_a_page_of_one_checkpoint_without_exits(
    browser: Any, folders: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    found, _, _ = make_record(folders, count=1)
    page = tmp_path / "page.html"
    write_page(found, page)
    browser.open(page)
    assert browser.count("#checkpoint, #exits, #ablation, #measures input[value=difference]") == 0
    assert browser.count("#heatmap td") == len(_full_names(4))
    assert browser.get_log("browser") == []
