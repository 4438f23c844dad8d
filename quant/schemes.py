"""What a quantisation chooses: widths, where scales are shared, and how ranges and roundings are found.

A scheme is executed by the integer golden model itself: its weights are int8 of a smaller range, its widths a
:class:`~golden_model.integer.contract.Contract` of the checkpoint (docs/quantisation.md).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import Tensor

from golden_model.documents import quote, read_object
from golden_model.integer.checkpoint import MATMULS
from golden_model.integer.contract import OPERANDS, Contract, signed_limit
from golden_model.numerics import (
    EXP_INDEX_BITS,
    NORM_FRACTION_BITS,
    OPERAND_BITS,
    OPERAND_MAX,
    RSQRT_BITS,
    TABLE_INDEX_BITS,
)
from quant.observers import Observer

WEIGHT_BITS = (8, 6, 4, 3, 2)
WEIGHT_OBSERVERS = ("max", "mse", "hessian")
GRANULARITIES = ("tensor", "channel", "group")
ROUNDINGS = ("nearest", "gptq", "adaround")
SHARING = ("iteration", "shared")


@dataclass(frozen=True)
class Grid:
    """The integers that a weight may be: every one in ±limit, or the odd ones alone."""

    limit: int
    odd: bool = False

    @property
    def step(self) -> int:
        """From one integer of the grid to the next."""
        return 2 if self.odd else 1

    @property
    def levels(self) -> int:
        """How many there are."""
        return self.limit + 1 if self.odd else 2 * self.limit + 1

    def nearest(self, x: Tensor) -> Tensor:
        """The nearest integer of the grid, of the dtype of ``x``; half to even, of odd integers half up."""
        found = 2 * (x / 2).floor() + 1 if self.odd else x.round()
        return found.clamp(-self.limit, self.limit)

    def below(self, x: Tensor) -> Tensor:
        """The largest integer of the grid, without its ends, that is not above ``x``."""
        return 2 * ((x - 1) / 2).floor() + 1 if self.odd else x.floor()


@dataclass(frozen=True)
class WeightScheme:
    """How one matmul's weights become integers.

    Members:
        weight_bits: 8, 6, 4 or 3: every integer in ±(2^(b-1) - 1). 2: the four odd integers -3, -1, 1, 3,
            which are equally far apart and have no zero. Word embeddings keep 8.
        ternary: With 2 bits: the three integers -1, 0, 1 instead.
        weight_observer: How a range is found: ``max``; ``mse``, the least square error of the weights;
            ``hessian``, the same with every input weighted by its mean square over the calibration.
        granularity: One scale for a ``tensor``, one per output ``channel``, or in two levels (VS-Quant, Dai
            et al. 2021): one per channel, times an unsigned integer for every ``group`` of inputs.
        group_size: Inputs of a group, the last of a row may have fewer.
        group_bits: Of the groups' integers; integer times weight stays within int8.
        rounding: ``nearest``; ``gptq`` (Frantar et al. 2022); ``adaround`` (Nagel et al. 2020).

    Raises:
        ValueError: a member is out of its bounds.
    """

    weight_bits: int = 8
    weight_observer: str = "max"
    ternary: bool = False
    granularity: str = "channel"
    group_size: int = 64
    group_bits: int = 4
    rounding: str = "nearest"

    def __post_init__(self) -> None:
        """Checks the members."""
        if isinstance(self.weight_bits, bool) or self.weight_bits not in WEIGHT_BITS:
            raise ValueError(f"weight_bits {quote(self.weight_bits)} is not one of {WEIGHT_BITS}")
        for name, allowed in (
            ("weight_observer", WEIGHT_OBSERVERS),
            ("granularity", GRANULARITIES),
            ("rounding", ROUNDINGS),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {quote(getattr(self, name))} is not one of {allowed}")
        _check_bool(self, "ternary")
        if self.ternary and self.weight_bits != 2:
            raise ValueError(f"ternary weights have weight_bits 2, not {self.weight_bits}")
        _check_integer(self, "group_size", 2, 4096)
        _check_integer(self, "group_bits", 1, 7)
        if self.granularity == "group" and self.group_limit < 2:
            raise ValueError(
                f"granularity 'group' needs weights that an integer above 1 can multiply within int8: "
                f"weight_bits {self.weight_bits} with group_bits {self.group_bits} leave {self.group_limit}"
            )

    @property
    def grid(self) -> Grid:
        """The integers a weight may be, before its group's multiplier."""
        if self.weight_bits == 2:
            return Grid(1) if self.ternary else Grid(3, odd=True)
        return Grid(signed_limit(self.weight_bits))

    @property
    def weight_levels(self) -> int:
        """Largest weight integer."""
        return self.grid.limit

    @property
    def group_limit(self) -> int:
        """Largest multiplier of a group: within its bits, and so that a weight stays within int8."""
        return min((1 << self.group_bits) - 1, OPERAND_MAX // self.grid.limit)

    def packed_bytes(self, out: int, inputs: int) -> int:
        """Bytes of a weight [out, inputs], five ternary ones to a byte, and of its groups' multipliers."""
        weights = (
            math.ceil(out * inputs / 5) if self.ternary else math.ceil(out * inputs * self.weight_bits / 8)
        )
        if self.granularity != "group":
            return weights
        groups = out * math.ceil(inputs / self.group_size)
        return weights + math.ceil(groups * self.group_bits / 8)


Mixed = tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]
"""(pattern of matmuls, (member of WeightScheme, value) ...) ..., later ones win."""


@dataclass(frozen=True)
class Scheme(WeightScheme):
    """One way to turn floats into integers of a contract.

    Members, beside those of :class:`WeightScheme`, which hold for all matmuls:
        mixed: Other values of those for some matmuls: shell patterns of names to values, later ones win.
        observer: ``max``, ``percentile``, ``mse`` or ``entropy``: how activation ranges are found.
        percentile: Share of values that do not saturate, for ``percentile``.
        equalize: Move ranges between channels where that costs nothing: query against key, value and
            embedding against the weights that read them, the vocabulary's mean into the position table.
        migration: SmoothQuant's alpha (Xiao et al. 2022) for value and embedding instead of the exponent of
            least error: how much of the range goes from activations to weights, 0..1; None for the search.
        correct_bias: Shift offsets so that every channel's mean over the calibration sentences is the float
            model's.
        scales: One set of activation scales per ``iteration``, or one ``shared`` by all.
        symmetric: False: GELU's outputs, which hardly go below 0, use their integers for their own range; the
            zero point is folded into the offsets of the matmul that reads them.
        activation_bits: Of every operand of a matmul, 2..8.
        operand_bits: Other values for some operands, by the names of
            :data:`golden_model.integer.contract.OPERANDS`.
        hidden_headroom, exp_index_bits, ffn_index_bits, pooler_index_bits, norm_fraction_bits, rsqrt_bits: As
            :class:`~golden_model.integer.contract.Contract` has them.

    Raises:
        ValueError: a member is out of its bounds.
    """

    observer: str = "max"
    percentile: float = 0.9999
    equalize: bool = True
    migration: float | None = None
    correct_bias: bool = False
    scales: str = "iteration"
    symmetric: bool = True
    activation_bits: int = OPERAND_BITS
    operand_bits: tuple[tuple[str, int], ...] = ()
    hidden_headroom: int = 0
    exp_index_bits: int = EXP_INDEX_BITS
    ffn_index_bits: int = TABLE_INDEX_BITS
    pooler_index_bits: int = TABLE_INDEX_BITS
    norm_fraction_bits: int = NORM_FRACTION_BITS
    rsqrt_bits: int = RSQRT_BITS
    mixed: Mixed = ()

    def __post_init__(self) -> None:
        """Checks the members; mappings become tuples."""
        super().__post_init__()
        object.__setattr__(self, "operand_bits", _pairs(self.operand_bits, "operand_bits"))
        mixed = tuple(
            (name, _pairs(values, f"mixed {quote(name)}")) for name, values in _pairs(self.mixed, "mixed")
        )
        object.__setattr__(self, "mixed", mixed)
        if not _is_number(self.percentile):
            raise ValueError(f"percentile {quote(self.percentile)} is not a number")
        Observer(self.observer, self.percentile)
        for name in ("equalize", "correct_bias", "symmetric"):
            _check_bool(self, name)
        if self.scales not in SHARING:
            raise ValueError(f"scales {quote(self.scales)} is not one of {SHARING}")
        if self.migration is not None and not (_is_number(self.migration) and 0 <= self.migration <= 1):
            raise ValueError(f"migration {quote(self.migration)} is not in 0..1")
        if self.scales == "shared" and self.correct_bias:
            raise ValueError(
                "correct_bias gives every iteration offsets of its own: not with scales 'shared'"
            )
        _check_integer(self, "activation_bits", 2, OPERAND_BITS)
        for name, _ in self.operand_bits:
            if name not in OPERANDS:
                raise ValueError(f"operand_bits: {quote(name)} is not one of {', '.join(OPERANDS)}")
        self.contract  # noqa: B018 (raises where a width is out of its bounds)
        for pattern, _ in self.mixed:
            if not any(fnmatchcase(matmul, pattern) for matmul in MATMULS):
                raise ValueError(f"mixed: {quote(pattern)} matches none of {', '.join(MATMULS)}")
        for matmul in MATMULS:
            self.weights(matmul)

    def weights(self, matmul: str) -> WeightScheme:
        """How the weights of a matmul become integers.

        Raises:
            ValueError: what ``mixed`` says of it is no member of :class:`WeightScheme` or out of its bounds.
        """
        known = {each.name for each in fields(WeightScheme)}
        values = {name: getattr(self, name) for name in known}
        for pattern, changes in self.mixed:
            if fnmatchcase(matmul, pattern):
                for name, value in changes:
                    if name not in known:
                        raise ValueError(
                            f"mixed {quote(pattern)}: {quote(name)} is not one of {', '.join(sorted(known))}"
                        )
                    values[name] = value
        return WeightScheme(**values)

    @property
    def contract(self) -> Contract:
        """The widths that the golden model computes with; ValueError where one is out of its bounds."""
        bits = dict.fromkeys(OPERANDS, self.activation_bits) | dict(self.operand_bits)
        same = {each.name for each in fields(Contract)} & {each.name for each in fields(Scheme)}
        return Contract.from_dict(
            {OPERANDS[name]: value for name, value in bits.items()}
            | {name: getattr(self, name) for name in same}
        )

    @property
    def needs_hessians(self) -> bool:
        """Whether second moments of the matmuls' inputs are asked for."""
        return any(
            each.rounding != "nearest" or each.weight_observer == "hessian"
            for each in map(self.weights, MATMULS)
        )

    @property
    def runs_on_hardware(self) -> bool:
        """Whether the accelerator runs it in the bytes that are counted for it: its own contract, and all
        weights of 8 bits, or all of 4 bits with one scale per output channel or tensor."""
        weights = [self.weights(matmul) for matmul in MATMULS]
        eight = all(each.weight_bits == 8 for each in weights)
        four = all(each.weight_bits == 4 and each.granularity != "group" for each in weights)
        return self.contract.is_hardware and (eight or four)

    def new_observer(self) -> Observer:
        """An activation observer of this scheme."""
        return Observer(self.observer, self.percentile)

    # ------------------------------------------------------------------ JSON

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the members of the first release always, others where they are not the default."""
        default, values = asdict(Scheme()), asdict(self)
        found = {name: values[name] for name in _FIRST_MEMBERS}
        found |= {
            name: value for name, value in values.items() if name not in found and value != default[name]
        }
        for name in ("operand_bits", "mixed"):
            if name in found:
                found[name] = dict(found[name])
        if "mixed" in found:
            found["mixed"] = {pattern: dict(changes) for pattern, changes in found["mixed"].items()}
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scheme:
        """The scheme that :meth:`as_dict` describes; members not named have their defaults.

        Raises:
            ValueError: a name is not known, or a value out of its bounds.
        """
        known = [each.name for each in fields(cls)]
        unknown = [name for name in values if name not in known]
        if unknown:
            raise ValueError(f"a scheme has no member {quote(unknown[0])}; it has {', '.join(known)}")
        return cls(**values)

    @classmethod
    def from_json(cls, text: str | Path) -> Scheme:
        """A preset by name (:data:`PRESETS`), the text of a JSON object, or the path of a file with one.

        Raises:
            OSError: the file cannot be read.
            ValueError: there is no such preset or file, or it describes no scheme.
        """
        name = str(text)
        if name in PRESETS:
            return PRESETS[name]
        if name.lstrip().startswith("{"):
            try:
                return cls.from_dict(json.loads(name))
            except json.JSONDecodeError as error:
                raise ValueError(f"scheme {quote(name)} is not JSON: {error}") from error
        if not name.endswith(".json"):
            raise ValueError(f"scheme {quote(name)} is neither a file .json nor one of {', '.join(PRESETS)}")
        values = read_object(name)
        try:
            return cls.from_dict(values)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


_FIRST_MEMBERS = ("weight_bits", "weight_observer", "observer", "percentile", "equalize", "correct_bias")


def _pairs(values: Any, what: str) -> tuple[tuple[str, Any], ...]:
    """A mapping, or what :func:`tuple` made of one, as a tuple of pairs."""
    if isinstance(values, Mapping):
        values = values.items()
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise ValueError(f"{what} is {quote(values)}, expected an object")
    found = tuple(tuple(pair) if isinstance(pair, Iterable) else () for pair in values)
    if any(len(pair) != 2 or not isinstance(pair[0], str) for pair in found):
        raise ValueError(f"{what} is {quote(values)}, expected an object")
    return found  # type: ignore[return-value]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_bool(scheme: WeightScheme, name: str) -> None:
    value = getattr(scheme, name)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {quote(value)}, expected true or false")


def _check_integer(scheme: WeightScheme, name: str, low: int, high: int) -> None:
    value = getattr(scheme, name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} {quote(value)} is not in {low}..{high}")


def _presets() -> dict[str, Scheme]:
    low: dict[str, Any] = {"weight_observer": "mse", "correct_bias": True}
    return {
        "w8a8": Scheme(),
        "w4a8": Scheme(weight_bits=4, rounding="gptq", **low),
        "w3a8": Scheme(weight_bits=3, rounding="gptq", **low),
        # -3, -1, 1, 3 have no zero, which a projection to the layer's own width (the identity) is full of.
        "w2a8": Scheme(
            weight_bits=2, rounding="gptq", mixed=(("embedding.projection", (("ternary", True),)),), **low
        ),
        "ternary": Scheme(weight_bits=2, ternary=True, rounding="gptq", **low),
        "w8a8-shared": Scheme(scales="shared"),
        "w8a6": Scheme(activation_bits=6, observer="mse", correct_bias=True),
        "w4a4": Scheme(weight_bits=4, rounding="gptq", activation_bits=4, observer="mse", **low),
    }


PRESETS = _presets()
