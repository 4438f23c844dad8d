"""The page in a real browser: figures drawn, numbers those of the JSON, controls at work, nothing fetched."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from golden_model.data.tables import load_dataset
from golden_model.exits import ExitPolicy
from quant.report.decisions.figures import decisions
from quant.report.decisions.page import write_page
from quant.report.decisions.record import open_recorder

SENTENCES = 24
HOSTILE = (
    '</script><script>console.error("broken out")</script> '
    '<img src=x onerror=console.error(1)> $w1$ & \u2028 \u2029 [/b] [red]w3[/] {{ 1 }} 🙂 \u202e "w2"'
)
FIGURES = ("trajectory", "entropy", "exits", "accuracy", "attention", "projection")


def build(folder: Path, policy: ExitPolicy, sentences: int = SENTENCES) -> tuple[Path, dict[str, Any]]:
    """The page of the nano model on its table, one sentence replaced by an attack; and its numbers."""
    data = load_dataset(folder)
    data.texts[4] = HOSTILE
    found = decisions(
        open_recorder("float", folder), data, policy, backend="float", model=folder, sentences=sentences,
        examples=4, class_names=["down", "up"],
    )  # fmt: skip
    page = folder / "page.html"
    write_page(found, page)
    return page, json.loads(json.dumps(found))


def assert_drawn(browser: Any, found: dict[str, Any]) -> None:
    """Every figure is there, has a size, and holds shapes with finite geometry."""
    hosts = [f"#{name}-figure" for name in FIGURES]
    hosts += [f'[data-quadrant="{entry["key"]}"] .figure' for entry in found["quadrants"] if entry["count"]]
    hosts += ["#projection-multiples button"] * found["model"]["iterations"]
    seen = browser.execute_script(
        """
        const box = (e) => { const { width, height } = e.getBBox(); return [width, height]; };
        return arguments[0].map((host, i) => { // a host named n times stands for its n elements
          const all = document.querySelectorAll(host);
          const one = all.length > 1 ? all[i - (arguments[0].length - all.length)] : all[0];
          const svg = one.querySelector("svg");
          const { width, height } = svg.getBoundingClientRect();
          const shapes = [...svg.querySelectorAll("path:not([d='']), circle, rect:not(.hit)")];
          const flat = shapes.filter((e) => Math.max(...box(e)) <= 0);
          return { size: [width, height], shapes: shapes.length, flat: flat.length };
        });
        """,
        hosts,
    )
    for host, figure in zip(hosts, seen, strict=True):
        assert min(figure["size"]) > 50, host
        assert figure["shapes"] > 1, host
        assert figure["flat"] < figure["shapes"], host
    assert "NaN" not in browser.execute_script("return document.querySelector('main').innerHTML")


def percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def chosen_row(browser: Any) -> int:
    (identifier,) = browser.attributes("#list [aria-selected=true]", "id")
    return int(identifier.removeprefix("s"))


WINDOW = ExitPolicy(mode="bias_1", delta=0.85, window=2, margin=0.05)


def test_the_page_shows_its_numbers_and_answers_its_controls(browser: Any, float_folder: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page, found = build(float_folder, WINDOW)
    by_row = {s["row"]: s for s in found["sentences"]}
    browser.open(page)
    assert_drawn(browser, found)

    # numbers
    for identifier, text in {
        "accuracy-with": percent(found["with_exit"]["accuracy"]),
        "accuracy-without": percent(found["without_exit"]["accuracy"]),
        "mean-exit": f"{found['with_exit']['mean_exit_iteration']:.2f} of 4",
        "cost": f"{found['with_exit']['cost']:.4f}",
        "speedup": f"{found['with_exit']['speedup']:.2f}x",
        "policy": "bias_1, delta 0.85, window 2, margin 0.05",
    }.items():
        assert browser.texts(f"#{identifier}") == [text]
    right, wrong = found["exits"]["right"], found["exits"]["wrong"]
    cells = [str(v) for i, (a, b) in enumerate(zip(right, wrong, strict=True)) for v in (i + 1, a, b, a + b)]
    assert browser.texts("#exits-table td") == cells
    heights = [float(h) for h in browser.attributes("#exits-figure [data-bar]", "height")]
    tall = [value for pair in zip(right, wrong, strict=True) for value in pair if value]
    assert [h / heights[0] for h in heights] == pytest.approx([v / tall[0] for v in tall], rel=1e-3)
    shares = browser.texts("#accuracy-table td:nth-child(2)")
    assert shares == [percent(v) for v in found["accuracy"]["all"]["accuracy"]]
    assert browser.texts("#quadrant-figures strong") == [str(e["count"]) for e in found["quadrants"]]
    rows = {s["row"] for s in found["sentences"]}
    assert browser.count("#list li") == browser.count("#trajectory-figure .faint") + 1 == len(rows)

    # hostile text is text
    assert 4 in by_row
    assert [t for t in browser.texts("#list li span:nth-child(2)") if "broken out" in t] == [HOSTILE]

    # choosing a sentence, by mouse and by key
    def drawn() -> tuple[str, str]:
        (line,) = browser.attributes("#trajectory-figure [data-part=chosen]", "d")
        return line, browser.texts("#verdict")[0]

    before, first = drawn(), chosen_row(browser)
    other = next(row for row in by_row if row != first and row != 4)
    browser.find_element(By.ID, f"s{other}").click()
    assert chosen_row(browser) == other
    after = drawn()
    assert after[0] != before[0]
    assert by_row[other]["text"] in after[1]
    assert f"Left after iteration {by_row[other]['exit']} of 4" in after[1]
    (cx,) = browser.attributes("#trajectory-figure [data-part=exit]", "cx")
    places = browser.attributes("#trajectory-figure circle[r='3.2'], #trajectory-figure circle[r='2']", "cx")
    assert places.index(cx) == by_row[other]["exit"] - 1
    browser.find_element(By.ID, "list").send_keys(Keys.HOME, Keys.ARROW_DOWN)
    assert chosen_row(browser) == found["sentences"][1]["row"]

    # filters
    for outcome, keep in {
        "right": lambda s: s["answer"] == s["label"],
        "wrong": lambda s: s["answer"] != s["label"],
        "3": lambda s: s["quadrant"] == 3,
    }.items():
        browser.set_value("outcome", outcome, "change")
        expected = [s["row"] for s in found["sentences"] if keep(s)]
        assert 0 < len(expected) < len(rows)
        assert browser.attributes("#list li", "id") == [f"s{row}" for row in expected]
        assert browser.count("#trajectory-figure .faint") == len(expected) - 1
        assert chosen_row(browser) in expected
    browser.find_element(By.ID, "reset").click()
    mean = found["with_exit"]["mean_exit_iteration"]
    for when, keep in {"early": lambda s: s["exit"] <= mean, "late": lambda s: s["exit"] > mean}.items():
        browser.set_value("when", when, "change")
        assert browser.count("#list li") == sum(map(keep, found["sentences"]))
    browser.find_element(By.ID, "reset").click()
    browser.find_element(By.ID, "search").send_keys("broken OUT")
    assert browser.attributes("#list li", "id") == ["s4"]
    browser.set_value("search", "no such words", "input")
    assert browser.texts("#list li") == ["no sentence fits the filters"]
    browser.find_element(By.ID, "reset").click()
    bar = browser.find_elements(By.CSS_SELECTOR, "#exits-figure [role=button]")[0]
    bar.send_keys(Keys.ENTER)
    at = next(i for i, (a, b) in enumerate(zip(right, wrong, strict=True), 1) if a + b)
    assert browser.count("#list li") == sum(s["exit"] == at for s in found["sentences"])
    browser.find_elements(By.CSS_SELECTOR, ".samples button")[0].click()
    assert chosen_row(browser) in by_row
    for measure, label in (("winner", "p of the winning class"), ("lead", "lead over the next class")):
        line = drawn()[0]
        browser.set_value("measure", measure, "change")
        assert label in browser.texts("#trajectory-figure .axis-label")
        # of two classes the lead from 0 to 1 is the winner's probability from 0.5 to 1: the same line
        assert (drawn()[0] == line) == (measure == "lead")

    # attention
    for index, head in ((0, "mean"), (2, "1")):
        browser.set_value("attention-sentence", str(index), "change")
        browser.set_value("attention-head", head, "change")
        entry = found["attention"][index]
        weights = entry["mean"] if head == "mean" else entry["weights"][int(head)]
        shown = [float(v) for v in browser.attributes("#attention-figure .cell", "data-value")]
        assert shown == [value for row in weights for value in row]
        assert browser.count("#attention-figure [data-token]") == len(entry["tokens"])
    browser.find_element(By.ID, "attention-special").click()
    assert browser.count("#attention-figure [data-token]") == entry["special"].count(False)

    # colours end where most words do; what is beyond says what it is
    entry, heads = found["attention"][2], found["model"]["heads"]
    for head in ["mean", *map(str, range(heads))]:
        browser.set_value("attention-head", head, "change")
        weights = entry["mean"] if head == "mean" else entry["weights"][int(head)]
        top = entry["top"]["mean"] if head == "mean" else entry["top"]["weights"][int(head)]
        words = [t for t, special in enumerate(entry["special"]) if not special]
        beyond = [row[t] for row in weights for t in words if row[t] > top]
        assert browser.texts("#attention-figure .over") == [f"{math.floor(100 * v + 0.5)}" for v in beyond]
        (legend,) = browser.texts("#attention-legend")
        assert f"{100 * top:.1f} %" in legend
        assert ("and more" in legend) == bool(beyond)

    # projection
    def marks() -> list[str]:
        return browser.attributes("#projection-figure [data-marks]", "d")

    assert sum(d.count("h0") + d.count("m0") for d in marks()) == found["data"]["sentences"]
    assert browser.count("#projection-multiples button") == 4
    mean_exit = round(found["with_exit"]["mean_exit_iteration"])
    assert browser.attributes("#projection-multiples [aria-pressed=true]", "value") == [str(mean_exit)]
    browser.set_value("iteration", "1", "input")
    first_marks = marks()
    browser.find_element(By.ID, "together").click()
    assert marks() != first_marks  # the same points on axes of all iterations
    browser.find_element(By.ID, "together").click()
    assert marks() == first_marks
    browser.set_value("iteration", "3", "input")
    assert marks() != first_marks
    box = browser.execute_script(
        "const host = document.getElementById('projection-figure');"
        "return [host.querySelector('.hit'), ...host.querySelectorAll('[data-marks]')]"
        ".map((e) => e.getBBox()).map((b) => [b.x, b.y, b.x + b.width, b.y + b.height])"
    )
    frame = box[0]
    for left, upper, right_end, lower in box[1:]:  # crosses reach a little over the frame
        assert left > frame[0] - 4
        assert upper > frame[1] - 4
        assert right_end < frame[2] + 4
        assert lower < frame[3] + 4
    share = found["accuracy"]["all"]["accuracy"][2]
    assert browser.texts("#iteration-value") == [f"3 of 4, {100 * share:.1f} % right"]
    assert browser.attributes("#projection-multiples [aria-pressed=true]", "value") == ["3"]
    browser.find_element(By.ID, "play").click()
    assert browser.texts("#play") == ["pause"]
    assert browser.execute_script("return document.getElementById('together').checked")
    browser.find_element(By.ID, "play").click()
    assert browser.texts("#play") == ["play"]

    # a tooltip, and a narrow window
    browser.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    browser.execute_script("document.querySelector('#exits-figure [role=button]').focus()")
    browser.next_frame()
    assert browser.texts("#tip:not([hidden])")[0].startswith(f"iteration {at}: ")
    browser.set_window_size(600, 800)
    browser.next_frame()
    wide = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1] <= 600
    assert_drawn(browser, found)
    browser.set_window_size(1280, 900)

    assert browser.get_log("browser") == []
    assert browser.requests() == [page.as_uri()]


def test_the_page_renders_in_the_dark(browser: Any, float_folder: Path) -> None:
    page, found = build(float_folder, WINDOW)
    seen = {}
    for scheme in ("light", "dark"):
        browser.open(page, scheme)
        assert_drawn(browser, found)
        seen[scheme] = [
            browser.brightness("body", "backgroundColor"),
            browser.brightness("body", "color"),
            browser.brightness("#exits-figure svg text", "fill"),
            browser.brightness("#list", "backgroundColor"),
        ]
        assert browser.get_log("browser") == []
    ground, ink, label, panel = seen["light"]
    assert min(ground, panel) > 220 > 120 > max(ink, label)
    ground, ink, label, panel = seen["dark"]
    assert max(ground, panel) < 50 < 140 < min(ink, label)


@pytest.mark.parametrize(
    "policy",
    [
        ExitPolicy(mode="none"),
        ExitPolicy(mode="entropy_raw", delta=0.6),
        ExitPolicy(mode="patience", patience=1),
    ],
    ids=lambda policy: policy.mode.name,
)
def test_every_policy_has_its_page(browser: Any, float_folder: Path, policy: ExitPolicy) -> None:
    page, found = build(float_folder, policy, sentences=100)
    browser.open(page)
    assert_drawn(browser, found)
    assert browser.count("#list li") == found["data"]["sentences"]
    thresholds = browser.count("[data-part=delta]"), browser.count("[data-part=window]")
    assert thresholds[0] == found["policy"]["stage_one"]
    left = next(s for s in found["sentences"] if s["row"] == chosen_row(browser))
    assert thresholds[1] == 2 * (left["reason"] in ("window", "patience"))
    assert browser.get_log("browser") == []
    assert browser.requests() == [page.as_uri()]


def test_more_than_two_classes_have_their_page(browser: Any, float_folder: Path) -> None:
    file = float_folder / "config.json"
    config = json.loads(file.read_text())
    names = {str(i): f"class {i}" for i in range(5)}
    config |= {"id2label": names, "label2id": {name: int(i) for i, name in names.items()}}
    file.write_text(json.dumps(config))
    from safetensors.torch import load_file, save_file

    weights = load_file(float_folder / "model.safetensors")
    generator = torch.Generator().manual_seed(8)
    weights["classifier.weight"] = torch.randn(5, 32, generator=generator)
    weights["classifier.bias"] = torch.randn(5, generator=generator)
    save_file(weights, float_folder / "model.safetensors", metadata={"format": "pt"})
    page, found = build(float_folder, ExitPolicy(mode="bias_1", delta=0.4, window=2, margin=0.05))
    assert found["model"]["classes"] == ["down", "up", "2", "3", "4"]
    browser.open(page)
    assert_drawn(browser, found)
    browser.set_value("measure", "lead", "change")
    assert browser.count("[data-part=margin]") == 1
    browser.set_value("measure", "true", "change")
    assert browser.count("[data-part=margin]") == 0  # the margin is one of the lead
    assert browser.get_log("browser") == []
