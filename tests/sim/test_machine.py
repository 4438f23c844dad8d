"""The whole machine against the golden model: geometries, lengths, policies, errors, planted faults."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from golden_model.config import PRESETS, ElbertConfig
from golden_model.exits import ExitMode, FixedExitPolicy
from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.model import GoldenModel, Sentence
from golden_model.integer.synthetic import random_checkpoint, random_sentence
from hw.image import build_image
from hw.params import Machine
from sim.machine import Job, accelerator_system, memory_size, simulate

NANO = PRESETS["nano"]
WATCHDOG = 400_000
ROOT = Path(__file__).parents[2]


def sentence(config: ElbertConfig, length: int, seed: int) -> Sentence:
    return random_sentence(config, length, torch.Generator().manual_seed(seed))


def nano(rows: int, columns: int, **changes: object) -> Machine:
    return Machine(model=NANO, rows=rows, columns=columns, trace=True, **changes)  # type: ignore[arg-type]


def policies(checkpoint: IntegerCheckpoint) -> list[FixedExitPolicy]:
    """Every mode, with thresholds near the middle of what the checkpoint says, so that sentences leave at
    different iterations."""
    config = checkpoint.config
    results = GoldenModel(checkpoint).run([sentence(config, n, n) for n in range(2, 14)])
    middle = sorted(int(e) for r in results for e in r.entropy)[len(results) * config.num_hidden_layers // 3]
    raw = sorted(int(e) for r in results for e in r.entropy_raw)[len(results) * config.num_hidden_layers // 3]
    return [
        FixedExitPolicy(mode=ExitMode.none),
        FixedExitPolicy(mode=ExitMode.entropy, delta=middle),
        FixedExitPolicy(mode=ExitMode.entropy_raw, delta=raw),
        FixedExitPolicy(mode=ExitMode.patience, patience=1),
        FixedExitPolicy(mode=ExitMode.bias_1, window=2, margin=600),
        FixedExitPolicy(mode=ExitMode.bias_2, window=2, margin=600),
        FixedExitPolicy(mode=ExitMode.bias_3, window=2, margin=600, range=9000),
        FixedExitPolicy(mode=ExitMode.bias_1, window=3, delta=middle),
    ]


def assert_equal(report, jobs) -> None:
    for outcome in report.outcomes:
        assert outcome.comparison.first is None, str(outcome.comparison.first)
        counters = outcome.registers["counters"]
        assert abs(sum(counters.values()) - outcome.cycles) <= 2, (counters, outcome.cycles)
    assert report.equal, report.errors
    assert len(report.outcomes) == len(jobs)


@pytest.mark.parametrize(
    ("rows", "columns", "stall"),
    # 8 x 16 is a minute of compiling; the bundled model runs on it in tests/elbert/test_run.py
    [
        pytest.param(4, 4, 1, marks=pytest.mark.slow),
        (2, 8, 2),
        pytest.param(8, 16, 0, marks=pytest.mark.slow),
    ],
)
def test_nano_machines_equal_the_golden_model(rows, columns, stall):
    machine = nano(rows, columns)
    checkpoint = random_checkpoint(NANO, seed=rows)
    chosen = policies(checkpoint)
    lengths = list(range(1, 17))
    jobs = [Job(sentence(NANO, n, 100 + n), chosen[i % len(chosen)]) for i, n in enumerate(lengths)]
    report = simulate(machine, checkpoint, jobs, seed=rows, stall_mode=stall, watchdog=WATCHDOG)
    assert_equal(report, jobs)
    exits = {outcome.golden.exit_iteration for outcome in report.outcomes}
    assert len(exits) >= 3, f"all sentences leave at {exits}: the exits are not exercised"
    assert all(len(outcome.comparison.checkpoints) >= 20 for outcome in report.outcomes)


ODD = ElbertConfig(
    vocab_size=50,
    embedding_size=24,
    hidden_size=48,
    num_attention_heads=3,
    intermediate_size=112,
    num_hidden_layers=3,
    max_position_embeddings=21,
    num_labels=5,
    type_vocab_size=3,
    hidden_act="gelu",
)
"""Nothing but the array is a power of two; five classes; three chunks along K."""


def test_odd_geometry_with_five_classes():
    machine = Machine(model=ODD, rows=4, columns=8, layernorm_lanes=2, trace=True)
    checkpoint = random_checkpoint(ODD, seed=5)
    chosen = policies(checkpoint)
    jobs = [
        Job(sentence(ODD, n, n), policy)
        for n, policy in zip((21, 1, 8, 9, 13, 4, 20, 16), chosen, strict=True)
    ]
    assert_equal(simulate(machine, checkpoint, jobs, seed=9, stall_mode=1, watchdog=WATCHDOG), jobs)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (4, 16), (1, 4), (16, 16)])
def test_more_nano_arrays(rows, columns):
    machine = nano(rows, columns)
    checkpoint = random_checkpoint(NANO, seed=rows)
    chosen = policies(checkpoint)
    jobs = [Job(sentence(NANO, n, 200 + n), chosen[n % len(chosen)]) for n in range(1, 17)]
    assert_equal(simulate(machine, checkpoint, jobs, seed=rows, stall_mode=3, watchdog=WATCHDOG), jobs)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "columns"), [(8, 16), (4, 32)])
def test_small_machine(rows, columns):
    machine = Machine(model=PRESETS["small"], rows=rows, columns=columns, trace=True)
    checkpoint = random_checkpoint(machine.model, seed=2)
    early = FixedExitPolicy(mode=ExitMode.patience, patience=1)
    jobs = [Job(sentence(machine.model, n, n), early) for n in (27, 1, 64)]
    assert_equal(simulate(machine, checkpoint, jobs, fast=True, timeout_s=3600), jobs)


# -- planted faults: each must be caught, and where it begins -----------------------------------------------


@pytest.fixture(scope="module")
def planted():
    machine = nano(4, 4)
    checkpoint = random_checkpoint(NANO, seed=4)
    policy = FixedExitPolicy(mode=ExitMode.bias_1, window=2, margin=0)
    jobs = [Job(sentence(NANO, 9, 1), policy), Job(sentence(NANO, 6, 3), policy)]
    image = build_image(checkpoint, machine, [job.sentence for job in jobs])
    return machine, checkpoint, jobs, image


def first_mismatch(planted, **changes):
    machine, checkpoint, jobs, image = planted
    changes.setdefault("image", image)
    report = simulate(machine, checkpoint, jobs, watchdog=WATCHDOG, waves_on_failure=False, **changes)
    assert not report.equal
    return next(o.comparison.first for o in report.outcomes if o.comparison.first)


def test_wrong_table_entry_is_caught(planted):
    _, checkpoint, _, image = planted
    table = checkpoint.tensors["ffn.table"][1].numpy().astype("int8").tobytes()
    place = image.contents.index(table, image.parameters)
    contents = bytearray(image.contents)
    contents[place : place + len(table)] = bytes((b + 1) & 0xFF for b in table)
    found = first_mismatch(planted, image=dataclasses.replace(image, contents=bytes(contents)))
    assert (found.iteration, found.tensor) == (2, "iteration.2.ffn.activation")
    assert found.cycle is not None


@pytest.mark.slow
def test_two_at_once_in_one_folder_do_not_meet(tmp_path):
    """With one image, results and traces for both, each would see the other's sentences."""
    command = [sys.executable, "-m", "elbert", "simulate", "--array", "4x4", "--lengths", "16,9,12"]
    runs = [
        subprocess.Popen(
            [*command, "--seed", str(seed), "--run-dir", str(tmp_path / "a 'b\"")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        for seed in (1, 2)
    ]
    printed = [run.communicate(timeout=600)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], printed
    assert list((tmp_path / "a 'b\"").iterdir()) == []  # all was equal


@pytest.mark.slow
def test_a_mismatch_is_repeated_with_waves(planted, tmp_path):
    machine, checkpoint, jobs, image = planted
    report = simulate(
        machine,
        checkpoint,
        jobs,
        image=image,
        overrides={"WINDOW": 3},
        run_dir=tmp_path,
        watchdog=WATCHDOG,
    )
    assert not report.equal
    assert report.waves is not None
    assert "$enddefinitions" in report.waves.read_text()[:1_000_000]
    assert report.folder is not None
    assert [report.folder] == list(tmp_path.iterdir())
    assert report.waves.is_relative_to(report.folder)
    assert (report.folder / "bench.log").stat().st_size > 0


def test_swapped_weight_rows_are_caught(planted):
    machine, _, _, image = planted
    # k = 0 and k = 1 of the key matrix's first tile: Q bytes each, behind the query's tiles.
    base = image.layer + machine.model.hidden_size**2
    q = machine.columns
    contents = bytearray(image.contents)
    contents[base : base + 2 * q] = contents[base + q : base + 2 * q] + contents[base : base + q]
    found = first_mismatch(planted, image=dataclasses.replace(image, contents=bytes(contents)))
    assert (found.sentence, found.tensor) == (0, "iteration.1.attention.key")
    assert found.index[1] < q


def test_window_off_by_one_is_caught(planted):
    found = first_mismatch(planted, overrides={"WINDOW": 3})
    assert "exit" in found.tensor


def test_a_watchdog_ends_the_run_by_its_name(planted):
    machine, checkpoint, jobs, _ = planted
    report = simulate(machine, checkpoint, jobs, watchdog=2000, waves_on_failure=False)
    assert not report.equal
    assert report.outcomes == []
    assert any("ended with error WATCHDOG" in error for error in report.errors), report.errors


@pytest.mark.slow
def test_wrong_rounding_is_caught(planted):
    """Truncation instead of rounding, in one lane's requantiser."""
    machine, _, _, image = planted
    sources = accelerator_system(machine, memory_size(image))
    text = sources["accelerator.v"]
    begin = text.index("requantizer_1.round (")
    end = text.index("endmodule", begin)
    rounding = "$signed({ 1'h0, half })"
    assert text.count(rounding, begin, end) == 1, "the rounding addition is written another way now"
    faulty = text[:begin] + text[begin:end].replace(rounding, "$signed(2'h0)") + text[end:]
    found = first_mismatch(planted, sources=sources | {"accelerator.v": faulty})
    assert (found.iteration, found.tensor) == (0, "embedding.hidden")
    assert found.index[0] % machine.rows == 1
    assert found.got == found.expected - 1
