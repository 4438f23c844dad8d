"""What the sequencer says of a tile: the operands of each step, and where its sums go."""

from __future__ import annotations

from amaranth.hdl import Value
from amaranth.lib import data, enum

from hw.arith.widths import bits_for_index
from hw.engine.program import HEADER_SLOTS, Post
from hw.params import Machine


class RowSource(enum.Enum, shape=2):  # type: ignore[call-arg]
    """The memory behind the array's rows."""

    HIDDEN = 0
    ACTIVATION = 1
    WEIGHTS = 2
    EXPONENTIALS = 3


class ColumnSource(enum.Enum, shape=2):  # type: ignore[call-arg]
    """The memory behind the array's columns."""

    WEIGHTS = 0
    HIDDEN = 1
    KEY = 2
    VALUE = 3


class ArrayState(enum.Enum, shape=3):  # type: ignore[call-arg]
    """What the array does in a cycle: work, or the reason why not."""

    ACTIVE = 0
    WEIGHTS = 1
    DRAIN = 2
    SOFTMAX = 3
    LAYERNORM = 4
    EXIT = 5
    FILL = 6


def last_block_of(length: Value, size: int) -> Value:
    """Index of the last block of ``size`` tokens, a power of two, that ``length`` >= 1 tokens reach into."""
    return (length - 1) >> (size.bit_length() - 1)


def step_layout(machine: Machine) -> data.StructLayout:
    """One array step: the addresses of its operands.

    ``address`` reads the hidden or activation memory, ``group`` picks the P lanes of the row operand
    (of tokens, or of features when the weights are on the rows). ``index`` is k.
    """
    return data.StructLayout(
        {
            "valid": 1,
            "first": 1,
            "last": 1,
            "row": RowSource,
            "column": ColumnSource,
            "address": bits_for_index(max(machine.activation_words, machine.hidden_words)),
            "group": bits_for_index(machine.groups),
            "bank": 1,
            "index": bits_for_index(max(machine.bank_words, machine.model.max_position_embeddings)),
            "key_address": bits_for_index(machine.key_words),
            "value_address": bits_for_index(machine.value_words),
            "parity": 1,
            "trace": 1,  # These exponentials are read for the first time
            "head": bits_for_index(machine.model.num_attention_heads),
            "block": bits_for_index(machine.token_blocks),
        }
    )


def tile_layout(machine: Machine) -> data.StructLayout:
    """Where a tile's columns go.

    ``address`` is the destination of column 0, column q goes to address + q; ``feature`` is the
    first output feature (first key for scores, first token for value).
    """
    m = machine
    words = max(m.activation_words, m.hidden_words, m.value_words)
    return data.StructLayout(
        {
            "post": Post,
            "columns": range(m.columns + 1),
            "address": bits_for_index(words),
            "group": bits_for_index(m.groups),
            "block": bits_for_index(m.token_blocks),
            "feature": bits_for_index(max(m.activation_stride, m.model.max_position_embeddings)),
            "slot": bits_for_index(HEADER_SLOTS),
            "psum_first": 1,
            "psum_last": 1,
            "block_first": 1,  # The block's first columns (LayerNorm sums, running maximum) …
            "block_last": 1,  # … and its last
            "parity": 1,
            "head": bits_for_index(m.model.num_attention_heads),
        }
    )
