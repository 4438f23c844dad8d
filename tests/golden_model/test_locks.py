"""golden_model.locks: a folder is held by one, who is named; the dead hold nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from golden_model.locks import LOCK_FILE, FolderInUse, held, waited_for

HOLD = """
import sys, time
from golden_model.locks import held
with held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_refused_in_one_line_that_names_folder_and_holder(tmp_path):
    folder = tmp_path / "runs" / "a"
    with holder(folder) as process:
        with pytest.raises(FolderInUse) as caught, held(folder):
            pass
        text = str(caught.value)
        assert text.startswith(f"{folder} is in use by process {process.pid} (-c ")
        assert "\n" not in text
        assert len(text) < len(str(folder)) + 140
        link = tmp_path / "link"
        link.symlink_to(folder)
        with pytest.raises(FolderInUse, match=str(process.pid)), held(link):
            pass
        with held(tmp_path / "runs" / "b"):
            pass
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0
    assert not folder.exists()  # nothing was written into it
    with held(folder):
        (folder / "result").touch()
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_a_dead_holder_holds_nobody_up(tmp_path):
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    assert (tmp_path / LOCK_FILE).exists()
    with held(tmp_path):
        pass
    assert not (tmp_path / LOCK_FILE).exists()


def test_blocks_of_one_thread_nest_and_another_thread_is_refused(tmp_path):
    refused: list[str] = []

    def other() -> None:
        try:
            with held(tmp_path):
                pass
        except FolderInUse as error:
            refused.append(str(error))

    with held(tmp_path):
        with held(tmp_path):
            pass
        assert (tmp_path / LOCK_FILE).exists()
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1
    other()
    assert len(refused) == 1


def test_a_folder_that_is_a_file_is_refused_by_name(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), held(tmp_path / "file"):
        pass


def test_waiting_takes_turns(tmp_path):
    """Four threads add to a number in a file, read and written apart."""
    number = tmp_path / "number"
    number.write_text("0")

    def add() -> None:
        for _ in range(20):
            with waited_for(tmp_path / "locks" / "number.lock"):
                number.write_text(str(int(number.read_text()) + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert number.read_text() == "80"
