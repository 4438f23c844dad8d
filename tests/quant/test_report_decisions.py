"""What ``elbert report decisions`` records, computes, draws and writes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from jinja2 import UndefinedError
from typer.testing import CliRunner

from elbert.bundled import BUNDLED
from elbert.cli import build_app
from golden_model.data.tables import TextDataset, load_dataset
from golden_model.evaluation.backends import FloatBackend, open_backend, tokenize
from golden_model.evaluation.score import evaluate
from golden_model.exits import ExitPolicy
from golden_model.files import sha256_of
from golden_model.integer.model import GoldenModel
from golden_model.integer.synthetic import random_sentences
from golden_model.labels import read_label_names
from quant.calibrate import calibrate
from quant.report.decisions.choose import QUADRANTS, evenly, quadrant, shares, spread
from quant.report.decisions.figures import MAX_TOKENS, darkest, decisions, principal_components, robust_limits
from quant.report.decisions.page import policy_line, render_page
from quant.report.decisions.record import FloatRecorder, GoldenRecorder, Recorder, open_recorder
from quant.report.decisions.svg import FIGURES, draw_all
from quant.schemes import Scheme
from quant.style import paper_style

POLICIES = [
    ExitPolicy(mode="none"),
    ExitPolicy(mode="entropy", delta=0.9),
    ExitPolicy(mode="entropy_raw", delta=0.6),
    ExitPolicy(mode="patience", patience=1),
    ExitPolicy(mode="bias_1", delta=0.7, window=2, margin=0.05),
    ExitPolicy(mode="bias_2", delta=0.7, window=2, margin=0.01),
    ExitPolicy(mode="bias_3", delta=0.7, window=2, margin=0.01, range=0.2),
]
WINDOW = POLICIES[4]


@pytest.fixture
def model_folder(float_folder: Path) -> Path:
    """A nano model folder with ``float`` and ``integer``, and its table ``float/dev.tsv``."""
    backend = FloatBackend(float_folder)
    sentences = random_sentences(backend.config, 40, seed=1)
    calibrate(backend.model, sentences, Scheme()).save(
        float_folder.parent / "integer", copy_from=float_folder
    )
    return float_folder.parent


@pytest.fixture(params=["float", "golden"])
def backend_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def recorder(model_folder: Path, backend_name: str) -> Recorder:
    return open_recorder(backend_name, model_folder)


@pytest.fixture
def data(model_folder: Path) -> TextDataset:
    return load_dataset(model_folder / "float")


def describe(recorder: Recorder, data: TextDataset, policy: ExitPolicy = WINDOW, **options) -> dict:
    backend = "golden" if isinstance(recorder, GoldenRecorder) else "float"
    return decisions(recorder, data, policy, backend=backend, model="nano", **options)


# ------------------------------------------------------------------------ recording


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.mode.name)
def test_a_policy_applied_afterwards_decides_as_the_backend_does(
    model_folder: Path, recorder: Recorder, backend_name: str, data: TextDataset, policy: ExitPolicy
) -> None:
    sentences = tokenize(data, recorder)
    expected = open_backend(backend_name, model_folder).answer(sentences, policy)
    found = recorder.answer(sentences, policy)
    assert found.exits.tolist() == expected.exits.tolist()
    assert found.labels.tolist() == expected.labels.tolist()
    if backend_name == "golden":
        assert torch.equal(found.confidences, expected.confidences)
    else:
        # the backend's float32 sums depend on who else is in the batch
        torch.testing.assert_close(found.confidences, expected.confidences, rtol=0, atol=2e-6)


def test_golden_logits_and_states_are_the_golden_models(model_folder: Path, data: TextDataset) -> None:
    recorder = open_recorder("golden", model_folder)
    assert isinstance(recorder, GoldenRecorder)
    sentences = tokenize(data, recorder)
    recorder.answer(sentences, WINDOW)
    recording = recorder.recording
    assert recording is not None
    assert recording.is_integer
    logits = GoldenModel(recorder.model.checkpoint).all_iterations(sentences)
    assert torch.equal(recording.logits, logits.double() / 1024)


def test_states_are_those_the_classifier_reads(recorder: Recorder, data: TextDataset) -> None:
    sentences = tokenize(data, recorder)
    recorder.answer(sentences, WINDOW)
    recording = recorder.recording
    assert recording is not None
    if isinstance(recorder, FloatRecorder):
        logits = recorder.model.classify(recording.hidden.flatten(0, 1).unsqueeze(1)).double()
        torch.testing.assert_close(logits.view_as(recording.logits).float(), recording.logits.float())
    else:  # integers times their scale: close to the float model's states
        folder = FloatRecorder(FloatBackend(Path(data.source).parent))
        folder.answer(sentences, WINDOW)
        assert folder.recording is not None
        true = folder.recording.hidden
        error = (recording.hidden - true).norm() / true.norm()
        assert 0 < error < 0.1


def test_attention_is_a_distribution_over_the_sentences_tokens(recorder: Recorder, data: TextDataset) -> None:
    sentences = tokenize(data, recorder)
    config = recorder.config
    for sentence in sentences[:5]:
        weights = recorder.attention(sentence)
        assert weights.shape == (config.num_hidden_layers, config.num_attention_heads, len(sentence[0]))
        assert bool((weights >= 0).all())
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))


def test_integer_attention_follows_the_float_models(model_folder: Path, data: TextDataset) -> None:
    golden, real = (open_recorder(name, model_folder) for name in ("golden", "float"))
    for sentence in tokenize(data, golden)[:8]:
        difference = (golden.attention(sentence) - real.attention(sentence)).abs().max()
        assert 0 < difference < 0.06


def test_float_attention_agrees_with_transformers(model_folder: Path, data: TextDataset) -> None:
    recorder = open_recorder("float", model_folder)
    assert isinstance(recorder, FloatRecorder)
    ids, types = tokenize(data, recorder)[0]
    with torch.inference_mode():
        albert = recorder.model.model
        output = albert(
            torch.tensor([list(ids)]), token_type_ids=torch.tensor([list(types)]), output_attentions=True
        )
    expected = torch.stack([layer[0, :, 0] for layer in output.attentions]).double()
    torch.testing.assert_close(recorder.attention((ids, types)), expected)


def test_reasons_name_the_stage_that_let_a_sentence_go(recorder: Recorder, data: TextDataset) -> None:
    sentences = tokenize(data, recorder)
    last = recorder.config.num_hidden_layers
    for policy in POLICIES:
        exits = recorder.answer(sentences, policy).exits.tolist()
        assert recorder.recording is not None
        reasons = recorder.recording.reasons(policy)
        for leave, reason in zip(exits, reasons, strict=True):
            assert leave == last or reason != "last"
        if policy.mode.name == "none":
            assert set(reasons) == {"last"}
        if policy.mode.name == "patience":
            assert set(reasons) <= {"patience", "last"}
            assert "patience" in reasons
        if policy.mode.name == "entropy":
            uncertain = recorder.recording.real(recorder.recording.confidence.entropy)
            for row, (leave, reason) in enumerate(zip(exits, reasons, strict=True)):
                assert (reason == "entropy") == bool(uncertain[leave - 1, row] < policy.delta)


def test_a_recording_refuses_other_sentences(recorder: Recorder, data: TextDataset) -> None:
    sentences = tokenize(data, recorder)
    recorder.answer(sentences, WINDOW)
    with pytest.raises(ValueError, match=r"3 sentences, the recording holds 30"):
        recorder.answer(sentences[:3], WINDOW)


def test_a_checkpoint_without_scales_is_refused(model_folder: Path) -> None:
    file = model_folder / "integer" / "integer.json"
    record = json.loads(file.read_text())
    del record["metadata"]["scales"]["iteration.3.hidden"]
    file.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"no scale of iteration\.3\.hidden"):
        open_recorder("golden", model_folder)


# ------------------------------------------------------------------------- choosing


def test_quadrants_are_numbered_as_they_are_named() -> None:
    for a in (True, False):
        for b in (True, False):
            name = f"{'right' if a else 'wrong'}-{'right' if b else 'wrong'}"
            assert QUADRANTS[quadrant(a, b)][0] == name


def test_small_groups_are_taken_whole_and_large_ones_share_the_rest() -> None:
    assert shares([700, 5, 3, 140], 200) == [96, 5, 3, 96]
    assert shares([2, 0, 0, 1], 10) == [2, 0, 0, 1]
    generator = np.random.default_rng(5)
    for _ in range(200):
        sizes, count = generator.integers(0, 30, 4).tolist(), int(generator.integers(1, 80))
        given = shares(sizes, count)
        assert sum(given) == min(count, sum(sizes))
        assert all(part <= size for part, size in zip(given, sizes, strict=True))
        unfinished = [part for part, size in zip(given, sizes, strict=True) if part < size]
        assert not unfinished or max(given) - min(unfinished) <= 1


def test_chosen_rows_follow_the_distribution_of_exits() -> None:
    exits = [1] * 60 + [2] * 30 + [3] * 10
    rows = spread([0] * 100, exits, 20)
    assert len(rows) == len(set(rows)) == 20
    assert rows == sorted(rows)
    assert Counter(exits[row] for row in rows) == {1: 12, 2: 6, 3: 2}
    assert spread([0] * 100, exits, 500) == list(range(100))
    assert evenly([7, 8, 9], 5) == [7, 8, 9]
    assert evenly(range(10), 2) == [2, 7]


# -------------------------------------------------------------------------- numbers


def test_aggregates_agree_with_evaluate_and_with_each_other(
    model_folder: Path, recorder: Recorder, backend_name: str, data: TextDataset
) -> None:
    found = describe(recorder, data)
    expected = evaluate(open_backend(backend_name, model_folder), data, WINDOW)
    for key in ("accuracy", "mean_exit_iteration", "cost", "speedup", "exits"):
        assert found["with_exit"][key] == pytest.approx(expected[key]), key
    right, wrong = found["exits"]["right"], found["exits"]["wrong"]
    assert [a + b for a, b in zip(right, wrong, strict=True)] == expected["exits"]
    assert sum(right) / len(data) == found["with_exit"]["accuracy"]
    counts = [entry["count"] for entry in found["quadrants"]]
    assert sum(counts) == len(data)
    assert (counts[0] + counts[1]) / len(data) == found["with_exit"]["accuracy"]
    assert (counts[0] + counts[2]) / len(data) == found["without_exit"]["accuracy"]
    accuracy = found["accuracy"]
    assert accuracy["all"]["accuracy"] == found["without_exit"]["accuracy_per_iteration"]
    assert accuracy["leaving"]["count"] == expected["exits"]
    for count, share, rights in zip(
        accuracy["leaving"]["count"], accuracy["leaving"]["accuracy"], right, strict=True
    ):
        assert share == (pytest.approx(rights / count) if count else None)
    total = sum(
        count * value
        for count, value in zip(accuracy["leaving"]["count"], accuracy["leaving"]["confidence"], strict=True)
        if count
    )
    assert total / len(data) == pytest.approx(expected["mean_confidence"])


def test_sentences_are_described_one_by_one(recorder: Recorder, data: TextDataset) -> None:
    found = describe(recorder, data, sentences=12)
    assert len(found["sentences"]) == 12
    answers = recorder.answer(tokenize(data, recorder), WINDOW)
    for sentence in found["sentences"]:
        row = sentence["row"]
        assert sentence["text"] == data.texts[row]
        assert sentence["label"] == data.labels[row]
        assert sentence["exit"] == int(answers.exits[row])
        assert sentence["answer"] == int(answers.labels[row])
        probabilities = np.array(sentence["probabilities"])
        assert probabilities.shape == (4, 2)
        assert probabilities.sum(1) == pytest.approx(1, abs=2e-4)
        assert sentence["quadrant"] == quadrant(
            sentence["answer"] == sentence["label"], sentence["last_answer"] == sentence["label"]
        )
    drawn = {s["row"] for s in found["sentences"]}
    assert {entry["row"] for entry in found["attention"]} <= drawn


def test_attention_of_a_long_sentence_sums_what_is_not_shown(model_folder: Path, monkeypatch) -> None:
    from quant.report.decisions import figures

    monkeypatch.setattr(figures, "MAX_TOKENS", 6)
    assert MAX_TOKENS > 6
    recorder, data = open_recorder("float", model_folder), load_dataset(model_folder / "float")
    found = describe(recorder, data, examples=30)
    lengths = [len(ids) for ids, _ in tokenize(data, recorder)]
    long = [entry for entry in found["attention"] if lengths[entry["row"]] > 6]
    assert long
    for entry in found["attention"]:
        weights = np.array(entry["weights"])
        length = lengths[entry["row"]]
        assert weights.shape == (2, 4, min(7, length) if length > 6 else length)
        assert weights.sum(-1) == pytest.approx(1, abs=1e-3)
        assert np.array(entry["mean"]) == pytest.approx(weights.mean(0), abs=1e-4)
    assert long[0]["tokens"][-1] == f"+{lengths[long[0]['row']] - 6} more"


def test_components_are_orthogonal_ordered_and_signed() -> None:
    generator = np.random.default_rng(3)
    axis = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    hidden = generator.normal(size=(5, 40, 6)) * np.array([5.0, 2.0, 0.5, 0.1, 0.1, 0.1]) @ axis.T + 3.0
    points, share = principal_components(hidden)
    flat = points.reshape(-1, 2)
    assert flat.mean(0) == pytest.approx(0, abs=1e-9)
    covariance = flat.T @ flat / len(flat)
    assert covariance[0, 1] == pytest.approx(0, abs=1e-9)
    total = hidden.reshape(-1, 6).var(0).sum()
    assert share == pytest.approx(np.diag(covariance) / total)
    assert share[0] > share[1] > 0
    turned, _ = principal_components(hidden[:, ::-1])
    assert turned[:, ::-1] == pytest.approx(points)
    flat_share = principal_components(np.ones((2, 3, 4)))[1]
    assert flat_share.tolist() == [0, 0]


@pytest.mark.parametrize(("name", "value"), [("sentences", 0), ("examples", 0)])
def test_bounds_are_named(recorder: Recorder, data: TextDataset, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} 0 is below 1"):
        describe(recorder, data, **{name: value})


# ------------------------------------------------------------------- pictures and page


def test_the_same_data_give_the_same_bytes(model_folder: Path, data: TextDataset, tmp_path: Path) -> None:
    found = describe(open_recorder("float", model_folder), data)
    for folder in ("a", "b"):
        files = draw_all(found, tmp_path / folder)
        assert [file.stem for file in files] == list(FIGURES)
    for name in FIGURES:
        first = (tmp_path / "a" / f"{name}.svg").read_bytes()
        assert first == (tmp_path / "b" / f"{name}.svg").read_bytes()
        assert b"<path" in first
        assert b"dc:date" not in first
        assert str(tmp_path).encode() not in first


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.mode.name)
def test_every_policy_and_text_can_be_shown(
    recorder: Recorder, data: TextDataset, policy: ExitPolicy
) -> None:
    hostile = [
        "$w1 w2$ \\frac",
        "</script><b>w3</b> & \u2028\u2029",
        "w4 € 🙂 [/b] {{ w5 }} <!-- \x00",
    ]
    data.texts[:3] = hostile
    found = describe(recorder, data, policy)
    with paper_style():
        for name in ("trajectories", "quadrants"):  # the others do not depend on the policy
            FIGURES[name](found).draw_without_rendering()
    page = render_page(found)
    assert page.count("</script>") == 2
    assert "<b>w3" not in page
    start = page.index('id="data">') + len('id="data">')
    embedded = json.loads(page[start : page.index("</script>", start)])
    assert embedded == json.loads(json.dumps(found))


def test_names_of_all_kinds_are_text(recorder: Recorder, data: TextDataset) -> None:
    attack = "</script><i>x</i>\"' [/b] 🙂"
    found = decisions(
        recorder, data, WINDOW, backend="float", model=attack, class_names=[attack, "up"], task=attack
    )
    found["data"]["source"] = attack
    page = render_page(found)
    assert page.count("</script>") == 2
    assert "<i>" not in page
    assert "&lt;/script&gt;&lt;i&gt;" in page  # as text


def test_colours_end_where_most_words_do() -> None:
    weights = torch.full((4, 30), 0.01, dtype=torch.float64)
    weights[:, 0] = 0.7  # [CLS] itself
    weights[2, 5:10] = torch.tensor([0.04, 0.05, 0.06, 0.07, 0.5])
    special = [True, *[False] * 28, True]
    top = darkest(weights, special)
    assert top == round(float(weights[:, 1:29].quantile(0.98)), 4)
    assert 0.01 < top < 0.07
    assert darkest(weights, [True] * 30) == pytest.approx(0.7)  # no words: all count
    assert darkest(torch.zeros(2, 3), [False] * 3) > 0


def test_limits_leave_out_what_is_far_off() -> None:
    points = np.stack([np.linspace(-1, 1, 1000), np.linspace(0, 4, 1000)], axis=1)
    points[0] = [-500, 900]
    (left, right), (lower, upper) = robust_limits(points.reshape(10, 100, 2))
    assert -1.2 < left < -0.99 < 0.99 < right < 1.2
    assert -0.3 < lower < 0.03 < 3.97 < upper < 4.3
    (left, right), _ = robust_limits(np.zeros((3, 4, 2)))
    assert left < 0 < right


def test_formulas_in_a_sentence_are_drawn_as_text(
    model_folder: Path, data: TextDataset, tmp_path: Path
) -> None:
    data.texts[:] = ["$w1 w2$ \\frac{ $w3"] * len(data)
    found = describe(open_recorder("float", model_folder), data, examples=1)
    found["attention"][0]["tokens"][1] = "$\\frac{"
    with paper_style():
        FIGURES["attention"](found).draw_without_rendering()


def test_a_page_names_no_address_to_fetch(recorder: Recorder, data: TextDataset) -> None:
    page = render_page(describe(recorder, data))
    outside = [
        word for word in ("https://", "http://") if word in page.replace("http://www.w3.org/2000/svg", "")
    ]
    assert outside == []
    assert "@import" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_a_page_needs_all_its_numbers(recorder: Recorder, data: TextDataset) -> None:
    found = describe(recorder, data)
    del found["with_exit"]["cost"]
    with pytest.raises(UndefinedError, match="cost"):
        render_page(found)


def test_policy_lines_hold_what_the_mode_uses() -> None:
    lines = [policy_line(policy.model_dump()) for policy in POLICIES]
    assert lines == [
        "none",
        "entropy, delta 0.9",
        "entropy_raw, delta 0.6",
        "patience, patience 1",
        "bias_1, delta 0.7, window 2, margin 0.05",
        "bias_2, delta 0.7, window 2, margin 0.01",
        "bias_3, delta 0.7, window 2, margin 0.01, range 0.2",
    ]


# -------------------------------------------------------------------------- command


def run(*arguments: str | Path) -> tuple[int, str, BaseException | None]:
    """Exit code, output and exception of ``report decisions``."""
    app = build_app()
    app.callback()(lambda: None)
    result = CliRunner().invoke(app, ["report", "decisions", *map(str, arguments)])
    return result.exit_code, result.output, result.exception


def test_the_command_writes_page_pictures_and_numbers(
    model_folder: Path, backend_name: str, tmp_path: Path
) -> None:
    page, pictures, numbers = tmp_path / "out" / "page.html", tmp_path / "svg", tmp_path / "d.json"
    code, text, _ = run(
        model_folder / "float" / "dev.tsv", "--model", model_folder, "--backend", backend_name, "--limit", 20,
        "--policy", "bias_1", "--window", 2, "--margin", 0.05, "--delta", 0.7, "--output", page,
        "--svg", pictures, "--json", numbers, "--sentences", 10, "--examples", 2,
    )  # fmt: skip
    assert code == 0, text
    assert "projection.svg" in text
    assert sorted(p.stem for p in pictures.iterdir()) == sorted(FIGURES)
    found = json.loads(numbers.read_text())
    tensors = "float/model.safetensors" if backend_name == "float" else "integer/integer.safetensors"
    assert found["header"]["checkpoint_sha256"] == sha256_of(model_folder / tensors)
    assert found["data"]["sentences"] == found["with_exit"]["samples"] == 20
    assert (len(found["sentences"]), len(found["attention"])) == (10, 2)
    assert found["backend"] == backend_name
    assert found["policy"]["length"] == 2
    assert f"{100 * found['with_exit']['accuracy']:.2f} %" in page.read_text()


def test_a_folder_holds_the_page_under_its_own_name(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    common = (
        model_folder / "float" / "dev.tsv", "--model", model_folder, "--limit", "5", "--sentences", "5",
        "--examples", "1",
    )  # fmt: skip
    for output, page in (("there", "there/decisions.html"), ("new/", "new/decisions.html"), ("new", None)):
        figures = ("--figures", "pdf,png") if output == "there" else ()  # seconds each time
        code, text, error = run(*common, "--output", output, *figures)
        assert code == 0, error
        assert Path(page or "new/decisions.html").is_file()
    assert {path.suffix for path in Path("there").iterdir()} == {".html", ".pdf", ".png"}
    code, text, error = run(*common, "--output", "as.html", "--policy", "bias_1", "--window", "9")
    assert code == 0, error
    assert Path("as.html").is_file()
    assert "window 9 is not shorter than the model's 4 iterations" in text
    for arguments, message in (
        (("--json", "there"), "--json there is a folder; name a file in it"),
        (("--svg", "as.html"), "--svg as.html: as.html is a file, not a folder"),
        (("--output", "as.html/p.html"), "--output as.html: as.html is a file, not a folder"),
        (("--figures", "gif"), "'gif' is not one of svg, png, pdf"),
    ):
        _, _, error = run(*common, *arguments)
        assert isinstance(error, ValueError)
        assert message in str(error)


def test_classes_of_a_table_are_found_by_name(model_folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "my.tsv"
    lines = (model_folder / "float" / "dev.tsv").read_text().splitlines()
    table.write_text("\n".join([lines[0], *(f"{x[:-1]}{'BA'[int(x[-1])]}" for x in lines[1:])]) + "\n")
    results = []
    for names in (["a", "b"], ["b", "a"]):
        for place in (model_folder, model_folder / "integer"):
            (place / "labels.json").write_text(json.dumps(names))
        numbers = tmp_path / f"{names[0]}.json"
        code, _, error = run(
            table, "--model", model_folder, "--output", tmp_path / "p.html", "--json", numbers, "--quiet"
        )
        assert code == 0, error
        results.append(json.loads(numbers.read_text()))
    one, two = results
    assert [each["model"]["classes"] for each in results] == [["a", "b"], ["b", "a"]]
    assert one["with_exit"]["accuracy"] == pytest.approx(1 - two["with_exit"]["accuracy"])
    assert one["sentences"][0]["label"] == 1 - two["sentences"][0]["label"]
    for found in results:
        right = sum(found["exits"]["right"]) / found["data"]["sentences"]
        assert right == pytest.approx(found["with_exit"]["accuracy"])


def test_a_task_is_read_by_its_name(model_folder: Path, tmp_path: Path, monkeypatch) -> None:
    root = tmp_path / "data"
    (root / "SST-2").mkdir(parents=True)
    (root / "SST-2" / "dev.tsv").write_bytes((model_folder / "float" / "dev.tsv").read_bytes())
    monkeypatch.setenv("ELBERT_DATA", str(root))
    numbers = tmp_path / "d.json"
    code, text, _ = run(
        "--task",
        "sst2",
        "--model",
        model_folder,
        "--output",
        tmp_path / "p.html",
        "--json",
        numbers,
        "--quiet",
    )
    assert (code, text) == (0, "")
    found = json.loads(numbers.read_text())
    assert found["data"]["task"] == "sst2"
    assert found["model"]["classes"] == ["negative", "positive"]
    assert (tmp_path / "exits.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either a table or --task, not neither"),
        (["dev.tsv", "--task", "sst2"], "either a table or --task, not both"),
        (["--task", "sst3"], "task 'sst3'"),
        (["none.tsv"], "none.tsv"),
        (["none.tsv", "--policy", "bias_4"], "mode 'bias_4'"),
    ],
)
def test_wrong_usage_is_named_and_writes_nothing(tmp_path: Path, arguments: list[str], message: str) -> None:
    code, _, error = run(*arguments, "--output", tmp_path / "new" / "p.html", "--quiet")
    assert code != 0
    assert isinstance(error, ValueError | OSError)
    assert message in str(error)
    assert not (tmp_path / "new").exists()


def test_class_names_come_from_the_model_folder(tmp_path: Path) -> None:
    assert read_label_names(BUNDLED) == read_label_names(BUNDLED / "float") == ["negative", "positive"]
    assert read_label_names(tmp_path / "a" / "b") is None
