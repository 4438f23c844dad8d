"""The root of the ``elbert`` command and what all results share."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from elbert import cli
from elbert.results import deliver
from golden_model import provenance
from golden_model.errors import PromiseBroken
from golden_model.files import sha256_of, write_json
from golden_model.provenance import ROOT, commit, header


def run_main(monkeypatch: pytest.MonkeyPatch, command, arguments: list[str]) -> int:
    """Exit code of ``main`` with ``command`` as the only command."""

    class Module:
        probe = staticmethod(command)

    monkeypatch.setattr(cli, "COMMANDS", (("probe", "only:probe"),))
    monkeypatch.setattr(cli, "import_module", lambda name: Module)
    monkeypatch.setattr(sys, "argv", ["elbert", *arguments])
    monkeypatch.delenv(cli.TRACEBACK_VARIABLE, raising=False)
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code if isinstance(left.value.code, int) else 0


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (PromiseBroken("3 mismatches"), 1),
        (ValueError("window 40 is above 32"), 2),
        (FileNotFoundError("no such checkpoint"), 2),
    ],
)
def test_failures_become_messages_and_exit_codes(monkeypatch, capsys, failure, code):
    def probe() -> None:
        raise failure

    assert run_main(monkeypatch, probe, ["probe"]) == code
    error = capsys.readouterr().err
    assert error == f"error: {failure}\n"


def test_success_ends_with_zero_and_bad_usage_with_two(monkeypatch):
    def probe(count: int = 0) -> None:
        pass

    assert run_main(monkeypatch, probe, ["probe"]) == 0
    assert run_main(monkeypatch, probe, ["probe", "--count", "many"]) == 2
    assert run_main(monkeypatch, probe, ["study"]) == 2


def test_an_interrupt_ends_with_130(monkeypatch):
    def probe() -> None:
        raise KeyboardInterrupt

    assert run_main(monkeypatch, probe, ["probe"]) == 130


def test_a_bug_keeps_its_traceback(monkeypatch):
    def probe() -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(sys, "argv", ["elbert", "probe"])
    with pytest.raises(KeyError):
        run_main(monkeypatch, probe, ["probe"])


def test_help_lists_the_commands_and_imports_nothing_heavy():
    code = (
        "import sys; from elbert.cli import build_app; app = build_app();"
        "print(sorted(c.name or c.callback.__name__ for c in app.registered_commands));"
        "print([m for m in ('torch', 'transformers', 'amaranth', 'cocotb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    commands, heavy = done.stdout.splitlines()
    assert {"run", "eval", "train", "quantize", "synth"} <= set(re.findall(r"'([^']+)'", commands))
    assert heavy == "[]"


def test_header_names_versions_seed_commit_and_checkpoint():
    head = header(7, "ab" * 32)
    assert list(head) == ["versions", "seed", "commit", "checkpoint_sha256"]
    assert (head["seed"], head["checkpoint_sha256"]) == (7, "ab" * 32)
    assert {"python", "torch", "amaranth", "verilator", "elbert-fpga"} <= head["versions"].keys()
    assert head["commit"] is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", head["commit"])


def test_commit_of_a_foreign_repository_is_not_ours(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    inside = tmp_path / "site-packages"
    inside.mkdir()
    monkeypatch.setattr(provenance, "ROOT", inside)
    assert commit() is None


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "r.json"
    write_json(path, {"text": "naïve", "value": 1})
    assert json.loads(path.read_text("utf-8")) == {"text": "naïve", "value": 1}
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"value": float("nan")})
    with pytest.raises(TypeError):
        write_json(path, {"value": object()})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["r.json"]


def test_hash_of_a_folder_depends_on_names_and_contents(tmp_path: Path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    first = sha256_of(tmp_path)
    assert first == sha256_of(tmp_path)
    (tmp_path / "b").write_text("3")
    changed = sha256_of(tmp_path)
    (tmp_path / "b").write_text("2")
    (tmp_path / "b").rename(tmp_path / "c")
    assert len({first, changed, sha256_of(tmp_path)}) == 3
    with pytest.raises(FileNotFoundError):
        sha256_of(tmp_path / "none")


def test_every_command_prints_its_help(capsys):
    """A stray bracket in a help text is markup to rich, and an exception to the user."""

    def visit(command, context) -> int:
        command.get_help(context)
        assert "Usage:" in capsys.readouterr().out
        inner = getattr(command, "commands", {})
        return 1 + sum(visit(each, type(context)(each, parent=context)) for each in inner.values())

    root = typer.main.get_command(cli.build_app())
    assert visit(root, root.context_class(root)) > 8


def call(*arguments: object, **changes: object) -> subprocess.CompletedProcess[str]:
    """``elbert`` in a process of its own."""
    options: dict = {"capture_output": True, "text": True, "timeout": 300, **changes}
    return subprocess.run([sys.executable, "-m", "elbert", *map(str, arguments)], **options)


def test_text_is_shown_as_typed():
    done = call("run", "[/b] great", ":smile: fine", "[bold]dull[/bold]")
    assert done.returncode == 0, done.stderr
    for text in ("[/b] great", ":smile: fine", "[bold]dull[/bold]"):
        assert text in done.stdout


def test_a_terminal_without_unicode_shows_what_it_can_and_the_result_is_there(tmp_path: Path):
    env = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    path = tmp_path / "r.json"
    text = "naïve … and far too long for the thirty-five characters of its row"
    done = call("run", text, "--json", path, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "na?ve ..." in done.stdout
    assert json.loads(path.read_text("utf-8"))["sentences"][0]["text"] == text
    widths = {len(line) for line in done.stdout.splitlines()[1:] if line.startswith(("|", "+"))}
    assert len(widths) == 1  # the frame closes though characters were replaced


def test_a_reader_that_leaves_loses_no_result(tmp_path: Path):
    path = tmp_path / "r.json"
    command = [sys.executable, "-m", "elbert", "run", "good", "--json", str(path)]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert job.stdout is not None
    assert job.stderr is not None
    job.stdout.close()
    error = job.stderr.read()
    job.stderr.close()
    assert job.wait() in (0, 141)
    assert "Traceback" not in error
    assert json.loads(path.read_text())["sentences"][0]["label_name"] == "positive"


def test_results_are_saved_before_they_are_shown(tmp_path: Path):
    path = tmp_path / "r.json"

    def show() -> None:
        raise RuntimeError("the display failed")

    with pytest.raises(RuntimeError):
        deliver({"value": 1}, path, show)
    assert json.loads(path.read_text()) == {"value": 1}


def test_messages_are_one_short_line_each(monkeypatch, capsys):
    def probe() -> None:
        raise ValueError("a review\nof many lines " + 500 * "and words ")

    assert run_main(monkeypatch, probe, ["probe"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert len(error) < 650


def test_wrong_settings_are_named_without_the_checkers_noise():
    done = call("run", "good", "--window", "40")
    assert done.returncode == 2
    assert done.stderr.startswith("error: window 40: ")
    assert "pydantic" not in done.stderr
    assert "16" in done.stderr


def test_shells_complete_the_commands():
    asked = {"_ELBERT_COMPLETE": "complete_bash", "COMP_WORDS": "elbert ev", "COMP_CWORD": "1"}
    done = call(env=os.environ | asked)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["eval"]
