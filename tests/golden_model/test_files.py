"""golden_model.files: whole or not at all, through links and into pipes, and refusals that name the path."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from golden_model.files import replacing, write_json, write_text

DATA = {"text": "ä\n" * 50_000}  # more than a pipe holds


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


def refused(path: Path | str, text: str = "x") -> str:
    """The one line in which a write is refused."""
    with pytest.raises(OSError) as caught:  # noqa: PT011  (the caller looks at the message)
        write_text(path, text)
    message = str(caught.value)
    assert message.endswith(f": {str(path)!r}")
    assert "\n" not in message
    return message


def test_a_file_is_replaced_whole_and_keeps_its_rights(tmp_path):
    path = tmp_path / "new" / "folders" / "a.json"
    write_json(path, DATA)
    assert json.loads(path.read_text()) == DATA
    umask = os.umask(0o022)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    path.chmod(0o640)
    write_json(path, 1)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("1\n", 0o640)
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half" * (1 // (temporary.write_text("half") - 4)))
    assert path.read_text() == "1\n"
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, float("nan"))
    assert leftovers(path.parent) == []
    name = tmp_path / ("ä" * 100 + ".json")  # 205 of the 255 bytes that a name may have
    write_text(name, "x")
    assert name.read_text() == "x"


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    target = tmp_path / "there" / "a.json"
    target.parent.mkdir()
    target.write_text("old")
    inode = target.stat().st_ino
    link, again = tmp_path / "link", tmp_path / "again"
    link.symlink_to("there/a.json")
    again.symlink_to(link)
    write_json(again, DATA)
    assert link.is_symlink()
    assert again.is_symlink()
    assert json.loads(target.read_text()) == DATA
    assert target.stat().st_ino != inode  # replaced, not written over
    assert leftovers(target.parent) == leftovers(tmp_path) == []
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "later" / "b.json")
    write_text(dangling, "x")
    assert (tmp_path / "later" / "b.json").read_text() == "x"
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert os.strerror(errno.ELOOP) in refused(loop)


def test_a_pipe_and_a_device_are_written_into(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    link = tmp_path / "link"
    link.symlink_to(fifo)
    for path in (fifo, link):
        found: list[str] = []
        reader = threading.Thread(target=lambda into=found: into.append(fifo.read_text()))
        reader.start()
        write_json(path, DATA)
        reader.join(20)
        assert json.loads(found[0]) == DATA
    assert fifo.is_fifo()
    assert link.is_symlink()
    write_json("/dev/null", DATA)
    assert Path("/dev/null").is_char_device()


WRITE = """
import sys
from golden_model.files import write_json
print("before", flush=True)
print("buffered")
write_json(sys.argv[1], {"n": 1})
print("after")
"""


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("mode", ["pipe", "w", "a"])
def test_descriptors_are_written_into_in_turn(path, mode, tmp_path):
    if not Path(path).is_absolute():
        (tmp_path / path).symlink_to("/dev/stdout")
        path = str(tmp_path / path)
    elif not Path(path).exists():
        pytest.skip(f"no {path} here")
    command = [sys.executable, "-c", WRITE, path]
    log = tmp_path / "log"
    log.write_text("old\n")
    if mode == "pipe":
        written = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    else:
        with log.open(mode) as handle:
            subprocess.run(command, stdout=handle, check=True)
        written = log.read_text()
    expected = 'before\nbuffered\n{\n  "n": 1\n}\nafter\n'
    assert written == ("old\n" if mode == "a" else "") + expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="a way of bash")
def test_process_substitution(tmp_path):
    script = (
        f'"$1" -c \'{WRITE}\' >(tr n m > "$2/out"; touch "$2/done"); while [ ! -e "$2/done" ]; do :; done'
    )
    subprocess.run(["bash", "-c", script, "-", sys.executable, str(tmp_path)], check=True, timeout=60)
    assert (tmp_path / "out").read_text() == '{\n  "m": 1\n}\n'


def test_what_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    assert os.strerror(errno.EISDIR) in refused(tmp_path)
    assert os.strerror(errno.ENOTDIR) in refused(tmp_path / "file" / "a.json")
    assert os.strerror(errno.ENOTDIR) in refused(tmp_path / "file" / "deeper" / "a.json")
    assert os.strerror(errno.EBADF) in refused("/dev/fd/987")
    assert leftovers(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    if os.geteuid():
        tmp_path.chmod(0o500)
        refused(tmp_path / "a.json")
        refused(tmp_path / "deeper" / "a.json")
        tmp_path.chmod(0o700)
    elif Path("/proc/self").exists():  # not even root makes a file there
        refused("/proc/elbert.json")
        refused("/proc/elbert/deeper.json")


@contextmanager
def bounded_files(size: int) -> Iterator[None]:
    """No file may grow above ``size`` bytes: as a full disk, but with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write_text("x" * 100_000),
        lambda file: save_file({"a": torch.zeros(100_000)}, file),
        lambda file: np.savez(file.open("wb"), a=np.zeros(100_000)),
    ],
    ids=["text", "safetensors", "numpy"],
)
def test_a_full_disk_leaves_the_old_file_and_names_it(write, tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with bounded_files(50_000), pytest.raises(OSError, match="/a") as caught, replacing(path) as temporary:
        write(temporary)
    assert ".part" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_device_is_named():
    assert os.strerror(errno.ENOSPC) in refused("/dev/full")


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="source"), replacing(tmp_path / "a"):
        (tmp_path / "source").read_text()
    assert not (tmp_path / "a").exists()
