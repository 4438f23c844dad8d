"""Amaranth component to Verilog or RTLIL text, the same text on every machine and in every run."""

from __future__ import annotations

import re
from typing import Any

from amaranth.back import rtlil, verilog
from amaranth.hdl import Const, Elaboratable, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib.wiring import In, Out

from hw.memory.attributes import DONT_CARE_ON_COLLISION

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPEN_MEMORY = re.compile(
    "".join(rf"  attribute \\{name} {value}\n" for name, value in DONT_CARE_ON_COLLISION.items())
    + r"(?:  attribute .*\n)*  memory .* \\(\S+)\n"
)
_COLLISIONS = r'(MEMID "\\\\NAME"\n(?:    parameter .*\n)*?    parameter \\COLLISION_X_MASK )(\d+)\'[01]+'
"""Of a read port of the memory NAME; a write port has none."""


def to_verilog(component: Elaboratable, name: str = "top", *, platform: Any = None) -> str:
    """Verilog-2005 of ``component`` as module ``name``.

    Ports are those of the component's signature, nested members joined by two underscores (``i.payload``
    becomes ``i__payload``), plus ``clk`` and ``rst``. Source locations are left out, so that the text does
    not depend on where the project lies.

    Args:
        component: a ``wiring.Component``, not yet elaborated.
        name: the top module's name.
        platform: handed to ``elaborate``.

    Raises:
        ValueError: ``name`` is not a Verilog identifier.
    """
    _check_name(name)
    text: str = verilog.convert(
        component,
        name=name,
        platform=platform,
        ports=_ports(component),
        emit_src=False,
        strip_internal_attrs=True,
    )
    return text


def to_rtlil(component: Elaboratable, name: str = "top", *, platform: Any = None) -> str:
    """RTLIL (Yosys's own language) of ``component`` as module ``name``; ports as of :func:`to_verilog`.

    Yosys reads it some thirty times as fast as Verilog, and Amaranth writes it without Yosys.

    Raises:
        ValueError: ``name`` is not a Verilog identifier.
    """
    _check_name(name)
    text: str = rtlil.convert(
        component, name=name, platform=platform, ports=_ports(component), emit_src=False
    )
    return _open_collisions(text)


def _open_collisions(text: str) -> str:
    """Marks the reads of memories whose attribute `hw.memory.attributes.DONT_CARE_ON_COLLISION` says so.

    Yosys heeds the attribute where it makes a clocked read port itself, as it does of Verilog. RTLIL brings
    such ports along, and these say themselves what a collision gives: Amaranth's always promise the old
    word, for which an ECP5 takes comparators, registers and a multiplexer at every block memory.
    """
    return "\nmodule ".join(map(_open_collisions_of, text.split("\nmodule ")))


def _open_collisions_of(module: str) -> str:
    """The text of one module; names of memories are its own."""
    for name in _OPEN_MEMORY.findall(module):
        mask = _COLLISIONS.replace("NAME", re.escape(name))
        module = re.sub(mask, lambda found: f"{found[1]}{found[2]}'{'1' * int(found[2])}", module)
    return module


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"module name {name!r} is not a Verilog identifier")


def _ports(component: Any) -> dict[str, tuple[Value, PortDirection]]:
    """The signature's ports, but no constants, such as the ``ready`` of a stream that always is."""
    directions = {In: PortDirection.Input, Out: PortDirection.Output}
    flat = component.signature.flatten(component)
    named = (("__".join(map(str, path)), member.flow, Value.cast(value)) for path, member, value in flat)
    return {name: (value, directions[flow]) for name, flow, value in named if not isinstance(value, Const)}
