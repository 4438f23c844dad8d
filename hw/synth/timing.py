"""The slowest paths of a routed design by name, from the delays that nextpnr writes (SDF).

nextpnr's own report holds one path a clock. Where a bus or an enable is slow, so are all its bits: paths here
are told apart by the registers they join, one path for each pair.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from golden_model.errors import PromiseBroken

_TRIPLE = r"\(-?\d+:-?\d+:(-?\d+)\)"
_INSTANCE = re.compile(r"^ *\(INSTANCE (\S*)\)")
_WIRE = re.compile(rf"^ *\(INTERCONNECT (\S+)/(\S+) (\S+)/(\S+) {_TRIPLE} {_TRIPLE}\)")
_ARC = re.compile(rf"^ *\(IOPATH (?:\(\w+ )?([^\s)]+)\)? (\S+) {_TRIPLE} {_TRIPLE}\)")
_SETUP = re.compile(rf"^ *\(SETUPHOLD \(\w+ (\S+)\) \(\w+ (\S+)\) {_TRIPLE} ")
_SUFFIX = re.compile(r"(?:_TRELLIS_FF_Q|_DP16KD_|_MULT18X18D_|_PDPW16KD_).*$")
_BIT = re.compile(r"\[\d+\]$")

Pin = tuple[str, str]
"""Cell and port."""


@dataclass(frozen=True)
class Path:
    """One register-to-register path."""

    start: str
    """Register it starts from, by path below the design."""
    end: str
    nanoseconds: float
    """From clock to clock: clock-to-output, logic, routing and setup."""
    steps: tuple[tuple[float, str, str], ...]
    """Nanoseconds up to here, ``logic`` or ``routing``, and the pin reached."""

    @property
    def routing(self) -> float:
        """Share of the time that is spent in wires."""
        before, total = 0.0, 0.0
        for at, kind, _ in self.steps:
            total += at - before if kind == "routing" else 0.0
            before = at
        return total / self.nanoseconds if self.nanoseconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "from": self.start,
            "to": self.end,
            "ns": round(self.nanoseconds, 3),
            "mhz": round(1000 / self.nanoseconds, 2),
            "routing_percent": round(100 * self.routing, 1),
            "path": [f"{at:6.2f} ns {kind} {pin}" for at, kind, pin in self.steps],
        }


def register_name(cell: str) -> str:
    """The signal that a register or memory holds, from the name Yosys gave its cell, without the bit."""
    return _BIT.sub("", _SUFFIX.sub("", cell.removeprefix("design.")))


class _Delays:
    """Arcs in picoseconds (slowest corner) as the SDF lists them."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.wires: dict[Pin, tuple[Pin, int]] = {}
        """Sink to its driver and the wire's delay."""
        self.arcs: dict[Pin, list[tuple[Pin, int]]] = defaultdict(list)
        """Output to the inputs of its cell that reach it."""
        self.setups: dict[Pin, int] = {}
        self.clocks: set[Pin] = set()
        cell = ""
        for line in lines:
            line = line.replace("\\", "")
            if match := _WIRE.match(line):
                a, b, c, d, rise, fall = match.groups()
                self.wires[c, d] = ((a, b), max(int(rise), int(fall)))
            elif match := _ARC.match(line):
                source, target, rise, fall = match.groups()
                self.arcs[cell, target].append(((cell, source), max(int(rise), int(fall))))
            elif match := _SETUP.match(line):
                port, clock, setup = match.groups()
                pin = (cell, port)
                self.setups[pin] = max(int(setup), self.setups.get(pin, 0))
                self.clocks.add((cell, clock))
            elif match := _INSTANCE.match(line):
                cell = match.group(1)


def slowest_paths(lines: Iterable[str], count: int = 10) -> list[Path]:
    """The ``count`` slowest paths between different pairs of registers, slowest first.

    Args:
        lines: of an SDF file with the delays of one clock's design.

    Raises:
        PromiseBroken: the design has a combinational loop.
    """
    delays = _Delays(lines)
    arrival, previous = _arrivals(delays)
    ends = sorted(
        ((arrival[pin] + setup, pin) for pin, setup in delays.setups.items() if pin in arrival), reverse=True
    )
    found: dict[tuple[str, str], Path] = {}
    for total, pin in ends:
        chain = [pin]
        while chain[-1] in previous:
            chain.append(previous[chain[-1]])
        chain.reverse()
        pair = (register_name(chain[0][0]), register_name(pin[0]))
        if pair not in found:
            steps = [
                (arrival[at] / 1000, "logic" if at[0] == before[0] else "routing", f"{at[0]}.{at[1]}")
                for before, at in pairwise(chain)
            ]
            found[pair] = Path(*pair, total / 1000, (*steps, (total / 1000, "setup", f"{pin[0]}.{pin[1]}")))
            if len(found) == count:
                break
    return list(found.values())


def _arrivals(delays: _Delays) -> tuple[dict[Pin, int], dict[Pin, Pin]]:
    """Latest arrival at every pin that a register reaches, and the pin it came from."""
    arrival: dict[Pin, int] = dict.fromkeys(delays.clocks, 0)
    previous: dict[Pin, Pin] = {}
    entered: set[Pin] = set()

    def sources(pin: Pin) -> list[tuple[Pin, int]]:
        return [delays.wires[pin]] if pin in delays.wires else delays.arcs.get(pin, [])

    for end in delays.setups:
        stack = [end]
        while stack:
            pin = stack[-1]
            if pin in arrival:
                stack.pop()
                continue
            if pin not in entered:
                entered.add(pin)
                waiting = [source for source, _ in sources(pin) if source not in arrival]
                if loop := next(
                    (source for source in waiting if source in entered and source in stack), None
                ):
                    raise PromiseBroken(f"combinational loop through {loop[0]}.{loop[1]}")
                if waiting:
                    stack += [source for source in waiting if source not in entered]
                    continue
            stack.pop()
            at, source = max(
                ((arrival[source] + delay, source) for source, delay in sources(pin) if source in arrival),
                default=(0, None),
            )
            if source is not None:
                arrival[pin] = at
                previous[pin] = source
    return arrival, previous
