"""One training at a time in a folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_a_second_training_into_the_folder_is_refused_while_the_first_goes_on(
    float_folder: Path, tmp_path: Path
):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "elbert", "train", str(float_folder), "--output", str(run)]
    command += ["--preset", "nano", "--init", "fresh", "--tokenizer", str(float_folder), "--threads", "1"]
    command += ["--evaluate-every", "1000000", "--save-every", "5"]

    def start(*options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, *options],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    first = start("--max-steps", "1000000")
    try:
        deadline = time.monotonic() + 120
        while not list(run.rglob("state.safetensors")):
            assert first.poll() is None, first.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        second = start("--max-steps", "3", "--resume")
        _, errors = second.communicate(timeout=120)
        assert second.returncode == 2, errors
        assert f"error: {run} is in use by process {first.pid} (elbert train " in errors
        assert errors.count("\n") == 1
        first.terminate()
        first.communicate(timeout=60)
    finally:
        first.kill()
        first.communicate()
    assert not list(run.rglob(".lock"))
