"""``elbert report exits``: several tasks' studies side by side."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from elbert.cli import build_app
from quant.report.exits.figure import draw, make_figure
from quant.report.exits.gather import gather, read_studies
from quant.report.exits.table import markdown
from quant.studies.exits.comparison import BUDGETS, LOSSES, cost_keys
from quant.style import SUFFIXES, paper_style


def entry(accuracy: float, speedup: float, difference: tuple[float, float, float] | None) -> dict[str, Any]:
    return {
        "accuracy": accuracy,
        **cost_keys(1 / speedup, 12 / (0.8 * speedup), 12),
        "points_lost": 0.25,
        "difference": None
        if difference is None
        else {"points": difference[0], "interval": list(difference[1:]), "cost_macs": 0.0},
    }


def make_study(task: str, fastbert: tuple[float, float, float], pabee: bool = True) -> dict[str, Any]:
    """What the report reads of a study; PABEE has no setting of 4x, or is not there at all."""
    at_cost = {}
    for key in BUDGETS:
        at_cost[key] = {
            "elbert": entry(0.925, 4.46, None),
            "elbert-answer-first": entry(0.92, 4.4, (0.5, 0.1, 0.9)),
            "elbert-published": None if key == "16x" else entry(0.915, 4.1, (1.0, 0.0, 2.0)),
            "elbert-golden": entry(0.921, 4.4, (0.4, -0.1, 0.9)),
            "fastbert": entry(0.93, 5.0, fastbert),
            "albert": entry(0.9, 4.0, (2.5, 0.5, 4.5)),
        }
        if pabee:
            at_cost[key]["pabee"] = None if key == "4x" else entry(0.8, 2.5, (12.5, 10.0, 15.0))
    names = list(at_cost["2x"])
    curve = [
        {"asked": a, "accuracy": 0.9, "interval": [0.88, 0.92], **cost_keys(1 / a, 12 / a, 12)}
        for a in (1.0, 2.0, 4.0, 24.0)
    ]
    cost = {"seconds": 100.0, "training_cost": {"macs": 58.4e12, "teacher_macs": 9.6e12, "seconds": 120.0}}
    return {
        "header": {"commit": "abc"},
        "task": task,
        "metric": "mcc" if task == "cola" else "accuracy",
        "iterations": 12,
        "accuracy_full": 0.9,
        "data": {"samples": 560},
        "points": [],
        "curves": {name: curve for name in names},
        "headline": {key: dict.fromkeys(names, entry(0.9, 3.0, None)) for key in LOSSES},
        "at_cost": at_cost,
        "accuracy_per_iteration": {name: [0.5, 0.914] for name in names},
        "contenders": {
            **{name: name for name in names},
            "elbert-answer-first": "elbert-published",
            "albert": "albert-12",
        },
        "methods": {
            "elbert": {"added_parameters": 0, "training": cost},
            "elbert-published": {"added_parameters": 0, "training": {"seconds": 7325.2}},
            "elbert-golden": {"added_parameters": 0, "training": None},
            "fastbert": {"added_parameters": 1453078, "training": cost},
            "pabee": {"added_parameters": 8470, "training": cost},
            "albert-3": {"added_parameters": 0, "training": cost},
            "albert-12": {"added_parameters": 0, "training": cost},
        },
    }


def test_means_over_tasks_and_who_is_above() -> None:
    found = gather([make_study("trec", (-0.5, -2.5, 1.5)), make_study("cola", (1.5, 0.5, 2.5), pabee=False)])
    mean = found["mean"]["3x"]["fastbert"]
    assert mean["points"] == pytest.approx(0.5)
    half = math.hypot(2.0, 1.0) / 2  # half widths of the two intervals, their mean's error
    assert mean["interval"] == pytest.approx([0.5 - half, 0.5 + half])
    assert mean["tasks"] == ["trec", "cola"]
    assert found["above"]["3x"]["fastbert"] == {
        "above": ["cola"],
        "surely_above": ["cola"],
        "below": ["trec"],
        "surely_below": [],
    }
    assert found["mean"]["2x"]["pabee"]["tasks"] == ["trec"]
    assert found["mean"]["4x"]["pabee"] is None  # no setting that fast
    assert found["mean"]["2x"]["deebert"] is None
    assert found["tasks"]["trec"]["rows"]["pabee"]["at"]["4x"] is None
    assert list(found["tasks"]["cola"]["rows"]) == [
        "elbert", "elbert-answer-first", "elbert-published", "elbert-golden", "fastbert", "albert",
    ]  # fmt: skip
    assert found["mean"]["2x"]["elbert-published"]["points"] == pytest.approx(1.0)
    assert found["above"]["2x"]["elbert-published"]["surely_above"] == []
    assert found["mean"]["16x"]["elbert-published"] is None
    assert found["mean"]["2x"]["elbert-all-rows"] is None
    reached = found["tasks"]["cola"]["rows"]["fastbert"]["at"]["10x"]
    assert reached["speedup_macs"] == pytest.approx(5.0)
    assert reached["speedup_iterations"] == pytest.approx(4.0)


def test_training_is_told_as_far_as_it_was_counted() -> None:
    rows = gather([make_study("trec", (-0.5, -2.5, 1.5))])["tasks"]["trec"]["rows"]
    training = {name: row["training"] for name, row in rows.items()}
    assert training["elbert"] == {"macs": 58.4e12, "teacher_macs": 9.6e12, "seconds": 120.0}
    assert training["elbert-published"] == training["elbert-answer-first"] == {"seconds": 7325.2}
    assert training["elbert-golden"] is None
    # every cut is a training of its own
    assert training["albert"] == {"macs": 116.8e12, "teacher_macs": 19.2e12, "seconds": 240.0}
    alone = make_study("trec", (-0.5, -2.5, 1.5))
    alone["methods"]["albert-3"]["training"] = {"seconds": 5.0}
    (row,) = (gather([alone])["tasks"]["trec"]["rows"][name] for name in ["albert"])
    assert row["training"] == {"seconds": 125.0}
    del alone["methods"]["fastbert"]["training"]["training_cost"]["teacher_macs"]
    row = gather([alone])["tasks"]["trec"]["rows"]["fastbert"]
    assert row["training"] == {"macs": 58.4e12, "seconds": 120.0}


def test_markdown_holds_every_figure() -> None:
    lines = markdown(gather([make_study("trec", (-0.5, -2.5, 1.5))])).splitlines()

    def at(text: str, **other: str) -> str:
        return " | ".join(other.get(f"at_{key}", text) for key in BUDGETS)

    assert lines[0].startswith("| task | method | added parameters | training, 10^12 multiply-adds |")
    assert f"| {' | '.join(f'at {key}' for key in BUDGETS)} | ≤ 0.5 points lost |" in lines[0]
    assert lines[2] == f"| TREC | ELBERT | 0 | 58 + 10 | 91.4 | {at('92.5 (4.5x)')} | 3.0x, 0.2 |"
    once = f"0 | 7,325 s | 91.4 | {at('92.0 (4.4x)')}"
    assert lines[3] == f"|  | ELBERT answer first, one stage | {once} | 3.0x, 0.2 |"
    whole = at("91.5 (4.1x)", at_16x="")
    assert lines[4] == f"|  | ELBERT as published | 0 | 7,325 s | 91.4 | {whole} | 3.0x, 0.2 |"
    assert f"|  | ELBERT, integers | 0 |  | 91.4 | {at('92.1 (4.4x)')} | 3.0x, 0.2 |" in lines
    assert f"|  | FastBERT | 1,453,078 | 58 + 10 | 91.4 | {at('93.0 (5.0x)')} | 3.0x, 0.2 |" in lines
    pabee = at("80.0 (2.5x)", at_4x="")
    assert f"|  | PABEE | 8,470 | 58 + 10 | 91.4 | {pabee} | 3.0x, 0.2 |" in lines
    lead = at("-0.5 [-2.5, 1.5]<br>0 of 1, surely 0")
    assert f"| FastBERT | {lead} |" in lines
    missed = at("+12.5 [10.0, 15.0]<br>1 of 1, surely 1", at_4x="")
    assert f"| PABEE | {missed} |" in lines
    assert not any("all rows" in line or "DeeBERT" in line for line in lines)
    (gap,) = (i for i, line in enumerate(lines) if not line)
    for table in (lines[:gap], lines[gap + 1 :]):
        assert len({line.count("|") for line in table}) == 1


def run(*arguments: object) -> Result:
    app = build_app()
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_command_writes_tables_figure_and_result(tmp_path: Path) -> None:
    files = []
    for task in ("sst2", "trec", "cola"):
        files.append(tmp_path / f"{task}.json")
        files[-1].write_text(json.dumps(make_study(task, (1.0, -1.0, 3.0))))
    outputs = ["--markdown", tmp_path / "table.md", "--figure", tmp_path / "pareto.svg", "--json"]
    arguments = ["report", "exits", *files, *outputs, tmp_path / "all.json"]
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "Matthews" in result.output
    assert "ELBERT minus the other" in result.output
    assert json.loads((tmp_path / "all.json").read_text())["mean"]["2x"]["fastbert"]["points"] == 1.0
    assert (tmp_path / "table.md").read_text().startswith("| task | method |")
    assert "<svg" in (tmp_path / "pareto.svg").read_text()
    for option, given, message in (
        ("--figure", "pareto.jpg", "figure pareto.jpg ends in '.jpg', not in .svg, .png, .pdf"),
        ("--figure", tmp_path, "--figure "),
        ("--markdown", tmp_path, "is a folder; name a file in it"),
        ("--json", tmp_path, "is a folder; name a file in it"),
    ):
        (tmp_path / "all.json").unlink(missing_ok=True)
        changed = [*arguments]
        changed[changed.index(option) + 1] = given
        result = run(*changed)
        assert isinstance(result.exception, ValueError)
        assert message in str(result.exception)
        assert not (tmp_path / "all.json").exists()  # refused before anything is written


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_legend_fits_and_names_what_any_panel_shows(count: int) -> None:
    studies = [make_study(task, (1.0, -1.0, 3.0), task == "cola") for task in ("cola", "sst2", "trec", "fpb")]
    with paper_style():
        figure = make_figure(studies[::-1][:count])
        figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == count
    assert all(axes.get_tightbbox().y0 >= box.y1 for axes in panels)
    names = [text.get_text() for text in legend.get_texts()]
    assert ("PABEE" in names) == (count == 4)
    assert len(names) == len(set(names))


def test_a_figure_is_the_same_file_every_time_in_every_format(tmp_path: Path) -> None:
    studies = [make_study("sst2", (1.0, -1.0, 3.0))]
    for suffix in SUFFIXES:
        one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix.upper()}"
        draw(studies, one)
        draw(studies, two)
        assert one.read_bytes() == two.read_bytes()
    start = {suffix: (tmp_path / f"one{suffix}").read_bytes()[:5] for suffix in SUFFIXES}
    assert start == {".svg": b"<?xml", ".png": b"\x89PNG\r", ".pdf": b"%PDF-"}
    pdf = (tmp_path / "one.pdf").read_bytes()
    for word in (b"/CreationDate", b"/Producer", b"/Creator"):
        assert word not in pdf


def test_other_files_are_refused(tmp_path: Path) -> None:
    one, other, broken = (tmp_path / name for name in ("one.json", "other.json", "broken.json"))
    one.write_text(json.dumps(make_study("trec", (1.0, -1.0, 3.0))))
    other.write_text(json.dumps({"task": "trec"}))
    broken.write_text("{")
    with pytest.raises(ValueError, match="is a second study of trec"):
        read_studies([one, one])
    with pytest.raises(ValueError, match="is no result of elbert study exits: it has no metric, data"):
        read_studies([other])
    for key in make_study("trec", (1.0, -1.0, 3.0)):  # all that is read is asked for
        other.write_text(json.dumps({k: v for k, v in json.loads(one.read_text()).items() if k != key}))
        with pytest.raises(ValueError, match=f"it has no {key}$"):
            read_studies([other])
    with pytest.raises(ValueError, match="is not JSON"):
        read_studies([broken])
