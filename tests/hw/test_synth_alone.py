"""Stages of a synthesis: made once, whole or not at all, by one process at a time."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from golden_model.errors import PromiseBroken
from golden_model.locks import FolderInUse, held
from hw.synth.stages import Stages

INPUTS = {"design": "module top", "tool": "1.0"}


def write(folder: Path) -> dict[str, int]:
    (folder / "netlist.json").write_text("{}")
    (folder / "tool.log").write_text("done")
    return {"cells": 7}


def never(folder: Path) -> dict[str, int]:
    pytest.fail("work was begun")


def test_the_same_inputs_are_made_once_and_others_anew(tmp_path):
    stages = Stages(tmp_path)
    first = stages.stage("netlist", INPUTS, write)
    again = stages.stage("netlist", dict(reversed(INPUTS.items())), never)
    assert (first.reused, again.reused) == (False, True)
    assert (again.folder, again.record) == (first.folder, {"cells": 7})
    assert sorted(path.name for path in first.folder.iterdir()) == ["netlist.json", "stage.json", "tool.log"]
    for changed in (
        {**INPUTS, "tool": "1.1"},
        {**INPUTS, "more": ""},
        {"design": "1.0", "tool": "module top"},
    ):
        assert not stages.stage("netlist", changed, write).reused
    assert not stages.stage("placement", INPUTS, write).reused
    assert len(list(tmp_path.iterdir())) == 5


def test_a_failure_leaves_its_logs_and_the_next_attempt_begins_anew(tmp_path):
    def fail(folder: Path) -> dict[str, int]:
        write(folder)
        raise PromiseBroken("the tool failed")

    stages = Stages(tmp_path)
    with pytest.raises(PromiseBroken):
        stages.stage("netlist", INPUTS, fail)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["tool.log"]
    assert not stages.stage("netlist", INPUTS, write).reused
    assert [path.name for path in tmp_path.iterdir()] == [stages.stage("netlist", INPUTS, never).folder.name]


def test_an_interrupt_leaves_nothing(tmp_path):
    def interrupted(folder: Path) -> dict[str, int]:
        write(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stages(tmp_path).stage("netlist", INPUTS, interrupted)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_record_is_no_stage(tmp_path):
    """As a process leaves it that was killed while it moved files by hand, or an older program."""
    stages = Stages(tmp_path)
    folder = stages.stage("netlist", INPUTS, write).folder
    (folder / "stage.json").unlink()
    assert not stages.stage("netlist", INPUTS, write).reused
    assert json.loads((folder / "stage.json").read_text())["record"] == {"cells": 7}


def test_a_stage_that_another_synthesis_makes_is_refused_before_any_work(tmp_path):
    stages = Stages(tmp_path)
    name = stages.stage("netlist", INPUTS, write).folder.name
    (tmp_path / name / "stage.json").unlink()
    busy = pytest.raises(FolderInUse, match=f"{name} is in use by process")
    with held(tmp_path / f".{name}"), ThreadPoolExecutor(1) as pool, busy:
        pool.submit(stages.stage, "netlist", INPUTS, never).result(timeout=60)
