"""One scheme measured: calibrated, run by the golden model, compared with float."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from time import process_time
from typing import Any

import torch
from torch import Tensor

from golden_model.data.metrics import scores
from golden_model.errors import describe
from golden_model.evaluation.score import multiply_adds
from golden_model.exits import Confidence, exit_iterations
from golden_model.float.albert import ElbertForSequenceClassification, load_float
from golden_model.float.weights import stored_sha256
from golden_model.integer.confidence import integer_confidence
from golden_model.integer.golden import open_golden
from golden_model.provenance import commit
from quant.calibrate import check_weights, quantize
from quant.observe import Observations, observe
from quant.quality import measure
from quant.reproducible import one_thread
from quant.schemes import Scheme
from quant.studies.bits.subject import Subject

SQNR_OF = ("hidden", "logits")
"""Named tensors, of every iteration, whose mean is a point's SQNR."""
_MOST_SEEN = 2
"""Calibrations remembered by a process: schemes that watch the same things share one."""

_seen: OrderedDict[tuple[Any, ...], Observations] = OrderedDict()


def measure_point(subject: Subject, scheme: Scheme) -> dict[str, Any]:
    """What a scheme is worth on a subject. JSON-able.

    Returns:
        accuracy and agreement (with float's answers) of the last iteration, both per iteration as
        ``accuracy_per_iteration`` and ``agreement_per_iteration``; score (the task's own metric);
        sqnr (mean dB of the hidden states and logits of all iterations) and sqnr_db (of each);
        exit (under the subject's policy: accuracy, mean_exit_iteration, speedup, speedup_macs, flips: the
        share of sentences that leave after another iteration than float's, changed: the share whose answer
        there is another than float's, and float's own figures); seconds (of processor time: calibrate,
        golden, quality; watching the float model counts for the first scheme that needs it); commit; and
        error, None.

    Raises:
        ValueError: the checkpoint is another, or as ``calibrate``.
    """
    with one_thread():
        begun = process_time()
        model = _model(subject.folder, subject.sha256)
        seen = _observed(model, subject, scheme)
        checkpoint = quantize(model, seen, scheme, subject.calibration)
        calibrated = process_time()
        logits = open_golden(checkpoint).all_iterations(subject.sentences)
        answered = process_time()
        quality = measure(model, checkpoint, subject.calibration[: subject.quality])
        decibels = {name: quality.sqnr[name] for name in SQNR_OF}
        found = _worth(subject, logits)
        ended = process_time()
    values = [value for each in decibels.values() for value in each]
    return {
        **found,
        "sqnr": sum(values) / len(values),
        "sqnr_db": decibels,
        "seconds": {
            "calibrate": calibrated - begun,
            "golden": answered - calibrated,
            "quality": ended - answered,
        },
        "commit": commit(),
        "error": None,
    }


def try_point(subject: Subject, scheme: Scheme) -> dict[str, Any]:
    """:func:`measure_point`; where that fails, ``error`` says why and nothing else is in it."""
    try:
        return measure_point(subject, scheme)
    except Exception as error:  # one scheme that cannot be must not end the study of the others
        return {"error": f"{type(error).__name__}: {describe(error)}"}


@lru_cache(maxsize=1)
def _model(folder: str, sha256: str) -> ElbertForSequenceClassification:
    found = stored_sha256(folder)
    if found != sha256:
        raise ValueError(f"{folder} holds the weights {found[:16]}, the study is of {sha256[:16]}")
    model, _, _ = load_float(folder)
    check_weights(model)
    return model


def _observed(model: ElbertForSequenceClassification, subject: Subject, scheme: Scheme) -> Observations:
    """What calibration sees: the same for all schemes that look at the same things."""
    key = (
        subject.digest,
        scheme.observer,
        scheme.percentile if scheme.observer == "percentile" else None,
        scheme.scales,
        scheme.needs_hessians,
    )
    if key not in _seen:
        while len(_seen) >= _MOST_SEEN:
            _seen.popitem(last=False)
        _seen[key] = observe(model, subject.calibration, scheme)
    _seen.move_to_end(key)
    return _seen[key]


def _worth(subject: Subject, logits: Tensor) -> dict[str, Any]:
    """Answers of the golden model's logits, int64 [iterations, N, classes] in 2^-10."""
    config, labels = subject.config, torch.tensor(subject.labels)
    trajectory = integer_confidence(logits)
    real = Confidence.from_logits(subject.logits)
    answers, wanted = trajectory.label, real.label
    right = (answers == labels).double().mean(1).tolist()
    equal = (answers == wanted).double().mean(1).tolist()
    places = subject.places
    quality = scores(places[answers[-1]], places[labels], config.num_labels)
    exits = exit_iterations(subject.policy.to_fixed(), trajectory)
    real_exits = exit_iterations(subject.policy, real)
    each = torch.arange(len(labels))
    said, real_said = answers[exits - 1, each], wanted[real_exits - 1, each]

    def leaving(at: Tensor, by: Tensor) -> dict[str, float]:
        work = multiply_adds(config, subject.lengths, at.tolist())
        mean = float(at.double().mean())
        return {
            "accuracy": float((by == labels).double().mean()),
            "mean_exit_iteration": mean,
            "speedup": config.num_hidden_layers / mean,
            "speedup_macs": work["full_depth"] / work["answer_first"],
        }

    return {
        "accuracy": right[-1],
        "agreement": equal[-1],
        "score": quality.only([subject.metric])[subject.metric],
        "accuracy_per_iteration": right,
        "agreement_per_iteration": equal,
        "exit": {
            **leaving(exits, said),
            "flips": float((exits != real_exits).double().mean()),
            "changed": float((said != real_said).double().mean()),
            "float": leaving(real_exits, real_said),
        },
    }


def float_worth(subject: Subject) -> dict[str, Any]:
    """The float model's own accuracy, last and per iteration, and under the policy. JSON-able."""
    labels = torch.tensor(subject.labels)
    real = Confidence.from_logits(subject.logits)
    right = (real.label == labels).double().mean(1).tolist()
    return {"accuracy": right[-1], "accuracy_per_iteration": right}
