"""The cycle model, one descriptor at a time, against the simulated machine's counters."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from itertools import pairwise

import pytest

from golden_model.config import PRESETS, ElbertConfig
from golden_model.integer.synthetic import random_checkpoint
from hw.cycles.memory import MemoryTiming
from hw.cycles.sentence import predict
from hw.engine.program import build_program
from hw.params import ARRAY_COLUMNS, Machine
from sim.agents.activity import REASONS, Activity
from sim.bench.run import CONTROL, totals
from sim.bench.timeline import timeline
from sim.machine import Report
from sim.performance import Case, first_iterations, measured_rows, random_case, random_jobs, run_case

WITHIN = 0.01
"""Of the counters; the model is to be exact, and is where nothing meets on the bus."""
SLACK = 1
"""Cycles that one descriptor may differ beside that."""


def run(machine: Machine, lengths: list[int], memory: MemoryTiming, seed: int = 1) -> Report:
    model = machine.model
    case = Case(machine, random_checkpoint(model, seed), random_jobs(model, lengths, seed), None)
    report = run_case(case, memory=memory, activity=True, seed=seed)
    assert report.equal, report.errors
    return report


def compare(machine: Machine, lengths: list[int], memory: MemoryTiming, seed: int = 1) -> Report:
    """Asserts that every descriptor of every sentence takes the cycles that the model says."""
    report = run(machine, lengths, memory, seed)
    names = [d.name for d in build_program(machine).descriptors]
    for number, (length, outcome) in enumerate(zip(lengths, report.outcomes, strict=True)):
        told = f"{machine.rows}x{machine.columns}, {length} tokens, {memory}"
        found = predict(machine, length, memory)
        assert found.cycles == pytest.approx(outcome.cycles, rel=WITHIN), told
        measured = report.activity[number].parts(names)
        predicted = [(found.parts[0][0], found.parts[0][1] - 1), *found.parts[1:]]  # the start's own cycle
        assert [name for name, _ in measured] == [name for name, _ in predicted], told
        for position, ((name, spent), (_, cycles)) in enumerate(zip(measured, predicted, strict=True)):
            counted = sum(spent.values())
            assert abs(cycles - counted) <= max(SLACK, WITHIN * counted), (
                f"{name} (part {position}): {cycles} cycles predicted, {counted} measured {spent}; {told}"
            )
        for reason, cycles in outcome.registers["counters"].items():
            assert abs(found.spent.get(reason, 0) - cycles) <= WITHIN * outcome.cycles, (reason, told)
    return report


def geometry(seed: int, largest: int) -> Machine:
    """A random machine: array, technology, heads, sizes up to ``largest`` array widths, a layer or two."""
    draw = random.Random(seed)
    columns = draw.choice(ARRAY_COLUMNS[: 2 if largest < 4 else 3])
    rows = draw.choice([r for r in (1, 2, 4, 8, 16) if r <= columns])
    heads = draw.randint(1, 3)
    hidden = columns * heads * draw.randint(1, largest)
    hidden = hidden if hidden >= 2 * columns else 2 * hidden
    multiple = max(8, columns)
    embedding = multiple * draw.randint(1, max(1, hidden // multiple))
    hidden = max(hidden, embedding)
    hidden += -hidden % (columns * heads)
    model = ElbertConfig(
        vocab_size=50,
        embedding_size=embedding,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=columns * -(-draw.randint(2 * hidden, 4 * hidden) // columns),
        num_hidden_layers=2,
        max_position_embeddings=draw.randint(columns, 3 * columns),
        num_labels=draw.randint(2, 5),
    )
    lanes = draw.choice([n for n in (1, 2, 4, 8, 16) if n <= rows])
    return Machine(
        model=model, rows=rows, columns=columns, layernorm_lanes=lanes, trace=True,
        technology=draw.choice(["generic", "xilinx"]),
    )  # fmt: skip


def memory_of(seed: int) -> MemoryTiming:
    draw = random.Random(1000 + seed)
    bandwidth = draw.choice([None, Fraction(1, 2), Fraction(2), Fraction(43, 10), Fraction(12)])
    return MemoryTiming(draw.choice([1, 20, 77, 300]), bandwidth)


def lengths_of(machine: Machine, seed: int) -> list[int]:
    longest = machine.model.max_position_embeddings
    return [1, longest, random.Random(seed).randint(1, longest)]


@pytest.fixture(scope="module")
def nano() -> tuple[Machine, list[int], Report]:
    machine = Machine(model=PRESETS["nano"], rows=4, columns=4, trace=True)
    lengths = [5, 1, 16]
    return machine, lengths, compare(machine, lengths, MemoryTiming(200, Fraction(3)))


def test_nano_on_a_slow_memory(nano):
    """The fixture compares."""
    assert len(nano[2].outcomes) == 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 21))
def test_random_geometries(seed):
    machine = geometry(seed, largest=2 if seed <= 2 else 4)
    compare(machine, lengths_of(machine, seed), memory_of(seed), seed)


@pytest.mark.slow
@pytest.mark.parametrize("array", [(4, 4), (2, 8), (8, 8), (4, 16), (8, 16), (16, 16)])
@pytest.mark.parametrize("memory", [MemoryTiming(), MemoryTiming(100, Fraction(43, 10))])
def test_nano_on_every_array(array, memory):
    machine = Machine(model=PRESETS["nano"], rows=array[0], columns=array[1], trace=True)
    compare(machine, [1, 5, 16], memory)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("array", "bandwidth"), [((8, 16), None), ((8, 16), Fraction(2)), ((4, 32), Fraction(8))]
)
def test_small(array, bandwidth):
    config = PRESETS["small"].model_copy(update={"num_hidden_layers": 2})
    machine = Machine(model=config, rows=array[0], columns=array[1], trace=True)
    compare(machine, [27, 1, 64], MemoryTiming(40, bandwidth))


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["base", "large"])
def test_base_and_large(preset):
    config = PRESETS[preset].model_copy(update={"num_hidden_layers": 1})
    machine = Machine(model=config, rows=16, columns=16, trace=True)
    compare(machine, [27], MemoryTiming(40, Fraction(8)))


def test_idle_and_active_add_up(nano):
    machine, lengths, report = nano
    rows = measured_rows(report, machine, MemoryTiming(200, Fraction(3)))
    for row in rows:
        assert row["active"] + sum(row["idle"].values()) == row["cycles"]
        assert 0 <= row["idle"][CONTROL] <= 2
        assert row["products"] == pytest.approx(
            machine.rows * machine.columns * (row["active"] - row["partly_filled"])
        )
        assert row["utilisation"] <= row["bound"]
    whole = totals(machine, rows)
    assert whole["cycles"] == sum(row["cycles"] for row in rows)
    assert whole["active"] + sum(whole["idle"].values()) == whole["cycles"]
    assert [row["tokens"] for row in rows] == lengths


def test_the_timeline_covers_every_cycle(nano):
    machine, lengths, report = nano
    document = json.loads(json.dumps(timeline(machine, report.activity, lengths)))
    events = document["traceEvents"]
    for number, outcome in enumerate(report.outcomes):
        slices = [e for e in events if e["pid"] == number and e["ph"] == "X"]
        array = [e for e in slices if e["tid"] == 2]
        assert all(a["ts"] + a["dur"] == b["ts"] for a, b in pairwise(array))
        assert sum(e["dur"] for e in array) == outcome.cycles - 1  # the start's cycle is in no counter
        active = sum(e["dur"] for e in array if e["name"] == "active")
        assert active == outcome.registers["counters"]["active"]
        beats = sum(int(e["name"].split()[0]) for e in slices if e["tid"] == 4)
        memory = [e for e in slices if e["tid"] == 4]
        assert all(a["ts"] + a["dur"] <= b["ts"] for a, b in pairwise(memory))
        assert beats > 0
        assert {e["name"] for e in slices if e["tid"] == 3} >= {"query", "scores", "context", "residual"}
    assert {e["name"] for e in events if e["ph"] == "C"} == {"bursts in flight"}
    assert isinstance(report.activity[0], Activity)
    assert "active" in REASONS


def test_fewer_iterations_are_a_shorter_checkpoint():
    whole = random_checkpoint(PRESETS["nano"], 3)
    short = first_iterations(whole, 2)
    assert short.config.num_hidden_layers == 2
    assert short.tensors["ffn.table"].equal(whole.tensors["ffn.table"][:2])
    assert short.tensors["pooler.weight"].equal(whole.tensors["pooler.weight"])
    with pytest.raises(ValueError, match=r"iterations 5 is outside 1\.\.4"):
        first_iterations(whole, 5)


def test_lengths_of_a_case_fit_the_geometry():
    case = random_case("nano", (4, 4), None, with_checkpoint=False)
    assert [len(job.sentence[0]) for job in case.jobs] == [5, 12, 16]
    with pytest.raises(ValueError, match=r"length 17 is outside 1\.\.16"):
        random_case("nano", (4, 4), [17], with_checkpoint=False)
