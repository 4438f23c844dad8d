"""A trained method, opened for comparison: its logits after every iteration and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from golden_model.config import ElbertConfig
from golden_model.devices import find_device
from golden_model.float.logits import sentence_logits
from golden_model.float.methods import count
from golden_model.float.methods.files import read_model, weights_sha256
from golden_model.float.methods.model import ExitModel
from golden_model.text.tokenizer import ElbertTokenizer


@dataclass(frozen=True)
class Method:
    """A method's checkpoint.

    Members:
        model: In evaluation mode, on its device.
        tokenizer: The model's.
        sha256: Of the weights, heads included (``methods.files.weights_sha256``).
        training: ``training_cost`` of the run's record; empty where the record has none.
    """

    model: ExitModel
    tokenizer: ElbertTokenizer
    sha256: str
    training: dict[str, Any]

    @property
    def method(self) -> str:
        """One of ``methods.names.METHODS``."""
        return self.model.method

    @property
    def iterations(self) -> int:
        """Times the layer is applied at most; fewer than the backbone's for a cut ALBERT."""
        return self.model.iterations

    @property
    def config(self) -> ElbertConfig:
        """Geometry; ``num_hidden_layers`` is :attr:`iterations`."""
        return self.model.config

    @property
    def added_parameters(self) -> int:
        """Parameters beyond ALBERT's with one pooler and one classifier."""
        return self.model.added_parameters

    def layer_macs(self, length: int) -> int:
        """Multiply-adds of one iteration of a sentence of ``length`` tokens, without any exit."""
        return count.layer_macs(self.config, length)

    def exit_macs(self, length: int, iteration: int = 1) -> int:
        """Multiply-adds of an iteration's exit, those of parts it shares included."""
        return count.exit_macs(self.model, iteration, length)

    def logits(
        self,
        sentences: Sequence[tuple[Sequence[int], Sequence[int]]],
        progress: Callable[[int], None] | None = None,
    ) -> torch.Tensor:
        """Logits in nat after every iteration, those of like length computed together.

        Args:
            sentences: Token ids and token types of each.
            progress: Told how many more sentences are done.

        Returns:
            float64 [iterations, sentences, classes], in the given order.

        Raises:
            ValueError: there are no sentences, or one is longer than the model allows.
        """
        if not len(sentences):
            raise ValueError("no sentences to answer")
        return sentence_logits(self.model, sentences, self.tokenizer.pad_id, progress)


def load_method(folder: Path | str, device: str = "cpu") -> Method:
    """Opens a checkpoint folder that training wrote (``latest/``); raises as ``methods.files.read_model``."""
    model, tokenizer, record = read_model(folder)
    model.to(find_device(device))
    return Method(model, tokenizer, weights_sha256(Path(folder)), record.get("training_cost", {}))
