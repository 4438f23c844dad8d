"""This project's own: the integer checkpoint on the golden model, at full depth and with exits."""

from __future__ import annotations

import torch
from torch import Tensor

from golden_model.evaluation.backends import GoldenBackend
from golden_model.exits import ExitPolicy
from golden_model.integer.checkpoint import TENSOR_FILE
from quant.studies.peers.peer import Model, Peer, Ready
from quant.studies.peers.work import Batch

REASON = (
    "integers throughout, softmax, GELU, LayerNorm and the exit decision included: no float tensor anywhere"
)


def _make(model: Model, policy: ExitPolicy) -> Ready:
    if model.integer_folder is None:
        raise FileNotFoundError(
            f"{model.float_folder} has no integer checkpoint beside it: elbert quantize makes one"
        )
    backend = GoldenBackend(model.integer_folder)

    def logits(batch: Batch) -> Tensor:
        tokens = len(batch) * batch.ids.shape[1]
        found = backend.model.run(batch.sentences, policy, batch_tokens=tokens)
        return torch.stack([each.logits[-1] for each in found])

    return Ready(
        logits,
        (model.integer_folder / TENSOR_FILE).stat().st_size,
        True,
        REASON,
        {"checkpoint_sha256": backend.sha256, "policy": policy.model_dump()},
    )


FULL = Peer("golden", "golden model, full depth", ("torch",), lambda model, work: _make(model, ExitPolicy()))
EXITS = Peer(
    "golden-exits", "golden model, early exits", ("torch",), lambda model, work: _make(model, model.policy)
)
