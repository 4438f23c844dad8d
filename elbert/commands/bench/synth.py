"""``elbert bench synth``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from elbert import options
from elbert.commands.synth import FOLDER
from elbert.progress import stages
from elbert.results import deliver


def synth(
    names: Annotated[
        list[str] | None, typer.Argument(help="Baselines, such as softmax-small64-8x16-lfe5u-85f-6; or all.")
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(help="Compare this result of elbert synth --json instead; may be given again."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Make what was measured the new baseline.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds that each run of a tool may take.")] = 3600.0,
    json_file: options.JsonOption = None,
    output: Annotated[Path, typer.Option(help="Folder of the stages.")] = FOLDER,
) -> None:
    """Synthesises what has a baseline again and prints what changed in area and clock.

    Baselines lie in hw/synth/baselines, one for a design and device. Ends with 1 if a figure is worse than
    its tolerance allows: 5 % of logic and flip-flops, 10 % of the clock, any multiplier or block RAM.
    """
    from elbert.show.synthesis import print_changes
    from golden_model.errors import PromiseBroken
    from golden_model.provenance import header
    from hw.synth.baseline import baseline_name, compare, load_baselines, request_of, save_baseline

    known = load_baselines()
    if names and report:
        raise ValueError("names and --report exclude each other")
    for name in names or ():
        if name not in known:
            raise ValueError(f"baseline {name!r} is not one of {', '.join(known) or '(there is none)'}")
    measured: dict[str, dict[str, Any]] = {}
    if report:
        for path in report:
            found = _read(path)
            measured[baseline_name(found["design"], found["device"])] = found
    else:
        with stages() as progress:
            for name in names or known:
                request = request_of(known[name])
                result = request.synthesise(
                    output,
                    bitstream=False,
                    timeout=timeout,
                    show_stage=lambda text, name=name: progress.stage(f"{name}: {text}"),  # type: ignore[misc]
                    show_phase=progress.phase,
                )
                head = {"header": header(request.seeds[0])}
                measured[name] = {**head, "design": request.design(), **result.as_dict()}
    changes = {name: compare(known[name], found) for name, found in measured.items() if name in known}
    if write:
        for found in measured.values():
            save_baseline(found)
    data = {
        name: {c.figure: {"was": c.was, "now": c.now, "too_much": c.too_much} for c in change}
        for name, change in changes.items()
    }
    new = [name for name in measured if name not in known]
    deliver(
        {"header": header(None), "changes": data, "new": new}, json_file, lambda: print_changes(changes, new)
    )
    worse = [f"{name}: {c.figure}" for name, change in changes.items() for c in change if c.too_much]
    if worse and not write:
        raise PromiseBroken(f"worse than the baseline allows: {', '.join(worse)}")


def _read(path: Path) -> dict[str, Any]:
    """A report of ``elbert synth --json``."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if {"design", "device", "fmax_mhz", "critical_paths", "header"} <= found.keys():
            return found  # type: ignore[no-any-return]
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError):
        pass
    raise ValueError(f"{path} is no result of elbert synth --json")
