"""What the parts of the accelerator say to each other: buses, the command, the result.

Every signature is written from the side of the one that starts the conversation (an AXI master,
the registers for a command, the engine for a result); the other side takes ``In(signature)``.
"""

from __future__ import annotations

from amaranth import signed, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import MAX_ITERATIONS, MAX_LABELS
from golden_model.numerics import LOGIT_BITS, RESIDUAL_BITS
from hw.arith.widths import bits_for_index

AXI_ADDRESS_BITS = 32
AXI_DATA_BITS = (32, 64, 128, 256, 512, 1024)
"""The data widths AXI4 knows, at least one 32-bit token word."""
AXI_BOUNDARY = 4096
"""No burst crosses a multiple of this many bytes (AXI4 A3.4.1)."""
LITE_ADDRESS_BITS = 12
"""The register map's 4 KB."""
LITE_DATA_BITS = 32

LENGTH_BITS = 10
"""0..512 tokens."""
ITERATION_BITS = 6
"""0..32 iterations."""
WINDOW_MAX = 16
"""Most iterations in a confidence window."""
WINDOW_BITS = 5
LABEL_BITS = 3
PROBABILITY_BITS = 17
"""Q16, 0..65536."""
ENTROPY_BITS = 18
"""Q16; the entropy in nats of eight classes is 2.08."""
MARGIN_BITS = 17
PATIENCE_BITS = 6
COUNTER_BITS = 32


class ExitMode(enum.Enum, shape=3):  # type: ignore[call-arg]
    """The exit policies, as the POLICY register names them."""

    NONE = 0
    ENTROPY = 1
    ENTROPY_RAW = 2
    PATIENCE = 3
    BIAS_1 = 4
    BIAS_2 = 5
    BIAS_3 = 6


class ErrorCode(enum.Enum, shape=4):  # type: ignore[call-arg]
    """Why a sentence ended without a result, as the ERROR register names it."""

    NONE = 0
    LENGTH = 1
    """LENGTH was 0 or above MAX_LENGTH."""
    MODE = 2
    """POLICY was none of `ExitMode`."""
    ITERATIONS = 3
    """ITERATIONS was 0 or above MAX_ITERATIONS."""
    BUS = 4
    """A read was answered with an error."""
    TOKEN = 5
    """A token id or type is outside the vocabulary."""
    WATCHDOG = 6
    """The sentence took WATCHDOG cycles."""
    WINDOW = 7
    """WINDOW was 0 or above 16 and the policy is a bias mode."""
    BUSY = 8
    """A start was refused because a sentence runs; the running one is not disturbed."""
    ABORTED = 9
    """CONTROL.abort ended the sentence."""


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
        Pulse: drop the sentence, let outstanding reads drain, raise ``idle``. Needs no ``done``.
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
        Live during a sentence, zeroed at ``start``.
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


class Axi4Read(wiring.Signature):
    """The read half of AXI4, from the master's side. A member ``m_axi`` becomes ``m_axi__araddr``…

    ``arid`` (always 0) and ``rid`` (ignored) are one bit wide: interconnects and test benches ask
    for them.

    Raises:
        ValueError: ``data_width`` is not one of `AXI_DATA_BITS`.
    """

    def __init__(self, data_width: int) -> None:
        if data_width not in AXI_DATA_BITS:
            raise ValueError(f"data_width {data_width} is not one of {AXI_DATA_BITS}")
        self.data_width = data_width
        super().__init__(
            {
                "arid": Out(1),
                "araddr": Out(AXI_ADDRESS_BITS),
                "arlen": Out(8),
                "arsize": Out(3),
                "arburst": Out(2),
                "arvalid": Out(1),
                "arready": In(1),
                "rid": In(1),
                "rdata": In(data_width),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class Axi4Lite(wiring.Signature):
    """AXI4-Lite, 32-bit data, 12-bit byte addresses, from the master's side: the accelerator has
    ``s_axil: In(Axi4Lite())``, which becomes ``s_axil__awaddr``…
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "awaddr": Out(LITE_ADDRESS_BITS),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(LITE_DATA_BITS),
                "wstrb": Out(LITE_DATA_BITS // 8),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(LITE_ADDRESS_BITS),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(LITE_DATA_BITS),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


READ_BYTES_BITS = 24


ReadCommand = data.StructLayout(
    {
        "address": unsigned(AXI_ADDRESS_BITS),
        "bytes": unsigned(READ_BYTES_BITS),
    }
)
"""One linear read. Both are multiples of the beat (data_width / 8 bytes)."""


def read_beat(data_width: int) -> data.StructLayout:
    """One beat of the answer: ``data`` and ``last`` (of its `ReadCommand`)."""
    return data.StructLayout({"data": data_width, "last": 1})


def read_command_stream() -> stream.Signature:
    """`ReadCommand` to an AxiReader."""
    return stream.Signature(ReadCommand)


def read_data_stream(data_width: int) -> stream.Signature:
    """`read_beat` from an AxiReader."""
    return stream.Signature(read_beat(data_width))


def embedding_feature(rows: int, blocks: int, features: int) -> data.StructLayout:
    """One feature of one token's embedding sum.

    ``lane`` is a one-hot mask of ``rows`` bits (token % rows), ``block`` is token // rows,
    ``value`` the 18-bit sum; ``first`` and ``last`` mark the token's first and last feature.
    """
    return data.StructLayout(
        {
            "lane": rows,
            "block": bits_for_index(blocks),
            "feature": bits_for_index(features),
            "value": signed(RESIDUAL_BITS),
            "first": 1,
            "last": 1,
        }
    )


assert MAX_ITERATIONS < 1 << ITERATION_BITS
