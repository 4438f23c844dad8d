"""Word substitutions that make a sentence leave late, found greedily on the float model.

As TextFooler (Jin et al. 2020) and its form for early exits, WAFFLE (Coalson et al. 2023), go: words by
importance, which is what masking them does to the score; for each the best of its neighbours; on to the next
word until no more may be changed. The attacker knows the logits of all iterations, and needs no gradient.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from golden_model.evaluation.backends import Backend
from golden_model.exits import Confidence, ExitPolicy, exit_iterations
from golden_model.integer.model import Sentence
from quant.studies.slowdown.defaults import CANDIDATES, CHANGED, OBJECTIVE, SIMILARITY
from quant.studies.slowdown.neighbours import Neighbour, Neighbours
from quant.studies.slowdown.words import Word, split_words, substitute

OBJECTIVES = ("exit", "uniform")
MOST_CANDIDATES = 1000
DRAWS = 8
"""Random texts drawn until one keeps the answer."""


@dataclass(frozen=True)
class SearchOptions:
    """What the attacker may do.

    Members:
        changed: Share of a sentence's words that may be changed, rounded down to words.
        candidates: Neighbours tried for a word, at most.
        similarity: Their cosine, at least.
        objective: ``exit``: for each policy the iteration of its exit, of equals the text of the greater mean
            uncertainty. ``uniform``: the mean uncertainty over all iterations alone, whatever the policy
            (WAFFLE's aim: every exit's probabilities towards equal ones).
        keep_answer: Full depth must answer as it does to the sentence itself.
        seed: Of the random control; the search itself draws nothing.
    """

    changed: float = CHANGED
    candidates: int = CANDIDATES
    similarity: float = SIMILARITY
    objective: str = OBJECTIVE
    keep_answer: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what is out of bounds, by value and bound."""
        if not 0 < self.changed <= 1:
            raise ValueError(f"changed {self.changed:g} is not a share above 0 and at most 1")
        if not 1 <= self.candidates <= MOST_CANDIDATES:
            raise ValueError(f"candidates {self.candidates} is not in 1..{MOST_CANDIDATES}")
        if not 0 <= self.similarity <= 1:
            raise ValueError(f"similarity {self.similarity:g} is not in 0..1")
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective {self.objective!r} is not one of {', '.join(OBJECTIVES)}")

    def allowed(self, words: int) -> int:
        """How many of so many words may be changed."""
        return int(self.changed * words + 1e-9)  # 0.2 of 15 is 3, whatever floats make of it

    def as_dict(self) -> dict[str, Any]:
        """All of them."""
        return asdict(self)


class Change(BaseModel):
    """One substitution: index among the sentence's words, old and new word, cosine of their embeddings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    word: int
    old: str
    new: str
    cosine: float


class Altered(BaseModel):
    """A text with its changes, and what the searched (float) model says of it.

    ``exit``: iteration, from 1, under the policy it was made for. ``kept``: whether full depth still answers
    as it does to the sentence itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    pair: str | None
    changes: list[Change]
    exit: int
    kept: bool


class Attack(BaseModel):
    """What was found for one sentence.

    Members:
        words: Of the sentence.
        allowed: How many of them may be changed.
        open: How many have candidates.
        clean, attacked, random: Per policy.
        evaluations, multiply_adds: What the search cost, the random control aside.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: int
    allowed: int
    open: int
    clean: dict[str, Altered]
    attacked: dict[str, Altered]
    random: dict[str, Altered]
    evaluations: int
    multiply_adds: int


@dataclass(frozen=True)
class Trial:
    """A text and what the model says of it: exit per policy, mean normalised entropy, full depth's class."""

    chosen: dict[int, Neighbour]
    text: str
    pair: str | None
    exits: dict[str, int]
    uncertainty: float
    answer: int


Score = Callable[[Trial], tuple[float, ...]]


@dataclass
class Sighting:
    """Reads texts on a model, each once, and counts."""

    search: Search
    text: str
    pair: str | None
    words: list[Word]
    known: dict[tuple[str, str | None], Trial] = field(default_factory=dict)
    evaluations: int = 0
    multiply_adds: int = 0

    def look(self, choices: Iterable[Mapping[int, Neighbour]]) -> list[Trial]:
        """The trials of substitutions; those not seen before are computed together."""
        options = [dict(chosen) for chosen in choices]
        texts = [
            substitute(self.text, self.pair, self.words, {i: n.text for i, n in chosen.items()})
            for chosen in options
        ]
        new = {text: chosen for text, chosen in zip(texts, options, strict=True) if text not in self.known}
        if new:
            pairs = None if self.pair is None else [pair or "" for _, pair in new]
            encoded = self.search.tokenizer.encode_many([t for t, _ in new], self.search.longest, pairs)
            said = self.compute(encoded)
            for ((text, pair), chosen), (exits, uncertainty, answer) in zip(new.items(), said, strict=True):
                self.known[text, pair] = Trial(chosen, text, pair, exits, uncertainty, answer)
        return [self.known[text] for text in texts]

    def masked(self, places: Sequence[int]) -> list[Trial]:
        """The trials of the sentence with one word's tokens each replaced by the mask."""
        ids, types = self.search.tokenizer.encode(self.text, self.search.longest, self.pair)
        sentences = []
        for place in places:
            hidden = set(self.words[place].tokens)
            sentences.append(
                ([self.search.tokenizer.mask_id if i in hidden else t for i, t in enumerate(ids)], types)
            )
        return [Trial({}, self.text, self.pair, *said) for said in self.compute(sentences)]

    def compute(self, sentences: Sequence[Sentence]) -> list[tuple[dict[str, int], float, int]]:
        """Exits per policy, mean uncertainty and full depth's class of sentences."""
        config = self.search.backend.config
        self.evaluations += len(sentences)
        self.multiply_adds += config.num_hidden_layers * sum(
            config.layer_products(len(ids)) for ids, _ in sentences
        )
        logits = self.search.backend.answer(sentences, ExitPolicy()).logits
        assert logits is not None, "without a policy every iteration is computed"
        trajectory = Confidence.from_logits(logits)
        exits = {
            name: exit_iterations(policy, trajectory).tolist()
            for name, policy in self.search.policies.items()
        }
        uncertainty, answers = trajectory.entropy.mean(0).tolist(), logits[-1].argmax(-1).tolist()
        return [
            ({name: each[i] for name, each in exits.items()}, uncertainty[i], answers[i])
            for i in range(len(sentences))
        ]


class Search:
    """Attacks sentences of one model under one set of policies.

    What is found for a sentence depends on that sentence alone: texts of several sentences are never computed
    together, so neither their order nor an interruption changes a bit of a float.
    """

    def __init__(
        self, backend: Backend, embedding: Tensor, policies: Mapping[str, ExitPolicy], options: SearchOptions
    ) -> None:
        """The float model with its word embedding [pieces, features], and the policies by their names."""
        self.backend, self.tokenizer = backend, backend.tokenizer
        self.longest = backend.config.max_position_embeddings
        self.policies, self.options = dict(policies), options
        self.neighbours = Neighbours(self.tokenizer, embedding, options.candidates, options.similarity)

    def openings(self, text: str, pair: str | None) -> tuple[list[Word], dict[int, list[Neighbour]]]:
        """The words, and of those that may be substituted the candidates."""
        words = split_words(self.tokenizer, text, pair, self.longest)
        ids, _ = self.tokenizer.encode(text, self.longest, pair)
        found = {
            i: self.neighbours.of(word.text, [ids[t] for t in word.tokens])
            for i, word in enumerate(words)
            if word.substitutable
        }
        return words, {i: near for i, near in found.items() if near}

    def attack(self, text: str, pair: str | None = None) -> Attack:
        """Looks for the slowest texts of a sentence, one per policy, and draws the random ones."""
        words, near = self.openings(text, pair)
        allowed = self.options.allowed(len(words))
        sighting = Sighting(self, text, pair, words)
        [clean] = sighting.look([{}])
        if allowed and near:
            masked = dict(zip(near, sighting.masked(list(near)), strict=True))
            for score, done in self._aims():
                self._climb(sighting, clean, near, masked, allowed, score, done)
        tried = [trial for trial in sighting.known.values() if self._keeps(trial, clean)]
        cost = sighting.evaluations, sighting.multiply_adds
        attacked, drawn = {}, {}
        for name in self.policies:
            slowest = max(tried, key=_exit_score(name))
            if slowest.exits[name] == clean.exits[name]:
                slowest = clean
            attacked[name] = self._altered(slowest, clean, words, name)
            control = self._draw(sighting, clean, near, len(slowest.chosen))
            drawn[name] = self._altered(control, clean, words, name)
        return Attack(
            words=len(words),
            allowed=allowed,
            open=len(near),
            clean={name: self._altered(clean, clean, words, name) for name in self.policies},
            attacked=attacked,
            random=drawn,
            evaluations=cost[0],
            multiply_adds=cost[1],
        )

    def _aims(self) -> list[tuple[Score, Callable[[Trial], bool]]]:
        """What is climbed, and when nothing can be gained any more."""
        if self.options.objective == "uniform":
            return [(lambda trial: (trial.uncertainty,), lambda trial: False)]
        depth = self.backend.config.num_hidden_layers

        def full(name: str) -> Callable[[Trial], bool]:
            return lambda trial: trial.exits[name] == depth

        return [(_exit_score(name), full(name)) for name in self.policies]

    def _climb(
        self,
        sighting: Sighting,
        clean: Trial,
        near: Mapping[int, list[Neighbour]],
        masked: Mapping[int, Trial],
        allowed: int,
        score: Score,
        done: Callable[[Trial], bool],
    ) -> None:
        """One greedy pass over the words; what it sees stays in ``sighting``."""
        best = clean
        for place in sorted(near, key=lambda i: score(masked[i]), reverse=True):
            if done(best) or len(best.chosen) == allowed:
                return
            trials = sighting.look({**best.chosen, place: neighbour} for neighbour in near[place])
            kept = [trial for trial in trials if self._keeps(trial, clean)]
            best = max([best, *kept], key=score)

    def _keeps(self, trial: Trial, clean: Trial) -> bool:
        return trial.answer == clean.answer or not self.options.keep_answer

    def _draw(
        self, sighting: Sighting, clean: Trial, near: Mapping[int, list[Neighbour]], count: int
    ) -> Trial:
        """A text with ``count`` random substitutions: the first of DRAWS that keeps the answer, if any."""
        if not count:
            return clean
        seed = "\0".join((str(self.options.seed), sighting.text, sighting.pair or "", str(count)))
        generator = random.Random(seed)
        draws = [
            {place: generator.choice(near[place]) for place in sorted(generator.sample(sorted(near), count))}
            for _ in range(DRAWS)
        ]
        trials = sighting.look(draws)
        return next((trial for trial in trials if self._keeps(trial, clean)), trials[0])

    def _altered(self, trial: Trial, clean: Trial, words: Sequence[Word], name: str) -> Altered:
        changes = [
            Change(word=i, old=words[i].text, new=n.text, cosine=n.cosine)
            for i, n in sorted(trial.chosen.items())
        ]
        return Altered(
            text=trial.text,
            pair=trial.pair,
            changes=changes,
            exit=trial.exits[name],
            kept=trial.answer == clean.answer,
        )


def _exit_score(name: str) -> Score:
    return lambda trial: (trial.exits[name], trial.uncertainty)


def word_embedding(backend: Backend) -> Tensor:
    """The word embedding of an opened float model, [pieces, features].

    Raises:
        ValueError: it answers by a method's own exits, whose cost and budget are others.
    """
    from golden_model.evaluation.backends import FloatBackend
    from golden_model.float.albert import ElbertForSequenceClassification

    model = backend.model if isinstance(backend, FloatBackend) else None
    if not isinstance(model, ElbertForSequenceClassification):
        raise ValueError("the model answers by a method's own exits; the study attacks ELBERT's")
    embedding = model.model.get_input_embeddings().weight
    assert isinstance(embedding, torch.Tensor)
    return embedding
