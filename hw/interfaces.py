"""What registers, engine and exit unit say to each other: the command, the result, an iteration's record.

Every signature is written from the side of the one that starts the conversation (the registers for a command,
the engine for a result); the other side takes ``In(signature)``.
"""

from __future__ import annotations

from amaranth import signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from golden_model import exits
from golden_model.config import MAX_ITERATIONS, MAX_LABELS
from golden_model.numerics import ENTROPY_BITS, LOGIT_BITS, PROBABILITY_BITS
from hw.arith.widths import bits_for_index
from hw.bus.axi import AXI_ADDRESS_BITS
from hw.bus.registers.model import ERROR_CODES, REGISTERS
from hw.enumeration import hardware_enum

LENGTH_BITS = 10
"""0..512 tokens."""
ITERATION_BITS = MAX_ITERATIONS.bit_length()
WINDOW_BITS = exits.MAX_WINDOW.bit_length()
LABEL_BITS = bits_for_index(MAX_LABELS)
MARGIN_BITS = PROBABILITY_BITS
"""A difference of two probabilities."""
PATIENCE_BITS = exits.STREAK_LIMIT.bit_length()
"""As a streak, with which it is compared."""
COUNTER_BITS = 32

ExitMode = hardware_enum(
    "ExitMode",
    {mode.name.upper(): mode.value for mode in exits.ExitMode},
    bits_for_index(len(exits.ExitMode)),
    "The exit policies of `golden_model.exits.ExitMode`, as the POLICY register names them.",
)


ErrorCode = hardware_enum(
    "ErrorCode",
    ERROR_CODES,
    REGISTERS["ERROR"].field("code").width,
    "Why a sentence ended without a result, as the ERROR register names it; elbert.rdl says more.",
)

Command = data.StructLayout(
    {
        "length": unsigned(LENGTH_BITS),
        "iterations": unsigned(ITERATION_BITS),
        "mode": ExitMode,
        "delta": unsigned(ENTROPY_BITS),  # Q16
        "window": unsigned(WINDOW_BITS),
        "margin": unsigned(MARGIN_BITS),  # Q16
        "range": unsigned(MARGIN_BITS),  # Q16
        "patience": unsigned(PATIENCE_BITS),
        "tokens_base": unsigned(AXI_ADDRESS_BITS),
        "embedding_base": unsigned(AXI_ADDRESS_BITS),
        "position_base": unsigned(AXI_ADDRESS_BITS),
        "layer_base": unsigned(AXI_ADDRESS_BITS),
        "parameters_base": unsigned(AXI_ADDRESS_BITS),
        "embedding_layer_base": unsigned(AXI_ADDRESS_BITS),
    }
)
"""One sentence: everything the engine needs, stable from ``start`` until the next ``start``."""


Result = data.StructLayout(
    {
        "label": unsigned(LABEL_BITS),
        "exit_iteration": unsigned(ITERATION_BITS),  # Counts from 1
        "logits": data.ArrayLayout(signed(LOGIT_BITS), MAX_LABELS),
        "probabilities": data.ArrayLayout(unsigned(PROBABILITY_BITS), MAX_LABELS),  # Q16
        "entropy": unsigned(ENTROPY_BITS),  # Q16
    }
)
"""The answer. Held by the engine from ``done`` until the next ``start``."""


Counters = data.StructLayout(
    {
        "active": unsigned(COUNTER_BITS),
        "weights": unsigned(COUNTER_BITS),
        "drain": unsigned(COUNTER_BITS),
        "softmax": unsigned(COUNTER_BITS),
        "layernorm": unsigned(COUNTER_BITS),
        "exit": unsigned(COUNTER_BITS),
        "fill": unsigned(COUNTER_BITS),  # Pipeline fill and the embedding
    }
)
"""Cycles of the last sentence by what the array did; every cycle is in exactly one of them."""
COUNTERS = {name.upper() if name == "active" else f"IDLE_{name.upper()}": name for name in Counters.members}
"""Register to counter."""


Record = data.StructLayout(
    {
        "iteration": unsigned(ITERATION_BITS),  # Counts from 1
        "label": unsigned(LABEL_BITS),
        "confidence": unsigned(PROBABILITY_BITS),  # Probability of ``label``, Q16
        "entropy": unsigned(ENTROPY_BITS),  # Q16
    }
)
"""The exit unit's view after one iteration."""


class CommandPort(wiring.Signature):
    """Registers to engine.

    Members
    -------
    start : Out(1)
        Pulse; comes only while the engine's ``idle`` is high. ``settings`` is valid with it.
    abort : Out(1)
        Pulse: drop the sentence if one runs, let outstanding reads drain, raise ``idle``. Needs no ``done``.
    settings : Out(Command)
    """

    def __init__(self) -> None:
        super().__init__({"start": Out(1), "abort": Out(1), "settings": Out(Command)})


class ResultPort(wiring.Signature):
    """Engine to registers.

    Members
    -------
    idle : Out(1)
        Level: nothing runs and nothing is outstanding, ``start`` may come.
    done : Out(1)
        Pulse: the sentence ended; ``error`` is valid with it, the rest from then on.
    error : Out(ErrorCode)
        ``NONE``, ``BUS`` or ``TOKEN``.
    result : Out(Result)
    counters : Out(Counters)
        Live during a sentence, zeroed at ``start``, kept when it ends, however it does.
    record_valid : Out(1)
        Pulse, once an iteration: ``record`` is written to the confidence table.
    record : Out(Record)
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "idle": Out(1),
                "done": Out(1),
                "error": Out(ErrorCode),
                "result": Out(Result),
                "counters": Out(Counters),
                "record_valid": Out(1),
                "record": Out(Record),
            }
        )
