# amaranth: UnusedElaboratable=no
"""Every refusal of a component names the value and its bound.

What is refused here is never elaborated, and Amaranth would warn of each: the first line tells it not to.
"""

from __future__ import annotations

from typing import Any

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from golden_model.config import PRESETS, ElbertConfig
from hw.arith.constant import signed_digits
from hw.arith.divider import FractionDivider
from hw.arith.integer_divider import IntegerDivider
from hw.arith.multiplier import Multiplier, WideMultiplier
from hw.arith.requantizer import Requantizer
from hw.arith.rounding import RoundShift, saturate, saturate_signed
from hw.bus.axi import Axi4Read
from hw.bus.axi_reader import AxiReader
from hw.bus.registers.hardware import Registers
from hw.enumeration import hardware_enum
from hw.synth.harness import Harness
from hw.units.activation_table import ActivationTable
from hw.units.embedding import EmbeddingUnit
from hw.units.exit_unit import ExitUnit
from hw.units.layernorm import LayerNorm
from hw.units.softmax import Softmax

NANO = PRESETS["nano"]
ODD = ElbertConfig.model_validate(NANO.model_dump() | {"embedding_size": 24})


class Sink(wiring.Component):
    """No output at all."""

    def __init__(self) -> None:
        super().__init__({"a": In(1)})

    def elaborate(self, platform: Any) -> Module:
        return Module()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Multiplier(19, 8), r"a_width 19 is outside 2\.\.18"),
        (lambda: Multiplier(8, 1), r"b_width 1 is outside 2\.\.18"),
        (lambda: Multiplier(8, 8, "intel"), "technology 'intel' is not one of generic, ecp5, xilinx"),
        (lambda: WideMultiplier("vhdl"), "technology 'vhdl'"),
        (lambda: Requantizer("vhdl"), "technology 'vhdl'"),
        (lambda: RoundShift(65, 6, 18), r"in_width 65 is outside 2\.\.64"),
        (lambda: RoundShift(45, 7, 18), r"shift_width 7 is outside 1\.\.6"),
        (lambda: RoundShift(16, 6, 18), r"out_width 18 is outside 2\.\.16"),
        (lambda: saturate(Signal(signed(8)), 5, 4), "low 5 is above high 4"),
        (lambda: signed_digits(0), "constant 0 is below 1"),
        (lambda: IntegerDivider(0, 8), r"dividend_width 0 is outside 1\.\.64"),
        (lambda: IntegerDivider(8, 8, 9), r"quotient_width 9 is outside 1\.\.8"),
        (lambda: FractionDivider(0, 16), r"width 0 is outside 1\.\.48"),
        (lambda: FractionDivider(49, 16), r"width 49 is outside 1\.\.48"),
        (lambda: FractionDivider(20, 0), r"fraction_bits 0 is outside 1\.\.48"),
        (lambda: ActivationTable(0), r"lanes 0 is outside 1\.\.64"),
        (lambda: Softmax(65, 16), r"lanes 65 is outside 1\.\.64"),
        (lambda: Softmax(4, 513), r"max_keys 513 is outside 1\.\.512"),
        (lambda: LayerNorm(4, (), 4), "sizes is empty"),
        (lambda: LayerNorm(4, (32, 1025), 4), r"sizes\[1\] 1025 is outside 2\.\.1024"),
        (lambda: LayerNorm(4, (32,), 0), r"max_blocks 0 is outside 1\.\.512"),
        (lambda: LayerNorm(4, (32,), 4, 3), "normalize_lanes 3 does not divide lanes 4"),
        (lambda: LayerNorm(4, (32,), 4, 8), r"normalize_lanes 8 is outside 1\.\.4"),
        (lambda: ExitUnit(1), r"num_labels 1 is outside 2\.\.8"),
        (lambda: ExitUnit(9), r"num_labels 9 is outside 2\.\.8"),
        (lambda: EmbeddingUnit(NANO, 0, 32), "rows 0 is below 1"),
        (lambda: EmbeddingUnit(NANO, 4, 16), "data_width 16 is not one of"),
        (lambda: EmbeddingUnit(ODD, 4, 128), "embedding_size 24 is not a multiple of the beat's 16 bytes"),
        (lambda: Axi4Read(48), "data_width 48 is not one of"),
        (lambda: AxiReader(32, max_burst=257), r"max_burst 257 is outside 1\.\.256"),
        (lambda: AxiReader(32, outstanding=0), r"outstanding 0 is outside 1\.\.16"),
        (lambda: Registers(NANO, 256, 4, 32), r"reset value \(256\) of field 'rows' cannot fit"),
        (lambda: Harness(Sink()), "Sink has no output"),
        (lambda: hardware_enum("Mode", {"A": 0, "B": 8}, 3, ""), r"Mode\.B: 8 is outside 0\.\.7"),
    ],
)
def test_a_bad_value_is_named(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Multiplier(8.0, 8), r"a_width must be an int, not 8\.0"),  # type: ignore[arg-type]
        (lambda: FractionDivider(20, "16"), "fraction_bits must be an int, not '16'"),  # type: ignore[arg-type]
        (lambda: Softmax("4", 16), "lanes must be an int, not '4'"),  # type: ignore[arg-type]
        (lambda: Softmax(True, 16), "lanes must be an int, not True"),
        (lambda: ExitUnit(2.0), r"num_labels must be an int, not 2\.0"),  # type: ignore[arg-type]
        (lambda: ExitUnit(True), "num_labels must be an int, not True"),
        (lambda: saturate_signed(Signal(8), 4), "value must be signed"),
    ],
)
def test_a_bad_type_is_named(build: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        build()
