"""The wheel, installed where there is no checkout: it has its model, published logits and commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from golden_model.provenance import ROOT


def call(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "ELBERT_DATA")}
    done = subprocess.run(
        [str(a) for a in arguments], cwd=cwd, env=kept, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment that holds the wheel; what the wheel needs is borrowed from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    call(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT, cwd=folder)
    call(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    [wheel] = folder.glob("*.whl")
    call(*pip, "--python", python, "install", "-q", "--no-deps", wheel, cwd=folder)
    site = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout
    # a folder named in a .pth file is searched, but its own .pth files, such as the checkout's, are not read
    (Path(site.strip()) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = call(python, "-c", "import elbert, hw; print(elbert.__file__, hw.__file__)", cwd=folder).stdout
    assert str(ROOT) not in where
    return python


def test_run_answers_with_the_bundled_model(installed: Path, tmp_path: Path):
    done = call(installed.with_name("elbert"), "run", "good", "--json", tmp_path / "run.json", cwd=tmp_path)
    assert "positive" in done.stdout
    found = json.loads((tmp_path / "run.json").read_text())
    assert found["sentences"][0]["label_name"] == "positive"
    assert found["header"]["commit"] is None


def test_study_runs_from_the_published_logits(installed: Path, tmp_path: Path):
    # the logits are read whole before they are cut
    options = ("--limit", "60", "--bootstrap", "20", "--splits", "3", "--figures", "svg")
    call(installed.with_name("elbert"), "study", "exits", "--task", "sst2", *options, cwd=tmp_path)
    found = json.loads((tmp_path / "runs/study/exits/sst2/study.json").read_text())
    assert found["missing"] == []
    assert set(found["origins"].values()) == {"published"}


@pytest.mark.slow
def test_simulation_builds_and_equals_the_golden_model(installed: Path, tmp_path: Path):
    command = installed.with_name("elbert")
    call(command, "simulate", "--preset", "nano", "--array", "4x4", "--lengths", "5", cwd=tmp_path)
