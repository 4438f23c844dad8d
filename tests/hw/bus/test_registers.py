"""The register description, what hardware and driver read of it, and its exports."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from golden_model.config import MAX_ITERATIONS, MAX_LABELS, PRESETS
from golden_model.provenance import ROOT
from hw.bus.registers.export import FORMATS, HEADER, export
from hw.bus.registers.model import (
    ERROR_CODES,
    REGISTERS,
    SOURCE,
    Field,
    compile_registers,
    geometry_parameters,
    machine_registers,
    read_registers,
)


def test_addresses_are_distinct_words_of_the_map() -> None:
    addresses = [register.address(i) for register in REGISTERS.values() for i in range(register.count)]
    assert len(set(addresses)) == len(addresses)
    assert all(address % 4 == 0 and 0 <= address < 4096 for address in addresses)


def test_addresses_and_codes_are_those_that_software_knows() -> None:
    """Others would need another version of the register map."""
    offsets = {
        "CONTROL": 0x20,
        "STATUS": 0x24,
        "ERROR": 0x28,
        "LENGTH": 0x40,
        "TOKENS_BASE": 0x80,
        "LOGIT": 0x100,
    }
    assert {name: REGISTERS[name].offset for name in offsets} == offsets
    assert ERROR_CODES == {
        "NONE": 0,
        "LENGTH": 1,
        "MODE": 2,
        "ITERATIONS": 3,
        "BUS": 4,
        "TOKEN": 5,
        "WATCHDOG": 6,
        "WINDOW": 7,
        "ABORTED": 9,
        "ALIGNMENT": 10,
    }
    assert [field.reset for field in REGISTERS["VERSION"].fields] == [0, 2, 0]


def test_access_is_read_from_the_description() -> None:
    access = {(r.name, f.name): f.access for r in REGISTERS.values() for f in r.fields}
    assert access["ID", "value"] == "constant"
    assert access["CONTROL", "start"] == "pulse"
    assert access["STATUS", "done"] == "w1c"
    assert access["STATUS", "busy"] == "ro"
    assert access["WATCHDOG", "value"] == "rw"
    assert [name for name, r in REGISTERS.items() if r.external] == ["CONFIDENCE", "ENTROPY_AT"]
    assert REGISTERS["LOGIT"].fields[0].signed
    assert (REGISTERS["LOGIT"].count, REGISTERS["CONFIDENCE"].count) == (MAX_LABELS, MAX_ITERATIONS)


def test_an_access_without_hardware_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = tmp_path / "elbert.rdl"
    source.write_text(SOURCE.read_text().replace("woclr", "woset"))
    monkeypatch.setattr("hw.bus.registers.model.SOURCE", source)
    with pytest.raises(ValueError, match=r"elbert\.STATUS\.done"):
        read_registers(compile_registers().top)


def test_a_machine_shows_its_geometry() -> None:
    registers = machine_registers(PRESETS["small"], 8, 16, 128)
    assert registers["GEOMETRY"].field("cols").reset == 16
    assert registers["MODEL"].field("hidden").reset == 384
    assert registers["VOCABULARY"].field("tokens").reset == 18500
    with pytest.raises(ValueError, match=r"elbert\.rdl: The reset value \(256\) of field 'rows' cannot fit"):
        machine_registers(PRESETS["small"], 256, 16, 128)


def test_field_round_trip() -> None:
    field = REGISTERS["CONFIDENCE"].field("label")
    assert field.insert(5, 0xFFFFFFFF) == 0xFFDFFFFF
    assert field.extract(0xFFDFFFFF) == 5
    signed = Field("value", 4, 8, signed=True)
    assert [signed.extract(signed.insert(value)) for value in (-128, -1, 0, 127)] == [-128, -1, 0, 127]


@pytest.mark.parametrize("value", [8, -1])
def test_field_refuses_what_does_not_fit(value: int) -> None:
    with pytest.raises(ValueError, match=rf"field label: {value} is outside 0\.\.7"):
        REGISTERS["CONFIDENCE"].field("label").insert(value)


def test_unknown_names_and_indices() -> None:
    with pytest.raises(IndexError, match=r"index 8 is outside 0\.\.7"):
        REGISTERS["LOGIT"].address(8)
    with pytest.raises(KeyError, match="register STATUS has no field 'x'"):
        REGISTERS["STATUS"].field("x")


def test_the_header_is_up_to_date(tmp_path: Path) -> None:
    export("c", tmp_path / HEADER.name)
    assert (ROOT / HEADER).read_text() == (tmp_path / HEADER.name).read_text(), (
        "run `python -m hw.bus.registers`"
    )


def test_the_header_is_c(tmp_path: Path) -> None:
    """Every field and value is defined, and the structure lies where the registers are."""
    text = (ROOT / HEADER).read_text()
    defines = dict(re.findall(r"#define (\w+) (\w+)", text))
    checks = []
    for register in REGISTERS.values():
        checks.append(f'static_assert(offsetof(elbert_t, {register.name}) == {register.offset}, "");')
        for field in register.fields:
            name = register.name + "X" * (register.count > 1)  # as PeakRDL calls arrays
            prefix = f"ELBERT__{name}__{field.name}".upper()
            assert int(defines[f"{prefix}_bm"], 16) == field.mask
            assert {name: int(defines[f"{prefix}__{name}_value"]) for name in field.values} == field.values
    source = tmp_path / "check.cpp"
    source.write_text("\n".join(["#include <stddef.h>", f'#include "{ROOT / HEADER}"', *checks]))
    subprocess.run(["g++", "-fsyntax-only", str(source)], check=True)


def test_the_page_of_registers_is_true() -> None:
    """docs/registers.md has a row for every field, in the order of addresses, and no other."""
    rows = re.findall(
        r"^\| (.*?) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|",
        (ROOT / "docs/registers.md").read_text(),
        re.M,
    )
    wanted = []
    for register in REGISTERS.values():
        for field in register.fields:
            top = field.bit + field.width - 1
            bits = str(field.bit) if field.width == 1 else f"{top}:{field.bit}"
            name = register.name if register.count == 1 else f"{register.name}[{register.count}]"
            label = "" if field.name == "value" else field.name
            access = "ro" if field.access == "constant" else field.access
            reset = f"{field.reset:#x}" if field.reset else ""
            wanted.append((f"{register.offset:#05x}", name, bits, label, access, reset))
    assert [tuple(cell.strip() for cell in row) for row in rows[1:]] == wanted


def test_ip_xact_knows_the_registers(tmp_path: Path) -> None:
    export("ipxact", tmp_path / "r.xml", geometry_parameters(PRESETS["nano"], 4, 8, 64))
    tree = ElementTree.parse(tmp_path / "r.xml")
    names = {element.text for element in tree.iter() if element.tag.endswith("}name")}
    assert set(REGISTERS) <= names
    assert {"ALIGNMENT", "BIAS_3"} <= names


def test_markdown_and_html_name_every_register(tmp_path: Path) -> None:
    export("markdown", tmp_path / "r.md")
    assert all(name in (tmp_path / "r.md").read_text() for name in REGISTERS)
    (tmp_path / "page").mkdir()
    export("html", tmp_path / "page")
    assert (tmp_path / "page/index.html").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"r.md", "page"}
    with pytest.raises(ValueError, match="is not empty"):
        export("html", tmp_path / "page")


def test_the_python_model_reads_and_writes(tmp_path: Path) -> None:
    """On a memory of words: it finds registers, fields and enumerations where the map has them."""
    export("python", tmp_path / "model", geometry_parameters(PRESETS["nano"], 4, 8, 64))
    code = """
from elbert.lib import NormalCallbackSet
from elbert.reg_model import RegModel
words = {0x28: 10, 0x100 + 4 * 5: 77}
def read(addr, width, accesswidth): return words.get(addr, 0)
def write(addr, width, accesswidth, data): words[addr] = data
model = RegModel(callbacks=NormalCallbackSet(read_callback=read, write_callback=write))
assert model.ERROR.code.read().name == "ALIGNMENT", model.ERROR.code.read()
assert model.LOGIT[5].value.read() in (77,)
model.DELTA.value.write(0x2FFFF)
assert words[0x4C] == 0x2FFFF
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "model", check=True)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="format 'pdf' is not one of c, markdown, html, ipxact, python"):
        export("pdf", tmp_path / "x")
    assert list(FORMATS) == ["c", "markdown", "html", "ipxact", "python"]
    assert list(tmp_path.iterdir()) == []
