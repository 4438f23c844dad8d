"""``elbert export``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elbert import options
from elbert.results import deliver
from elbert.tables import print_table

if TYPE_CHECKING:
    from golden_model.integer.checkpoint import IntegerCheckpoint

FLOAT = "float16"
FORMATS = {
    FLOAT: "the float checkpoint with 16-bit weights, measured as stored",
    "integers": "every integer, scale and table with its meaning",
    "onnx": "standard operators from token ids to logits",
    "qonnx": "the same with bit widths as Quant nodes",
    "image": "what the accelerator reads from memory",
}


def export(
    source: Annotated[
        Path,
        typer.Argument(help="Checkpoint folder that training wrote (RUN/best); other formats: model folder."),
    ],
    destination: Annotated[Path, typer.Argument(help="Folder to write.")],
    form: Annotated[
        str, typer.Option("--format", help=f"{', '.join(FORMATS)}; all but {FLOAT} with commas between.")
    ] = FLOAT,
    data: Annotated[
        str | None, typer.Option(help="float16: folder with dev.tsv, or hub:NAME, hub:NAME/CONFIG.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="float16: a task instead of --data: its dev split.")
    ] = None,
    vocabulary: Annotated[
        int | None, typer.Option(help="float16: keep only so many pieces of a pruned vocabulary.")
    ] = None,
    length: Annotated[
        int | None, typer.Option(min=1, help="onnx, qonnx: tokens; by default the model's longest.")
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(
            help="onnx, qonnx: named tensors to give out beside the logits, as patterns with commas "
            "between: 'iteration.3.*,embedding.*'."
        ),
    ] = None,
    array: Annotated[str, typer.Option(help="image: multiplier array, ROWSxCOLUMNS.")] = "4x4",
    sentence: Annotated[
        list[str] | None, typer.Option(help="image: a sentence whose tokens lie in it; may be repeated.")
    ] = None,
    threads: options.ThreadsOption = None,
    json_file: options.JsonOption = None,
) -> None:
    """Writes a checkpoint for others: 16-bit floats, or integers as tensors, graph or memory image."""
    wanted = _formats(form)
    options.use_threads(threads)
    if wanted == [FLOAT]:
        record, show = _float(source, destination, data, task, vocabulary)
    else:
        given = {"--data": data, "--task": task, "--vocabulary": vocabulary}
        for option, value in given.items():
            if value is not None:
                raise ValueError(f"{option} is for --format {FLOAT}, not for {form}")
        patterns = tuple(part.strip() for part in outputs.split(",")) if outputs else ()
        record, show = _integer(source, destination, wanted, length, patterns, array, sentence or [])
    deliver(record, json_file, show)


def _formats(text: str) -> list[str]:
    wanted = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in wanted:
        if name not in FORMATS:
            raise ValueError(f"format {name!r} is not one of {', '.join(FORMATS)}")
    if FLOAT in wanted and len(wanted) > 1:
        raise ValueError(f"--format {text}: {FLOAT} is of a float checkpoint, the others of an integer one")
    return wanted


def _float(
    source: Path, destination: Path, data: str | None, task: str | None, vocabulary: int | None
) -> tuple[dict[str, Any], Callable[[], None]]:
    from golden_model.data.tasks import open_data
    from golden_model.train.export import export as write

    record = write(source, destination, open_data(data, task), vocabulary)
    stored = record["stored"]
    rows = [[i, f"{100 * value:.2f}"] for i, value in enumerate(stored["dev_accuracy"], start=1)]
    columns = ["iteration", "accuracy, %"]
    return record, lambda: print_table("dev accuracy as stored", columns, rows)


def _integer(
    source: Path,
    destination: Path,
    wanted: Sequence[str],
    length: int | None,
    outputs: tuple[str, ...],
    array: str,
    texts: Sequence[str],
) -> tuple[dict[str, Any], Callable[[], None]]:
    from golden_model.evaluation.backends import model_folder
    from golden_model.files import sha256_of
    from golden_model.integer.checkpoint import TENSOR_FILE, IntegerCheckpoint
    from golden_model.locks import held
    from golden_model.provenance import header
    from quant.export.graph.write import write_graph
    from quant.export.integers import write_integers

    folder = model_folder(source, "golden")
    checkpoint = IntegerCheckpoint.load(folder)
    written: dict[str, list[Path]] = {}
    with held(destination):
        for name in wanted:
            if name == "integers":
                written[name] = write_integers(checkpoint, destination)
            elif name == "image":
                written[name] = _image(checkpoint, folder, destination, array, texts)
            else:
                written[name] = [write_graph(checkpoint, destination, name == "qonnx", length, outputs)]
    files: list[dict[str, Any]] = [
        {"format": name, "file": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for name, paths in written.items()
        for path in paths
    ]
    record = {"header": header(None, sha256_of(folder / TENSOR_FILE)), "files": files}
    rows = [(each["file"], f"{each['bytes']:,}", FORMATS[each["format"]]) for each in files]
    return record, lambda: print_table(f"Written to {destination}", ["file", "bytes", "what"], rows)


def _image(
    checkpoint: IntegerCheckpoint, folder: Path, destination: Path, array: str, texts: Sequence[str]
) -> list[Path]:
    """The image of an array and its map."""
    from golden_model.files import replacing, write_json
    from golden_model.text.tokenizer import ElbertTokenizer
    from hw.image import build_image
    from hw.image_map import describe
    from hw.params import Machine, parse_array

    rows, columns = parse_array(array)
    machine = Machine(model=checkpoint.config, rows=rows, columns=columns)
    tokenizer = ElbertTokenizer.from_folder(folder)
    longest = checkpoint.config.max_position_embeddings
    sentences = tokenizer.encode_many(list(texts), longest) if texts else []
    image = build_image(checkpoint, machine, sentences)
    paths = [destination / "image.bin", destination / "image.json"]
    with replacing(paths[0]) as temporary:
        temporary.write_bytes(image.contents)
    write_json(paths[1], describe(checkpoint, machine, image))
    return paths
