"""Weights as a checkpoint folder stores them: one safetensors file, or several with an index.

What comes in is not trusted: a file that is not whole, a tensor that is no float or holds a value that is not
finite is refused by name. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file

from golden_model.documents import first_line, quote, read_object, refuse_pointer
from golden_model.files import sha256_of
from golden_model.float.files import WEIGHTS_FILE

INDEX_FILE = WEIGHTS_FILE + ".index.json"
"""Which of several files holds each tensor (Hugging Face's ``weight_map``)."""

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Types a weight may be stored in."""

_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model.pt", "model.pt", "model.bin")


def weight_files(folder: Path | str) -> list[Path]:
    """The files that hold a checkpoint's weights, sorted by name.

    Raises:
        FileNotFoundError: there are none, or one that the index names is not there.
        ValueError: the index is not one.
    """
    folder = Path(folder)
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if not (folder / INDEX_FILE).is_file():
        raise FileNotFoundError(_no_weights(folder))
    path = folder / INDEX_FILE
    names = read_object(path).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{path} has no weight_map from tensors to files")
    for name in names.values():
        if not isinstance(name, str) or Path(name).name != name or "\0" in name:
            raise ValueError(f"{path}: {quote(name)} is not the name of a file beside it")
    files = [folder / name for name in sorted(set(names.values()))]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{folder} holds no {file.name}, which {INDEX_FILE} names")
    return files


def stored_sha256(folder: Path | str) -> str:
    """SHA-256 of ``model.safetensors``; of several files, over their names and hashes, sorted by name.

    Raises as :func:`weight_files`.
    """
    files = weight_files(folder)
    if len(files) == 1 and files[0].name == WEIGHTS_FILE:
        return sha256_of(files[0])
    lines = "".join(f"{file.name}\0{sha256_of(file)}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def read_tensors(path: Path | str) -> dict[str, torch.Tensor]:
    """The tensors of one safetensors file, on the CPU, every float checked to be finite.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or a value is not finite: named with tensor, index and value.
    """
    path = Path(path)
    with path.open("rb") as handle:
        refuse_pointer(path, handle.read(64))
    try:
        tensors = load_file(path)
    except OSError:
        raise
    except Exception as error:  # SafetensorError; KeyError and more for types that PyTorch has not
        raise ValueError(f"{path} is not a whole safetensors file: {first_line(error)}") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            _check_finite(path, name, tensor)
    return tensors


def read_weights(folder: Path | str) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint folder.

    Raises:
        OSError: a file is not there, or cannot be read.
        ValueError: as :func:`read_tensors`, or two files hold the same tensor, or the index names one that
            its file has not.
    """
    files = weight_files(folder)
    found: dict[str, torch.Tensor] = {}
    for path in files:
        tensors = read_tensors(path)
        both = sorted(found.keys() & tensors.keys())
        if both:
            raise ValueError(f"{path} holds {quote(both[0])}, as another file of {INDEX_FILE} does")
        found |= tensors
    if files[0].name != WEIGHTS_FILE:
        named = read_object(Path(folder) / INDEX_FILE)["weight_map"]
        lacking = sorted(name for name in named if name not in found)
        if lacking:
            raise ValueError(f"{Path(folder) / INDEX_FILE} names {quote(lacking[0])}, which no file holds")
    return found


def _check_finite(path: Path, name: str, tensor: torch.Tensor) -> None:
    # as float32: that is what computes, and a float64 may be beyond it
    wrong = ~torch.isfinite(tensor.to(torch.float32))
    if bool(wrong.any()):
        index = torch.nonzero(wrong)[0].tolist()
        value = float(tensor[tuple(index)].double())
        raise ValueError(
            f"{path}: {name}{index if index else ''} is {value}, not a finite float32 "
            f"({int(wrong.sum())} such values in it)"
        )


def _no_weights(folder: Path) -> str:
    pickled = [name for name in _PICKLED if (folder / name).is_file()]
    if pickled:
        kind = architecture(folder) or "AlbertForSequenceClassification"
        return (
            f"{folder} holds {pickled[0]} but no {WEIGHTS_FILE}: pickled weights are never read. Where you "
            f'trust them, convert: python -c "from transformers import {kind} as M; '
            f"M.from_pretrained('{folder}').save_pretrained('{folder}')\""
        )
    others = sorted(file.name for file in folder.glob("*.safetensors"))
    if others:
        return f"{folder} holds no {WEIGHTS_FILE} (nor {INDEX_FILE}), but {others[0]}: rename it"
    return f"{folder} holds no {WEIGHTS_FILE}"


def architecture(folder: Path) -> str | None:
    """The class that ``config.json`` says wrote the checkpoint; None where it does not say."""
    path = folder / "config.json"
    named = read_object(path).get("architectures") if path.is_file() else None
    first = named[0] if isinstance(named, list) and named else None
    return first if isinstance(first, str) and first.isidentifier() and len(first) <= 80 else None
