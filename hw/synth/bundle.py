"""Several parts without a signature of their own, side by side as one component."""

from __future__ import annotations

from collections.abc import Mapping

from amaranth import Module, Signal
from amaranth.hdl import Elaboratable, ValueCastable
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

OUTPUTS = ("read_data",)
"""Members of `hw.memory.banks` that a memory drives; all others it is driven by."""


class Bundle(wiring.Component):
    """The memories of a mapping, each with its ports as members called ``<memory>_<port>``."""

    def __init__(self, parts: Mapping[str, Elaboratable]) -> None:
        self._parts = parts
        self._ports = {
            f"{name}_{port}": (part, port)
            for name, part in parts.items()
            for port, value in vars(part).items()
            if isinstance(value, Signal | ValueCastable)
        }
        super().__init__(
            {
                member: (Out if port in OUTPUTS else In)(getattr(part, port).shape())
                for member, (part, port) in self._ports.items()
            }
        )

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        for name, part in self._parts.items():
            m.submodules[name] = part
        for member, (part, port) in self._ports.items():
            inner, outer = getattr(part, port), getattr(self, member)
            m.d.comb += outer.eq(inner) if port in OUTPUTS else inner.eq(outer)
        return m
