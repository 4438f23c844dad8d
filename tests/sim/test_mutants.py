"""Planted faults: where the rules find them, that they take effect nowhere else, and what becomes of them."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from elbert import cli
from hw.unelaborated import unelaborated
from sim.mutants import reviewed
from sim.mutants.blocks import BLOCKS, modules_of
from sim.mutants.campaign import (
    EQUIVALENT,
    KILLED,
    PROMISED,
    SURVIVED,
    Campaign,
    Verdict,
    run_campaign,
    sample,
    stale_reviews,
    summary,
)
from sim.mutants.closure import fingerprint, sources_of
from sim.mutants.importing import plant
from sim.mutants.rules import Mutant, find_mutants, mutated

TEXT = '''
SLOTS = 4

class Block:
    """Doc."""
    def elaborate(self, platform):
        m.d.sync += [a.eq(saturate(b, -LOW, HIGH)), c.eq(c + 1)]
        m.d.sync += d.eq((e + (1 << (n - 1))) >> 3)
        with m.If((k < 7) & ~busy):
            m.d.comb += f.eq(Mux(g, delay(m, h, 2), i.as_signed()))
        state = Signal(init=1)
    def check(self, n):
        if n < 1:
            raise ValueError(f"{n + 1}")
'''


def found(text: str = TEXT) -> dict[str, Mutant]:
    return {f"{m.rule}: {m.before} -> {m.after}": m for m in find_mutants(text, "a.b")}


@pytest.mark.parametrize(
    "change",
    [
        "constant off by one: SLOTS = 4 -> 5",
        "saturation dropped: saturate(b, -LOW, HIGH) -> b",
        "bound off by one: saturate(b, -LOW, HIGH) -> saturate(b, -LOW + 1, HIGH)",
        "bound off by one: saturate(b, -LOW, HIGH) -> saturate(b, -LOW, HIGH - 1)",
        "assignment dropped: c.eq(c + 1) -> ",
        "assignment dropped: d.eq(e + (1 << n - 1) >> 3) -> []",
        "off by one: c + 1 -> c",
        "off by one: c + 1 -> c + 2",
        "rounding dropped: e + (1 << n - 1) -> e",
        "shift off by one: e + (1 << n - 1) >> 3 -> e + (1 << n - 1) >> 4",
        "comparison: k < 7 -> k <= 7",
        "and as or: (k < 7) & ~busy -> (k < 7) | ~busy",
        "inversion dropped: ~busy -> busy",
        "branches swapped: Mux(g, delay(m, h, 2), i.as_signed()) -> Mux(g, i.as_signed(), delay(m, h, 2))",
        "delay off by one: delay(m, h, 2) -> delay(m, h, 2 - 1)",
        "signed as unsigned: i.as_signed() -> i.as_unsigned()",
        "reset value: Signal(init=1) -> Signal(init=0)",
    ],
)
def test_rules_find_and_apply(change: str) -> None:
    mutant = found().get(change)
    assert mutant is not None, "\n".join(found())
    text = ast.unparse(mutated(TEXT, mutant))
    plain = ast.unparse(ast.parse(TEXT))
    different = [
        pair for pair in zip(plain.splitlines(), text.splitlines(), strict=True) if len(set(pair)) > 1
    ]
    assert len(different) == 1


def test_checks_of_arguments_and_messages_are_left_alone() -> None:
    assert not [mutant for mutant in found().values() if mutant.function == "check"]


def test_a_mutant_keeps_its_name_when_lines_move() -> None:
    moved = "import os\n\n\n" + TEXT
    assert {m.name for m in find_mutants(TEXT, "a.b")} == {m.name for m in find_mutants(moved, "a.b")}
    [mutant] = [m for m in find_mutants(TEXT, "a.b") if m.rule == "reset value"]
    assert "Signal(init=0)" in ast.unparse(mutated(moved, mutant))


def test_a_place_that_is_gone_is_named() -> None:
    mutant = next(m for m in find_mutants(TEXT, "a.b") if m.rule == "comparison")
    with pytest.raises(
        ValueError, match=r"a\.b has no place for the mutant 'a\.b:elaborate: comparison: k < 7"
    ):
        mutated(TEXT.replace("k < 7", "k < 8"), mutant)


def test_every_hardware_module_has_one_block_and_names_are_unique() -> None:
    modules = [module for block in BLOCKS for module in modules_of(block)]
    assert len(modules) == len(set(modules))
    mutants = [
        m for block in BLOCKS for module, path in modules_of(block).items()
        for m in find_mutants(path.read_text(), module)
    ]  # fmt: skip
    assert len({m.name for m in mutants}) == len(mutants) >= 60
    for block in BLOCKS:
        assert modules_of(block), block


@pytest.mark.parametrize("block", BLOCKS)
def test_the_runs_of_a_block_can_be_made(block: str) -> None:
    for run in BLOCKS[block].runs:
        assert run.test_args(unelaborated(run.make()))
        assert run.bench in sources_of([run.bench])


def test_the_sample_is_the_seeds_and_holds_every_block_and_rule() -> None:
    chosen = sample(None, 100, seed=1)
    assert chosen == sample(None, 100, seed=1) != sample(None, 100, seed=2)
    assert chosen[:30] == sample(None, 30, seed=1)
    assert {block for block, _ in chosen} == set(BLOCKS)
    assert len({mutant.rule for _, mutant in chosen}) >= 8
    with pytest.raises(ValueError, match="block 'divider' is not one of requantizer"):
        sample("divider", 1, seed=1)
    with pytest.raises(ValueError, match="limit 0 is below 1"):
        sample(None, 0, seed=1)
    with pytest.raises(ValueError, match="workers 0 is below 1"):
        run_campaign(block=None, limit=1, workers=0, seed=1)


def test_the_two_saturations_are_among_the_mutants() -> None:
    """Those that no test caught before the rails were reached."""
    dropped = {
        m.before for block in BLOCKS for module, path in modules_of(block).items()
        for m in find_mutants(path.read_text(), module) if m.rule == "saturation dropped"
    }  # fmt: skip
    assert any("RESIDUAL_BITS" in text for text in dropped), dropped
    assert any("SCORE_BITS" in text for text in dropped), dropped


def test_a_planted_module_is_changed_in_its_process_alone() -> None:
    code = (
        "import json, sys\n"
        "from sim.mutants.importing import plant\n"
        "from sim.mutants.rules import find_mutants\n"
        "from pathlib import Path\n"
        "import hw\n"
        "path = Path(hw.__file__).parent / 'units' / 'softmax.py'\n"
        "mutant = next(m for m in find_mutants(path.read_text(), 'hw.units.softmax')"
        " if m.before == 'MAX_KEYS = 512')\n"
        "plant(mutant)\n"
        "from hw.units.softmax import MAX_KEYS\n"
        "print(MAX_KEYS)\n"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "511"
    from hw.units.softmax import MAX_KEYS

    assert MAX_KEYS == 512
    with pytest.raises(ValueError, match=r"hw\.units\.softmax is imported already"):
        plant(Mutant("hw.units.softmax", "", "", "", "", 0, 1))


def test_a_fingerprint_covers_what_is_imported_indirectly() -> None:
    sources = sources_of(["hw.units.softmax"])
    assert {"hw.units.softmax", "hw.arith.integer_divider", "hw.arith.check", "golden_model.numerics"} <= set(
        sources
    )
    assert "hw.engine.sequencer" not in sources
    assert fingerprint(["hw.units.softmax"]) != fingerprint(["hw.units.exit_unit"])


def activation_table_mutant(rule: str, part: str, after: str | None = None) -> Mutant:
    """The first of that rule whose expression holds ``part``."""
    for module, path in modules_of("activation table").items():
        for mutant in find_mutants(path.read_text(), module):
            if mutant.rule == rule and part in mutant.before and after in (None, mutant.after):
                return mutant
    raise AssertionError(f"the activation table has no mutant {rule}: {part} -> {after}")


@pytest.mark.slow
def test_one_is_killed_and_one_proven_equivalent(tmp_path: Path) -> None:
    """The whole path on the smallest block; what was found is not looked for again."""
    dropped = activation_table_mutant("assignment dropped", "read.addr")
    killed = Campaign(1, tmp_path).verdict("activation table", dropped)
    assert (killed.outcome, killed.by) == (KILLED, "activation_table_bench 0")
    assert killed.message
    # 3 and 2 have as many bits: neither the block's netlist nor the machine's changes
    same = activation_table_mutant("off by one", "ENTRIES_PER_WORD - 1", "ENTRIES_PER_WORD - 2")
    assert Campaign(1, tmp_path).verdict("activation table", same).outcome == EQUIVALENT
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    assert Campaign(1, tmp_path).verdict("activation table", dropped) == killed
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")} == before


def verdict(outcome: str, block: str = "softmax", reason: str | None = None, number: int = 0) -> Verdict:
    mutant = Mutant("hw.units.softmax", "elaborate", "off by one", "x + 1", "x", number, 7)
    return Verdict(block, mutant, outcome, "", "", 1.0, reason)


def test_explained_survivors_and_equivalents_count_on_neither_side() -> None:
    verdicts = [verdict(KILLED)] * 3 + [
        verdict(SURVIVED),
        verdict(SURVIVED, reason="why"),
        verdict(EQUIVALENT),
    ]
    counts = summary([*verdicts, verdict("timed out", "array"), verdict("not built", "array")])
    assert counts["blocks"]["softmax"]["share"] == 3 / 4
    assert counts["blocks"]["array"]["share"] == 1
    assert counts["all"] == {
        "mutants": 8, "killed": 3, "timed out": 1, "not built": 1, "survived": 2, "equivalent": 1,
        "explained": 1, "share": 5 / 6,
    }  # fmt: skip
    assert summary([verdict(EQUIVALENT)])["all"]["share"] is None


def test_a_reviewed_mutant_that_is_killed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = reviewed.Reviewed("elaborate", "off by one", "x + 1", "x", "why")
    monkeypatch.setattr("sim.mutants.campaign.REVIEWED", (entry,))
    assert stale_reviews([verdict(KILLED)]) == ["elaborate: off by one: x + 1 -> x"]
    assert stale_reviews([verdict(SURVIVED)]) == []


def run_elbert(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """The exit code."""
    monkeypatch.setattr(sys, "argv", ["elbert", "simulate", *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code


def test_the_command_saves_shows_and_keeps_its_promise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answers = [verdict(KILLED), verdict(SURVIVED)]
    monkeypatch.setattr("sim.mutants.campaign.run_campaign", lambda **_: answers)
    arguments = ("--mutants", "--limit", "2", "--json", str(tmp_path / "m.json"))
    assert run_elbert(monkeypatch, *arguments) == 1
    saved = json.loads((tmp_path / "m.json").read_text())
    assert saved["all"]["share"] == 0.5 < PROMISED == saved["promised"]
    assert saved["mutants"][1]["line"] == 7
    place = "hw.units.softmax:7: off by one: x + 1 -> x"
    printed = capsys.readouterr()
    assert place in printed.out
    assert printed.err.endswith(f"50.0 % killed, below 95 %; the first survived: {place}\n")
    answers[:] = [verdict(KILLED)]
    assert run_elbert(monkeypatch, *arguments) in (0, None)


@pytest.mark.parametrize("option", ["--block", "--limit", "--workers"])
def test_what_goes_with_mutants_alone_is_refused_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert run_elbert(monkeypatch, option, "3") == 2
    assert capsys.readouterr().err == f"error: {option} 3 goes with --mutants alone\n"


@pytest.mark.slow
def test_a_small_sample_keeps_the_promise() -> None:
    verdicts = run_campaign(block=None, limit=20, workers=2, seed=1)
    left = [v.mutant.name for v in verdicts if v.outcome == SURVIVED and v.reason is None]
    assert summary(verdicts)["all"]["share"] >= PROMISED, left
