"""Files of a float checkpoint folder, each written whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from golden_model.files import replacing, write_json
from golden_model.text.tokenizer import ElbertTokenizer

WEIGHTS_FILE = "model.safetensors"
EXIT_WEIGHTS_FILE = "exit_weights.safetensors"
RECORD_FILE = "training.json"


def save_tensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Writes a safetensors file whole or not at all."""
    with replacing(path) as temporary:
        save_file(
            {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, metadata=metadata
        )


def write_checkpoint(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: ElbertTokenizer,
    record: dict[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes a checkpoint folder that Hugging Face opens: config, tokenizer, weights, the run's record.

    Every file is replaced whole: the folder can be read at any moment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config.to_dict()
    config["architectures"] = [type(model).__name__]
    config["dtype"] = str(dtype).removeprefix("torch.")
    write_json(folder / "config.json", dict(sorted(config.items())))
    tokenizer.save(folder)
    weights = {name: value.to(dtype) for name, value in model.state_dict().items()}
    save_tensors(weights, folder / WEIGHTS_FILE, {"format": "pt"})
    write_json(folder / RECORD_FILE, record)
