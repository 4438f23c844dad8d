"""The ECP5 devices, their capacities and packages: the one place where these numbers stand."""

from __future__ import annotations

from dataclasses import dataclass

FAMILIES = {"lfe5u": "", "lfe5um": "um-", "lfe5um5g": "um5g-"}
"""Family to the prefix of nextpnr's device flag."""

SPEEDS = {"lfe5u": (6, 7, 8), "lfe5um": (6, 7, 8), "lfe5um5g": (8,)}
"""Speed grades of a family; 6 is the slowest. The 5G parts come in one grade."""


@dataclass(frozen=True)
class Resources:
    """Cells of one die, or of one design on it."""

    lut4: int
    ff: int
    dsp: int
    """MULT18X18D."""
    block_ram: int
    """DP16KD, 18 kbit each."""


_DIES = {
    "12f": Resources(lut4=24288, ff=24288, dsp=28, block_ram=56),  # sold as 12k, the tools use the 25k die
    "25f": Resources(lut4=24288, ff=24288, dsp=28, block_ram=56),
    "45f": Resources(lut4=43848, ff=43848, dsp=72, block_ram=108),
    "85f": Resources(lut4=83640, ff=83640, dsp=156, block_ram=208),
}

_GRIDS = {"12f": (73, 51), "25f": (73, 51), "45f": (91, 72), "85f": (127, 96)}
"""Columns and rows of tiles."""

_MULTIPLIER_BLOCKS = {"25f": (7, 3, (13,)), "45f": (9, 4, (22, 46)), "85f": (13, 7, (10, 34, 58))}
"""Blocks of four multipliers in a row of them, how many lie before the gap in the middle, and the rows."""

_MULTIPLIERS = ((0, 0), (1, 1), (4, 4), (5, 5))
"""Column within a block, and index, of its four MULT18X18D."""

_PACKAGES = {
    "lfe5u-12f": ("CABGA256", "CABGA381", "CSFBGA285"),
    "lfe5u-25f": ("CABGA256", "CABGA381", "CSFBGA285"),
    "lfe5u-45f": ("CABGA256", "CABGA381", "CABGA554", "CSFBGA285"),
    "lfe5u-85f": ("CABGA381", "CABGA554", "CABGA756", "CSFBGA285"),
    "lfe5um-25f": ("CABGA381", "CSFBGA285"),
    "lfe5um-45f": ("CABGA381", "CABGA554", "CSFBGA285"),
    "lfe5um-85f": ("CABGA381", "CABGA554", "CABGA756", "CSFBGA285"),
    "lfe5um5g-25f": ("CABGA381", "CSFBGA285"),
    "lfe5um5g-45f": ("CABGA381", "CABGA554", "CSFBGA285"),
    "lfe5um5g-85f": ("CABGA381", "CABGA554", "CABGA756", "CSFBGA285"),
}

_CLOCK_PINS = {
    "CABGA256": "A7",
    "CABGA381": "B11",
    "CABGA554": "A12",
    "CABGA756": "C17",
    "CSFBGA285": "B10",
}
"""Pin of PCLKT0_0, a dedicated clock input, by package; the same on every die."""

DEVICES = tuple(_PACKAGES)
"""Legal device names, in order of family and size."""


@dataclass(frozen=True)
class Device:
    """One part: die, package and speed grade. Made by :func:`find_device`, which checks it."""

    name: str
    package: str
    speed: int

    @property
    def resources(self) -> Resources:
        """What the die offers."""
        return _DIES[self.name.partition("-")[2]]

    @property
    def grid(self) -> tuple[int, int]:
        """Columns and rows of tiles on the die."""
        return _GRIDS[self.name.partition("-")[2]]

    @property
    def multiplier_rows(self) -> list[list[str]]:
        """nextpnr's names of the multipliers' sites, row by row and from left to right."""
        blocks, before, rows = _MULTIPLIER_BLOCKS[self.name.partition("-")[2].replace("12f", "25f")]
        starts = [4 + 9 * block + 2 * (block >= before) for block in range(blocks)]
        return [[f"X{x + dx}/Y{y}/MULT18_{z}" for x in starts for dx, z in _MULTIPLIERS] for y in rows]

    @property
    def clock_pin(self) -> str:
        """A pin with a dedicated path to the clock network."""
        return _CLOCK_PINS[self.package]

    @property
    def nextpnr_arguments(self) -> list[str]:
        """Flags that select the part."""
        family, _, size = self.name.partition("-")
        return [
            f"--{FAMILIES[family]}{size.removesuffix('f')}k",
            *("--package", self.package),
            *("--speed", str(self.speed)),
        ]


def find_device(name: str, package: str = "CABGA381", speed: int = 6) -> Device:
    """The part of that name (any case).

    Raises:
        ValueError: naming the legal devices, or the device's legal packages or speed grades.
    """
    key = name.lower()
    if key not in _PACKAGES:
        raise ValueError(f"device {name!r} is not one of {', '.join(DEVICES)}")
    if package.upper() not in _PACKAGES[key]:
        raise ValueError(f"package {package!r} of {key} is not one of {', '.join(_PACKAGES[key])}")
    speeds = SPEEDS[key.partition("-")[0]]
    if speed not in speeds:
        raise ValueError(f"speed grade {speed} of {key} is not one of {', '.join(map(str, speeds))}")
    return Device(key, package.upper(), speed)


def smallest_that_fits(needed: Resources, family: str) -> str | None:
    """Name of the family's smallest device with at least ``needed``, None if there is none."""
    for name in DEVICES:
        offered = _DIES[name.partition("-")[2]]
        if name.partition("-")[0] == family and not shortages(needed, offered):
            return name
    return None


def shortages(needed: Resources, offered: Resources) -> list[str]:
    """One phrase for each resource of which there is not enough, such as ``31 DSP of 28``."""
    labels = {"lut4": "LUT4", "ff": "FF", "dsp": "DSP", "block_ram": "block RAM"}
    return [
        f"{getattr(needed, key)} {label} of {getattr(offered, key)}"
        for key, label in labels.items()
        if getattr(needed, key) > getattr(offered, key)
    ]
