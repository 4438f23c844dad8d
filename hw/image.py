"""The accelerator's memory image: everything it reads over AXI, laid out in the order of use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.lib.data import StructLayout

from golden_model.integer.checkpoint import IntegerCheckpoint
from hw.arith.widths import ceil_div
from hw.channel import CHANNEL, NORM_CHANNEL, channel_dtype
from hw.engine.program import FetchItem, build_program, fetch_items
from hw.params import Machine
from hw.units.embedding import TOKEN_BYTES, TOKEN_ID_BITS

REGION_ALIGNMENT = 4096


@dataclass(frozen=True)
class Image:
    """Memory contents and where its regions begin (bytes).

    ``tokens`` holds one base per sentence.
    """

    contents: bytes
    tokens: tuple[int, ...]
    embedding: int
    position: int
    embedding_layer: int
    layer: int
    parameters: int


def _array(checkpoint: IntegerCheckpoint, name: str) -> np.ndarray:
    return checkpoint.tensors[name].numpy()


def _channels(
    layout: StructLayout, offset: np.ndarray, multiplier: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    """Channel parameters as they lie in memory."""
    channels = np.zeros(offset.shape, channel_dtype(layout))
    channels["offset"], channels["multiplier"], channels["shift"] = offset, multiplier, shift
    return channels


def _weights(checkpoint: IntegerCheckpoint, item: FetchItem, columns: int) -> bytes:
    """One weight tile: for each k, Q bytes of features tile·Q …; features beyond the matrix are 0."""
    d = item.descriptor
    matrix = _array(checkpoint, f"{d.name}.weight")
    rows = matrix[
        item.tile * columns : (item.tile + 1) * columns, item.chunk * d.depth : (item.chunk + 1) * d.depth
    ]
    tile = np.zeros((columns, d.depth), np.int8)
    tile[: len(rows)] = rows
    return tile.T.tobytes()


def _header(checkpoint: IntegerCheckpoint, item: FetchItem, columns: int, iteration: int) -> bytes:
    """Channel parameters of one weight tile."""
    part = slice(item.tile * columns, (item.tile + 1) * columns)
    offset, multiplier, shift = (
        _array(checkpoint, f"{item.descriptor.name}.{field}")[iteration, part]
        for field in ("offset", "multiplier", "shift")
    )
    channels = np.zeros(columns, channel_dtype(CHANNEL))
    channels[: len(offset)] = _channels(CHANNEL, offset, multiplier, shift)
    return channels.tobytes()


def _prefetch(checkpoint: IntegerCheckpoint, item: FetchItem, iteration: int) -> bytes:
    name = item.descriptor.prefetch_name
    if name.endswith("norm"):
        beta, gamma, shift = (
            _array(checkpoint, f"{name}.{f}")[iteration] for f in ("beta", "gamma", "shift")
        )
        return _channels(NORM_CHANNEL, beta, gamma, shift).tobytes()
    if name.endswith("table"):
        return _array(checkpoint, name)[iteration].astype(np.int8).tobytes()
    channels = np.zeros(2, channel_dtype(CHANNEL))
    for i, part in enumerate(("attention.score", "attention.context")):
        channels[i]["multiplier"] = _array(checkpoint, f"{part}.multiplier")[iteration]
        channels[i]["shift"] = _array(checkpoint, f"{part}.shift")[iteration]
    return channels.tobytes().ljust(item.bytes, b"\0")


def _streams(
    checkpoint: IntegerCheckpoint, machine: Machine, run: tuple[int, int], iteration: int
) -> tuple[bytes, bytes]:
    """(weights, parameters) of one run of the program."""
    weights, parameters = bytearray(), bytearray()
    for item in fetch_items(build_program(machine), run, machine):
        if item.kind == "weights":
            weights += _weights(checkpoint, item, machine.columns)
            continue
        part = (
            _header(checkpoint, item, machine.columns, iteration)
            if item.kind == "header"
            else _prefetch(checkpoint, item, iteration)
        )
        if len(part) != item.bytes:
            raise ValueError(
                f"{item.descriptor.name} {item.kind}: {len(part)} bytes, the fetcher reads {item.bytes}"
            )
        parameters += part
    return bytes(weights), bytes(parameters)


def token_words(ids: Sequence[int], types: Sequence[int]) -> bytes:
    """One little-endian word per token: id in bits 0..23, type in bits 24..31."""
    return (np.asarray(ids, "<u4") | (np.asarray(types, "<u4") << TOKEN_ID_BITS)).astype("<u4").tobytes()


def build_image(
    checkpoint: IntegerCheckpoint,
    machine: Machine,
    sentences: Sequence[tuple[Sequence[int], Sequence[int]]],
) -> Image:
    """The image of a checkpoint and of the sentences ((ids, types) each) to run on it.

    Raises:
        ValueError: the checkpoint's geometry is not the machine's, or its contract not the hardware's.
    """
    checkpoint.contract.check_hardware()
    if checkpoint.config != machine.model:
        raise ValueError(f"checkpoint geometry {checkpoint.config} is not the machine's {machine.model}")
    program = build_program(machine)
    contents = bytearray()

    def region(data: bytes) -> int:
        contents.extend(bytes(-len(contents) % REGION_ALIGNMENT))
        base = len(contents)
        contents.extend(data)
        return base

    stride = ceil_div(machine.model.max_position_embeddings * TOKEN_BYTES, 64) * 64
    tokens = region(b"".join(token_words(*sentence).ljust(stride, b"\0") for sentence in sentences))
    embedding = region(_array(checkpoint, "embedding.word").astype(np.int8).tobytes())
    position = region(_array(checkpoint, "embedding.position_type").astype("<i2").tobytes())
    _, parameters = _streams(checkpoint, machine, program.norm, 0)
    projection, more = _streams(checkpoint, machine, program.projection, 0)
    embedding_layer = region(projection)
    parameters += more
    layer = b""
    for iteration in range(machine.model.num_hidden_layers):
        layer, more = _streams(checkpoint, machine, program.layer, iteration)
        parameters += more
    layer_base = region(layer)
    parameters_base = region(parameters)
    region(b"")
    return Image(
        contents=bytes(contents),
        tokens=tuple(tokens + i * stride for i in range(len(sentences))),
        embedding=embedding,
        position=position,
        embedding_layer=embedding_layer,
        layer=layer_base,
        parameters=parameters_base,
    )
