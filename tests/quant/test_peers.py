"""The peers' study on a nano model: rows, what fails or is missing, resuming, and the operators."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from elbert.cli import build_app
from golden_model.data.tables import load_dataset, load_texts
from golden_model.evaluation.backends import GoldenBackend
from golden_model.exits import ExitMode, ExitPolicy
from golden_model.float.albert import ElbertForSequenceClassification, load_float
from golden_model.integer.model import Sentence
from golden_model.integer.ops.table import gelu
from quant.calibrate import calibrate
from quant.studies.peers import ibert
from quant.studies.peers.defaults import PEERS
from quant.studies.peers.figures import draw
from quant.studies.peers.measure import MOST_SECONDS, speed
from quant.studies.peers.operators import compare_operators
from quant.studies.peers.others import LINE_UP
from quant.studies.peers.peer import Model, Ready
from quant.studies.peers.run import Options, study
from quant.studies.peers.work import Work, cut, make_work

ALWAYS = ("float32", "torch-dynamic", "golden", "golden-exits")
"""Peers whose packages the project itself needs."""
POLICY = ExitPolicy(mode=ExitMode.entropy, delta=0.9)
SMALL = Options(peers=ALWAYS, batch=4, timed=8, repetitions=2, samples=20)


@pytest.fixture
def folder(float_folder: Path, tmp_path: Path) -> Path:
    """A model folder with both forms of the nano model."""
    model, tokenizer, config = load_float(float_folder)
    texts = load_texts(float_folder, "train").texts
    checkpoint = calibrate(model, tokenizer.encode_many(texts, config.max_position_embeddings))
    checkpoint.save(tmp_path / "integer", copy_from=float_folder)
    assert float_folder == tmp_path / "float"
    return tmp_path


def run(folder: Path, options: Options = SMALL, **other: Any) -> dict[str, Any]:
    """The study of the nano model's folder on its dev rows."""
    places = {"float_folder": folder / "float", "integer_folder": folder / "integer"} | other
    data, texts = load_dataset(folder / "float", "dev"), load_texts(folder / "float", "train")
    return study(
        **places, data=data, calibration=texts, policy=POLICY, options=options, folder=folder / "out"
    )


# -------------------------------------------------------------------------------------------- work


def test_every_sentence_is_in_one_batch_padded_and_masked() -> None:
    sentences: list[Sentence] = [(list(range(1, n + 1)), [0] * n) for n in (3, 1, 5, 2, 4)]
    batches = cut(sentences, pad_id=9, size=2)
    assert [batch.places.tolist() for batch in batches] == [[1, 3], [0, 4], [2]]
    assert batches[1].ids.tolist() == [[1, 2, 3, 9], [1, 2, 3, 4]]
    assert batches[1].mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


@pytest.mark.parametrize(("timed", "lengths"), [(1, [6]), (4, [3, 8]), (100, list(range(1, 11)))])
def test_timed_batches_are_spread_over_the_lengths(timed: int, lengths: list[int]) -> None:
    sentences: list[Sentence] = [([1] * (1 + i // 2), [0] * (1 + i // 2)) for i in range(20)]
    work = make_work(sentences, [0] * 20, sentences, 0, 2, timed, 1)
    assert [batch.ids.shape[1] for batch in work.timed] == lengths


def test_work_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="calibration sentences: 0 is below 1"):
        make_work([([1], [0])], [0], [], 0, 1, 1, 1)


# -------------------------------------------------------------------------------------------- measuring


class _Clock:
    """Time that passes only where something computes."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds: Iterator[float]) -> Ready:
        """A peer each of whose batches takes the next of ``seconds``."""

        def logits(batch: object) -> Tensor:
            self.now += next(seconds)
            return torch.zeros(1, 2)

        return Ready(logits, 1, False, "")


def small_work() -> Work:
    sentences: list[Sentence] = [([1, 2], [0, 0])] * 4
    return make_work(sentences, [0] * 4, sentences, 0, 4, 4, 1)


def test_speed_is_of_medians_in_turn_without_the_first() -> None:
    clock = _Clock()
    own, theirs = clock.taking(iter([5.0, 2.0, 8.0, 4.0])), clock.taking(iter([7.0, 1.0, 2.0, 4.0]))
    found = speed(own, theirs, small_work(), 3, lambda count: None, clock)
    assert found["seconds"] == [2.0, 8.0, 4.0]
    assert found["sentences_per_s"] == 4 / 4.0
    assert found["float_sentences_per_s"] == 4 / 2.0
    assert found["ratio"] == 0.5  # of 0.5, 0.25 and 1


def test_a_slow_peer_is_timed_less_often_but_once_at_least() -> None:
    clock = _Clock()
    own, theirs = clock.taking(iter([MOST_SECONDS] * 9)), clock.taking(iter([1.0] * 9))
    found = speed(own, theirs, small_work(), 5, lambda count: None, clock)
    assert found["seconds"] == [MOST_SECONDS]


# -------------------------------------------------------------------------------------------- the study


def test_rows_say_what_was_measured(folder: Path) -> None:
    result = run(folder)
    rows = {row["name"]: row for row in result["rows"]}
    assert tuple(rows) == ALWAYS
    assert all(row["error"] is None for row in rows.values()), rows
    backend = GoldenBackend(folder / "integer")
    data = load_dataset(folder / "float", "dev")
    sentences = backend.tokenizer.encode_many(data.texts, backend.config.max_position_embeddings)
    for name, policy in (("golden", ExitPolicy()), ("golden-exits", POLICY)):
        answers = backend.answer(sentences, policy).labels.tolist()
        right = sum(a == b for a, b in zip(answers, data.labels, strict=True)) / len(data)
        assert rows[name]["accuracy"] == pytest.approx(right)
        assert rows[name]["points_lost"] == pytest.approx(100 * (result["float_accuracy"] - right))
        assert rows[name]["bytes"] == (folder / "integer" / "integer.safetensors").stat().st_size
    assert [rows[name]["integers"] for name in ALWAYS] == [False, False, True, True]
    assert rows["float32"]["agreement"] == 1
    assert rows["float32"]["bytes_ratio"] == 1
    weights = 4 * sum(each.numel() for each in load_float(folder / "float")[0].parameters())
    assert weights < rows["float32"]["bytes"] < weights + 20000  # names and PyTorch's own words
    assert rows["torch-dynamic"]["bytes"] < rows["float32"]["bytes"] + 20000
    for row in rows.values():
        assert len(row["seconds"]) == 2
        assert row["packages"]["torch"] == metadata.version("torch")
    assert result["operators"]["error"] is None
    json.dumps(result, allow_nan=False)
    drawn = draw(result, folder / "pictures")
    assert [path.name for path in drawn] == ["peers.svg", "peers.png"]


def test_an_interrupted_study_goes_on_and_others_facts_measure_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def counted(name: str, fails: bool = False) -> Any:
        peer = LINE_UP[name]

        def make(model: Model, work: Work) -> Ready:
            made.append(name)
            if fails:
                raise RuntimeError("no\nkernel")
            return peer.make(model, work)

        return replace(peer, make=make)

    for name in ALWAYS[1:]:
        monkeypatch.setitem(LINE_UP, name, counted(name, fails=name == "golden"))
    first = run(folder)
    assert made == list(ALWAYS[1:])
    assert {r["name"]: r["error"] for r in first["rows"] if r["error"]} == {"golden": "RuntimeError: no"}
    second = run(folder)
    assert made[3:] == ["golden"]  # what failed is tried again
    assert [r for r in second["rows"] if not r["error"]] == [r for r in first["rows"] if not r["error"]]
    (folder / "out" / "rows" / "torch-dynamic.json").write_text("{")
    notes: list[str] = []
    run(folder, say=notes.append)
    assert made[4:] == ["torch-dynamic", "golden"]
    assert "torch-dynamic.json" in notes[0]
    run(folder, replace(SMALL, repetitions=1))
    assert made[6:] == list(ALWAYS[1:])


def test_a_missing_package_is_named_in_its_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = replace(LINE_UP["torchao-weights"], packages=("torch", "no-such-package"))
    monkeypatch.setitem(LINE_UP, "torchao-weights", absent)
    row = run(folder, replace(SMALL, peers=("torchao-weights",)))["rows"][0]
    assert row["error"].startswith("no-such-package is not installed: pip install")
    assert row["packages"]["no-such-package"] is None


def test_without_integers_the_rows_that_need_them_say_so(folder: Path) -> None:
    result = run(folder, replace(SMALL, peers=("golden",)), integer_folder=None)
    assert "elbert quantize makes one" in result["rows"][0]["error"]
    assert result["operators"]["error"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PEERS if name not in ALWAYS])
def test_a_peer_of_the_extra_runs(name: str, folder: Path) -> None:
    for package in LINE_UP[name].packages:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed (extra 'peers')")
    row = run(folder, replace(SMALL, peers=(name,), repetitions=1))["rows"][0]
    assert row["error"] is None
    assert row["agreement"] > 0.6
    assert not row["integers"]
    assert row["reason"]


def test_options_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="peer 'gguf' is not one of float32"):
        Options(peers=("gguf",))
    with pytest.raises(ValueError, match="timed 0 is below 1"):
        Options(timed=0)


def test_the_command_writes_table_figure_and_json(folder: Path) -> None:
    output, file = folder / "study", folder / "peers.json"
    arguments = [
        "study", "peers", folder / "float" / "dev.tsv", "--calibration", folder / "float" / "train.tsv",
        "--model", folder, "--peers", "float32,golden", "--limit", 12, "--samples", 8, "--repetitions", 1,
        "--output", output, "--json", file,
    ]  # fmt: skip
    done = CliRunner().invoke(build_app(), [str(each) for each in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    result = json.loads(file.read_text())
    assert [row["name"] for row in result["rows"]] == ["float32", "golden"]
    assert result["samples"] == 12
    assert result["calibration"]["sentences"] == 8
    assert "integers throughout" in done.output
    assert "layernorm" in done.output
    assert sorted(path.name for path in output.iterdir()) == ["peers.png", "peers.svg", "rows", "study.json"]


def test_a_table_needs_sentences_to_calibrate_on(folder: Path) -> None:
    done = CliRunner().invoke(build_app(), ["study", "peers", str(folder / "float" / "dev.tsv")])
    assert "name the sentences to calibrate on" in str(done.exception)


# -------------------------------------------------------------------------------------------- operators


def test_i_bert_s_operators_have_the_errors_of_the_paper() -> None:
    """Largest errors: i-exp 1.9e-3, i-GELU 1.8e-2 (section 3.4 and 3.3); and no less."""
    scale = 2.0**-12
    x = torch.linspace(-8, 8, 20001, dtype=torch.float64)
    q = (x / scale).round().to(torch.int64)
    real = torch.tensor([gelu(float(v)) for v in q.double() * scale])
    made, out = ibert.i_gelu(q, scale)
    error = float((made.double() * out - real).abs().max())
    assert 1.7e-2 < error < 1.9e-2
    below = -q.abs()
    made, out = ibert.i_exp(below, scale)
    error = float((made.double() * out - (below.double() * scale).exp()).abs().max())
    assert 1.7e-3 < error < 2.3e-3


def test_i_bert_s_softmax_and_layernorm_are_near_the_real_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn(50, 20, generator=generator, dtype=torch.float64)
    q = (scores * 1024).round().to(torch.int64)
    made, out = ibert.i_softmax(q, 2.0**-10)
    assert float((made.double() * out - (q.double() / 1024).softmax(-1)).abs().max()) < 6e-3
    y = (3 * torch.randn(20, 64, generator=generator, dtype=torch.float64) * 5000).round().to(torch.int64)
    gamma, beta = (
        torch.rand(64, generator=generator).double() - 0.5,
        torch.randn(64, generator=generator).double(),
    )
    gamma[3] = 0
    real = torch.nn.functional.layer_norm(y.double(), (64,), gamma, beta, 0.0)
    found = ibert.i_layernorm(y, gamma, beta)
    assert float((found - real).abs().max()) < 1e-3
    assert torch.equal(found[:, 3], beta[3].expand(20))


def test_i_sqrt_is_the_floor_of_the_root() -> None:
    edges = [v + d for v in (1, 4, 1 << 20, 3037000499**2) for d in (-1, 0, 1)]
    values = torch.tensor([*range(1000), *edges, (1 << 32) - 1, (1 << 62) - 1])
    assert ibert.i_sqrt(values).tolist() == [math.isqrt(v) for v in values.tolist()]


def test_a_scale_that_the_polynomial_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="above ln 2"):
        ibert.i_exp(torch.tensor([-1]), 0.8)
    with pytest.raises(ValueError, match="squares leave int64"):
        ibert.i_exp(torch.tensor([-1]), 2.0**-40)


def test_the_contract_s_operators_are_compared_in_real_units(
    float_model: ElbertForSequenceClassification, sentences: list[Sentence]
) -> None:
    checkpoint = calibrate(float_model, sentences)
    done: list[int] = []
    found = compare_operators(float_model, checkpoint, sentences[:6], done.append)
    assert found["sentences"] == 6
    iterations = float_model.config.num_hidden_layers
    assert sum(done) == 3 * iterations
    rows = found["operators"]
    assert set(rows["gelu"]) == {"range", "contract", "ibert", "ibert_rounded"}
    for name, row in rows.items():
        for who in ("contract", "ibert"):
            assert len(row[who]["sqnr_per_iteration"]) == iterations
            assert 15 < row[who]["sqnr"] < 120, (name, who)
            assert 0 < row[who]["rms_error"] <= row[who]["max_error"]
    spoiled = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
    spoiled["ffn.table"] = spoiled["ffn.table"].roll(40, 1)
    spoiled["attention.norm.gamma"] = spoiled["attention.norm.gamma"].roll(1, 1)
    other = compare_operators(float_model, replace(checkpoint, tensors=spoiled), sentences[:6])["operators"]
    for name in ("gelu", "layernorm"):
        assert other[name]["contract"]["sqnr"] < rows[name]["contract"]["sqnr"] - 3
        assert other[name]["ibert"] == rows[name]["ibert"]
    assert other["softmax"] == rows["softmax"]
