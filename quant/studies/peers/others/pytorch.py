"""Hugging Face's model as it is, and with PyTorch's own dynamic quantisation."""

from __future__ import annotations

import warnings

import torch

from quant.studies.peers.peer import Model, Peer, Ready, run_module, state_bytes
from quant.studies.peers.work import Work


def _float(model: Model, work: Work) -> Ready:
    network = model.load()
    return Ready(run_module(network), state_bytes(network), False, "float32 throughout")


def _dynamic(model: Model, work: Work) -> Ready:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated in favour of torchao, which has rows of its own
        from torch.ao.quantization import quantize_dynamic

        network = quantize_dynamic(model.load(), {torch.nn.Linear}, dtype=torch.qint8)
    return Ready(
        run_module(network),
        state_bytes(network),
        False,
        "Linear alone multiplies int8; its inputs come and its outputs leave as float32, and so do softmax, "
        "GELU, LayerNorm, residuals and the embedding",
        {"engine": torch.backends.quantized.engine},
    )


FLOAT = Peer("float32", "Hugging Face float32", ("torch", "transformers"), _float)
DYNAMIC = Peer("torch-dynamic", "PyTorch dynamic INT8", ("torch", "transformers"), _dynamic)
