"""Lists of token blocks: which blocks a weight tile or a head is read for, and where they lie."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.arith.widths import bits_for_index
from hw.engine.program import Blocks
from hw.engine.tile import last_block_of
from hw.engine.token_words import group_of
from hw.interfaces import LENGTH_BITS
from hw.params import Machine


def extent_layout(machine: Machine) -> data.StructLayout:
    """How far a sentence reaches: its last token, the last block of P and the last word of Q tokens, and the
    tokens in that last word."""
    return data.StructLayout(
        {
            "last_token": bits_for_index(machine.model.max_position_embeddings),
            "last_row_block": bits_for_index(machine.token_blocks),
            "last_word": bits_for_index(machine.word_blocks),
            "tail": range(machine.columns + 1),
        }
    )


def block_layout(machine: Machine) -> data.StructLayout:
    """A token block: its number, its first feature's address in both memories, and "last of the list"."""
    return data.StructLayout(
        {
            "block": bits_for_index(machine.token_blocks),
            "hidden": bits_for_index(machine.hidden_words),
            "activation": bits_for_index(machine.activation_words),
            "last": 1,
        }
    )


def first_token(word: Value, machine: Machine) -> Value:
    """Number of a word's first token."""
    return word << (machine.columns.bit_length() - 1)


class Extent(wiring.Component):
    """What a sentence's length means in blocks; registered, two cycles behind ``length`` (>= 1)."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        super().__init__({"length": In(LENGTH_BITS), "extent": Out(extent_layout(machine))})

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        p, q = self.machine.rows, self.machine.columns
        length = Signal.like(self.length)
        m.d.sync += [
            length.eq(self.length),
            self.extent.last_token.eq(length - 1),
            self.extent.last_row_block.eq(last_block_of(length, p)),
            self.extent.last_word.eq(last_block_of(length, q)),
            self.extent.tail.eq(((length - 1) & (q - 1)) + 1),
        ]
        return m


class TokenBlocks(wiring.Component):
    """Walks a list of token blocks, again and again.

    A list is one of `program.Blocks`, of one sentence. It is the one place to teach further lists: blocks of
    several sentences, each with a first word of its own, or all blocks but the first.

    Parameters
    ----------
    activation_offset : int
        Added to every address in the activation memory.

    Members
    -------
    list : In(Blocks), extent : In(extent_layout)
        Hold still from ``restart`` on.
    restart : In(1)
        Pulse: the list's first block is offered from the next cycle on.
    block : Out(stream of block_layout, always valid)
        Out of registers; behind the last block comes the first.
    """

    def __init__(self, machine: Machine, *, activation_offset: int = 0) -> None:
        self.machine = machine
        self.activation_offset = activation_offset
        super().__init__(
            {
                "list": In(Blocks),
                "extent": In(extent_layout(machine)),
                "restart": In(1),
                "block": Out(stream.Signature(block_layout(machine), always_valid=True)),
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        machine, block = self.machine, self.block.payload
        last_of_list = Signal.like(block.block)
        left = Signal.like(block.block)
        with m.Switch(self.list):
            with m.Case(Blocks.ALL):
                m.d.comb += last_of_list.eq(self.extent.last_row_block)
            with m.Case(Blocks.WORDS):
                last_group = machine.groups - 1
                m.d.comb += last_of_list.eq(self.extent.last_word * machine.groups | last_group)
        with m.If(self.restart | (self.block.ready & block.last)):
            m.d.sync += [
                block.block.eq(0),
                block.hidden.eq(0),
                block.activation.eq(self.activation_offset),
                block.last.eq(last_of_list == 0),
                left.eq(last_of_list),
            ]
        with m.Elif(self.block.ready):
            m.d.sync += [block.block.eq(block.block + 1), block.last.eq(left == 1), left.eq(left - 1)]
            with m.If(group_of(machine, block.block) == machine.groups - 1):
                m.d.sync += [
                    block.hidden.eq(block.hidden + machine.model.hidden_size),
                    block.activation.eq(block.activation + machine.activation_stride),
                ]
        return m


def columns_of_word(word: Value, extent: data.View, machine: Machine) -> Value:
    """Tokens in a memory word."""
    return Mux(word == extent.last_word, extent.tail, machine.columns)
