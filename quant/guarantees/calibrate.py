"""Thresholds chosen on held-out sentences, with the certificate of what that promises."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from golden_model.config import ElbertConfig
from golden_model.evaluation.score import multiply_adds
from golden_model.exits import FixedExitPolicy
from golden_model.provenance import header
from quant.guarantees.applied import Applied
from quant.guarantees.certificate import Certificate, Measured, Sentences, tested
from quant.guarantees.choose import FULL_DEPTH, Method, Rule, choose
from quant.guarantees.families import GRID, describe
from quant.studies.exits.rows import Rows
from quant.studies.exits.table import LogitTable


def certify(
    table: LogitTable,
    rows: Rows,
    applied: Applied,
    rule: Rule,
    *,
    task: str | None = None,
    lengths: tuple[ElbertConfig, Sequence[int]] | None = None,
) -> Certificate:
    """Chooses the fastest setting that the sentences certify.

    Args:
        table: Logits of the checkpoint on the sentences.
        rows: The sentences.
        applied: What a family does with them.
        rule: What is promised.
        task: Name of the task they are of; None: a table.
        lengths: Geometry and tokens of each sentence, for the multiply-adds; None: not known.

    Raises:
        ValueError: as :func:`choose`.
    """
    choice = choose(applied, rule)
    row = int(choice.chosen)
    settings = applied.settings
    policy = FixedExitPolicy() if row == FULL_DEPTH else settings[row]
    losses = torch.zeros_like(applied.losses[0]) if row == FULL_DEPTH else applied.losses[row]
    evidence = None if row == FULL_DEPTH else float(choice.evidence[row, 0])
    is_ltt = rule.method == Method.ltt
    return Certificate(
        header=header(None, table.facts.checkpoint_sha256),
        task=task,
        backend=table.facts.backend,
        checkpoint_sha256=table.facts.checkpoint_sha256,
        policy=policy,
        loss=applied.loss.name,
        risk=rule.risk,
        confidence=rule.confidence,
        method=rule.method,
        test=rule.test,
        level=rule.level(len(applied.family)) if is_ltt else None,
        p_value=evidence if is_ltt else None,
        bound=None if is_ltt else evidence,
        empirical_risk=float(losses.double().mean()),
        counts={value: int((losses == value).sum()) for value in applied.loss.values},
        sentences=Sentences(
            source=rows.source, count=len(rows), data_sha256=rows.data_sha256, rows_sha256=rows.sha256
        ),
        smallest_sample=rule.smallest_sample(applied.loss, len(applied.family)),
        grid=GRID,
        sequences=[
            tested(sequence, 0 if last == FULL_DEPTH else last - rows_of.start + 1)
            for sequence, rows_of, last in zip(
                applied.family, applied.rows(), choice.reached[:, 0].tolist(), strict=True
            )
        ],
        measured=_measured(applied, row, lengths),
    )


def _measured(applied: Applied, row: int, lengths: tuple[ElbertConfig, Sequence[int]] | None) -> Measured:
    depth = applied.iterations
    exits = [depth] * applied.sentences if row == FULL_DEPTH else applied.exits[row].tolist()
    mean = sum(exits) / len(exits)
    full = first = None
    if lengths is not None:
        found = multiply_adds(*lengths, exits)
        full, first = found["full_depth"], found["answer_first"]
    return Measured(
        mean_exit_iteration=mean,
        iterations=depth,
        speedup_iterations=depth / mean,
        multiply_adds_full_depth=full,
        multiply_adds_answer_first=first,
        speedup_multiply_adds=full / first if full and first else None,
    )


def why_not(certificate: Certificate, applied: Applied) -> str | None:
    """In one line why a certificate has no early exit and what would be needed; None: it has one."""
    if certificate.certifies(certificate.real_policy):
        return None
    rule, count, needed = certificate.rule, certificate.sentences.count, certificate.smallest_sample
    promise = f"risk {rule.risk:g}"
    if rule.confidence is not None:
        promise += f" with confidence {rule.confidence:g}"
    if count < needed:
        return f"no early exit is certified: {count} sentences, at least {needed} are needed for {promise}"
    choice = choose(applied, rule)
    firsts = [rows.start for rows in applied.rows()]
    best = min(firsts, key=lambda row: float(choice.evidence[row, 0]))
    lost = int(applied.losses[best].sum())
    value = float(choice.evidence[best, 0])
    if rule.method == Method.ltt:
        evidence = f"p = {value:.3g} is above {rule.level(len(firsts)):.3g}"
    else:
        evidence = f"the bound {value:.3g} is above {rule.risk:g}"
    return (
        f"no early exit is certified for {promise}: the safest setting tested, "
        f"{describe(applied.settings[best])}, loses on {lost} of {count} sentences, {evidence}"
    )
