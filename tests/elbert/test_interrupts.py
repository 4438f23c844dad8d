"""Every way out of a command ends the processes it started, and says so in its exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from elbert.interrupts import REPEAT_S

ROOT = Path(__file__).parents[2]
MARK = "ELBERT_TEST_MARK"
ENDS = [
    signal.SIGTERM,
    signal.SIGKILL,
    pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    pytest.param(signal.SIGINT, marks=pytest.mark.slow),
]
"""How a command may be ended: told to, which works the same for three signals, or killed."""
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")


def marked(mark: str) -> dict[int, str]:
    """Processes, zombies apart, whose environment holds the mark: number and command."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
    return found


class Command:
    """A Python process whose descendants can be found."""

    def __init__(self, *arguments: str) -> None:
        self.mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | {MARK: self.mark, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # a run below nohup ignores it, and children inherit that
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *exception: object) -> None:
        for number in [self.process.pid, *marked(self.mark)]:
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.communicate()

    def wait_for_child(self, name: str, seconds: float = 240.0) -> None:
        """Until a descendant runs whose command holds ``name``."""
        end = time.monotonic() + seconds
        while not any(name in text for pid, text in marked(self.mark).items() if pid != self.process.pid):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, marked(self.mark)
            time.sleep(0.05)

    def ended(self, number: int, seconds: float = 60.0) -> int:
        """Sends the signal; the exit code, once no process is left."""
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        end = time.monotonic() + 20
        while marked(self.mark):
            assert time.monotonic() < end, marked(self.mark)
            time.sleep(0.02)
        return code


@needs_proc
@pytest.mark.parametrize("number", ENDS)
def test_the_end_of_simulate_is_the_end_of_its_simulator(number, tmp_path):
    lengths = ",".join(["16"] * 500)  # longer than the test waits
    simulate = ("-m", "elbert", "simulate", "--array", "4x4", "--lengths", lengths)
    with Command(*simulate, "--run-dir", str(tmp_path)) as command:
        command.wait_for_child("/sim +verilator")
        code = command.ended(number)
    assert code in (-number, 128 + number)  # a shell shows both as the latter
    if number == signal.SIGTERM:
        assert code == 128 + number


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_a_build_is_the_end_of_its_compilers(number, tmp_path, monkeypatch, runtime_of_all):
    cache = tmp_path / "cache"
    runtime_of_all(cache)
    monkeypatch.setenv("ELBERT_CACHE", str(cache))
    simulate = ("-m", "elbert", "simulate", "--array", "4x4", "--run-dir", str(tmp_path / "run"))
    with Command(*simulate) as command:
        command.wait_for_child("cc1plus")
        assert command.ended(number) in (-number, 128 + number)
    if number == signal.SIGTERM:
        assert not [path for path in cache.rglob(".new-*")]


TOOL = """
import sys
from pathlib import Path
from elbert.interrupts import termination_interrupts
from hw.synth import tools
# The stand-in for Yosys sleeps, and so does a child of its own.
tools._LAUNCH["yosys"] = (
    "import subprocess; run = lambda arguments: subprocess.run(['sleep', '1000']).returncode"
)
with termination_interrupts():
    tools.run_tool("yosys", [], Path(sys.argv[1]), timeout=1000)
"""


@needs_proc
@pytest.mark.parametrize("number", ENDS)
def test_the_end_of_synth_is_the_end_of_its_tool(number, tmp_path):
    with Command("-c", TOOL, str(tmp_path)) as command:
        command.wait_for_child("sleep 1000")
        code = command.ended(number)
    assert code == (-number if number == signal.SIGKILL else 128 + number)


def test_a_tool_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path):
    script = TOOL.replace("timeout=1000", "timeout=1.5")
    with Command("-c", script, str(tmp_path)) as command:
        _, errors = command.process.communicate(timeout=60)
        assert command.process.returncode == 1
        assert "yosys took more than 1.5 s" in errors
        if Path("/proc/self/environ").exists():
            assert not marked(command.mark)


SAVING = """
import signal, sys, time
from elbert.interrupts import termination_interrupts
exec(sys.argv[1])
with termination_interrupts():
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("saving", flush=True)
        time.sleep(float(sys.argv[2]))
        print("saved", flush=True)
        raise
"""


def start(setup: str = "", saving_s: float = 0.5) -> Command:
    command = Command("-c", SAVING, setup, str(saving_s))
    assert command.process.stdout is not None
    assert command.process.stdout.readline() == "ready\n"
    return command


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_lets_the_work_be_saved_and_is_the_exit_code(number):
    with start() as command:
        command.process.send_signal(number)
        assert command.process.stdout.readline() == "saving\n"
        for again in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):  # as a launcher passes them on
            command.process.send_signal(again)
        output, errors = command.process.communicate(timeout=30)
        assert output == "saved\n"
        assert command.process.returncode == 128 + number
        assert errors == ""


def test_a_second_interrupt_from_the_keyboard_ends_it_at_once():
    with start(saving_s=60) as command:
        command.process.send_signal(signal.SIGINT)
        assert command.process.stdout.readline() == "saving\n"
        time.sleep(REPEAT_S + 0.2)
        command.process.send_signal(signal.SIGINT)
        assert command.process.wait(20) == -signal.SIGINT


def test_nohup_and_background_jobs():
    ignore = "signal.signal(signal.SIG{0}, signal.SIG_IGN)"
    with start(ignore.format("HUP")) as command:
        command.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert command.process.poll() is None
        command.process.terminate()
        assert command.process.wait(20) == 128 + signal.SIGTERM
    with start(ignore.format("INT")) as command:
        command.process.send_signal(signal.SIGINT)
        assert command.process.wait(20) == 128 + signal.SIGINT
