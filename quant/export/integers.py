"""A checkpoint's integers, scales and tables in one safetensors file, and a JSON that explains every tensor.

Stored tensors keep the names and types of docs/numerics.md. Beside them stand the tables that every
checkpoint shares, under ``table.``, and the real size of every tensor's LSB, under ``scale.``:
real = integer · scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from golden_model.files import replacing, write_json
from golden_model.integer.checkpoint import MATMULS, NORMS, ROW_SCALES, TABLES, IntegerCheckpoint
from golden_model.integer.ops.exit_math import exp_coarse_table, exp_fine_table, log_table
from golden_model.integer.ops.softmax import exp_table
from golden_model.integer.scales import named_tensors, scale_of
from golden_model.numerics import LOGIT_FRACTION_BITS, PROBABILITY_FRACTION_BITS

TENSOR_FILE = "integers.safetensors"
EXPLANATION_FILE = "integers.json"
FORMAT_VERSION = 1

_MATMUL = {
    "weight": ("[out, in]", "weight of every iteration; accumulator = sum over in of input · weight"),
    "offset": ("[iterations, out]", "bias: added to the accumulator before it is rescaled"),
    "multiplier": ("[iterations, out]", "m of requantise: ((accumulator + offset)·m + 2^(shift-1)) >> shift"),
    "shift": ("[iterations, out]", "bits that requantise shifts by, rounding half up"),
}
_NORM = {
    "gamma": ("[iterations, features]", "gain: (normalised·gamma + beta + 2^(shift-1)) >> shift"),
    "beta": ("[iterations, features]", "bias, in output LSB · 2^-shift"),
    "shift": ("[iterations, features]", "bits that gamma and beta are shifted by, rounding half up"),
}
_ROW = {
    "attention.score": "query · key to scores of 1/32 nat",
    "attention.context": "sum of exponential · value to context; divided by the row's sum of exponentials",
}
_TABLE = {
    "ffn.table": "GELU: entry i is for the input (i as two's complement) · scale.iteration.N.ffn.index",
    "pooler.table": "tanh: entry i is for the input (i as two's complement) · scale.iteration.N.pooler.index",
}
_EMBEDDING = {
    "embedding.word": ("[vocabulary, features]", "word rows; embedding.sum = (word << 6) + position_type"),
    "embedding.position_type": ("[token types, positions, features]", "position and token type, summed"),
}


@dataclass(frozen=True)
class Explained:
    """A tensor and what is said of it.

    Members:
        values: As stored.
        axes: Names of its dimensions.
        meaning: In one line.
        lsb: Name of the tensor with the real size of its LSB, a number, or None where the checkpoint does not
            say it.
    """

    values: Tensor
    axes: str
    meaning: str
    lsb: str | float | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "dtype": str(self.values.dtype).removeprefix("torch."),
            "shape": list(self.values.shape),
            "axes": self.axes,
            "lsb": self.lsb,
            "meaning": self.meaning,
        }


def explain(checkpoint: IntegerCheckpoint) -> dict[str, Explained]:
    """Every tensor of the export by name: those of the checkpoint, ``scale.`` and ``table.`` ones.

    A checkpoint that no calibration made has no scales: then there are no ``scale.`` tensors, and ``lsb`` of
    what would have one is None.
    """
    scales = dict(_scales(checkpoint)) if checkpoint.metadata.get("scales") else {}
    found = {}
    for name, (axes, meaning) in _stored().items():
        own = f"scale.{name}" if name in scales else None
        lsb = 1.0 if name.endswith(".shift") else own
        found[name] = Explained(checkpoint.tensors[name], axes, meaning, lsb)
    for name, values in _shared_tables(checkpoint).items():
        found[name] = values
    for name, scale in scales.items():
        what = f"real size of one LSB of {name}, to be broadcast against it"
        found[f"scale.{name}"] = Explained(scale, "that of the tensor, or 1", what, 1.0)
    return found


def write_integers(checkpoint: IntegerCheckpoint, folder: Path) -> list[Path]:
    """Writes both files, each whole, the JSON last; returns them.

    Raises:
        OSError: the folder cannot be written.
    """
    found = explain(checkpoint)
    with replacing(folder / TENSOR_FILE) as temporary:
        temporary.write_bytes(save({name: each.values.contiguous() for name, each in found.items()}))
    document = {
        "format": "elbert-integers",
        "version": FORMAT_VERSION,
        "checkpoint_sha256": checkpoint.sha256,
        "geometry": checkpoint.config.model_dump(),
        "contract": checkpoint.contract.differences(),
        "real": "integer · lsb; a text lsb names the tensor that holds it",
        "tensors": {name: each.as_dict() for name, each in found.items()},
    }
    write_json(folder / EXPLANATION_FILE, document)
    return [folder / TENSOR_FILE, folder / EXPLANATION_FILE]


def _stored() -> dict[str, tuple[str, str]]:
    """Axes and meaning of every stored tensor."""
    found = dict(_EMBEDDING)
    for name in MATMULS:
        found |= {f"{name}.{part}": (axes, f"{name}: {what}") for part, (axes, what) in _MATMUL.items()}
    for name in NORMS:
        found |= {f"{name}.{part}": (axes, f"{name}: {what}") for part, (axes, what) in _NORM.items()}
    for name in ROW_SCALES:
        for part in ("multiplier", "shift"):
            found[f"{name}.{part}"] = ("[iterations]", f"{part} of requantise: {_ROW[name]}")
    for name in TABLES:
        found[name] = ("[iterations, index]", _TABLE[name])
    return found


def _shared_tables(checkpoint: IntegerCheckpoint) -> dict[str, Explained]:
    """What the contract fixes and who computes needs."""
    contract, one = checkpoint.contract, 2.0**-PROBABILITY_FRACTION_BITS
    step, fine = 2.0**-4, 2.0**-LOGIT_FRACTION_BITS
    exponentials = exp_table(contract.exponentials_bits, contract.exp_index_bits)
    return {
        "table.exponential": Explained(
            torch.tensor(exponentials, dtype=torch.uint8),
            "[index]",
            "attention: exp(-distance), index = min(row maximum - score, 255) >> (8 - index bits)",
            1.0 / exponentials[0],
        ),
        "table.exit.exp_coarse": Explained(
            torch.tensor(exp_coarse_table(), dtype=torch.int32), "[index]", f"exp(-index·{step} nat)", one
        ),
        "table.exit.exp_fine": Explained(
            torch.tensor(exp_fine_table(), dtype=torch.int32), "[index]", f"exp(-index·{fine} nat)", one
        ),
        "table.exit.log": Explained(
            torch.tensor(log_table(), dtype=torch.int32), "[index]", "ln(1 + index/256)", one
        ),
    }


def _scales(checkpoint: IntegerCheckpoint) -> Iterator[tuple[str, Tensor]]:
    """LSBs of all stored tensors but shifts, of all named tensors and of the tables' indices."""
    stored = [name for name in _stored() if not name.endswith(".shift")]
    indices = [
        f"iteration.{i}.{name}.index"
        for i in range(1, checkpoint.config.num_hidden_layers + 1)
        for name in ("ffn", "pooler")
    ]
    for name in (*stored, *named_tensors(checkpoint.config), *indices):
        yield name, scale_of(checkpoint, name)
