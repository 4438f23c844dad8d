"""The study: finds slow texts on the float model, and reports what they cost the one that is asked about."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from golden_model.data.tables import TextDataset
from golden_model.evaluation.backends import Backend, tokenize
from golden_model.exits import ExitMode, ExitPolicy
from golden_model.files import write_text
from golden_model.progress import Bars, silent
from golden_model.provenance import header
from quant.studies.slowdown.outcomes import Reading, outcome, read
from quant.studies.slowdown.search import Altered, Attack, Search, SearchOptions, word_embedding
from quant.studies.slowdown.store import Store

TEXTS = ("clean", "random", "attacked")
"""The sentences themselves, with random substitutions, and with those that were found."""


def read_caps(text: str | None, depth: int) -> list[int]:
    """Caps from a list with commas; None: 2 to full depth (1 where that is the depth).

    Raises:
        ValueError: naming the entry and the bound.
    """
    if text is None:
        return list(range(min(2, depth), depth + 1))
    caps = []
    for entry in text.split(","):
        if not entry.strip().isdecimal() or not 1 <= int(entry) <= depth:
            raise ValueError(f"caps {text!r}: {entry.strip()!r} is not an iteration of 1..{depth}")
        caps.append(int(entry))
    return sorted(set(caps))


def check_policies(policies: Mapping[str, ExitPolicy]) -> None:
    """Raises ValueError for a policy that lets nothing leave early: there is nothing to slow down."""
    for name, policy in policies.items():
        if policy.mode == ExitMode.none:
            raise ValueError(f"policy {name} lets no sentence leave early: there is nothing to slow down")


def study(
    searched: Backend,
    reported: Backend,
    backend: str,
    data: TextDataset,
    policies: Mapping[str, ExitPolicy],
    options: SearchOptions,
    caps: Sequence[int],
    folder: Path,
    bars: Bars = silent,
    say: Callable[[str], None] = lambda note: None,
) -> dict[str, Any]:
    """Attacks every sentence, then runs clean, random and attacked texts with and without caps.

    Args:
        searched: The float model the attacker knows.
        reported: The model whose exits are reported; may be the same.
        backend: Its form by name.
        data: Labelled sentences.
        policies: By name.
        options: What the attacker may do.
        caps: Most iterations, each in 1..depth.
        folder: Found attacks are kept in its ``found``; ``attacks.jsonl``, which holds the texts, is written.
        bars: Shows progress.
        say: Told of kept files that cannot be used.

    Returns:
        JSON-able, without any text: header, backend, searched_sha256, data, options, samples, truncated,
        iterations, caps, attackable (sentences with words that may be substituted), search (texts and
        multiply-adds it computed; the latter also in passes over the clean texts at full depth), policies
        (per name: the policy, the outcome of each of TEXTS, changes, slowed, slowdown and caps) and sentences
        (row, words, exits and how many words were changed).

    Raises:
        ValueError: the two models are not of one geometry, the model has exits of its own, the data's classes
            are not the model's, a policy never lets go, or no sentence has a word that may be substituted.
    """
    check_policies(policies)
    if searched.config != reported.config:
        raise ValueError(
            "the float and the reported model differ in geometry: they are not of one checkpoint"
        )
    search = Search(searched, word_embedding(searched), policies, options)
    match = data.match(reported.label_names, reported.config.num_labels)
    labels = torch.tensor([match.classes[label] for label in data.labels], dtype=torch.int64)
    pairs: Sequence[str | None] = data.pairs or [None] * len(data)
    sentences = list(zip(data.texts, pairs, strict=True))
    _check_openings(search, data, sentences)
    store = Store(folder / "found", search, say)
    attacks: list[Attack] = []
    with bars("search", len(data)) as progress:
        for text, pair in sentences:
            attacks.append(store.attack(text, pair))
            progress(1)
    altered = {name: _altered(attacks, name) for name in policies}
    with bars(f"{backend} model", len(data) * (1 + 2 * len(policies))) as progress:
        clean = read(reported, sentences, progress)
        readings = {
            name: {
                "clean": clean,
                **{
                    kind: read(reported, [(t.text, t.pair) for t in texts[kind]], progress)
                    for kind in ("random", "attacked")
                },
            }
            for name, texts in altered.items()
        }
    words = sum(attack.words for attack in attacks)
    measured = {
        name: _measure(policy, readings[name], altered[name], labels, words, caps)
        for name, policy in policies.items()
    }
    rows = data.rows or list(range(1, len(data) + 1))
    exits = {
        name: {kind: readings[name][kind].exits(policy).tolist() for kind in TEXTS}
        for name, policy in policies.items()
    }
    _write_attacks(folder / "attacks.jsonl", rows, sentences, altered, exits)
    products = sum(attack.multiply_adds for attack in attacks)
    return {
        "header": header(options.seed, reported.sha256),
        "backend": backend,
        "searched_sha256": searched.sha256,
        "data": {"source": data.source, "sha256": data.sha256},
        "options": options.as_dict(),
        "samples": len(data),
        "truncated": len(tokenize(data, reported).cut),
        "iterations": reported.config.num_hidden_layers,
        "caps": list(caps),
        "attackable": sum(1 for attack in attacks if attack.allowed and attack.open),
        "search": {
            "evaluations": sum(attack.evaluations for attack in attacks),
            "evaluations_per_sentence": sum(attack.evaluations for attack in attacks) / len(attacks),
            "multiply_adds": products,
            "full_depths": products / clean.full_depth(),
        },
        "policies": measured,
        "sentences": [
            {
                "row": rows[i],
                "words": attack.words,
                "allowed": attack.allowed,
                "open": attack.open,
                "exits": {name: {kind: exits[name][kind][i] for kind in TEXTS} for name in policies},
                "exits_searched": {
                    name: {kind: altered[name][kind][i].exit for kind in TEXTS} for name in policies
                },
                "changed": {name: len(attack.attacked[name].changes) for name in policies},
            }
            for i, attack in enumerate(attacks)
        ],
    }


def _check_openings(search: Search, data: TextDataset, sentences: Sequence[tuple[str, str | None]]) -> None:
    """Raises ValueError where no sentence at all can be attacked."""
    most = 0
    for text, pair in sentences:
        words, near = search.openings(text, pair)
        if near and search.options.allowed(len(words)):
            return
        most = max(most, len(words))
    if not search.options.allowed(most):
        raise ValueError(
            f"{data.source}: --changed {search.options.changed:g} of {most} words, the most a sentence has, "
            "is none: no word may be substituted"
        )
    raise ValueError(
        f"{data.source}: no word of a sentence has a neighbour of cosine {search.options.similarity:g} "
        "or more: nothing may be substituted"
    )


def _altered(attacks: Sequence[Attack], name: str) -> dict[str, list[Altered]]:
    """Per text of TEXTS, those of one policy."""
    return {
        "clean": [attack.clean[name] for attack in attacks],
        "random": [attack.random[name] for attack in attacks],
        "attacked": [attack.attacked[name] for attack in attacks],
    }


def _measure(
    policy: ExitPolicy,
    readings: Mapping[str, Reading],
    altered: Mapping[str, Sequence[Altered]],
    labels: torch.Tensor,
    words: int,
    caps: Sequence[int],
) -> dict[str, Any]:
    clean = readings["clean"]
    products, answers = clean.full_depth(), clean.answers[-1]
    exits = {kind: readings[kind].exits(policy) for kind in TEXTS}

    def under(cap: int) -> dict[str, Any]:
        return {
            kind: outcome(readings[kind], exits[kind].clamp(max=cap), labels, answers, products)
            for kind in TEXTS
        }

    free = under(clean.config.num_hidden_layers)
    for kind in TEXTS:
        free[kind]["mean_exit_searched"] = sum(t.exit for t in altered[kind]) / len(labels)
        free[kind]["kept_searched"] = sum(t.kept for t in altered[kind]) / len(labels)
    return {
        "policy": policy.model_dump(),
        **free,
        "changes": _changes(altered["attacked"], words),
        "slowed": float((exits["attacked"] > exits["clean"]).double().mean()),
        "slowdown": {
            "iterations": free["attacked"]["cost"] / free["clean"]["cost"],
            "macs": free["attacked"]["cost_macs"] / free["clean"]["cost_macs"],
        },
        "caps": [
            {
                "cap": cap,
                "worst_iterations": cap,
                "worst_cost_macs": clean.multiply_adds([cap] * len(labels)) / products,
                **under(cap),
            }
            for cap in caps
        ],
    }


def _changes(attacked: Sequence[Altered], words: int) -> dict[str, Any]:
    """How much was changed, of so many words; ``cosine``: mean over substitutions, None without any."""
    cosines = [change.cosine for text in attacked for change in text.changes]
    return {
        "sentences": sum(1 for text in attacked if text.changes),
        "words": len(cosines),
        "share": len(cosines) / words,
        "cosine": sum(cosines) / len(cosines) if cosines else None,
    }


def _write_attacks(
    path: Path,
    rows: Sequence[int],
    sentences: Sequence[tuple[str, str | None]],
    altered: Mapping[str, Mapping[str, Sequence[Altered]]],
    exits: Mapping[str, Mapping[str, Sequence[int]]],
) -> None:
    """A line per sentence and policy, with the texts."""
    lines = []
    for i, (text, pair) in enumerate(sentences):
        for name, texts in altered.items():
            line: dict[str, Any] = {"row": rows[i], "policy": name, "text": text, "pair": pair}
            for kind in ("attacked", "random"):
                line[kind] = texts[kind][i].model_dump(include={"text", "pair", "changes"})
            line["exits"] = {kind: exits[name][kind][i] for kind in TEXTS}
            lines.append(json.dumps(line, ensure_ascii=False))
    write_text(path, "\n".join(lines) + "\n")
