"""The host's side of the accelerator: settings into registers, results out of them (cocotb)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cocotb.triggers import RisingEdge, with_timeout

from hw.bus.registers.model import ERROR_CODES, REGISTERS
from hw.interfaces import COUNTERS
from sim.agents import clock
from sim.agents.axi_lite import AxiLiteMaster

if TYPE_CHECKING:  # brings torch, which would be most of the time in which a simulation starts
    from golden_model.exits import FixedExitPolicy

_ERROR_NAMES = {code: name for name, code in ERROR_CODES.items()}
WATCHDOG_SLACK = 1000
"""Cycles beyond the hardware's own watchdog after which the driver gives up."""


def policy_settings(policy: FixedExitPolicy) -> dict[str, int]:
    """The policy as register values."""
    return {
        "POLICY": int(policy.mode),
        "DELTA": policy.delta,
        "WINDOW": policy.window,
        "MARGIN": policy.margin,
        "RANGE": policy.range,
        "PATIENCE": policy.patience,
    }


class Driver:
    """Runs sentences on the accelerator ``dut``."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.bus = AxiLiteMaster(dut)

    async def read(self, name: str, index: int = 0, field: str | None = None) -> int:
        """A field of a register (default: its only one)."""
        register = REGISTERS[name]
        word = await self.bus.read(register.address(index))
        return (register.field(field) if field else register.fields[0]).extract(word)

    async def write(self, name: str, value: int) -> None:
        """Writes a whole register."""
        await self.bus.write(REGISTERS[name].address(0), value)

    async def control(self, action: str) -> None:
        """One of CONTROL's actions."""
        await self.write("CONTROL", REGISTERS["CONTROL"].field(action).mask)

    async def start(self, settings: Mapping[str, int]) -> None:
        """Writes the settings and starts."""
        await self.write("IRQ_ENABLE", REGISTERS["IRQ_ENABLE"].field("done").mask)
        for name, value in settings.items():
            await self.write(name, value)
        await self.control("start")

    async def finish(self, limit_cycles: int | None) -> str:
        """Waits for the end of the sentence and acknowledges it; the error's name, NONE if all is well.

        Raises:
            SimTimeoutError: no end within ``limit_cycles`` (None: there is no limit).
        """
        if not int(self.dut.irq.value):
            end = RisingEdge(self.dut.irq)
            await (end if limit_cycles is None else with_timeout(end, limit_cycles * clock.period_ns(), "ns"))
        error = await self.read("ERROR")
        await self.write("STATUS", REGISTERS["STATUS"].field("done").mask)
        return _ERROR_NAMES[error]

    async def run(self, settings: Mapping[str, int]) -> str:
        """One sentence, start to end."""
        await self.start(settings)
        watchdog = settings["WATCHDOG"]
        return await self.finish(watchdog + WATCHDOG_SLACK if watchdog else None)

    async def results(self) -> dict[str, Any]:
        """Everything the registers say of the last sentence."""
        iterations = await self.read("EXIT_ITERATION")
        labels = await self.read("LAYER", field="labels")
        return {
            "label": await self.read("LABEL"),
            "exit_iteration": iterations,
            "entropy": await self.read("ENTROPY"),
            "cycles": await self.read("CYCLES_LO") | (await self.read("CYCLES_HI")) << 32,
            "logits": [await self.read("LOGIT", i) for i in range(labels)],
            "probabilities": [await self.read("PROBABILITY", i) for i in range(labels)],
            "counters": {field: await self.read(name) for name, field in COUNTERS.items()},
            "confidences": [await self.read("CONFIDENCE", i, "confidence") for i in range(iterations)],
            "labels": [await self.read("CONFIDENCE", i, "label") for i in range(iterations)],
            "entropies": [await self.read("ENTROPY_AT", i) for i in range(iterations)],
        }
