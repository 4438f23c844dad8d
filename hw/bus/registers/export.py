"""elbert.rdl for users, by PeakRDL's exporters: C header, Markdown, HTML, IP-XACT, Python model.

Exporters are imported where they are called: none of them is needed to build or to run the hardware.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from systemrdl.node import AddrmapNode

from golden_model.files import write_text
from hw.bus.registers.model import compile_registers, read_registers

HEADER = Path("hw/include/elbert_registers.h")
"""The header that the repository keeps, constants of the geometry 0."""


def _c(top: AddrmapNode, path: Path) -> None:
    from peakrdl_cheader.exporter import CHeaderExporter

    CHeaderExporter().export(top, str(path), reuse_typedefs=False)
    path.write_text(_with_values(path.read_text(), top))


def _with_values(header: str, top: AddrmapNode) -> str:
    """The header with the enumerations' values, of which PeakRDL-cheader knows nothing."""
    lines = []
    for register in read_registers(top).values():
        for field in register.fields:
            prefix = f"{top.inst_name}__{register.name}__{field.name}".upper()
            lines += [f"#define {prefix}__{name}_value {value}" for name, value in field.values.items()]
    before, separator, after = header.partition(f"// addrmap - {top.inst_name}\n")
    return before + "// values of enumerations\n" + "\n".join(lines) + "\n\n" + separator + after


def _markdown(top: AddrmapNode, path: Path) -> None:
    from peakrdl_markdown import MarkdownExporter

    MarkdownExporter().export(top, str(path))


def _html(top: AddrmapNode, path: Path) -> None:
    from peakrdl_html import HTMLExporter

    HTMLExporter().export(top, str(path))


def _ipxact(top: AddrmapNode, path: Path) -> None:
    from peakrdl_ipxact import IPXACTExporter

    IPXACTExporter().export(top, str(path))


def _python(top: AddrmapNode, path: Path) -> None:
    from peakrdl_python.exporter import PythonExporter

    PythonExporter().export(top, str(path), skip_test_case_generation=True)


FORMATS: dict[str, tuple[Callable[[AddrmapNode, Path], None], str]] = {
    "c": (_c, "elbert_registers.h"),
    "markdown": (_markdown, "elbert_registers.md"),
    "html": (_html, "elbert_registers"),
    "ipxact": (_ipxact, "elbert_registers.xml"),
    "python": (_python, "elbert_registers"),
}
"""How each is made, and its usual name: a file, or without suffix a folder."""


def export(form: str, path: Path | str, parameters: dict[str, int] | None = None) -> None:
    """Writes one of FORMATS, whole or not at all.

    Args:
        form: a key of FORMATS.
        path: file to write; for html and python a folder that is not there yet, or is empty.
        parameters: of the machine, see `geometry_parameters`; without them its constants are 0.

    Raises:
        ValueError: there is no such format, or the folder holds something.
        OSError: ``path`` cannot be written.
    """
    if form not in FORMATS:
        raise ValueError(f"format {form!r} is not one of {', '.join(FORMATS)}")
    make, name = FORMATS[form]
    path = Path(path)
    top = compile_registers(parameters).top
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / name
        make(top, made)
        if made.is_file():
            write_text(path, made.read_text(encoding="utf-8"))
            return
        if path.is_dir() and any(path.iterdir()):
            raise ValueError(f"{path} is not empty; name a folder that is not there yet")
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", suffix=".part", dir=path.parent))
        try:
            shutil.copytree(made, beside / "all")
            os.replace(beside / "all", path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
