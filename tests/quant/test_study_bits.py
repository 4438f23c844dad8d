"""The study of widths: schemes, costs, points, what is kept, workers that die, and the search."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from golden_model.config import PRESETS as GEOMETRIES
from golden_model.data.tables import load_dataset
from golden_model.errors import PromiseBroken
from golden_model.exits import Confidence, ExitPolicy, exit_iterations
from golden_model.float.albert import load_float
from golden_model.float.logits import sentence_logits
from golden_model.float.weights import stored_sha256
from golden_model.integer.golden import open_golden
from golden_model.numerics import LOGIT_FRACTION_BITS
from quant.calibrate import calibrate
from quant.quality import measure
from quant.report.bits.page import render_page
from quant.report.quantisation.ablation import read_ablation
from quant.schemes import PRESETS, Scheme
from quant.studies.bits import point as point_module
from quant.studies.bits.ablation import BITS, SCOPES, ablation_cases
from quant.studies.bits.candidates import Candidate, name_of, read_grid
from quant.studies.bits.cost import products, products_x_bits
from quant.studies.bits.figures import draw
from quant.studies.bits.point import measure_point
from quant.studies.bits.run import Plan, front, study
from quant.studies.bits.runner import Cluster, Here, open_runner
from quant.studies.bits.search import OBJECTIVES, Search
from quant.studies.bits.store import Store
from quant.studies.bits.subject import Subject
from quant.studies.bits.table import write_csv
from quant.weights import packed_bytes

pytestmark = pytest.mark.usefixtures("one_thread")

POLICY = ExitPolicy(mode="bias_1", delta=0.3, window=2, margin=0.05)
W4 = PRESETS["w4a8"]


@pytest.fixture
def subject(float_folder: Path) -> Subject:
    """The nano model, 12 sentences to calibrate on and 20 to answer."""
    model, tokenizer, config = load_float(float_folder)
    rows = load_dataset(float_folder, "dev").head(20)
    seen = load_dataset(float_folder, "train").head(12)
    sentences = list(tokenizer.encode_many(rows.texts, config.max_position_embeddings))
    return Subject(
        str(float_folder),
        stored_sha256(float_folder),
        config,
        list(tokenizer.encode_many(seen.texts, config.max_position_embeddings)),
        sentences,
        list(rows.labels),
        [1, 0],
        "f1",
        POLICY,
        3,
        sentence_logits(model, sentences, tokenizer.pad_id),
    )


def no_cycles(scheme: Scheme) -> int | None:
    return 1000 if scheme.runs_on_hardware else None


def timeless(point: dict[str, Any]) -> dict[str, Any]:
    """What the integers decide: neither how long it took nor of which commit the code was."""
    return {name: value for name, value in point.items() if name not in ("seconds", "commit")}


# ---------------------------------------------------------------------- schemes


def test_grids_are_names_lists_and_products(tmp_path: Path) -> None:
    assert [c.name for c in read_grid("w4a8, presets").candidates] == [
        "w4a8", *(n for n in PRESETS if n != "w4a8")
    ]  # fmt: skip
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps(["w8a6", {"weight_bits": 6}, {"weight_bits": 8}]))
    found = read_grid(str(listed))
    assert [c.scheme for c in found.candidates] == [PRESETS["w8a6"], Scheme(weight_bits=6), Scheme()]
    product = tmp_path / "product.json"
    product.write_text(
        json.dumps({"base": "w4a8", "scales": ["iteration", "shared"], "activation_bits": [8, 6]})
    )
    found = read_grid(str(product))
    assert [c.scheme for c in found.candidates] == [W4, replace(W4, activation_bits=6)]
    assert [each["scheme"]["scales"] for each in found.left_out] == ["shared", "shared"]
    assert "correct_bias" in found.left_out[0]["error"]
    assert len({c.name for c in found.candidates}) == 2
    assert name_of(W4) == "w4a8"
    assert name_of(Scheme(weight_bits=2, ternary=True, activation_bits=6)) == "ternarya6"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected a list of schemes"),
        ([{"weight_bits": 5}], r"\[0\]: weight_bits 5"),
        (["w9"], r"\[0\]: 'w9' is not one of"),
        ([["w8a8"]], "neither a preset's name nor an object"),
        ({"weight_bits": []}, "weight_bits is an empty list"),
        ({"weights": [8]}, "no combination is a scheme; the first: a scheme has no member 'weights'"),
        ({"base": "w9"}, "base: 'w9'"),
        ({"percentile": [i / 10001 for i in range(1, 10001)], "weight_bits": [8, 4]}, "more than 10000"),
    ],
)
def test_grids_that_are_none_are_named(tmp_path: Path, content: Any, message: str) -> None:
    file = tmp_path / "grid.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_grid(str(file))


def test_a_name_that_is_no_preset_is_named() -> None:
    with pytest.raises(ValueError, match=r"grid 'w8a8,w9': 'w9' is neither a file \.json nor one of presets"):
        read_grid("w8a8,w9")


def test_the_ablation_narrows_what_it_says() -> None:
    cases = ablation_cases()
    assert len(cases) == len(SCOPES) * len(BITS) * 2
    assert len({candidate.scheme for _, candidate in cases}) == 14, "at 8 bits the scopes are the same"
    for facts, candidate in cases:
        contract = candidate.scheme.contract
        for operand, width in contract.operands():
            assert width == (facts["bits"] if operand in SCOPES[facts["scope"]] else 8)
        assert candidate.scheme.scales == {"per_iteration": "iteration", "shared": "shared"}[facts["scales"]]


# ---------------------------------------------------------------------- costs


@pytest.mark.parametrize("preset", sorted(GEOMETRIES))
def test_products_times_bits(preset: str) -> None:
    config = GEOMETRIES[preset]
    for length in (1, 7, config.max_position_embeddings):
        assert sum(count for _, count in products(config, length)) == config.layer_products(length)
    lengths = [3, 9]
    whole = [
        config.num_hidden_layers * config.layer_products(n) + config.embedding_products(n) for n in lengths
    ]
    eight = products_x_bits(Scheme(), config, lengths)
    assert eight == 64 * sum(whole) / 2
    assert products_x_bits(Scheme(activation_bits=4), config, lengths) < eight / 2 + 1, "attention: a quarter"
    only = Scheme(mixed={"ffn.output": {"weight_bits": 4}})
    ffn = config.num_hidden_layers * sum(lengths) / 2 * config.hidden_size * config.intermediate_size
    assert eight - products_x_bits(only, config, lengths) == 32 * ffn


# ---------------------------------------------------------------------- points


@pytest.mark.parametrize("scheme", [W4, Scheme(scales="shared", observer="mse", activation_bits=4)])
def test_a_point_is_what_calibration_golden_model_and_float_say(subject: Subject, scheme: Scheme) -> None:
    model, _, _ = load_float(subject.folder)
    found = measure_point(subject, scheme)
    checkpoint = calibrate(model, subject.calibration, scheme)
    results = open_golden(checkpoint, kernels="plain").run(subject.sentences)
    labels = torch.tensor(subject.labels)
    last = torch.tensor([result.label for result in results])
    assert found["accuracy"] == float((last == labels).double().mean())
    logits = torch.stack([r.logits for r in results], 1).double() / (1 << LOGIT_FRACTION_BITS)
    right = (logits.argmax(-1) == labels).double().mean(1).tolist()
    assert found["accuracy_per_iteration"] == right
    real = Confidence.from_logits(subject.logits)
    assert found["agreement"] == float((last == real.label[-1]).double().mean())
    left = open_golden(checkpoint).run(subject.sentences, POLICY)
    exits = torch.tensor([result.exit_iteration for result in left])
    wanted = exit_iterations(POLICY, real)
    said = torch.tensor([result.label for result in left])
    assert found["exit"]["flips"] == float((exits != wanted).double().mean())
    assert found["exit"]["mean_exit_iteration"] == float(exits.double().mean())
    real_said = real.label[wanted - 1, torch.arange(len(labels))]
    assert found["exit"]["changed"] == float((said != real_said).double().mean())
    assert found["exit"]["accuracy"] == float((said == labels).double().mean())
    quality = measure(model, checkpoint, subject.calibration[:3])
    values = quality.sqnr["hidden"] + quality.sqnr["logits"]
    assert found["sqnr"] == pytest.approx(sum(values) / len(values))
    positive = (last == 0) & (labels == 0)  # order [1, 0]: the data's second class is the model's 0
    f1 = 2 * int(positive.sum()) / (int((last == 0).sum()) + int((labels == 0).sum()))
    assert found["score"] == pytest.approx(f1)


def test_calibrations_are_shared_where_they_see_the_same(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = point_module.observe
    monkeypatch.setattr(point_module, "observe", lambda *given: seen.append(1) or real(*given))
    point_module._seen.clear()
    schemes = [Scheme(), Scheme(weight_bits=4), Scheme(activation_bits=5), Scheme(observer="mse")]
    found = [measure_point(subject, scheme) for scheme in schemes]
    assert len(seen) == 2
    point_module._seen.clear()
    assert [timeless(measure_point(subject, scheme)) for scheme in schemes[::-1]] == [
        timeless(each) for each in found[::-1]
    ]


def test_another_checkpoint_is_refused(subject: Subject) -> None:
    with pytest.raises(ValueError, match="the study is of 0000"):
        measure_point(replace(subject, sha256="0" * 64), Scheme())


# ---------------------------------------------------------------------- what is kept


def run_study(subject: Subject, folder: Path, plan: Plan, notes: list[str] | None = None) -> dict[str, Any]:
    said = [] if notes is None else notes
    return study(subject, plan, Here(subject), folder, no_cycles, say=said.append)


def test_a_study_goes_on_and_makes_anew_what_is_broken(subject: Subject, tmp_path: Path) -> None:
    grid = [Candidate.of(scheme) for scheme in (Scheme(), W4, Scheme(activation_bits=6))]
    first = run_study(subject, tmp_path, Plan(grid[:2]))
    assert [point["predicted_cycles"] for point in first["points"]] == [1000, 1000]
    files = sorted((tmp_path / "points").iterdir())
    stamps = {file: file.stat().st_mtime_ns for file in files}
    store = Store(tmp_path / "points", subject.digest)
    broken = store.path(W4)
    broken.write_text(broken.read_text()[:-40])
    other = store.path(grid[2].scheme)
    shutil.copy(store.path(Scheme()), other)
    notes: list[str] = []
    second = run_study(subject, tmp_path, Plan(grid), notes)
    assert [name for name in notes if str(broken) in name or str(other) in name] == notes
    assert len(notes) == 2
    assert store.path(Scheme()).stat().st_mtime_ns == stamps[store.path(Scheme())]
    for before, after in zip(first["points"], second["points"], strict=False):
        assert {k: v for k, v in timeless(before).items() if k != "pareto"} == {
            k: v for k, v in timeless(after).items() if k != "pareto"
        }
    assert json.loads(other.read_text())["scheme"]["activation_bits"] == 6


def test_points_are_kept_for_their_own_subject_alone(subject: Subject, tmp_path: Path) -> None:
    changes = {
        "sha256": "0" * 64,
        "labels": subject.labels[::-1],
        "sentences": subject.sentences[:-1],
        "calibration": subject.calibration[:-1],
        "policy": ExitPolicy(),
        "quality": 2,
        "metric": "accuracy",
    }
    paths = {Store(tmp_path, subject.digest).path(Scheme())}
    for name, value in changes.items():
        paths.add(Store(tmp_path, replace(subject, **{name: value}).digest).path(Scheme()))
    moved = replace(subject, folder="elsewhere")
    assert len(paths) == 1 + len(changes)
    assert Store(tmp_path, moved.digest).path(Scheme()) in paths
    assert Store(tmp_path, subject.digest).path(Scheme(percentile=0.5)) not in paths


def test_a_scheme_that_fails_has_its_row_and_is_tried_again(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = point_module.quantize

    def failing(model: Any, seen: Any, scheme: Scheme, sentences: Any) -> Any:
        if scheme == W4:
            raise ValueError("the 4 bits do not fit")
        return real(model, seen, scheme, sentences)

    plan = Plan([Candidate.of(W4), Candidate.of(Scheme())])
    monkeypatch.setattr(point_module, "quantize", failing)
    notes: list[str] = []
    result = run_study(subject, tmp_path, plan, notes)
    assert [point["error"] for point in result["points"]] == ["ValueError: the 4 bits do not fit", None]
    assert result["points"][0]["accuracy"] is None
    assert result["points"][0]["weight_bytes"] == packed_bytes(W4, subject.config).weights
    assert notes == ["w4a8: ValueError: the 4 bits do not fit"]
    write_csv(tmp_path / "points.csv", result["points"])
    assert len((tmp_path / "points.csv").read_text().splitlines()) == 3
    draw(result, tmp_path, [".svg"])
    assert "the 4 bits do not fit" in render_page({**result, **FACTS})
    with pytest.raises(PromiseBroken, match=r"none of 1 schemes could be measured; the first: ValueError"):
        run_study(subject, tmp_path, Plan(plan.grid[:1]))
    monkeypatch.undo()
    assert [p["error"] for p in run_study(subject, tmp_path, plan)["points"]] == [None, None]


FACTS = {"task": None, "model": "nano", "classes": ["a", "b"], "data": {"name": "x", "sha256": "0" * 64}}


def test_ablation_figures_and_page_follow_from_the_result(subject: Subject, tmp_path: Path) -> None:
    result = run_study(subject, tmp_path, Plan(ablation=True))
    file = tmp_path / "result.json"
    file.write_text(json.dumps(result))
    rows = read_ablation(file)
    assert len(rows) == 18
    by_scheme = {point["name"]: point for point in result["points"]}
    for (facts, candidate), row in zip(ablation_cases(), result["ablation"], strict=True):
        assert row == {
            **facts,
            "accuracy": by_scheme[candidate.name]["accuracy"],
            "sqnr_db": by_scheme[candidate.name]["sqnr"],
            "agreement": by_scheme[candidate.name]["agreement"],
        }
    sqnr = {(r["scope"], r["bits"], r["scales"]): r["sqnr_db"] for r in rows}
    assert sqnr["all operands", 8, "per_iteration"] > sqnr["all operands", 4, "per_iteration"] + 10
    assert sqnr["all operands", 4, "per_iteration"] < sqnr["feed-forward", 4, "per_iteration"]
    for place in ("a", "b"):
        draw(result, tmp_path / place, [".svg", ".png"])
    for name in ("pareto.svg", "pareto.png", "parallel.svg", "parallel.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    page = render_page({**result, **FACTS})
    assert "http://www.w3.org/2000/svg" in page
    assert page.count("://") == page.count("http://www.w3.org/2000/svg"), "nothing is fetched"


def test_the_front_holds_what_nothing_beats() -> None:
    def point(*values: float | None) -> dict[str, Any]:
        return dict(zip(OBJECTIVES, values, strict=True))

    best = [point(0.9, 10, 5, 7), point(0.8, 9, 5, 7), point(0.9, 9, 5, None)]
    beaten = [point(0.8, 10, 5, 7), point(0.9, 9, 6, None), point(0.7, 9, 5, 8)]
    assert front([*beaten, *best]) == best
    assert front([best[0], dict(best[0])]) == [best[0], best[0]], "equals do not beat each other"


# ---------------------------------------------------------------------- workers


def test_a_worker_killed_mid_study_loses_nothing(subject: Subject) -> None:
    # one done, one killed, one beside it, one waiting
    schemes = [Scheme(percentile=0.9 + i / 1000, observer="percentile") for i in range(4)]
    got: dict[Scheme, dict[str, Any]] = {}
    with open_runner(subject, workers=2) as runner:
        assert isinstance(runner, Cluster)
        assert runner.slots == 2
        workers = runner.client.run(os.getpid)
        for scheme in schemes:
            runner.submit(scheme)
        scheme, found = runner.wait()
        got[scheme] = found
        busy = {address for address, keys in runner.client.processing().items() if keys}
        killed = next(pid for address, pid in workers.items() if address in busy)
        os.kill(killed, signal.SIGKILL)
        for _ in schemes[1:]:
            scheme, found = runner.wait()
            got[scheme] = found
        assert killed not in runner.client.run(os.getpid).values()
    assert set(got) == set(schemes)
    for scheme in schemes:
        assert timeless(got[scheme]) == timeless(measure_point(subject, scheme))


# ---------------------------------------------------------------------- search


def invented(scheme: Scheme) -> dict[str, Any]:
    """A row whose accuracy falls with the bits: what the sampler sees, without measuring."""
    config = GEOMETRIES["nano"]
    return {
        "accuracy": scheme.weight_bits * scheme.activation_bits / 64,
        "weight_bytes": packed_bytes(scheme, config).weights,
        "products_x_bits": products_x_bits(scheme, config, [8]),
        "predicted_cycles": no_cycles(scheme),
        "error": "ValueError: no" if scheme.weight_bits == 3 else None,
    }


def test_a_search_draws_legal_schemes_and_goes_on(tmp_path: Path) -> None:
    search = Search(tmp_path, "digest", 30, seed=0)
    for _ in range(20):
        scheme = search.ask()
        search.tell(scheme, invented(scheme))
    left = [search.ask(), search.ask()]  # killed here
    assert search.wanted == 8
    again = Search(tmp_path, "digest", 30, seed=0)
    assert again.finished == 20
    assert again.wanted == 10
    assert [again.ask(), again.ask()] == left, "what was not finished is asked for again"
    for scheme in dict.fromkeys(left):
        again.tell(scheme, invented(scheme))
    while again.wanted:
        scheme = again.ask()
        again.tell(scheme, invented(scheme))
    assert again.finished == 30
    found = again.schemes()
    assert len(found) > 15
    assert any(scheme.ternary for scheme in found) or any(scheme.granularity == "group" for scheme in found)
    assert len({scheme.scales for scheme in found}) == 2
    assert Search(tmp_path, "another", 30, seed=0).finished == 0
    assert Search(tmp_path, "digest", 30, seed=0).wanted == 0


def test_a_searched_study_goes_on(subject: Subject, tmp_path: Path) -> None:
    first = run_study(subject, tmp_path, Plan(trials=3, seed=1))
    measured = len(list((tmp_path / "points").iterdir()))
    assert len(first["points"]) == measured
    second = run_study(subject, tmp_path, Plan(trials=4, seed=1))
    assert [p["name"] for p in second["points"]][:measured] == [p["name"] for p in first["points"]]
    assert {point["source"] for point in second["points"]} == {"search"}
    assert any(point["pareto"] for point in second["points"])


def test_a_file_that_holds_no_search_is_named(tmp_path: Path) -> None:
    (tmp_path / "search.db").write_text("no database" * 100)
    with pytest.raises(OSError, match=r"search\.db is no file of searches"):
        Search(tmp_path, "digest", 3, seed=0)
