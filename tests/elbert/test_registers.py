"""``elbert registers``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from golden_model.provenance import ROOT
from hw.bus.registers.export import HEADER


def elbert(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "elbert", "registers", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def test_the_header_is_the_repositorys_and_a_machine_fills_in_its_constants(tmp_path: Path) -> None:
    assert elbert(cwd=tmp_path).returncode == 0
    plain = (tmp_path / HEADER.name).read_text()
    assert plain == (ROOT / HEADER).read_text()
    done = elbert("--preset", "small", "--array", "8x16", "--output", "out/small.h", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    small = (tmp_path / "out/small.h").read_text()
    assert "#define ELBERT__GEOMETRY__COLS_reset 0x10\n" in small
    assert "#define ELBERT__GEOMETRY__COLS_reset 0x0\n" in plain


def test_the_map_for_machines(tmp_path: Path) -> None:
    done = elbert("--preset", "small", "--array", "8x16", "--json", "map.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads((tmp_path / "map.json").read_text())
    assert (tmp_path / document["file"]).is_file()
    (geometry,) = [each for each in document["registers"] if each["name"] == "GEOMETRY"]
    assert {field["name"]: field["reset"] for field in geometry["fields"]} == {
        "rows": 8,
        "cols": 16,
        "axi_bits": 128,
    }
    offsets = [each["offset"] for each in document["registers"]]
    assert offsets == sorted(set(offsets))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "pdf"], "format 'pdf' is not one of c, markdown, html, ipxact, python"),
        (["--preset", "tiny"], "preset 'tiny' is not one of nano, small, base, large"),
        (["--preset", "nano", "--array", "3x4"], "array rows 3 is not a power of two in 1..4"),
        (["--format", "html", "--output", "full"], "full is not empty"),
        (["--output", "full"], "full"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    done = elbert(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
