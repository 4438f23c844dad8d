"""The whole machine where its numbers end: every saturation, table end and tie, equal to the golden model."""

from __future__ import annotations

import pytest

from golden_model.config import PRESETS, ElbertConfig
from golden_model.exits import ExitMode, FixedExitPolicy
from golden_model.integer.gauge import reached
from golden_model.integer.rails import (
    LONG_SUMS,
    LONGEST_SUMS,
    RAILS,
    SMALL,
    rail_checkpoint,
    rail_sentences,
)
from golden_model.integer.synthetic import random_checkpoint, random_sentences
from golden_model.numerics import EXP_SUM_BITS
from hw.params import Machine
from sim.machine import Job, Report, simulate
from sim.rails import rail_jobs

WATCHDOG = 400_000


def assert_equal(report: Report, jobs: list[Job]) -> None:
    for outcome in report.outcomes:
        assert outcome.comparison.first is None, str(outcome.comparison.first)
    assert report.equal, report.errors
    assert len(report.outcomes) == len(jobs)


@pytest.mark.parametrize("name", RAILS)
@pytest.mark.parametrize("config", [SMALL, PRESETS["nano"]], ids=["small", "nano"])
def test_a_rail_is_reached(name: str, config: ElbertConfig) -> None:
    got = reached(rail_checkpoint(RAILS[name], config, 1), rail_sentences(config, 1))
    assert {rail for rail in RAILS[name].reaches if not got[rail]} == set()


def test_a_random_checkpoint_does_not_reach_what_the_rails_do() -> None:
    """Else the rails would show nothing that the other tests of the machine do not."""
    checkpoint = random_checkpoint(PRESETS["nano"], 1)
    got = reached(checkpoint, random_sentences(PRESETS["nano"], 20, seed=1))
    for rail in ("attention.residual.low", "ffn.residual.high", "attention.scores.low"):
        assert not got[rail], got


@pytest.mark.slow  # the same rails as below, where the whole machine meets them on ECP5's multipliers
def test_small_machine_on_all_rails() -> None:
    machine = Machine(model=SMALL, rows=4, columns=4, trace=True)
    jobs = rail_jobs(SMALL, seed=1)
    report = simulate(machine, random_checkpoint(SMALL), jobs, seed=1, watchdog=WATCHDOG)
    assert_equal(report, jobs)
    assert len({outcome.golden.exit_iteration for outcome in report.outcomes}) == 2


@pytest.mark.parametrize(
    ("rows", "columns", "lanes"),
    # 2 lanes for 4 rows are in tests/sim/test_blocks.py too, and in the machine of odd geometry
    [pytest.param(4, 4, 2, marks=pytest.mark.slow), (2, 8, 1)],
)
def test_what_is_routed_is_what_is_tested(rows: int, columns: int, lanes: int) -> None:
    """The ECP5's multipliers and fewer LayerNorm lanes than rows, as `elbert synth` builds it."""
    machine = Machine(
        model=SMALL, rows=rows, columns=columns, layernorm_lanes=lanes, technology="ecp5", trace=True
    )
    jobs = rail_jobs(SMALL, seed=2)
    report = simulate(machine, random_checkpoint(SMALL), jobs, seed=3, stall_mode=1, watchdog=WATCHDOG)
    assert_equal(report, jobs)
    assert len({outcome.golden.exit_iteration for outcome in report.outcomes}) == 2


@pytest.mark.slow
def test_the_longest_sum_of_products() -> None:
    """4096 products of the largest operands, chunk by chunk, and an offset at its bound on top."""
    sentences = rail_sentences(LONGEST_SUMS)
    checkpoint = rail_checkpoint(LONG_SUMS, LONGEST_SUMS, 1)
    got = reached(checkpoint, sentences)
    assert [rail for rail in LONG_SUMS.reaches if not got[rail]] == []
    machine = Machine(model=LONGEST_SUMS, rows=4, columns=4, trace=True)
    jobs = [Job(sentence) for sentence in sentences[-1:]]
    assert_equal(simulate(machine, checkpoint, jobs, seed=2), jobs)


LONGEST_SENTENCE = SMALL.model_copy(
    update={"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "max_position_embeddings": 512}
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ties", "scores"])
def test_the_longest_sentence(name: str) -> None:
    """512 keys whose exponentials are all 255: the largest sum."""
    checkpoint = rail_checkpoint(RAILS[name], LONGEST_SENTENCE, 1)
    [sentence] = rail_sentences(LONGEST_SENTENCE)[-1:]
    got = reached(checkpoint, [sentence])
    assert got["attention.exponentials.equal" if name == "ties" else "attention.exponentials.far"]
    assert 255 * len(sentence[0]) >= 1 << (EXP_SUM_BITS - 1)
    machine = Machine(model=LONGEST_SENTENCE, rows=4, columns=4, trace=True)
    assert_equal(simulate(machine, checkpoint, [Job(sentence)], timeout_s=3600), [Job(sentence)])


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "columns"), [(8, 16), (4, 16), (16, 16)])
def test_nano_on_all_rails_ecp5(rows: int, columns: int) -> None:
    config = PRESETS["nano"]
    machine = Machine(
        model=config, rows=rows, columns=columns, layernorm_lanes=rows // 4, technology="ecp5", trace=True
    )
    jobs = rail_jobs(config, seed=rows)
    report = simulate(machine, random_checkpoint(config), jobs, stall_mode=2, watchdog=WATCHDOG)
    assert_equal(report, jobs)


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "rows", "columns"), [("base", 8, 16), ("base", 32, 32)])
def test_base(preset: str, rows: int, columns: int) -> None:
    """The largest machine, one sentence of one token block more than full, on a rail of every kind of sum."""
    config = PRESETS[preset]
    machine = Machine(model=config, rows=rows, columns=columns, trace=True)
    [sentence] = random_sentences(config, 1, seed=2, longest=rows + 1)
    early = FixedExitPolicy(mode=ExitMode.patience, patience=0)
    job = Job(sentence, early, rail_checkpoint(RAILS["residual"], config, 1))
    report = simulate(machine, job.checkpoint, [job], fast=True, timeout_s=7200)
    assert_equal(report, [job])
