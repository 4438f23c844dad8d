"""torchao's INT8 schemes, run eagerly."""

from __future__ import annotations

from quant.studies.peers.peer import Model, Peer, Ready, run_module, state_bytes
from quant.studies.peers.work import Work

EAGER = "run eagerly; torchao is made for torch.compile, which fuses its conversions"


def _weights(model: Model, work: Work) -> Ready:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    network = model.load()
    quantize_(network, Int8WeightOnlyConfig())
    reason = f"weights alone are int8: they become float32 before each product; {EAGER}"
    return Ready(run_module(network), state_bytes(network), False, reason)


def _dynamic(model: Model, work: Work) -> Ready:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    network = model.load()
    quantize_(network, Int8DynamicActivationInt8WeightConfig())
    reason = (
        "products of Linear alone are int8, each row of inputs quantised from float32 at run time; the rest "
        f"is float32; {EAGER}"
    )
    return Ready(run_module(network), state_bytes(network), False, reason)


PACKAGES = ("torch", "transformers", "torchao")
WEIGHTS = Peer("torchao-weights", "torchao INT8 weights", PACKAGES, _weights)
DYNAMIC = Peer("torchao-dynamic", "torchao INT8 weights and activations", PACKAGES, _dynamic)
