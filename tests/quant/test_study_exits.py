"""The exit study's arithmetic: sweeps, halves, picks and results, against slow forms and known answers."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from golden_model.data.metrics import METRICS, scores
from golden_model.data.tables import TextDataset
from golden_model.exits import AnyPolicy, Confidence, ExitMode, ExitPolicy, exit_iterations
from golden_model.integer.confidence import integer_confidence
from golden_model.numerics import LOGIT_FRACTION_BITS
from quant.studies.exits.comparison import BUDGETS, CURVE, LOSSES, Runner
from quant.studies.exits.contenders import Contender, find_contenders, find_sweeps
from quant.studies.exits.figures import draw
from quant.studies.exits.grids import Setting, fine_deltas, grid
from quant.studies.exits.picking import (
    Judge,
    best_at,
    cross_fit,
    fastest,
    half_splits,
    resamples,
)
from quant.studies.exits.points import COLUMNS, pareto, write_csv
from quant.studies.exits.quantisation import exit_confusion
from quant.studies.exits.rows import Rows
from quant.studies.exits.run import Options, study
from quant.studies.exits.sweep import Outcomes, cut, exits_of, oracle, sweep
from quant.studies.exits.table import DTYPES, Facts, LogitTable

ROWS = "ab" * 32
ONE_LOGIT = 1 << LOGIT_FRACTION_BITS


def make_table(name: str, logits: Tensor, backend: str = "float", **facts: Any) -> LogitTable:
    """A table of logits in nat [I, N, C]; for golden in the exit unit's integers."""
    unit = ONE_LOGIT if backend == "golden" else 1
    iterations, samples, classes = logits.shape
    values: dict[str, Any] = {
        "name": name,
        "backend": backend,
        "task": "sst2",
        "iterations": iterations,
        "samples": samples,
        "classes": classes,
        "checkpoint_sha256": "cd" * 32,
        "data_sha256": "ef" * 32,
        "rows_sha256": ROWS,
        "layer_macs": 1000.0,
        "exit_macs": [10.0] * iterations,
    }
    stored = (logits.double() * unit).round() if backend == "golden" else logits
    return LogitTable(Facts.model_validate(values | facts), stored.to(DTYPES[backend]))


def with_answers(table: LogitTable, *macs: float) -> LogitTable:
    """The table with the multiply-adds of its answers, one of every iteration or one for all."""
    answers = list(macs) if len(macs) > 1 else list(macs) * table.facts.iterations
    facts = Facts.model_validate(table.facts.model_dump() | {"answer_macs": answers})
    return replace(table, facts=facts)


def random_table(
    seed: int, iterations: int = 6, samples: int = 30, classes: int = 2, **rest: Any
) -> LogitTable:
    """Logits that wander from iteration to iteration, so that windows fire, break and fire again."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn((iterations, samples, classes), generator=generator)
    return make_table("elbert", steps.cumsum(0), **rest)


def make_rows(labels: Tensor, classes: int = 2) -> Rows:
    """Sentences without text: the study reads their labels only."""
    names = [str(i) for i in range(classes)]
    data = TextDataset([""] * len(labels), None, labels.tolist(), names, "made up", "ef" * 32)
    return Rows.of(data)


# ------------------------------------------------------------------------------------------------- sweeps

POLICIES = st.builds(
    lambda mode, delta, window, margin, value_range, patience: ExitPolicy(
        mode=mode, delta=delta, window=window, margin=margin, range=value_range, patience=patience
    ),
    st.sampled_from(list(ExitMode)),
    st.floats(0, 1),
    st.integers(1, 8),
    st.floats(0, 0.5),
    st.floats(0, 1),
    st.integers(0, 8),
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 3]), st.lists(POLICIES, min_size=1, max_size=12))
def test_many_policies_at_once_equal_them_one_by_one(
    seed: int, classes: int, policies: list[ExitPolicy]
) -> None:
    for backend in DTYPES:
        table = random_table(seed, classes=classes, backend=backend)
        applied: list[AnyPolicy] = [table.policy(policy) for policy in policies]
        got = exits_of(applied, table.confidence)
        for row, policy in zip(got, applied, strict=True):
            assert torch.equal(row.long(), exit_iterations(policy, table.confidence))


@pytest.mark.parametrize("backend", sorted(DTYPES))
def test_a_sweep_answers_what_the_iteration_of_the_exit_says(backend: str) -> None:
    table = random_table(3, backend=backend)
    chosen = grid(ExitMode.bias_2, 6, 2)[::97]
    outcomes = sweep(table, chosen)
    for setting, exits, answers in zip(chosen, outcomes.exits, outcomes.answers, strict=True):
        assert setting.policy is not None
        if backend == "golden":
            trajectory = integer_confidence(table.logits)
            expected = exit_iterations(setting.policy.to_fixed(), trajectory)
        else:
            trajectory = Confidence.from_logits(table.logits.double())
            expected = exit_iterations(setting.policy, trajectory)
        assert torch.equal(exits.long(), expected)
        for sentence, (at, answer) in enumerate(zip(exits.tolist(), answers.tolist(), strict=True)):
            assert answer == int(table.logits[at - 1, sentence].argmax())
    with pytest.raises(ValueError, match="without policy"):
        sweep(table, [Setting(iterations=3)])


def test_distinct_settings_keep_the_first_of_equals() -> None:
    table = random_table(5)
    outcomes = sweep(table, grid(ExitMode.bias_3, 6, 2))
    kept = outcomes.distinct()
    assert 1 < len(kept) < len(outcomes)
    treated = [bytes(row) for row in outcomes.exits.tolist()]
    assert len(set(treated)) == len(kept)
    for setting, exits in zip(kept.settings, kept.exits.tolist(), strict=True):
        assert setting == outcomes.settings[treated.index(bytes(exits))]


def test_the_oracle_leaves_at_the_first_right_answer_and_bounds_every_policy() -> None:
    table = random_table(8, samples=60)
    labels = torch.arange(60) % 2
    bound = oracle(table, labels)
    right = table.logits.argmax(-1) == labels
    for sentence in range(60):
        hits = right[:, sentence].nonzero().flatten().tolist()
        assert int(bound.exits[0, sentence]) == (hits[0] + 1 if hits else 6)
        assert (int(bound.answers[0, sentence]) == int(labels[sentence])) == bool(hits)
    reached = (bound.answers == labels).double().mean(1)
    assert bool((reached[2:] >= reached[1:-1]).all())
    assert float(reached[0]) == float(reached[-1]) == float(right.any(0).double().mean())
    costs = bound.costs.mean(1)
    swept = sweep(table, grid(ExitMode.entropy, 6, 2))
    for cost, score in zip(swept.costs.mean(1), (swept.answers == labels).double().mean(1), strict=True):
        # a limited oracle that is no dearer and at least as good as the next cheaper one
        able = reached[1:][costs[1:] >= cost]
        assert float(score) <= float(able.max() if len(able) else reached[-1]) + 1e-12


def test_cut_alberts_answer_by_their_last_iteration_and_count_one_head() -> None:
    whole, half = random_table(1, iterations=6), random_table(2, iterations=3)
    outcomes = cut([whole, half], 6)
    assert [setting.as_dict() for setting in outcomes.settings] == [{"iterations": 3}, {"iterations": 6}]
    assert torch.equal(outcomes.answers[0].long(), half.logits[-1].argmax(-1))
    assert outcomes.exits[:, 0].tolist() == [3, 6]
    assert outcomes.costs.mean(1).tolist() == pytest.approx([3010 / 6010, 1.0])
    saving = cut([whole, with_answers(random_table(2, iterations=6), 250.0)], 6)
    assert saving.costs[-1, 0] == pytest.approx(5260 / 6010)  # the last iteration computes its answer alone
    exits = sweep(whole, grid(ExitMode.patience, 6, 2)[-1:])
    assert float(exits.macs(torch.tensor([6]))[0]) == pytest.approx(6060 / 6010)


def test_grids_are_what_the_policies_allow() -> None:
    assert [setting.policy.patience for setting in grid(ExitMode.patience, 12, 2) if setting.policy] == list(
        range(12)
    )
    deltas = fine_deltas(1.0)
    assert deltas == sorted(set(deltas))
    assert deltas[0] == pytest.approx(1e-4)
    assert deltas[-1] == 1.0
    # stage 1 of a window policy is as fine as alone where it decides
    for mode in (ExitMode.bias_1, ExitMode.bias_2, ExitMode.bias_3):
        found = sorted({s.policy.delta for s in grid(mode, 12, 2) if s.policy and s.policy.delta >= 0.2})
        assert max(b - a for a, b in pairwise(found)) <= 1 / 160 + 1e-12
    for mode in ExitMode:
        found = grid(mode, 4, 8)
        assert len(set(found)) == len(found) > 0
        assert all(setting.variant == mode.name for setting in found)
        assert all(setting.policy is not None and setting.policy.window <= 4 for setting in found)


# ------------------------------------------------------------------------------------------------ picking


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=60), st.integers(0, 99))
def test_halves_are_disjoint_whole_and_stratified(labels: list[int], seed: int) -> None:
    right = torch.tensor(labels)
    halves = half_splits(right, 7, seed)
    assert torch.equal(halves, half_splits(right, 7, seed))
    for half in halves:
        assert abs(2 * int(half.sum()) - len(labels)) <= 1
        for group in right.unique():
            assert abs(2 * int(half[right == group].sum()) - int((right == group).sum())) <= 1
    judge = Judge(right, 4, "accuracy", halves, resamples(len(labels), 2, seed))
    sides = judge.sides().view(7, 2, -1)
    assert bool((sides.sum(1) == 1).all())  # each sentence on exactly one side of each split


def test_halves_differ_between_splits_and_seeds() -> None:
    labels = torch.arange(40) % 2
    one, two = half_splits(labels, 3, 0), half_splits(labels, 3, 1)
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one, two)
    with pytest.raises(ValueError, match="splits 0 is below 1"):
        half_splits(labels, 0, 0)
    with pytest.raises(ValueError, match="1 sentences"):
        half_splits(labels[:1], 1, 0)
    with pytest.raises(ValueError, match="bootstrap 0 is below 1"):
        resamples(5, 0, 0)


def test_resamples_draw_as_many_as_there_are() -> None:
    weights = resamples(30, 200, 4)
    assert torch.equal(weights.sum(1), torch.full((200,), 30.0, dtype=torch.float64))
    assert torch.equal(weights, resamples(30, 200, 4))
    assert float(weights.mean(0).std()) < 0.2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_picks_equal_a_search_by_hand(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    found = torch.randint(0, 5, (9, 4), generator=generator).double() / 4
    costs = torch.randint(1, 5, (9, 4), generator=generator).double() / 4
    floor = torch.rand(4, generator=generator).double() * 1.2
    quick, good = fastest(found, costs, floor), best_at(found, costs, 0.5)
    for half in range(4):
        able = [i for i in range(9) if found[i, half] >= floor[half]]
        best = min(able, key=lambda i: (float(costs[i, half]), -float(found[i, half]), i), default=-1)
        assert int(quick[half]) == best
        able = [i for i in range(9) if 0.4 <= costs[i, half] <= 0.5]
        able = able or [i for i in range(9) if costs[i, half] <= 0.5]
        best = min(able, key=lambda i: (-float(found[i, half]), float(costs[i, half]), i), default=-1)
        assert int(good[half]) == best


def test_a_setting_is_only_used_on_the_half_that_did_not_pick_it() -> None:
    exits = torch.tensor([[1] * 6, [2] * 6, [3] * 6], dtype=torch.uint8)
    outcomes = Outcomes([Setting()] * 3, exits, exits, 3, torch.ones(3, dtype=torch.float64))
    halves = half_splits(torch.tensor([0, 0, 0, 1, 1, 1]), 2, 0)
    fit = cross_fit(outcomes, torch.tensor([0, 1, 2, 0]), halves)
    assert fit is not None
    assert torch.equal(fit.exits[0], torch.where(halves[0], 2, 1).to(torch.uint8))
    assert torch.equal(fit.exits[1], torch.where(halves[1], 1, 3).to(torch.uint8))
    assert cross_fit(outcomes, torch.tensor([0, 1, -1, 0]), halves) is None


@pytest.mark.parametrize("metric", METRICS)
def test_error_of_a_difference_is_that_of_resampling(metric: str) -> None:
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(0, 2, (600,), generator=generator)
    full = torch.where(torch.rand(600, generator=generator) < 0.9, labels, 1 - labels)
    answers = torch.stack(
        [full, *(torch.where(torch.rand(600, generator=generator) < p, full, 1 - full) for p in (0.98, 0.9))]
    )
    judge = Judge(labels, 2, metric, half_splits(labels, 1, 0), resamples(600, 4000, 1))
    once = torch.ones(1, 600, dtype=torch.float64)
    found = judge.paired_error(answers.to(torch.uint8), full.to(torch.uint8), once)[:, 0]
    resampled = judge.score(answers, judge.weights) - judge.score(full.unsqueeze(0), judge.weights)
    assert float(found[0]) == 0
    torch.testing.assert_close(found[1:], resampled.std(1)[1:], rtol=0.06, atol=0)
    if metric == "accuracy":
        moved = (answers == labels).double() - (full == labels).double()
        torch.testing.assert_close(found, moved.std(1, correction=0) / 600**0.5)


def test_cautious_picks_lose_less_on_the_other_half() -> None:
    """The faster a setting, the more answers it spoils: the fastest that seems to spoil none was lucky."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 2, (400,), generator=generator)
    full = torch.where(torch.rand(400, generator=generator) < 0.05, 1 - labels, labels)
    early = torch.rand(300, 400, generator=generator) < torch.linspace(0, 1, 300).unsqueeze(1)
    spoilt = early & (torch.rand(300, 400, generator=generator) < 0.05)
    answers = torch.where(spoilt, 1 - labels, full).to(torch.uint8)
    exits = torch.where(early, 1, 4).to(torch.uint8)
    shares = torch.arange(1, 5, dtype=torch.float64) / 4
    outcomes = Outcomes([Setting()] * 300, exits, answers, 4, shares)
    judge = Judge(labels, 2, "accuracy", half_splits(labels, 20, 0), resamples(400, 10, 0))
    lost, speed = [], []
    for caution in (0.0, 1.0, 2.0):
        result = Runner(
            Contender("elbert", "elbert", outcomes, full.to(torch.uint8)), judge, caution
        ).at_loss(1.0)
        assert result is not None
        lost.append(float(judge.score(full.unsqueeze(0))[0] - result.scores.mean()))
        speed.append(result.reached["speedup_iterations"])
    assert lost[0] > lost[1] > lost[2]
    assert lost[0] > 0.02 > lost[2]
    assert speed[0] > speed[1] > speed[2] > 1


# ------------------------------------------------------------------------------------- a case with an answer

SENTENCES = 80
DEPTH = 4


FULL = DEPTH * 1000 + 10
"""Multiply-adds of plain ALBERT with all rows, which costs are shares of."""

LEAVING = {1: 260, 2: 1270, 3: 2280, 4: 3290}
"""Those of leaving after an iteration: whole ones of 1000, an answer of 250, as many exits of 10."""


def known_tables() -> tuple[dict[str, LogitTable], TextDataset]:
    """Half of the sentences are right and sure from iteration 1, half wrong and unsure there, right after it.

    Leaving as early as confidence allows takes 1.5 iterations and costs no point; patience needs 2.5.
    """
    labels = torch.arange(SENTENCES) % 2
    hard = torch.arange(SENTENCES) % 4 >= 2
    side = torch.where(labels == 1, 1.0, -1.0)
    first = torch.where(hard, -0.2 * side, 8 * side)
    lead = torch.stack([first, *([8 * side] * (DEPTH - 1))])
    logits = torch.stack([-lead / 2, lead / 2], -1)
    tables = [
        make_table("elbert", logits),
        make_table("pabee", logits, added_parameters=7),
        make_table("albert-1", logits[:1]),
        make_table("albert-2", logits[:2]),
        make_table("albert-4", logits, training={"seconds": 3.5}),
        make_table("elbert-float", logits),
        make_table("elbert-golden", logits, "golden"),
    ]
    return {table.facts.name: with_answers(table, 250.0) for table in tables}, make_rows(labels)


@pytest.fixture(scope="module", params=["accuracy", "f1", "mcc"])
def known(request: pytest.FixtureRequest) -> dict[str, Any]:
    tables, data = known_tables()
    return study("sst2", request.param, data, tables, Options(splits=6, bootstrap=50))


def test_headline_of_the_known_case(known: dict[str, Any]) -> None:
    assert known["accuracy_full"] == known["accuracy_albert"] == 1.0
    early = (LEAVING[1] + LEAVING[2]) / 2
    patient = (LEAVING[2] + LEAVING[3]) / 2
    for key in LOSSES:
        entries = known["headline"][key]
        for name in ("elbert", "elbert-bias_1", "elbert-entropy", "elbert-golden"):
            assert entries[name]["speedup_macs"] == pytest.approx(FULL / early)
            assert entries[name]["cost_macs"] == pytest.approx(early / FULL)
            assert entries[name]["speedup_iterations"] == pytest.approx(DEPTH / 1.5)
            assert entries[name]["cost_iterations"] == pytest.approx(1.5 / DEPTH)
            assert entries[name]["mean_exit"] == 1.5
            assert entries[name]["accuracy"] == 1.0
            assert entries[name]["points_lost"] == entries[name]["points_lost_albert"] == 0.0
            assert entries[name]["interval"]["speedup_macs"] == pytest.approx([FULL / early] * 2)
            assert entries[name]["interval"]["speedup_iterations"] == pytest.approx([DEPTH / 1.5] * 2)
        assert entries["elbert-all-rows"]["speedup_macs"] == pytest.approx(FULL / ((1010 + 2020) / 2))
        assert entries["elbert-all-rows"]["speedup_iterations"] == pytest.approx(DEPTH / 1.5)
        for name in ("pabee", "elbert-patience"):
            assert entries[name]["speedup_macs"] == pytest.approx(FULL / patient)
            assert entries[name]["speedup_iterations"] == pytest.approx(DEPTH / 2.5)
        assert entries["albert"]["speedup_macs"] == pytest.approx(FULL / (1000 + 250 + 10))
        assert entries["albert"]["speedup_iterations"] == pytest.approx(2.0)
        for name, middle in (("speedup_macs", FULL / early), ("speedup_iterations", DEPTH / 1.5)):
            low, high = entries["elbert"]["interval_sentences"][name]
            assert low < middle < high


def test_equal_cost_of_the_known_case(known: dict[str, Any]) -> None:
    unit = {"accuracy": 0.5, "f1": 0.5, "mcc": 0.0}[known["metric"]]
    twice, thrice = known["at_cost"]["2x"], known["at_cost"]["3x"]
    # 2.26 times as fast in multiply-adds, 1.6 times in iterations: the budget is of the former
    assert twice["pabee"]["speedup_macs"] == pytest.approx(FULL / 1775)
    assert twice["pabee"]["exits"] == [0, 0.5, 0.5, 0]
    assert thrice["elbert"]["accuracy"] == 1.0
    assert thrice["elbert"]["difference"] is None
    assert thrice["elbert"]["exits"] == [0.5, 0.5, 0, 0]
    assert thrice["pabee"]["accuracy"] == pytest.approx(unit)  # all leave at once: the hard half is wrong
    assert thrice["pabee"]["difference"]["points"] == pytest.approx(100 * (1 - unit))
    assert thrice["pabee"]["difference"]["cost_macs"] == pytest.approx((765 - 260) / FULL)
    low, high = thrice["pabee"]["difference"]["interval"]
    assert 0 < low < 100 * (1 - unit) < high
    assert thrice["albert"]["difference"]["points"] == 0.0
    assert thrice["albert"]["picked"] == [{"variant": "cut", "settings": {"iterations": 2}, "share": 1.0}]
    assert known["at_cost"]["4x"]["albert"]["accuracy"] == pytest.approx(unit)
    assert known["at_cost"]["4x"]["elbert-all-rows"] is None  # 4010 / 1010 is below 4
    assert known["at_cost"]["10x"]["elbert"]["speedup_macs"] == pytest.approx(FULL / LEAVING[1])
    assert set(known["at_cost"]["16x"].values()) == {None}
    assert known["equal_cost"]["3x"]["elbert"] == 1.0
    told = "\n".join(known["verdict"])
    assert "above PABEE at 3x: 100.0 against" in told
    assert "\nnot above ALBERT, cut at 3x: 100.0 against 100.0" in told
    assert "asked for 4x: ELBERT 100.0 at 5.24x, ELBERT, all rows not so fast" in told
    assert set(known["missing"]) == {"deebert", "fastbert", "albert-3"}
    assert "not compared, no logits" in known["verdict"][-1]
    assert known["reference"] == {
        "macs": FULL, "macs_answer_first": 3260, "cost_macs_answer_first": pytest.approx(3260 / FULL),
    }  # fmt: skip


def test_points_and_curves_of_the_known_case(known: dict[str, Any], tmp_path: Path) -> None:
    points = known["points"]
    assert {(p["method"], p["backend"]) for p in points} == {
        ("elbert", "float"), ("pabee", "float"), ("albert", "float"), ("oracle", "float"),
        ("elbert-float", "float"), ("elbert-golden", "golden"),
    }  # fmt: skip
    for point in points:
        for unit in ("macs", "iterations"):
            assert point[f"speedup_{unit}"] == pytest.approx(1 / point[f"cost_{unit}"])
        assert point["mean_exit"] == pytest.approx(point["cost_iterations"] * DEPTH)
        assert point["pareto"] == ("interval" in point)
    bias = [p for p in points if p["method"] == "elbert" and p["variant"] == "bias_1" and p["pareto"]]
    assert sorted(p["cost_macs"] for p in bias) == pytest.approx([260 / FULL, 765 / FULL])
    assert known["oracle"]["accuracy"] == 1.0
    assert known["oracle"]["mean_exit"] == 1.5
    assert known["oracle"]["cost_macs"] == pytest.approx(765 / FULL)
    curve = known["curves"]["elbert"]
    assert [p["asked"] for p in curve] == [s for s in CURVE if s <= FULL / LEAVING[1]]
    assert [p["points_lost"] for p in curve] == pytest.approx([100 * (1 - p["accuracy"]) for p in curve])
    for point in curve:
        assert point["mean_exit"] == pytest.approx(DEPTH / point["speedup_iterations"])
    write_csv(tmp_path / "points.csv", points)
    rows = list(csv.DictReader((tmp_path / "points.csv").open()))
    assert len(rows) == len(points)
    assert tuple(rows[0])[: len(COLUMNS)] == COLUMNS
    for row, point in zip(rows, points, strict=True):
        assert json.loads(row["settings"]) == point["settings"]
        assert float(row["score"]) == point["score"]
        assert (row["score_low"] != "") == point["pareto"]


def test_quantisation_of_equal_logits_moves_nothing(known: dict[str, Any]) -> None:
    found = known["quantisation"]
    assert (found["float"], found["golden"]) == ("elbert-float", "elbert-golden")
    assert found["logits"]["answer_flips"] == [0.0] * DEPTH
    for family in found["families"].values():
        for entry in family.values():
            assert entry["answer_flips"] == 0.0
            assert torch.tensor(entry["nearest"]["confusion"]).sum() == SENTENCES
    # near a speedup in multiply-adds
    nearest = {key: found["families"]["bias_1"][key]["nearest"] for key in ("2x", "5x")}
    assert nearest["5x"]["confusion"] == [[40, 0, 0, 0], [0, 40, 0, 0], [0] * 4, [0] * 4]
    assert nearest["5x"]["speedup_macs_float"] == pytest.approx(FULL / 765)
    assert nearest["2x"]["confusion"] == [[0] * 4, [0, 40, 0, 0], [0, 0, 40, 0], [0] * 4]


@pytest.mark.parametrize("known", ["accuracy"], indirect=True)
def test_figures_are_drawn_and_the_same_every_time(known: dict[str, Any], tmp_path: Path) -> None:
    first = draw(known, tmp_path / "one")
    second = draw(known, tmp_path / "two")
    assert {path.name for path in first} == {
        f"{name}.{suffix}"
        for name in ("pareto", "differences", "exits", "quantisation")
        for suffix in ("svg", "png")
    }
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
    drawn = (tmp_path / "one" / "pareto.svg").read_text()
    assert drawn.count("<path") > 50


# ------------------------------------------------------------------------------------------------- results


def test_points_are_the_scores_of_their_answers() -> None:
    labels = torch.arange(50) % 3
    tables = {"elbert": random_table(21, samples=50, classes=3)}
    result = study("trec", "mcc", make_rows(labels, 3), tables, Options(splits=2, bootstrap=5))
    swept, twin = find_sweeps(tables)
    assert (twin.method, twin.twin, swept.twin) == ("elbert-all-rows", True, False)
    assert {point["method"] for point in result["points"]} == {"elbert", "oracle"}
    for row in range(0, len(swept.outcomes), 501):
        point, answers = result["points"][row], swept.outcomes.answers[row].long()
        direct = scores(answers, labels, 3)
        assert point["settings"] == swept.outcomes.settings[row].as_dict()
        assert point["accuracy"] == pytest.approx(direct.accuracy)
        assert point["score"] == pytest.approx(direct.mcc)
        assert point["mean_exit"] == pytest.approx(float(swept.outcomes.exits[row].double().mean()))
    assert result["accuracy_per_iteration"]["elbert"][-1] == pytest.approx(result["accuracy_full"])
    assert result["accuracy_albert"] is None
    assert result["headline"]["loss_1"]["elbert"]["points_lost_albert"] is None
    assert result["quantisation"] is None
    assert set(result["equal_cost"]) == set(BUDGETS)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_picks_are_not_scored_on_the_half_that_made_them() -> None:
    """On labels of pure chance the best of many settings looks good to itself and is worth nothing else."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (200,), generator=generator)
    tables = {"elbert": random_table(33, samples=200, iterations=8)}
    result = study("sst2", "accuracy", make_rows(labels), tables, Options(splits=20, bootstrap=20))
    inside = max(point["score"] for point in result["points"] if point["method"] == "elbert")
    outside = result["equal_cost"]["2x"]["elbert"]
    assert outside == result["at_cost"]["2x"]["elbert"]["accuracy"]
    assert inside > 0.53
    assert outside < inside - 0.02


def test_pareto_front_is_unbeaten_and_complete() -> None:
    generator = torch.Generator().manual_seed(2)
    found = torch.randint(0, 12, (60,), generator=generator).double()
    costs = torch.randint(1, 12, (60,), generator=generator).double()
    kept = pareto(found, costs)
    for i in range(60):
        beaten = (found >= found[i]) & (costs <= costs[i]) & ((found > found[i]) | (costs < costs[i]))
        if kept[i]:
            assert not bool(beaten.any())
        else:
            as_good = (found == found[i]) & (costs == costs[i]) & kept
            assert bool(beaten.any() or as_good.any())


def test_confusion_counts_float_by_row() -> None:
    counts = exit_confusion(torch.tensor([1, 1, 3]), torch.tensor([2, 2, 3]), 3)
    assert counts.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


# ------------------------------------------------------------------------------------------- answer first


def two_iterations(exits: list[float], answers: list[float] | None, **facts: Any) -> Facts:
    return make_table("x", torch.zeros(2, 4, 2), exit_macs=exits, answer_macs=answers, **facts).facts


def test_leaving_costs_the_layers_before_an_answer_and_the_exits() -> None:
    elbert = two_iterations([10, 10], [200, 200])
    assert elbert.albert_macs == 2010
    assert elbert.leaving_macs() == [200 + 10, 1000 + 200 + 20]
    assert elbert.leaving_macs(answer_first=False) == [1010, 2020]
    # branches that read all rows, and ALBERT's own exit in the last iteration
    fastbert = two_iterations([30, 10], [1000, 200])
    assert fastbert.albert_macs == 2010
    assert fastbert.leaving_macs() == [1030, 1000 + 200 + 40]
    assert fastbert.leaving_macs(answer_first=False) == [1030, 2040]
    # ALBERT answers once
    assert two_iterations([0, 10], [200, 200]).leaving_macs() == [200, 1210]
    # before this was counted: all rows
    assert two_iterations([10, 10], None).leaving_macs() == [1010, 2020]


@given(
    st.floats(1, 1e12),
    st.lists(st.tuples(st.floats(1e-3, 1), st.floats(0, 1e9)), min_size=1, max_size=24),
)
def test_answer_first_saves_the_rows_of_one_iteration(layer: float, each: list[tuple[float, float]]) -> None:
    answers, exits = [layer * share for share, _ in each], [macs for _, macs in each]
    facts = make_table(
        "x", torch.zeros(len(each), 2, 2), layer_macs=layer, answer_macs=answers, exit_macs=exits
    ).facts
    first, whole = facts.leaving_macs(), facts.leaving_macs(answer_first=False)
    assert first == sorted(first)
    for one, all_rows, answer in zip(first, whole, answers, strict=True):
        assert all_rows - one == pytest.approx(layer - answer, abs=1e-9 * whole[-1])


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([200], "answer_macs has 1 entries for 2 iterations"),
        ([200, 0], r"answer_macs 0.0 is not above 0 and up to layer_macs 1000.0"),
        ([1001, 200], r"answer_macs 1001.0 is not above 0 and up to layer_macs 1000.0"),
        ([200, float("nan")], "answer_macs nan is not above 0"),
    ],
)
def test_impossible_answers_are_refused(answers: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        two_iterations([10, 10], answers)


def stage_tables() -> dict[str, LogitTable]:
    """The known tables with a second training: its first iteration is right and sure of the hard half too."""
    tables, _ = known_tables()
    once = tables.pop("elbert")
    tables["elbert-published"] = replace(
        once, facts=once.facts.model_copy(update={"name": "elbert-published"})
    )
    return tables | {"elbert": replace(once, logits=once.logits[-1:].repeat(DEPTH, 1, 1))}


def test_three_lines_of_elbert() -> None:
    tables, (_, data) = stage_tables(), known_tables()
    result = study("sst2", "accuracy", data, tables, Options(splits=4, bootstrap=20))
    names = list(result["at_cost"]["2x"])
    assert names == list(result["curves"]) == list(result["contenders"])
    assert names == [
        "elbert", "elbert-answer-first", "elbert-published",
        "elbert-bias_1", "elbert-bias_2", "elbert-bias_3", "elbert-entropy", "elbert-patience",
        "pabee", "albert", "elbert-float", "elbert-golden",
    ]  # fmt: skip
    entries = result["headline"]["loss_0"]
    macs = {name: entries[name]["cost_macs"] * FULL for name in names[:3]}
    assert macs == pytest.approx(
        {"elbert": 260, "elbert-answer-first": (260 + 1270) / 2, "elbert-published": (1010 + 2020) / 2}
    )
    assert [result["contenders"][name] for name in names[:4]] == [
        "elbert", "elbert-published", "elbert-published", "elbert",
    ]  # fmt: skip
    # the one stage's settings are points once, whatever they cost
    methods = {point["method"] for point in result["points"]}
    assert "elbert-answer-first" in methods
    assert "elbert-published" not in methods
    assert result["oracle"]["mean_exit"] == 1.0
    assert "elbert" not in result["missing"]
    told = "asked for 10x: ELBERT 100.0 at 15.42x, ELBERT answer first, one stage 50.0 at 15.42x"
    assert f"{told}, ELBERT as published not so fast" in result["verdict"]


def test_the_one_stage_run_stands_in_for_a_missing_one() -> None:
    tables, (_, data) = stage_tables(), known_tables()
    del tables["elbert"]
    result = study("sst2", "accuracy", data, tables, Options(splits=4, bootstrap=20))
    entries = result["headline"]["loss_0"]
    assert entries["elbert"] == entries["elbert-answer-first"]
    assert entries["elbert-published"]["cost_macs"] == pytest.approx((1010 + 2020) / 2 / FULL)
    assert result["contenders"]["elbert"] == "elbert-published"
    assert "elbert" in result["missing"]
    told = "no run elbert: the one-stage run elbert-published is compared in its place"
    assert told in result["verdict"]
    assert {point["method"] for point in result["points"]} >= {"elbert", "elbert-float", "oracle"}
    assert not {point["method"] for point in result["points"]} & {"elbert-answer-first", "elbert-published"}


def test_logits_from_before_answer_first_are_counted_with_all_rows() -> None:
    tables, data = known_tables()
    old = tables["pabee"].facts.model_copy(update={"answer_macs": None})
    tables["pabee"] = replace(tables["pabee"], facts=old)
    result = study("sst2", "accuracy", data, tables, Options(splits=4, bootstrap=20))
    patient = result["headline"]["loss_0"]["pabee"]
    assert patient["cost_macs"] == pytest.approx((2020 + 3030) / 2 / FULL)
    note = "counted with all rows, no count of answer first in the logits: pabee"
    assert note in result["verdict"]


def test_branches_that_read_all_rows_save_none_but_the_last() -> None:
    tables, data = known_tables()
    table = tables.pop("pabee")
    update = {"name": "fastbert", "exit_macs": [60.0] * 3 + [10.0], "answer_macs": [1000.0] * 3 + [250.0]}
    tables["fastbert"] = replace(table, facts=table.facts.model_copy(update=update))
    result = study("sst2", "accuracy", data, tables, Options(splits=4, bootstrap=20))
    costs = {
        point["settings"].get("delta"): point["cost_macs"] * FULL
        for point in result["points"]
        if point["method"] == "fastbert"
    }
    assert costs[None] == pytest.approx(3 * 1000 + 250 + 3 * 60 + 10)
    assert costs[1.0] == pytest.approx(1060)
    assert result["at_cost"]["4x"]["fastbert"] is None
    told = [line for line in result["verdict"] if "read all rows" in line]
    assert told == ["fastbert's exits read all rows: answer first saves it those of the last iteration alone"]


def test_the_model_folder_stands_in_for_a_run_and_is_apart_beside_one() -> None:
    tables, data = known_tables()
    alone = {name: tables[name] for name in ("elbert-float", "elbert-golden")}
    assert [c.name for c in find_contenders(find_sweeps(alone))][-1] == "elbert-golden"
    assert "elbert" in {c.name for c in find_contenders(find_sweeps(alone))}
    assert "elbert-float" not in {c.name for c in find_contenders(find_sweeps(alone))}
    assert "elbert-float" in {c.name for c in find_contenders(find_sweeps(tables))}
    with pytest.raises(FileNotFoundError, match="no float ELBERT"):
        study("sst2", "accuracy", data, {"pabee": tables["pabee"]})


def test_tables_of_other_data_are_refused() -> None:
    tables, _ = known_tables()
    with pytest.raises(ValueError, match="80 sentences and 2 classes, the data 79 and 2"):
        study("sst2", "accuracy", make_rows(torch.arange(79) % 2), tables)


def test_a_model_of_one_iteration_has_nothing_to_study() -> None:
    table = random_table(1, iterations=1)
    with pytest.raises(ValueError, match="elbert has one iteration: no sentence can leave before the last"):
        study("sst2", "accuracy", make_rows(torch.arange(30) % 2), {"elbert": table})


def test_answers_are_numbered_as_the_study_does_and_ties_as_the_model_does() -> None:
    logits = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [3.0, 0.0, 0.0]]])
    table = make_table("elbert", logits, class_names=["a", "b", "c"])
    assert table.labels.tolist() == [[0, 1, 0]]  # a tie goes to the lower logit
    turned = table.answering(["c", "a", "b"])
    assert turned.labels.tolist() == [[1, 2, 1]]
    assert turned.sha256 == table.sha256
    assert torch.equal(turned.confidence.entropy, table.confidence.entropy)
    assert table.answering(["a", "b", "c"]).labels.tolist() == table.labels.tolist()
    for classes, message in (
        (["a", "b"], "class 'c' is none of"),
        (["a", "b", "d"], "class 'c' is none of"),
        (["a", "b", "c", "d"], "lack 'd'"),
    ):
        with pytest.raises(ValueError, match=message):
            table.answering(classes)
    with pytest.raises(ValueError, match="class_names has 2 entries for 3 classes"):
        make_table("elbert", logits, class_names=["a", "b"])
