"""Float ELBERT to integer checkpoint: watch a few hundred sentences, then fix every scale once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from golden_model.float.albert import ElbertForSequenceClassification
from golden_model.integer.checkpoint import IntegerCheckpoint
from golden_model.integer.model import Sentence
from quant.assemble import assemble, made
from quant.correct import Means, correct_bias
from quant.observe import Observations, Progress, observe
from quant.reproducible import one_thread
from quant.scales import Scales, choose_scales
from quant.schemes import Scheme

CORRECTION_SENTENCES = 256
"""Most sentences that bias correction runs in its one batch."""
MEAN_FRACTION_BITS = 8
"""Of the means that bias correction aims at, in output LSBs: 1/256 LSB."""


def calibrate(
    model: ElbertForSequenceClassification,
    sentences: Sequence[Sentence],
    scheme: Scheme | None = None,
    provenance: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> IntegerCheckpoint:
    """Quantises a float ELBERT with ranges seen on ``sentences``.

    Args:
        model: The float model; not changed.
        sentences: Calibration sentences, (ids, token types) each.
        scheme: Widths and methods; None for int8 weights and maxima.
        provenance: Facts to keep in the checkpoint's metadata.
        progress: Told how many more sentences were watched.

    The integers do not depend on the number of threads. What quantisation cost is said by
    :func:`quant.quality.measure`.

    Raises:
        ValueError: there are no sentences; a weight or an activation is not finite; something does not fit
            the contract. The message names the tensor.
    """
    scheme = scheme or Scheme()
    check_weights(model)
    seen = observe(model, sentences, scheme, progress=progress)
    return quantize(model, seen, scheme, sentences, provenance)


def quantize(
    model: ElbertForSequenceClassification,
    seen: Observations,
    scheme: Scheme,
    sentences: Sequence[Sentence],
    provenance: dict[str, Any] | None = None,
) -> IntegerCheckpoint:
    """:func:`calibrate` with what was seen already, on ``sentences``."""
    facts = {
        "calibration": {"sentences": seen.sentences, "tokens": seen.tokens},
        "provenance": provenance or {},
    }
    with one_thread():
        scales = choose_scales(model, seen, scheme)
        checkpoint = assemble(model, scales, scheme, facts)
    return corrected(checkpoint, model, seen, scales, sentences) if scheme.correct_bias else checkpoint


def corrected(
    checkpoint: IntegerCheckpoint,
    model: ElbertForSequenceClassification,
    seen: Observations,
    scales: Scales,
    sentences: Sequence[Sentence],
) -> IntegerCheckpoint:
    """What :func:`quant.assemble.assemble` made of ``scales``, its bias corrected on the first sentences."""
    part = sentences[:CORRECTION_SENTENCES]
    if len(part) < len(sentences):
        # means must be of the sentences that the correction runs
        seen = observe(model, part, replace(seen.scheme, observer="max"))
    # sums of integers: exact on any number of threads
    return correct_bias(checkpoint, observed_means(model, seen, scales), part)


def observed_means(model: ElbertForSequenceClassification, seen: Observations, scales: Scales) -> Means:
    """Observed means of everything a matmul or LayerNorm makes, in its own LSBs."""
    step = 2.0**-MEAN_FRACTION_BITS
    return {
        (name, iteration): (seen.channels[output].mean / scales.lsb(unit) / step).round() * step
        for name, iteration, output, unit in made(model.config)
    }


def check_weights(model: ElbertForSequenceClassification) -> None:
    """Refuses weights that no integer can follow.

    Raises:
        ValueError: a weight is not finite, named with its index; or every embedding is 0.
    """
    for name, value in model.model.state_dict().items():
        wrong = (~value.isfinite()).nonzero()
        if len(wrong):
            index = tuple(wrong[0].tolist())
            raise ValueError(f"weight {name}{list(index)} of the float model is {float(value[index])}")
    embeddings = model.model.albert.embeddings
    tables = (embeddings.word_embeddings, embeddings.position_embeddings, embeddings.token_type_embeddings)
    if not any(bool(table.weight.any()) for table in tables):
        raise ValueError(
            "word, position and token type embeddings of the float model are all 0: sentences look alike"
        )
