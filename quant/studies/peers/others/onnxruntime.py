"""onnxruntime's static INT8: the model exported, calibrated on training sentences, in the QDQ form.

Products and the embedding are quantised. With every operator that could be, the attention's mask would be
too: its -3.4e38, added to the scores, takes the whole 8-bit range, and attention is lost.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quant.studies.peers.peer import Model, Peer, Ready
from quant.studies.peers.work import Batch, Work

QUANTISED = ("MatMul", "Gemm", "Gather")
NAMES = ("input_ids", "attention_mask", "token_type_ids")
FLOAT_OPERATORS = (
    "LayerNormalization",
    "Softmax",
    "Erf",
    "Tanh",
    "Gelu",
    "BiasGelu",
    "FastGelu",
    "SkipLayerNormalization",
)
"""That stay in float32 between DequantizeLinear and QuantizeLinear, where a graph has them."""

PRODUCTS = {
    "int8": ("QLinearMatMul", "QGemm", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"),
    "float32": ("MatMul", "Gemm", "FusedMatMul"),
}
"""Operators of the graph that onnxruntime runs, after its own fusions."""


class _Logits(torch.nn.Module):
    """The model with positional inputs and the logits alone, as an exporter wants it."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor) -> Tensor:
        found: Tensor = self.network(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
        return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Within it neither warnings nor what is logged below an error is shown."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _feed(batch: Batch) -> dict[str, Any]:
    return dict(zip(NAMES, (part.numpy() for part in (batch.ids, batch.mask, batch.types)), strict=True))


def _static(model: Model, work: Work) -> Ready:
    with tempfile.TemporaryDirectory() as folder:
        path = _quantise(_export(model, work, Path(folder)), work)
        return _open(path, work.threads)


def _export(model: Model, work: Work, folder: Path) -> Path:
    """The float model as a graph of any batch and length."""
    network = model.load()
    network.set_attn_implementation("eager")
    sample = next((batch for batch in work.batches if len(batch) > 1), work.batches[0])
    sizes = {
        0: torch.export.Dim("sentences"),
        1: torch.export.Dim("tokens", max=network.config.max_position_embeddings),
    }
    path = folder / "float.onnx"
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            _Logits(network),
            (sample.ids, sample.mask, sample.types),
            path,
            dynamo=True,
            input_names=list(NAMES),
            output_names=["logits"],
            dynamic_shapes=(sizes, sizes, sizes),
            external_data=False,
            verbose=False,
        )
    return path


def _quantise(path: Path, work: Work) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        """Calibration batches one by one."""

        def __init__(self) -> None:
            self.batches: Iterator[Batch] = iter(work.calibration)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.batches, None)
            return None if batch is None else _feed(batch)

    prepared, quantised = path.with_name("prepared.onnx"), path.with_name("int8.onnx")
    with _quiet():
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        # signed 8 bits for both, as onnxruntime advises: with unsigned activations products saturate on
        # processors without VNNI
        quantize_static(
            str(prepared),
            str(quantised),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
    return quantised


def _open(path: Path, threads: int) -> Ready:
    import onnx
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    optimised = path.with_name("optimised.onnx")
    settings.optimized_model_filepath = str(optimised)
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(path.read_bytes(), settings, providers=["CPUExecutionProvider"])
    counted = Counter(node.op_type for node in onnx.load(str(optimised)).graph.node)
    products = {kind: sum(counted[name] for name in names) for kind, names in PRODUCTS.items()}
    floats = [name for name in FLOAT_OPERATORS if counted[name]]
    return Ready(
        lambda batch: torch.from_numpy(session.run(None, _feed(batch))[0]),
        path.stat().st_size,
        False,
        f"{products['int8']} of {sum(products.values())} products are int8; the others, "
        f"{', '.join(floats)} and the residuals are float32 between conversions",
        {"operators": dict(sorted(counted.items()))},
    )


STATIC = Peer(
    "onnxruntime",
    "onnxruntime static INT8",
    ("torch", "transformers", "onnx", "onnxscript", "onnxruntime"),
    _static,
)
