"""Verilog around a device under test: the AXI memory on ``m_axi__*`` and the trace monitor on ``trace__*``.

``system_sources(text, module, ...)`` returns the sources of a top module ``system`` whose ports are those of
the device that are left (``s_axil__*``, ``clk``, ``rst`` and so on) plus the agents' own, named in
``MEMORY_PORTS`` and ``MONITOR_PORTS``. Everything that moves on every clock stays inside the simulation.
In the cocotb module, ``await system.start(dut)`` quietens the agents and starts the clock.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hw.cycles.memory import MemoryTiming

_FOLDER = Path(__file__).parent

MEMORY_PORTS = (
    ("input", 32, "error_base"),
    ("input", 32, "error_size"),
    ("input", 2, "last_fault"),
    ("input", 1, "hang"),
    ("input", 2, "stall_mode"),
    ("input", 1, "poke_valid"),
    ("input", 32, "poke_address"),
    ("input", 32, "poke_data"),
    ("output", 5, "protocol_error"),
    ("output", 32, "bursts"),
    ("output", 32, "beats"),
)
"""Ports that axi_memory.v adds to the system; see its text."""

MONITOR_PORTS = (
    ("input", 32, "sentence"),
    ("input", 1, "flush"),
    ("output", 64, "cycle"),
    ("output", 32, "records"),
)
"""Ports that trace_monitor.v adds to the system."""

_OPTIONAL = {"m_axi__arid": 1, "m_axi__arprot": 3, "m_axi__arcache": 4}
"""The bus's outputs that a device may lack, and their widths: 0 then."""
_TRACE_PARTS = ("valid", "tag", "index", "data")


@dataclasses.dataclass(frozen=True)
class Port:
    """A port of a Verilog module."""

    direction: str
    width: int
    name: str


def module_ports(text: str, module: str) -> list[Port]:
    """The ports of ``module`` in Verilog as Amaranth writes it: declared in the body, with constant ranges.

    Raises:
        ValueError: the module is not in the text, or a port of its list is not declared that way.
    """
    found = re.search(rf"^module {re.escape(module)}\s*\(([^;]*)\);(.*?)^endmodule", text, re.M | re.S)
    if found is None:
        raise ValueError(f"module {module!r} with a plain port list is not in the text")
    names = [name.strip() for name in found[1].split(",") if name.strip()]
    declared = {}
    pattern = re.compile(r"^\s*(input|output|inout)\s+(?:reg\s+|wire\s+)?(?:\[(\d+):0\]\s*)?(\w+)\s*;", re.M)
    for direction, high, name in pattern.findall(found[2]):
        declared[name] = Port(direction, int(high or 0) + 1, name)
    if missing := [name for name in names if name not in declared]:
        raise ValueError(f"port {missing[0]!r} of module {module!r} has no plain declaration")
    return [declared[name] for name in names]


async def start(dut: Any, **inputs: int) -> None:
    """Drives the agents' inputs, starts the clock and resets (for the cocotb side).

    Args:
        inputs: values of the agents' inputs, such as ``stall_mode=1``; the others are 0. Without this call
            they are random in a correctness run.

    Raises:
        ValueError: a name is not one of the agents' inputs.
    """
    from sim.agents import clock  # cocotb is there only inside a simulation

    known = [name for direction, _, name in (*MEMORY_PORTS, *MONITOR_PORTS) if direction == "input"]
    if unknown := sorted(set(inputs) - set(known)):
        raise ValueError(f"{unknown[0]!r} is not one of the agents' inputs {known}")
    for name in known:
        if hasattr(dut, name):
            getattr(dut, name).value = inputs.get(name, 0)
    await clock.start(dut)


def memory_plusargs(timing: MemoryTiming) -> list[str]:
    """Arguments of a simulation that give its memory this timing."""
    arguments = [f"+axi_latency={timing.latency}"]
    if timing.bandwidth is not None:
        arguments += [
            f"+axi_bandwidth_bytes={timing.bandwidth.numerator}",
            f"+axi_bandwidth_cycles={timing.bandwidth.denominator}",
        ]
    return arguments


def _range(width: int) -> str:
    return f"[{width - 1}:0] " if width > 1 else ""


def system_sources(
    text: str,
    module: str,
    *,
    memory_bytes: int = 1 << 24,
    latency: int = 8,
    strict: bool = True,
    top: str = "system",
) -> dict[str, str]:
    """Sources of the module ``top`` around ``module`` of the Verilog ``text``.

    Args:
        text: Verilog of the device, from ``hw.emit.to_verilog``.
        module: its top module. With ports ``m_axi__*`` it gets the memory, with ``trace__*`` the monitor,
            with several groups ``trace_NAME__*`` one each, whose file is ``+trace_NAME_file=FILE``.
        memory_bytes: size of the memory, a multiple of the bus width.
        latency: clocks from an address to its first beat; :func:`memory_plusargs` overrides it.
        strict: a broken AXI rule ends the simulation, else it only raises ``protocol_error``;
            ``+axi_strict=0`` or ``1`` overrides it.

    Run it with ``plusargs=["+axi_image=FILE", "+trace_file=FILE"]``.
    """
    ports = {port.name: port for port in module_ports(text, module)}
    bus = [name for name in ports if name.startswith("m_axi__")]
    prefixes = [name.removesuffix("__data") for name in ports if re.fullmatch(r"trace(_\w+)?__data", name)]
    trace = [name for name in ports if name.split("__")[0] in prefixes]
    if top in (module, "axi_memory", "trace_monitor"):
        raise ValueError(f"the system cannot have the name {top!r} of one of its parts")
    sources = {f"{module}.v": text}
    instances = [_instance(module, {}, "device", list(ports))]
    wires = [f"wire {_range(ports[name].width)}{name};" for name in (*bus, *trace)]
    outer = [port for port in ports.values() if port.name not in (*bus, *trace)]
    if "m_axi__rdata" in ports:
        width = ports["m_axi__rdata"].width
        if memory_bytes % (width // 8):
            raise ValueError(f"memory_bytes {memory_bytes} is not a multiple of the bus's {width // 8} bytes")
        # A device without IDs: its bursts have ID 0, and nobody looks at the answer's.
        wires += [f"wire {name};" for name in ("m_axi__rid",) if name not in ports]
        wires += [f"wire {_range(bits)}{name} = 0;" for name, bits in _OPTIONAL.items() if name not in ports]
        bus_pins = dict.fromkeys(["clk", "rst", *bus, *_OPTIONAL, "m_axi__rid"])
        values: dict[str, int | str] = {
            "DATA_WIDTH": width,
            "SIZE_BYTES": memory_bytes,
            "LATENCY": latency,
            "STRICT": int(strict),
        }
        own = [Port(*port) for port in MEMORY_PORTS]
        instances.append(_instance("axi_memory", values, "memory", [*bus_pins, *(port.name for port in own)]))
        sources["axi_memory.v"] = (_FOLDER / "axi_memory.v").read_text()
        outer += own
    for number, prefix in enumerate(prefixes):
        values = {
            f"{part.upper()}_BITS": ports[f"{prefix}__{part}"].width for part in ("tag", "index", "data")
        }
        values["FILE_ARGUMENT"] = f'"{prefix}_file=%s"'
        pins = {"clk": "clk"} | {f"trace__{part}": f"{prefix}__{part}" for part in _TRACE_PARTS}
        # Cycle and count are the first monitor's; the others count the same clock.
        pins |= {p[2]: p[2] for p in MONITOR_PORTS if p[0] == "input" or number == 0}
        instances.append(_instance("trace_monitor", values, f"{prefix}_monitor", pins))
    if prefixes:
        sources["trace_monitor.v"] = (_FOLDER / "trace_monitor.v").read_text()
        outer += [Port(*port) for port in MONITOR_PORTS]
    if len({port.name for port in outer}) != len(outer):
        raise ValueError(f"module {module!r} has a port with the name of one of the agents' ports")
    header = ",\n    ".join(f"{port.direction} {_range(port.width)}{port.name}" for port in outer)
    body = "\n".join(f"    {line}" for line in (*wires, *instances))
    sources[f"{top}.v"] = f"module {top} (\n    {header}\n);\n{body}\nendmodule\n"
    return sources


def _instance(
    module: str, parameters: Mapping[str, int | str], name: str, ports: Sequence[str] | Mapping[str, str]
) -> str:
    values = ", ".join(f".{key}({value})" for key, value in parameters.items())
    wires = ports if isinstance(ports, Mapping) else dict(zip(ports, ports, strict=True))
    pins = ", ".join(f".{port}({wire})" for port, wire in wires.items())
    return f"{module} {f'#({values}) ' if values else ''}{name} ({pins});"
