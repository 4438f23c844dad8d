"""The integer checkpoint: everything the golden model and the accelerator compute with, as integers.

A folder holds ``integer.safetensors`` (the tensors of docs/numerics.md), ``integer.json`` (format version,
geometry, contract, scales, provenance, SHA-256 of the tensors), the tokenizer's files and the names of the
classes. A contract that is not the hardware's is in both files, so that the SHA-256 tells it apart.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from golden_model.config import ElbertConfig
from golden_model.documents import check_folder, first_line, quote, read_object, refuse_pointer
from golden_model.errors import describe
from golden_model.files import replacing, write_text
from golden_model.integer.contract import HARDWARE, Contract
from golden_model.labels import LABELS_FILE, read_label_names, write_label_names
from golden_model.numerics import (
    EXP_SUM_BITS,
    MULTIPLIER_BITS,
    OFFSET_LIMIT,
    OPERAND_MAX,
    SHIFT_BITS,
)

FORMAT_VERSION = 1
CONTRACT_VERSION = 2
"""Of a file with a contract of its own: software that knows of none must not run it."""
TENSOR_FILE = "integer.safetensors"
METADATA_FILE = "integer.json"
CONTRACT_KEY = "contract"
"""In the JSON, and in the header of the tensors' file."""
TOKENIZER_FILES = (
    "tokenizer.json",
    "kept_vocabulary.json",
    "tokenizer_config.json",
    "spiece.model",
    "vocab.txt",
    "added_tokens.json",
)
"""Copied beside the integer checkpoint where the float one has them."""

MAX_SHIFT = (1 << SHIFT_BITS) - 1
MAX_CONTEXT_SHIFT = MAX_SHIFT - (EXP_SUM_BITS - 1)
"""A row's shift is this plus bit_length(sum) - 1, and has to fit SHIFT_BITS too."""

MATMULS = (
    "embedding.projection",
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.output",
    "ffn.intermediate",
    "ffn.output",
    "pooler",
    "classifier",
)
NORMS = ("embedding.norm", "attention.norm", "ffn.norm")
ROW_SCALES = ("attention.score", "attention.context")
TABLES = ("ffn.table", "pooler.table")
TABLE_OUTPUTS = {"ffn.table": "ffn.activation", "pooler.table": "pooler.output"}
"""The operand that a table makes."""


class CheckpointError(ValueError):
    """A checkpoint breaks the contract; the message names the tensor or key, the value and the bound."""


@dataclass(frozen=True)
class TensorSpec:
    """Type and shape that the contract asks of one tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]


def matmul_shape(config: ElbertConfig, name: str) -> tuple[int, int]:
    """[out, in] of a matmul's weight; KeyError for a name that is not in MATMULS."""
    h, i = config.hidden_size, config.intermediate_size
    shapes = {
        "embedding.projection": (h, config.embedding_size),
        "ffn.intermediate": (i, h),
        "ffn.output": (h, i),
        "pooler": (h, h),
        "classifier": (config.num_labels, h),
    }
    shapes |= {f"attention.{part}": (h, h) for part in ("query", "key", "value", "output")}
    return shapes[name]


def tensor_specs(config: ElbertConfig, contract: Contract = HARDWARE) -> dict[str, TensorSpec]:
    """Name, type and shape of every tensor of an integer checkpoint (docs/numerics.md)."""
    iterations, e, h = config.num_hidden_layers, config.embedding_size, config.hidden_size
    positions = (config.type_vocab_size, config.max_position_embeddings, e)
    specs = {
        "embedding.word": TensorSpec(torch.int8, (config.vocab_size, e)),
        "embedding.position_type": TensorSpec(torch.int16, positions),
    }
    for name in MATMULS:
        out, inputs = matmul_shape(config, name)
        times = 1 if name.startswith("embedding.") else iterations
        specs[f"{name}.weight"] = TensorSpec(torch.int8, (out, inputs))
        specs[f"{name}.offset"] = TensorSpec(torch.int32, (times, out))
        specs[f"{name}.multiplier"] = TensorSpec(torch.int32, (times, out))
        specs[f"{name}.shift"] = TensorSpec(torch.uint8, (times, out))
    for name in NORMS:
        shape = (1, e) if name.startswith("embedding.") else (iterations, h)
        specs[f"{name}.gamma"] = TensorSpec(torch.int16, shape)
        specs[f"{name}.beta"] = TensorSpec(torch.int32, shape)
        specs[f"{name}.shift"] = TensorSpec(torch.uint8, shape)
    for name in ROW_SCALES:
        specs[f"{name}.multiplier"] = TensorSpec(torch.int32, (iterations,))
        specs[f"{name}.shift"] = TensorSpec(torch.uint8, (iterations,))
    specs["ffn.table"] = TensorSpec(torch.int8, (iterations, 1 << contract.ffn_index_bits))
    specs["pooler.table"] = TensorSpec(torch.int8, (iterations, 1 << contract.pooler_index_bits))
    return specs


@dataclass(frozen=True)
class IntegerCheckpoint:
    """A validated integer model.

    Members:
        config: Geometry.
        tensors: Name to tensor, on the CPU, contiguous; exactly those of :func:`tensor_specs`.
        metadata: JSON-able facts about the making: ``scales`` (real size of an LSB, by name), ``provenance``.
        contract: The widths it is computed with.

    Raises:
        CheckpointError: a tensor is missing, not known, of wrong type or shape, or holds a value outside
            the contract.
    """

    config: ElbertConfig
    tensors: dict[str, Tensor]
    metadata: dict[str, Any] = field(default_factory=dict)
    contract: Contract = HARDWARE

    def __post_init__(self) -> None:
        """Checks everything once; nothing that computes needs to check again."""
        _check_specs(self.config, self.contract, self.tensors)
        _check_values(self.contract, self.tensors)

    @property
    def sha256(self) -> str:
        """SHA-256 of the safetensors bytes: names the integers, whatever the folder."""
        return hashlib.sha256(self._bytes()).hexdigest()

    def _bytes(self) -> bytes:
        ordered = {name: self.tensors[name].contiguous() for name in sorted(self.tensors)}
        own = self.contract.differences()
        return save_tensors(ordered, {CONTRACT_KEY: json.dumps(own, sort_keys=True)} if own else None)

    def save(self, folder: Path | str, copy_from: Path | str | None = None) -> None:
        """Writes the checkpoint; each file appears whole or not at all, the JSON last.

        Args:
            folder: Made if it does not exist.
            copy_from: Folder whose tokenizer files and names of classes are copied beside, if any; those that
                the folder has of another checkpoint, and ``copy_from`` has not, are removed.

        Raises:
            ValueError: ``copy_from`` names the classes wrongly.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if copy_from is not None and Path(copy_from).resolve() != folder.resolve():
            self._copy_beside(Path(copy_from), folder)
        data = self._bytes()
        with replacing(folder / TENSOR_FILE) as temporary:
            temporary.write_bytes(data)
        document = {
            "format": "elbert-integer",
            "version": FORMAT_VERSION if self.contract.is_hardware else CONTRACT_VERSION,
            "sha256": hashlib.sha256(data).hexdigest(),
            "config": self.config.model_dump(),
            "metadata": self.metadata,
        }
        if not self.contract.is_hardware:
            document[CONTRACT_KEY] = self.contract.differences()
        write_text(folder / METADATA_FILE, json.dumps(document, indent=1) + "\n")

    def _copy_beside(self, source: Path, folder: Path) -> None:
        names = read_label_names(source, self.config.num_labels)
        for name in TOKENIZER_FILES:
            if (source / name).is_file():
                with replacing(folder / name) as temporary:
                    shutil.copyfile(source / name, temporary)
            else:
                (folder / name).unlink(missing_ok=True)
        if names is None:
            (folder / LABELS_FILE).unlink(missing_ok=True)
        else:
            write_label_names(folder, names)

    @classmethod
    def load(cls, folder: Path | str) -> IntegerCheckpoint:
        """Reads and validates a checkpoint folder.

        Raises:
            OSError: a file is not there or cannot be read, by name.
            CheckpointError: format, version, hash, geometry, contract or a tensor is wrong, by name.
        """
        folder = check_folder(folder)
        for name in (METADATA_FILE, TENSOR_FILE):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} holds no {name}")
        path = folder / TENSOR_FILE
        document = _read_document(folder / METADATA_FILE)
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        try:
            refuse_pointer(path, data)
            if digest != document["sha256"]:
                raise ValueError(
                    f"{path}: sha256 is {digest}, {METADATA_FILE} says {quote(document['sha256'])}"
                )
            config = _read_geometry(document["config"], folder / METADATA_FILE)
            tensors = _parse(data, path)
            contract = _read_contract(document, folder / METADATA_FILE, data)
            return cls(config, tensors, document["metadata"], contract)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
        except ValueError as error:
            raise CheckpointError(str(error)) from error


def _parse(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return load_tensors(data)
    except Exception as error:  # SafetensorError; KeyError and more for types that PyTorch has not
        raise ValueError(f"{path} is not a safetensors file: {first_line(error)}") from error


def _read_geometry(values: dict[str, Any], path: Path) -> ElbertConfig:
    try:
        return ElbertConfig(**values)
    except ValueError as error:
        raise ValueError(f"{path}: config: {describe(error)}") from error


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = read_object(path)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    missing = [key for key in ("format", "version", "sha256", "config", "metadata") if key not in document]
    if missing:
        raise CheckpointError(f"{path} lacks the key {missing[0]!r}")
    if document["format"] != "elbert-integer":
        raise CheckpointError(f"{path}: format is {quote(document['format'])}, expected 'elbert-integer'")
    version = CONTRACT_VERSION if CONTRACT_KEY in document else FORMAT_VERSION
    if document["version"] != version:
        raise CheckpointError(f"{path}: version is {quote(document['version'])}, expected {version}")
    for key in ("config", "metadata", CONTRACT_KEY):
        if key in document and not isinstance(document[key], dict):
            raise CheckpointError(f"{path}: {key} is {quote(document[key])}, expected an object")
    return document


def _read_contract(document: dict[str, Any], path: Path, data: bytes) -> Contract:
    """The contract that the JSON names, which the tensors' file names too."""
    try:
        contract = Contract.from_dict(document.get(CONTRACT_KEY, {}))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    length = struct.unpack("<Q", data[:8])[0]  # safetensors: length of the JSON header, then that
    stored = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    named = json.loads(stored.get(CONTRACT_KEY, "{}"))
    if named != contract.differences():
        raise ValueError(
            f"{path}: contract is {quote(contract.differences())}, that of {TENSOR_FILE} is {quote(named)}"
        )
    return contract


def _check_specs(config: ElbertConfig, contract: Contract, tensors: dict[str, Tensor]) -> None:
    specs = tensor_specs(config, contract)
    for name, spec in specs.items():
        if name not in tensors:
            raise CheckpointError(f"tensor {name} is missing")
        tensor = tensors[name]
        if tensor.dtype != spec.dtype:
            raise CheckpointError(f"tensor {name} is {tensor.dtype}, expected {spec.dtype}")
        if tuple(tensor.shape) != spec.shape:
            raise CheckpointError(f"tensor {name} has shape {tuple(tensor.shape)}, expected {spec.shape}")
    extra = sorted(set(tensors) - set(specs))
    if extra:
        raise CheckpointError(f"tensor {extra[0]} is not part of an integer checkpoint")


def _check_values(contract: Contract, tensors: dict[str, Tensor]) -> None:
    for name in MATMULS:
        _check_range(tensors, f"{name}.weight", -OPERAND_MAX, OPERAND_MAX)
        _check_range(tensors, f"{name}.offset", 1 - OFFSET_LIMIT, OFFSET_LIMIT - 1)
    for name in (*MATMULS, *ROW_SCALES):
        _check_multiplier(tensors, f"{name}.multiplier")
    for name in (*MATMULS, *NORMS, "attention.score"):
        _check_range(tensors, f"{name}.shift", 0, MAX_SHIFT)
    _check_range(tensors, "attention.context.shift", 0, MAX_CONTEXT_SHIFT)
    for name, output in TABLE_OUTPUTS.items():
        limit = contract.limit(output)
        _check_range(tensors, name, -limit, limit)


def _check_range(tensors: dict[str, Tensor], name: str, low: int, high: int) -> None:
    smallest, largest = (int(v) for v in torch.aminmax(tensors[name]))
    if smallest < low:
        raise CheckpointError(f"tensor {name} holds {smallest}, below {low}")
    if largest > high:
        raise CheckpointError(f"tensor {name} holds {largest}, above {high}")


def _check_multiplier(tensors: dict[str, Tensor], name: str) -> None:
    values = tensors[name]
    low, high = 1 << (MULTIPLIER_BITS - 1), (1 << MULTIPLIER_BITS) - 1
    wrong = (values != 0) & ((values < low) | (values > high))
    if bool(wrong.any()):
        raise CheckpointError(
            f"tensor {name} holds {int(values[wrong][0])}, neither 0 nor normalised ({low}..{high})"
        )
