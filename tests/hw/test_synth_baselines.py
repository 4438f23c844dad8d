"""Baselines of area and clock: what counts as worse, and that today's designs are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hw.synth.baseline import (
    TOLERANCES,
    Change,
    baseline_name,
    compare,
    load_baselines,
    make_baseline,
    request_of,
    save_baseline,
)

BASELINES = load_baselines()

REPORT = {
    "header": {"versions": {"amaranth": "0.5.10", "torch": "2.13"}, "commit": "abc"},
    "design": {
        "block": "softmax",
        "preset": "nano",
        "tokens": 16,
        "rows": 4,
        "columns": 4,
        "layernorm_lanes": 1,
        "dense_memories": False,
    },
    "device": {"name": "lfe5u-25f", "package": "CABGA381", "speed": 6},
    "clock_target_mhz": 100.0,
    "mapper": "abc9",
    "placer": "heap",
    "router": "router1",
    "lut": 1000,
    "ff": 500,
    "dsp": 0,
    "bram": 2,
    "fmax_mhz": 120.0,
    "fmax_per_seed": {"1": 120.0, "2": 118.0},
    "critical_paths": [{"from": "a", "to": "b", "ns": 8.33, "path": []}],
}


@pytest.mark.parametrize(
    ("figure", "was", "now", "too_much"),
    [
        ("lut", 1000, 1050, False),
        ("lut", 1000, 1051, True),
        ("lut", 1000, 10, False),
        ("ff", 500, 526, True),
        ("bram", 2, 3, True),
        ("dsp", 0, 0, False),
        ("dsp", 0, 1, True),
        ("fmax_mhz", 120.0, 108.0, False),
        ("fmax_mhz", 120.0, 107.9, True),
        ("fmax_mhz", 120.0, 200.0, False),
    ],
)
def test_more_area_and_a_lower_clock_are_too_much_beyond_their_tolerance(figure, was, now, too_much):
    assert Change(figure, was, now).too_much is too_much


def test_a_baseline_asks_for_the_synthesis_that_gave_it(tmp_path: Path):
    path = save_baseline(REPORT, tmp_path)
    assert path.name == "softmax-nano16-4x4-lfe5u-25f-6.json"
    ((name, kept),) = load_baselines(tmp_path).items()
    assert name == baseline_name(REPORT["design"], REPORT["device"])
    assert kept["versions"] == {"amaranth": "0.5.10"}
    request = request_of(kept)
    assert request.design() == REPORT["design"]
    assert (request.seeds, request.clock_target_mhz, request.router) == ((1, 2), 100.0, "router1")
    assert [change.figure for change in compare(kept, REPORT)] == list(TOLERANCES)
    assert not any(change.too_much for change in compare(kept, REPORT))


def test_baselines_in_the_repository_are_of_designs_that_can_be_asked_for():
    assert BASELINES
    for name, kept in BASELINES.items():
        assert name == baseline_name(kept["design"], kept["device"])
        assert request_of(kept).design() == kept["design"]
        assert kept.keys() == make_baseline(REPORT).keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BASELINES if not name.startswith("machine")])
def test_no_block_is_worse_than_its_baseline(name: str, tmp_path: Path):
    request = request_of(BASELINES[name])
    report = request.synthesise(tmp_path, bitstream=False).as_dict()
    worse = [change for change in compare(BASELINES[name], report) if change.too_much]
    assert not worse, json.dumps({c.figure: [c.was, c.now] for c in worse})
