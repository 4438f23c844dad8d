"""The register description: its own rules, and that the generated files are up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from golden_model.provenance import ROOT
from hw.bus.registers import exports
from hw.bus.registers.description import ERROR_CODES, REGISTERS, Field, Register
from hw.bus.registers.exports import GENERATED


@pytest.mark.parametrize("name", GENERATED)
def test_generated_file_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text() == GENERATED[name](), f"{name}: run `python -m hw.bus.registers`"


def test_write_generated(tmp_path: Path) -> None:
    exports.write_generated(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")} == set(GENERATED)


def test_addresses_are_distinct_words_of_the_map() -> None:
    addresses = [register.address(i) for register in REGISTERS.values() for i in range(register.count)]
    assert len(set(addresses)) == len(addresses)
    assert all(address % 4 == 0 and 0 <= address < 4096 for address in addresses)


def test_header_defines_every_register() -> None:
    defines = dict(re.findall(r"#define (\w+) (\w+)u", exports.header()))
    for register in REGISTERS.values():
        assert int(defines[f"ELBERT_{register.name}_OFFSET"], 16) == register.offset
    assert int(defines["ELBERT_STATUS_DONE_MASK"], 16) == 2
    assert int(defines["ELBERT_DELTA_MASK"], 16) == (1 << 18) - 1
    assert defines["ELBERT_CONFIDENCE_COUNT"] == "32"
    assert defines["ELBERT_POLICY_BIAS_3"] == "6"
    assert defines["ELBERT_ERROR_WATCHDOG"] == "6"


def test_error_codes_are_distinct() -> None:
    assert sorted(ERROR_CODES.values()) == list(range(len(ERROR_CODES)))


def test_field_round_trip() -> None:
    field = REGISTERS["CONFIDENCE"].field("label")
    assert field.insert(5, 0xFFFFFFFF) == 0xFFDFFFFF
    assert field.extract(0xFFDFFFFF) == 5
    signed = Field("value", 4, 8, "", signed=True)
    assert [signed.extract(signed.insert(value)) for value in (-128, -1, 0, 127)] == [-128, -1, 0, 127]


@pytest.mark.parametrize("value", [8, -1])
def test_field_refuses_what_does_not_fit(value: int) -> None:
    with pytest.raises(ValueError, match=rf"field label: {value} is outside 0\.\.7"):
        REGISTERS["CONFIDENCE"].field("label").insert(value)


def test_description_errors() -> None:
    with pytest.raises(ValueError, match=r"bits 30\+4 are outside 0\.\.32"):
        Field("x", 30, 4, "")
    with pytest.raises(ValueError, match="access 'wo'"):
        Field("x", 0, 1, "", access="wo")
    with pytest.raises(ValueError, match="field b overlaps another"):
        Register("X", 0, "", (Field("a", 0, 4, ""), Field("b", 3, 1, "")))
    with pytest.raises(ValueError, match="offset 0x2 is not a multiple of 4"):
        Register("X", 2, "", ())
    with pytest.raises(IndexError, match=r"index 8 is outside 0\.\.7"):
        REGISTERS["LOGIT"].address(8)
    with pytest.raises(KeyError, match="register STATUS has no field 'x'"):
        REGISTERS["STATUS"].field("x")
