"""What lies where in a memory image, as JSON: enough to read it, or to have an accelerator read it.

``docs/export.md`` describes the layout, ``docs/read_image.py`` reads it with nothing but this and Python.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from golden_model.integer.checkpoint import IntegerCheckpoint, matmul_shape
from golden_model.numerics import CHANNEL_PARAMETER_BYTES
from hw.engine.program import Descriptor, Prefetch, build_program, fetch_items, prefetch_bytes
from hw.image import Image
from hw.params import Machine

FORMAT_VERSION = 1


def describe(checkpoint: IntegerCheckpoint, machine: Machine, image: Image) -> dict[str, Any]:
    """JSON-able.

    Returns:
        ``regions``: address and bytes, padding included. ``registers``: values of the base registers, that of
        the tokens for the first sentence. ``sentences``: TOKENS_BASE of each. ``beat_bytes``: of the bus and
        of a word of weights. ``streams``: in order what the fetcher reads once for the embedding and then in
        every iteration, from both streams. ``iteration_bytes``: of one iteration's parameters.
    """
    program = build_program(machine)
    bases = [*image.tokens[:1], image.embedding, image.position, image.embedding_layer, image.layer]
    bases += [image.parameters, len(image.contents)]
    names = ["tokens"] * bool(image.tokens)
    names += ["embedding", "position", "embedding_layer", "layer", "parameters"]
    embedding_runs = (program.norm, program.projection)
    return {
        "format": "elbert-memory-image",
        "version": FORMAT_VERSION,
        "checkpoint_sha256": checkpoint.sha256,
        "geometry": machine.model.model_dump(),
        "array": {"rows": machine.rows, "columns": machine.columns},
        "beat_bytes": machine.axi_bits // 8,
        "channel_bytes": CHANNEL_PARAMETER_BYTES,
        "regions": {
            name: {"address": base, "bytes": end - base}
            for name, (base, end) in zip(names, pairwise(bases), strict=True)
        },
        "sentences": list(image.tokens),
        "registers": {
            "TOKENS_BASE": image.tokens[0] if image.tokens else None,
            "EMBEDDING_BASE": image.embedding,
            "POSITION_BASE": image.position,
            "LAYER_BASE": image.layer,
            "PARAMETERS_BASE": image.parameters,
            "EMBEDDING_LAYER_BASE": image.embedding_layer,
        },
        "streams": {
            "embedding": [_entry(d, machine) for run in embedding_runs for d in _run(program, run)],
            "iteration": [_entry(d, machine) for d in _run(program, program.layer)],
        },
        "iteration_bytes": sum(
            item.bytes for item in fetch_items(program, program.layer, machine) if item.kind != "weights"
        ),
    }


def _run(program: Any, run: tuple[int, int]) -> tuple[Descriptor, ...]:
    descriptors: tuple[Descriptor, ...] = program.descriptors[run[0] : run[1] + 1]
    return descriptors


def _entry(descriptor: Descriptor, machine: Machine) -> dict[str, Any]:
    """One descriptor: what is fetched before its weights, and its weight tiles."""
    out, inputs = matmul_shape(machine.model, descriptor.name) if descriptor.tiles else (0, 0)
    prefetch = None
    if descriptor.prefetch != Prefetch.NONE:
        prefetch = {
            "kind": descriptor.prefetch.name.lower(),
            "name": descriptor.prefetch_name or "attention",
            "bytes": prefetch_bytes(descriptor, machine),
        }
    return {
        "name": descriptor.name,
        "prefetch": prefetch,
        "out": out,
        "in": inputs,
        "tiles": descriptor.tiles,
        "chunks": descriptor.chunks,
        "depth": descriptor.depth if descriptor.tiles else 0,
    }
