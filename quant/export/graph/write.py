"""A graph as a file."""

from __future__ import annotations

from pathlib import Path

from golden_model.files import replacing
from golden_model.integer.checkpoint import IntegerCheckpoint
from quant.export.extras import check_onnx

ONNX_FILE = "model.onnx"
QONNX_FILE = "model.qonnx.onnx"


def write_graph(
    checkpoint: IntegerCheckpoint,
    folder: Path,
    quant: bool,
    length: int | None = None,
    outputs: tuple[str, ...] = (),
) -> Path:
    """Writes a checkpoint's graph, whole or not at all; arguments are those of ``whole.GraphOptions``.

    Returns:
        The file: :data:`QONNX_FILE` with ``quant``, else :data:`ONNX_FILE`.

    Raises:
        ValueError: the package onnx is not installed; or as ``whole.build_graph``.
        OSError: the folder cannot be written.
    """
    check_onnx()
    from quant.export.graph.whole import GraphOptions, build_graph

    graph = build_graph(checkpoint, GraphOptions(quant, length, outputs))
    path = folder / (QONNX_FILE if quant else ONNX_FILE)
    with replacing(path) as temporary:
        temporary.write_bytes(graph.SerializeToString(deterministic=True))
    return path
