"""Brevitas: fake quantisation of every Linear, with static scales from calibration sentences."""

from __future__ import annotations

import torch

from quant.studies.peers.peer import Model, Peer, Ready, run_module, state_bytes
from quant.studies.peers.work import Work


@torch.no_grad()
def _static(model: Model, work: Work) -> Ready:
    from brevitas.graph.calibrate import calibration_mode
    from brevitas.graph.quantize import layerwise_quantize
    from brevitas.nn import QuantLinear
    from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerChannelFloat

    chosen = {
        "weight_quant": Int8WeightPerChannelFloat,
        "input_quant": Int8ActPerTensorFloat,
        "bias_quant": None,
    }
    network = layerwise_quantize(model.load(), compute_layer_map={torch.nn.Linear: (QuantLinear, chosen)})
    run = run_module(network)
    with calibration_mode(network):
        for batch in work.calibration:
            run(batch)
    return Ready(
        run,
        state_bytes(network),
        False,
        "fake quantisation: float32 arithmetic on rounded values, and float32 weights are stored; one scale "
        "per Linear for all iterations, as the layer's modules are shared",
        {"quantised_weight_bytes": _quantised_bytes(network)},
    )


def _quantised_bytes(network: torch.nn.Module) -> int:
    """Bytes if the quantised weights were stored as int8 and everything else as it is."""
    from brevitas.nn import QuantLinear

    saved = sum(3 * each.weight.numel() for each in network.modules() if isinstance(each, QuantLinear))
    return state_bytes(network) - saved


STATIC = Peer("brevitas", "Brevitas static INT8", ("torch", "transformers", "brevitas"), _static)
