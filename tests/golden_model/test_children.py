"""golden_model.children: nothing that a child started is left, however its block or this process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from golden_model.children import CalledOff, child, side_by_side

FAMILY = ("sh", "-c", "sleep 1000 & echo $! $$; wait")
"""A child and its own child; prints their numbers."""


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            return stat.read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def family_of(line: bytes | str) -> list[int]:
    return [int(part) for part in line.split()]


def test_the_end_of_the_block_ends_child_and_grandchild(tmp_path):
    with child(FAMILY, folder=tmp_path, output=subprocess.PIPE) as started:
        family = family_of(started.process.stdout.readline())
        assert len(family) == 2
        assert all(map(alive, family))
    assert wait_for(lambda: not any(map(alive, family)))
    assert started.process.returncode == -signal.SIGKILL
    started.end()  # the number of its group may be another's by now: nothing happens


def test_a_child_that_ends_by_itself_keeps_its_status_and_output(tmp_path):
    log = tmp_path / "log"
    with (
        log.open("w") as handle,
        child(
            ("sh", "-c", "pwd; echo $NAME >&2; read line || exit 7"),
            folder=tmp_path,
            output=handle,
            environment={**os.environ, "NAME": "x y"},
        ) as started,
    ):
        assert started.process.wait(20) == 7
    assert log.read_text() == f"{tmp_path}\nx y\n"


def test_a_program_that_is_not_there_leaves_no_guard(tmp_path):
    before = set(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    with (
        pytest.raises(FileNotFoundError, match="no-such-program"),
        child(("no-such-program",), folder=tmp_path, output=subprocess.DEVNULL),
    ):
        pass
    if before is not None:
        assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):  # no child is left to wait for
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_takes_its_children_with_it(number, tmp_path):
    """Started from a thread of a pool, as simulations are."""
    script = f"""
import subprocess, sys
from pathlib import Path
from golden_model.children import child, side_by_side
def work():
    with child({FAMILY!r}, folder=Path({str(tmp_path)!r}), output=subprocess.PIPE) as started:
        print(started.process.stdout.readline().decode().strip(), flush=True)
        started.process.wait()
side_by_side([work, work])
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        family = family_of(parent.stdout.readline() + parent.stdout.readline())
        assert len(family) == 4
        assert all(map(alive, family))
        parent.send_signal(number)
        assert parent.wait(20) == -number
        assert wait_for(lambda: not any(map(alive, family)))
    finally:
        parent.kill()
        parent.wait()


def test_side_by_side_returns_results_in_order():
    assert side_by_side([lambda: time.sleep(0.1) or 1, lambda: 2]) == [1, 2]
    assert side_by_side([]) == []


def test_one_failure_ends_the_children_of_the_others(tmp_path):
    families: list[int] = []
    refused: list[BaseException] = []

    def long() -> None:
        try:
            with child(FAMILY, folder=tmp_path, output=subprocess.PIPE) as started:
                families.extend(family_of(started.process.stdout.readline()))
                started.process.wait()
        except CalledOff as error:
            refused.append(error)
        with child(("true",), folder=tmp_path, output=subprocess.DEVNULL):
            pass

    def failing() -> None:
        assert wait_for(lambda: len(families) == 4)
        raise ValueError("sentence 3")

    begin = time.monotonic()
    with pytest.raises(ValueError, match="sentence 3"):
        side_by_side([long, failing, long])
    assert time.monotonic() - begin < 30
    assert wait_for(lambda: not any(map(alive, families)))
    assert len(refused) == 2
    with child(("true",), folder=tmp_path, output=subprocess.DEVNULL) as started:  # others may go on
        assert started.process.wait(20) == 0


def test_an_interrupt_of_the_waiting_thread_ends_the_children(tmp_path):
    families: list[int] = []

    def long() -> None:
        with child(FAMILY, folder=tmp_path, output=subprocess.PIPE) as started:
            families.extend(family_of(started.process.stdout.readline()))
            if len(families) == 4:
                os.kill(os.getpid(), signal.SIGINT)
            started.process.wait()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            side_by_side([long, long])
    finally:
        signal.signal(signal.SIGINT, before)
    assert wait_for(lambda: not any(map(alive, families)))
