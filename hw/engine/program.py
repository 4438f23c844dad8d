"""The schedule: a table of descriptors that one sequencer executes, the same in every iteration.

The weight fetcher walks the same table, and the memory image is laid out by `fetch_items`, so that
all three agree by construction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from amaranth.lib import data, enum

from golden_model.numerics import CHANNEL_PARAMETER_BYTES, TABLE_SIZE
from hw.arith.widths import ceil_div
from hw.params import Machine
from hw.units.layernorm_statistics import MAX_FEATURES


class Operand(enum.Enum, shape=1):
    """Where the array's row operand comes from."""

    HIDDEN = 0
    ACTIVATION = 1


class Post(enum.Enum, shape=4):
    """What the vector path does with a requantised column."""

    QUERY = 0
    KEY = 1
    VALUE = 2
    SCORES = 3
    CONTEXT = 4
    RESIDUAL = 5
    TABLE = 6
    HIDDEN = 7
    LOGITS = 8


class Prefetch(enum.Enum, shape=2):
    """Parameters that a descriptor fetches before its weight tiles."""

    NONE = 0
    NORM = 1
    TABLE = 2
    ATTENTION = 3


class Blocks(enum.Enum, shape=2):
    """The list of token blocks that a weight tile is read for before it is dropped."""

    ALL = 0
    """Every block that holds a token."""
    WORDS = 1
    """Every group of every word that holds a token: of features, when the tokens are on the columns."""
    FIRST = 2
    """The block of the [CLS] token."""


HEADER_SLOTS = 8
"""Weight tiles whose channel parameters are kept: two waiting, one running, the others draining. Small ones
may run while their predecessors are still on the way through operands, array and vector path."""

ATTENTION_BYTES = 64
"""{score channel parameter, context channel parameter}, padded to the widest bus beat."""


@dataclass(frozen=True)
class Descriptor:
    """One matmul of the schedule, or the attention of all heads.

    Attributes:
        name: the golden tensor family, e.g. ``attention.query`` (weights and channel parameters).
        tiles: weight tiles of Q output features; 0 for one without weights.
        depth: K of one weight tile, in products.
        chunks: weight tiles along K; their partial sums stay on chip.
        source, source_offset: the row operand's memory and first feature.
        post, target_offset: vector path operation, first feature of the destination.
        swapped: features on the rows and tokens on the columns (value: no transpose anywhere).
        first_block: only the block of the [CLS] token is computed.
        wait: starts only when all earlier results, LayerNorm's too, are in memory.
        attention: the scores/context schedule over heads instead of a weight matmul.
        prefetch: parameters fetched first; prefetch_name names their golden tensors.
    """

    name: str
    tiles: int
    depth: int
    chunks: int = 1
    source: Operand = Operand.HIDDEN
    source_offset: int = 0
    post: Post = Post.QUERY
    target_offset: int = 0
    swapped: bool = False
    first_block: bool = False
    wait: bool = False
    attention: bool = False
    prefetch: Prefetch = Prefetch.NONE
    prefetch_name: str = ""

    @property
    def blocks(self) -> Blocks:
        """The list of token blocks each weight tile serves."""
        if self.first_block:
            return Blocks.FIRST  # type: ignore[return-value]
        return Blocks.WORDS if self.swapped else Blocks.ALL  # type: ignore[return-value]


@dataclass(frozen=True)
class Program:
    """All descriptors and the three runs over them (first, last)."""

    descriptors: tuple[Descriptor, ...]
    norm: tuple[int, int]
    """Fetches the embedding LayerNorm's parameters."""
    projection: tuple[int, int]
    layer: tuple[int, int]
    """One iteration, pooler and classifier included."""


def build_program(machine: Machine) -> Program:
    """The schedule of ``machine``."""
    m, q = machine.model, machine.columns
    h, i, e = m.hidden_size, m.intermediate_size, m.embedding_size
    act, hid = Operand.ACTIVATION, Operand.HIDDEN
    d = Descriptor
    table = (
        d("embedding.norm", 0, e, prefetch=Prefetch.NORM, prefetch_name="embedding.norm"),
        d("embedding.projection", h // q, e, source=act, post=Post.HIDDEN, wait=True),
        d("attention.query", h // q, h, post=Post.QUERY, wait=True),
        d("attention.key", h // q, h, post=Post.KEY),
        d("attention.value", h // q, h, post=Post.VALUE, swapped=True),
        d("attention", 0, m.head_dim, attention=True, wait=True, prefetch=Prefetch.ATTENTION),
        d(
            "attention.output", h // q, h, source=act, source_offset=h, post=Post.RESIDUAL, wait=True,
            prefetch=Prefetch.NORM, prefetch_name="attention.norm",
        ),
        d(
            "ffn.intermediate", i // q, h, source=hid, post=Post.TABLE, wait=True,
            prefetch=Prefetch.TABLE, prefetch_name="ffn.table",
        ),
        d(
            "ffn.output", h // q, machine.chunk, chunks=machine.chunks, source=act, post=Post.RESIDUAL,
            wait=True, prefetch=Prefetch.NORM, prefetch_name="ffn.norm",
        ),
        d(
            "pooler", h // q, h, source=hid, post=Post.TABLE, first_block=True, wait=True,
            prefetch=Prefetch.TABLE, prefetch_name="pooler.table",
        ),
        d(
            "classifier", ceil_div(m.num_labels, q), h, source=act, post=Post.LOGITS,
            first_block=True, wait=True,
        ),
    )  # fmt: skip
    return Program(table, norm=(0, 0), projection=(1, 1), layer=(2, len(table) - 1))


@dataclass(frozen=True)
class FetchItem:
    """One linear read: ``kind`` is "prefetch", "header" or "weights"."""

    kind: str
    descriptor: Descriptor
    tile: int
    chunk: int
    bytes: int


def prefetch_bytes(descriptor: Descriptor, machine: Machine) -> int:
    """Bytes of the parameters fetched before the descriptor's tiles."""
    norm_features = descriptor.depth if descriptor.tiles == 0 else machine.model.hidden_size
    return {
        Prefetch.NONE: 0,
        Prefetch.NORM: CHANNEL_PARAMETER_BYTES * norm_features,
        Prefetch.TABLE: TABLE_SIZE,
        Prefetch.ATTENTION: ATTENTION_BYTES,
    }[descriptor.prefetch]


def fetch_items(program: Program, run: tuple[int, int], machine: Machine) -> Iterator[FetchItem]:
    """What the fetcher reads in a run, in order. Prefetch and header come from the parameter stream,
    weights from the weight stream."""
    for d in program.descriptors[run[0] : run[1] + 1]:
        if d.prefetch != Prefetch.NONE:
            yield FetchItem("prefetch", d, 0, 0, prefetch_bytes(d, machine))
        for tile in range(d.tiles):
            for chunk in range(d.chunks):
                if chunk == d.chunks - 1:
                    yield FetchItem("header", d, tile, chunk, machine.header_bytes)
                yield FetchItem("weights", d, tile, chunk, d.depth * machine.columns)


def descriptor_layout(machine: Machine) -> data.StructLayout:
    """How the hardware holds a descriptor: counts are stored as "last index", i.e. minus one."""
    m = machine.model
    features = range(max(machine.activation_stride, m.hidden_size) + 1)
    return data.StructLayout(
        {
            "index": range(len(build_program(machine).descriptors)),
            "has_tiles": 1,
            "last_tile": range(m.intermediate_size // machine.columns + 1),
            "last_chunk": range(machine.chunks + 1),
            "depth": range(max(m.hidden_size, machine.chunk) + 1),
            "last_step": range(max(m.hidden_size, machine.chunk)),
            "tile_bytes": range(machine.bank_words * machine.columns + 1),
            "source": Operand,
            "source_offset": features,
            "post": Post,
            "target_offset": features,
            "swapped": 1,
            "blocks": Blocks,
            "wait": 1,
            "attention": 1,
            "prefetch": Prefetch,
            "prefetch_bytes": range(CHANNEL_PARAMETER_BYTES * MAX_FEATURES + 1),
        }
    )


def descriptor_table(program: Program, machine: Machine) -> list[dict[str, object]]:
    """The rows of the hardware's descriptor table, as `descriptor_layout` constants."""
    return [
        {
            "index": index,
            "has_tiles": int(d.tiles > 0),
            "last_tile": max(d.tiles - 1, 0),
            "last_chunk": d.chunks - 1,
            "depth": d.depth,
            "last_step": d.depth - 1,
            "tile_bytes": d.depth * machine.columns,
            "source": d.source,
            "source_offset": d.source_offset,
            "post": d.post,
            "target_offset": d.target_offset,
            "swapped": int(d.swapped),
            "blocks": d.blocks,
            "wait": int(d.wait),
            "attention": int(d.attention),
            "prefetch": d.prefetch,
            "prefetch_bytes": prefetch_bytes(d, machine),
        }
        for index, d in enumerate(program.descriptors)
    ]
