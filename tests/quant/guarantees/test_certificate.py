"""The certificate: from a model to thresholds and back, and what it refuses."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from elbert.cli import build_app
from elbert.model import load
from golden_model.data.tables import load_texts
from golden_model.evaluation.backends import FloatBackend, open_backend, tokenize
from golden_model.exits import ExitMode, ExitPolicy, FixedExitPolicy
from golden_model.integer.synthetic import random_sentences
from quant.calibrate import calibrate
from quant.guarantees.applied import apply, labels_of
from quant.guarantees.certificate import CERTIFICATE_FILE, Certificate, find_certificate, read_for
from quant.guarantees.families import build_family, canonical, deltas, real_policy
from quant.guarantees.figures import bins
from quant.guarantees.losses import LOSSES, LossName, find_loss
from quant.guarantees.sentences import find_form, text_rows
from quant.guarantees.simulation import WHO
from quant.schemes import Scheme


@pytest.fixture
def model_folder(float_folder: Path) -> Path:
    """A nano model folder with ``float`` and ``integer``, and 400 sentences without classes beside it."""
    backend = FloatBackend(float_folder)
    sentences = random_sentences(backend.config, 40, seed=1)
    folder = float_folder.parent
    calibrate(backend.model, sentences, Scheme()).save(folder / "integer", copy_from=float_folder)
    generator = torch.Generator().manual_seed(9)
    words = torch.randint(0, 59, (400, 6), generator=generator).tolist()
    (folder / "held.txt").write_text("\n".join(" ".join(f"w{w}" for w in row) for row in words) + "\n")
    return folder


def elbert(*arguments: object) -> Result:
    return CliRunner().invoke(build_app(), [str(argument) for argument in arguments])


def calibrated(folder: Path, *options: object) -> Result:
    return elbert(
        "calibrate-exits", folder / "held.txt", "--model", folder, "--cache", folder / "cache", "--quiet",
        "--policy", "entropy", "--risk", 0.05, *options,
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["golden", "float"])
def test_the_certified_setting_does_to_the_model_what_was_counted(model_folder, backend):
    result = calibrated(model_folder, "--backend", backend, "--json", model_folder / "out.json")
    assert result.exit_code == 0, result.output
    certificate = find_certificate(model_folder, backend).certificate
    assert certificate is not None
    assert certificate.policy.delta > 0
    opened = open_backend(backend, model_folder)
    texts = load_texts(model_folder / "held.txt", "dev")
    rows = text_rows(texts, None, 2)
    sentences = tokenize(rows.data(), opened)
    early = opened.answer(sentences, certificate.real_policy)
    full = opened.answer(sentences, ExitPolicy())
    assert int((early.labels != full.labels).sum()) == certificate.counts[1]
    measured = certificate.measured
    assert float(early.exits.double().mean()) == pytest.approx(measured.mean_exit_iteration)
    assert 1 < measured.speedup_iterations < measured.speedup_multiply_adds
    lengths = [len(ids) for ids, _ in sentences]
    config = opened.config
    spent = sum(
        config.layer_products(n) * (e - 1) + config.answer_products(n)
        for n, e in zip(lengths, early.exits.tolist(), strict=True)
    )
    assert measured.multiply_adds_answer_first == spent
    document = json.loads((model_folder / "out.json").read_text())
    assert document["policy"] == certificate.policy.model_dump(mode="json")
    assert document["sentences"]["count"] == 400
    assert document["checkpoint_sha256"] == opened.sha256 == document["header"]["checkpoint_sha256"]


def test_run_names_its_certificate_and_no_other(model_folder):
    assert calibrated(model_folder).exit_code == 0
    run = ("run", "w1 w2", "--model", model_folder)
    line = "certified: disagreement with full depth <= 5 % with 95 % confidence, 400 sentences"
    certified = elbert(*run, "--policy", "certified", "--json", model_folder / "run.json")
    assert line in certified.stdout
    assert json.loads((model_folder / "run.json").read_text())["certified"] == line
    assert "certified" not in elbert(*run, "--policy", "entropy", "--delta", 0.01).stdout
    path = model_folder / "integer" / CERTIFICATE_FILE
    delta = Certificate.load(path).real_policy.delta
    assert line in elbert(*run, "--policy", "entropy", "--delta", repr(delta), "--window", 7).stdout
    assert line in elbert(*run, "--policy", path).stdout
    page = model_folder / "page.html"
    report = elbert(
        "report", "decisions", model_folder / "float", "--model", model_folder, "--backend", "golden",
        "--policy", "certified", "--output", page, "--json", model_folder / "report.json",
    )  # fmt: skip
    assert report.exit_code == 0, report.output
    assert line in report.stdout
    assert json.loads((model_folder / "report.json").read_text())["certified"] == line
    assert "certified: disagreement with full depth &lt;= 5 %" in page.read_text()
    scored = elbert(
        "eval",
        model_folder / "float",
        "--model",
        model_folder,
        "--backend",
        "golden",
        "--policy",
        "certified",
    )
    assert scored.exit_code == 0, scored.output


def test_the_python_api_takes_a_certificate_as_the_command_does(model_folder, tmp_path):
    kept = tmp_path / "kept.json"
    assert calibrated(model_folder, "--output", kept).exit_code == 0
    model = load(model_folder)
    policy = Certificate.load(kept).real_policy
    texts = (model_folder / "held.txt").read_text().splitlines()[:40]
    wanted = [answer.exit_iteration for answer in model.classify(texts, policy=policy)]
    assert len(set(wanted)) > 1
    beside = model_folder / "integer" / CERTIFICATE_FILE
    with pytest.raises(FileNotFoundError, match=f"policy certified: there is no {beside}"):
        model.classify(texts, policy="certified")
    shutil.copy(kept, beside)
    assert wanted != [answer.exit_iteration for answer in model.classify(texts)]
    for name in ("certified", kept, str(kept), Path(shutil.copy(kept, tmp_path / "kept"))):
        assert [answer.exit_iteration for answer in model.classify(texts, policy=name)] == wanted
    with pytest.raises(ValueError, match="kept is of another backend: golden"):
        model.classify(texts, policy=tmp_path / "kept", backend="float")
    document = json.loads(beside.read_text())
    beside.write_text(json.dumps({**document, "checkpoint_sha256": "0" * 64}))
    with pytest.raises(ValueError, match="is of another checkpoint: 0000"):
        model.classify(texts, policy="certified")
    with pytest.raises(ValueError, match="policy 3 is no ExitPolicy"):
        model.classify(texts, policy=3)  # type: ignore[call-overload]


def test_a_foreign_certificate_is_refused(model_folder):
    assert calibrated(model_folder).exit_code == 0
    place = model_folder / "float" / CERTIFICATE_FILE
    shutil.copy(model_folder / "integer" / CERTIFICATE_FILE, place)
    with pytest.raises(ValueError, match="is of another backend: golden"):
        read_for(place, model_folder, "float")
    document = json.loads(place.read_text())
    document["backend"] = "float"
    place.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="is of another checkpoint"):
        read_for(place, model_folder, "float")
    found = find_certificate(model_folder, "float")
    assert found.certificate is None
    assert "is of another checkpoint" in (found.note or "")
    run = elbert("run", "w1", "--model", model_folder, "--backend", "float", "--policy", "certified")
    assert isinstance(run.exception, ValueError)
    named = elbert("run", "w1", "--model", model_folder, "--backend", "float")
    assert named.exit_code == 0
    assert "is of another checkpoint" in named.stderr


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("risk", 0.001, "p_value is"),
        ("confidence", 0.9999999, "above"),
        ("counts", {"0": 300, "1": 100}, "p_value is"),
        ("counts", {"0": 3, "1": 1}, "400 sentences"),
        ("policy", {"mode": "entropy", "delta": 65536}, "in none of the sequences"),
        ("method", "crc", "method crc with confidence"),
        ("checkpoint_sha256", "abc", "checkpoint_sha256"),
    ],
)
def test_a_certificate_that_contradicts_itself_is_refused(model_folder, key, value, message):
    assert calibrated(model_folder).exit_code == 0
    place = model_folder / "integer" / CERTIFICATE_FILE
    document = json.loads(place.read_text())
    assert Certificate.load(place).model_dump(mode="json") == document
    place.write_text(json.dumps({**document, key: value}))
    with pytest.raises(ValueError, match=message):
        Certificate.load(place)


def test_too_few_sentences_are_full_depth_and_exit_code_1(model_folder):
    result = calibrated(model_folder, "--limit", 58)
    assert type(result.exception).__name__ == "PromiseBroken"
    assert str(result.exception) == (
        "no early exit is certified: 58 sentences, at least 59 are needed for risk 0.05 with confidence 0.95"
    )
    certificate = find_certificate(model_folder, "golden").certificate
    assert certificate is not None
    assert certificate.policy == FixedExitPolicy()
    assert certificate.measured.speedup_iterations == 1
    run = elbert("run", "w1", "--model", model_folder, "--policy", "certified", "--json", model_folder / "o")
    document = json.loads((model_folder / "o").read_text())
    assert document["policy"]["mode"] == "none"
    assert document["certified"] is None
    assert "no early exit is certified" in run.stderr
    assert calibrated(model_folder, "--limit", 59).exit_code in (0, 1)


def test_simulation_and_conformal_risk_control_by_the_command(model_folder):
    out = model_folder / "out.json"
    figure = model_folder / "risks.svg"
    simulated = ("--validate", 200, "--seed", 3)
    assert calibrated(model_folder, *simulated, "--json", out, "--figure", figure).exit_code == 0
    once = figure.read_bytes()
    assert calibrated(model_folder, *simulated, "--figure", figure).exit_code == 0
    assert figure.read_bytes() == once
    document = json.loads(out.read_text())
    assert document["header"]["seed"] == 3
    found = document["validation"]
    assert (found["draws"], found["sentences"]) == (200, 400)
    for way in ("with_replacement", "halves"):
        assert found[way]["holds"]
        assert found[way]["guaranteed"]["violations"] <= found[way]["allowed"]
        for who in WHO:
            risks = dict(found[way][who]["risks"])
            assert sum(risks.values()) == 200
            assert max(risks) == found[way][who]["largest_risk"]
            above = sum(count for risk, count in risks.items() if risk > 0.05)
            assert above == found[way][who]["violations"]
            edges = bins(0.05, max(risks))
            assert edges[0] == 0 <= min(risks) <= max(risks) <= edges[-1]
            place = np.searchsorted(edges, 0.05)
            drawn = np.histogram(list(risks), edges, weights=list(risks.values()))[0]
            assert drawn[place:].sum() == above  # no bar stands on both sides of the risk allowed
    assert calibrated(model_folder, "--method", "crc").exit_code == 0
    certificate = find_certificate(model_folder, "golden").certificate
    assert certificate is not None
    assert certificate.confidence is None
    assert certificate.line == "certified: expected disagreement with full depth <= 5 %, 400 sentences"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--policy", "none"), "policy none has no early exit"),
        (("--policy", "bias_1", "--window", "3,x"), "--window 'x' in '3,x' is not a whole number"),
        (("--policy", "bias_1", "--window", "17"), "17"),
        (("--policy", "bias_1", "--window", "3,4", "--method", "crc"), "crc is for one sequence"),
        (("--loss", "accuracy"), "has no label column"),
        (("--risk", "2"), "risk 2 is not between 0 and 1"),
        (("--figure", "risks.gif", "--validate", "9"), "figure risks.gif ends in '.gif'"),
        (("--figure", "risks.svg"), "--figure risks.svg shows the simulation of --validate N"),
    ],
)
def test_bad_input_is_named(model_folder, options, message):
    result = calibrated(model_folder, *options)
    assert isinstance(result.exception, ValueError)
    assert message in str(result.exception)
    assert not (model_folder / "integer" / CERTIFICATE_FILE).exists()


def test_losses_count_what_they_say():
    answers, full = torch.tensor([[0, 1, 1, 0]]), torch.tensor([0, 0, 1, 1])
    labels = torch.tensor([0, 0, 0, 0])
    assert LOSSES[LossName.disagreement](answers, full).tolist() == [[0, 1, 0, 1]]
    assert LOSSES[LossName.accuracy](answers, full, labels).tolist() == [[0, 1, 0, 0]]
    assert LOSSES[LossName.difference](answers, full, labels).tolist() == [[0, 1, 0, -1]]
    with pytest.raises(ValueError, match="needs the right class"):
        LOSSES[LossName.accuracy](answers, full)
    with pytest.raises(ValueError, match="loss 'x' is not one of"):
        find_loss("x")


def test_families_are_fixed_and_in_whole_register_steps():
    grid = deltas(65536)
    assert grid[:3] == [0, 1, 2]
    assert grid[-1] == 65536
    assert all(1 <= b - a <= max(1, a // 64) for a, b in pairwise(grid))
    for mode in ExitMode:
        if mode == ExitMode.none:
            continue
        for sequence in build_family(mode, 12, 3, windows=(3, 5), margins=(0.1, 0.3)):
            assert len(set(sequence)) == len(sequence)
            for policy in sequence:
                assert canonical(real_policy(policy).to_fixed()) == canonical(policy) == policy
    with pytest.raises(ValueError, match="no early exit in a model of 1 iterations"):
        build_family(ExitMode.bias_1, 1, 2)


def test_sentences_without_classes_have_none_to_count(model_folder):
    source = find_form(model_folder, "golden")
    rows = text_rows(load_texts(model_folder / "held.txt", "dev"), *source.known_classes)
    with pytest.raises(ValueError, match="sentence 1 has no class"):
        labels_of(rows)
    table = source.compute("held", rows)
    with pytest.raises(ValueError, match="needs the right class"):
        apply(table, build_family(ExitMode.patience, 4, 2), LOSSES[LossName.accuracy])
