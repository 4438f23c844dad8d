"""The float model's tensors under the names of docs/numerics.md, as Hugging Face's modules make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from golden_model.float.albert import ElbertForSequenceClassification

See = Callable[[str, Tensor], None]
"""Told a tensor's full name and its values: [batch, length, features]; pooler, logits: [batch, features]."""


class Hooks:
    """Reports named tensors while the model runs; a context manager, after which no hook is left.

    Beside the named tensors of docs/numerics.md that a module reads or makes: ``ffn.index`` and
    ``pooler.index``, the inputs of the tables, and ``attention.update`` and ``ffn.update``, which are added
    to the residual stream.
    """

    def __init__(self, model: ElbertForSequenceClassification, see: See) -> None:
        """Nothing is hooked before the context is entered."""
        self.model, self.see, self.iteration = model, see, 0
        self.handles: list[Any] = []

    def __enter__(self) -> Hooks:
        albert: Any = self.model.model.albert
        layer = albert.encoder.albert_layer_groups[0].albert_layers[0]
        attention = layer.attention
        self._hook(albert.embeddings.LayerNorm, self._start)
        self._input(albert.embeddings.LayerNorm, "embedding.sum", once=True)
        self._output(albert.embeddings.LayerNorm, "embedding.normalized", once=True)
        self._output(albert.encoder.embedding_hidden_mapping_in, "embedding.hidden", once=True)
        self._hook(attention.query, self._count)  # the first module of an iteration
        for part in ("query", "key", "value"):
            self._output(getattr(attention, part), f"attention.{part}")
        self._input(attention.dense, "attention.context")
        self._output(attention.dense, "attention.update")
        self._input(attention.LayerNorm, "attention.residual")
        self._output(attention.LayerNorm, "attention.hidden")
        self._output(layer.ffn, "ffn.index")
        self._input(layer.ffn_output, "ffn.activation")
        self._output(layer.ffn_output, "ffn.update")
        self._input(layer.full_layer_layer_norm, "ffn.residual")
        self._output(layer.full_layer_layer_norm, "hidden")
        self._output(albert.pooler, "pooler.index")
        self._input(self.model.model.classifier, "pooler.output")
        self._output(self.model.model.classifier, "logits")
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles.clear()

    def _start(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.iteration = 0

    def _count(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.iteration += 1

    def _hook(self, module: nn.Module, hook: Callable[..., None]) -> None:
        self.handles.append(module.register_forward_hook(hook))

    def _report(self, name: str, once: bool, values: Tensor) -> None:
        self.see(name if once else f"iteration.{self.iteration}.{name}", values.detach())

    def _output(self, module: nn.Module, name: str, once: bool = False) -> None:
        self._hook(module, lambda module, inputs, output: self._report(name, once, output))

    def _input(self, module: nn.Module, name: str, once: bool = False) -> None:
        self._hook(module, lambda module, inputs, output: self._report(name, once, inputs[0]))
