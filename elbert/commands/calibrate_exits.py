"""``elbert calibrate-exits``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from elbert import options, policies
from elbert.bundled import BUNDLED
from elbert.hints import hint
from elbert.outputs import check_files
from elbert.progress import bars
from elbert.results import deliver
from golden_model.data.tasks import TASKS
from quant.guarantees.defaults import CONFIDENCE, MARGIN, RISK, WINDOW


def parse_list(text: str, option: str, kind: type[int] | type[float]) -> list[Any]:
    """``"3,5"`` to [3, 5], each once.

    Raises:
        ValueError: a part is not a number of that kind.
    """
    found = []
    for part in text.split(","):
        try:
            found.append(kind(part))
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise ValueError(f"{option} {part.strip()!r} in {text!r} is not {what}") from None
    return list(dict.fromkeys(found))


def calibrate_exits(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Table of held-out sentences, or a folder (its dev); .txt too. Classes are read for a loss "
            "that asks for them alone."
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help=f"Instead of a table, the dev split of a task: {', '.join(TASKS)}.")
    ] = None,
    risk: Annotated[
        float, typer.Option(help="Most that the loss may be on average over new sentences.")
    ] = RISK,
    confidence: Annotated[
        float, typer.Option(help="Probability, over the held-out sentences, that the risk is kept (ltt).")
    ] = CONFIDENCE,
    loss: Annotated[
        str,
        typer.Option(
            help="disagreement with full depth; accuracy: right at full depth and wrong at the exit; "
            "difference: accuracy of full depth minus that of the exits."
        ),
    ] = "disagreement",
    method: Annotated[
        str, typer.Option(help="ltt (learn-then-test), or crc (conformal risk control: the expected risk).")
    ] = "ltt",
    test: Annotated[
        str | None,
        typer.Option(
            help="Of ltt: hoeffding-bentkus (default), binomial, or betting (default for difference)."
        ),
    ] = None,
    policy: Annotated[
        str,
        typer.Option(
            help="Whose threshold is chosen: entropy, entropy_raw, bias_1, bias_2 or bias_3 (delta rises), "
            "or patience (falls)."
        ),
    ] = policies.POLICY,
    window: Annotated[
        str, typer.Option(help="N of the window policies; several: with commas between.")
    ] = str(WINDOW),
    margin: Annotated[
        str, typer.Option(help="m of the window policies; several: with commas between.")
    ] = str(MARGIN),
    value_range: options.RangeOption = policies.RANGE,
    model: Annotated[Path, typer.Option(help="Model folder.")] = BUNDLED,
    backend: Annotated[str, typer.Option(help="golden, bit for bit the hardware, or float.")] = "golden",
    text_column: options.TextColumnOption = None,
    pair_column: options.PairColumnOption = None,
    label_column: options.LabelColumnOption = None,
    header: options.HeaderOption = True,
    encoding: options.EncodingOption = "utf-8",
    limit: options.LimitOption = None,
    validate: Annotated[
        int | None,
        typer.Option(
            min=1, help="Also simulate so many calibrations, and count how often the risk is broken."
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="Of --validate: histogram of the true risks, to a file in .svg, .png or .pdf."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation.")] = 0,
    cache: Annotated[Path, typer.Option(help="Folder where computed logits are kept.")] = Path(
        "runs/study/cache"
    ),
    device: options.DeviceOption = "cpu",
    threads: options.ThreadsOption = None,
    output: Annotated[
        Path | None,
        typer.Option(help="The certificate; by default exit_certificate.json beside the checkpoint."),
    ] = None,
    json_file: options.JsonOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Chooses exit thresholds with a guarantee for new sentences, and writes the certificate.

    The sentences must be held out: none that the checkpoint was trained on or chosen by. Exit code 1 where
    no early exit can be certified: the certificate then says full depth.
    """
    from elbert.show.guarantee import print_guarantee
    from golden_model.data.tables import Columns, load_dataset, load_texts
    from golden_model.data.tasks import check_source, find_task
    from golden_model.errors import PromiseBroken
    from golden_model.exits import WINDOW_MODES, ExitMode
    from quant.guarantees.applied import apply, labels_of
    from quant.guarantees.calibrate import certify, why_not
    from quant.guarantees.certificate import CERTIFICATE_FILE
    from quant.guarantees.choose import Method, Rule
    from quant.guarantees.families import build_family
    from quant.guarantees.losses import find_loss
    from quant.guarantees.sentences import find_form, lengths_of, text_rows
    from quant.guarantees.simulation import validate as simulate
    from quant.studies.exits.rows import table_name, table_rows, task_rows
    from quant.studies.exits.store import PUBLISHED, Store
    from quant.style import check_suffix

    columns = Columns(text_column, pair_column, label_column, header, encoding)
    check_source(file, task, columns)
    wanted = find_loss(loss)
    rule = Rule.make(method, wanted, risk, confidence, test)
    mode = policies.make_policy(policy).mode
    if mode == ExitMode.none:
        raise ValueError("policy none has no early exit to certify")
    windows, margins = parse_list(window, "--window", int), parse_list(margin, "--margin", float)
    for n in windows:
        for m in margins:
            policies.make_policy(policy, window=n, margin=m, value_range=value_range)
    if rule.method == Method.crc and mode in WINDOW_MODES and len(windows) * len(margins) > 1:
        raise ValueError("method crc is for one sequence: name one --window and one --margin")
    check_files(output=output, figure=figure)
    if figure is not None:
        check_suffix(figure)
        if validate is None:
            raise ValueError(
                f"--figure {figure} shows the simulation of --validate N, which is not asked for"
            )
    options.use_threads(threads)
    source = find_form(model, backend, device)
    place = output or source.folder / CERTIFICATE_FILE
    if task is not None:
        rows = task_rows(find_task(task), None, PUBLISHED)
        if rows.absent is not None:
            hint(f"no sentences here, taken as the published logits and classes: {rows.absent}")
    elif wanted.needs_labels:
        rows = table_rows(load_dataset(str(file), "dev", columns), *source.known_classes)
    else:
        rows = text_rows(load_texts(str(file), "dev", columns), *source.known_classes)
    if limit is not None:
        rows = rows.head(limit)
    name = table_name(str(file)) if task is None else task
    store = Store(name, rows, cache, None if task is None else PUBLISHED, hint)
    table = store.gather([source], bars(quiet)).tables[source.name]
    family = build_family(mode, table.facts.iterations, table.facts.classes, windows, margins, value_range)
    applied = apply(table, family, wanted, labels_of(rows) if wanted.needs_labels else None)
    certificate = certify(
        table,
        rows,
        applied,
        rule,
        task=task,
        lengths=lengths_of(source, rows),
    )
    certificate.save(place)
    simulated = None if validate is None else simulate(applied, rule, validate, seed)
    result = {**certificate.model_dump(mode="json"), "file": str(place), "validation": simulated}
    if validate is not None:
        result["header"] = {**result["header"], "seed": seed}
    if figure is not None and simulated is not None:
        from quant.guarantees.figures import draw

        draw(simulated, figure)
    deliver(result, json_file, None if quiet else lambda: print_guarantee(certificate, place, simulated))
    reason = why_not(certificate, applied)
    if reason is not None:
        raise PromiseBroken(reason)
    if simulated is not None and not all(simulated[way]["holds"] for way in ("with_replacement", "halves")):
        raise PromiseBroken(f"the bound does not hold at its rate in {validate} simulated calibrations")
