"""Where a block of P tokens lies in the memories whose words hold Q."""

from __future__ import annotations

from amaranth.hdl import Const, Value

from hw.arith.constant import times_constant
from hw.params import Machine


def word_of(machine: Machine, block: Value) -> Value:
    """The memory word, of Q tokens, that holds a token block."""
    return block[machine.groups.bit_length() - 1 :]


def word_base(machine: Machine, block: Value, stride: int) -> Value:
    """Address of a token block's first feature, ``stride`` features per block of Q tokens."""
    return times_constant(word_of(machine, block), stride)


def group_of(machine: Machine, block: Value) -> Value:
    """A token block's group within its memory word."""
    bits = machine.groups.bit_length() - 1
    return block[:bits] if bits else Const(0, 1)
