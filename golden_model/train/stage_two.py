"""The second stage: a finished ELBERT's full depth teaches its own first exits, or another method's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden_model.float.batches import Encoded
from golden_model.float.methods.model import ExitModel
from golden_model.train.answers import ANSWERS_FILE, Answers, Bert, FullDepth, Source
from golden_model.train.distillation import Distillation
from golden_model.train.joint import JointOptions

OWN, TEACHER = "own", "teacher"
"""Names of the teachers in the kept answers: the start at full depth, and a BERT."""


@dataclass(frozen=True)
class StageTwo:
    """Where a second stage starts and whom it learns from.

    Members:
        folder: A finished ELBERT: a run, or a float checkpoint.
        own: Share of the start's own full depth in the teachers' answers, 0..1; the rest is a BERT's. None: 1
            without a BERT, half with one.
    """

    folder: Path
    own: float | None = None

    def own_share(self, with_bert: bool) -> float:
        """:attr:`own`, or what it is by default.

        Raises:
            ValueError: it is not in 0..1, or does not fit having a BERT or not.
        """
        if self.own is None:
            return 0.5 if with_bert else 1.0
        if not 0 <= self.own <= 1:
            raise ValueError(f"own_answers {self.own} is not in 0..1")
        if self.own < 1 and not with_bert:
            raise ValueError(f"own_answers {self.own} leaves a share to a teacher, and there is none")
        if self.own == 1 and with_bert:
            raise ValueError(f"own_answers {self.own} leaves the teacher nothing: name none")
        return self.own


def checkpoint_of(folder: Path) -> Path:
    """The checkpoint of a finished run, its last step; a folder without ``latest`` is one itself."""
    return folder / "latest" if (folder / "latest").is_dir() else folder


def check_options(options: JointOptions, method: str = "elbert") -> None:
    """Raises ValueError for what a second stage of ``method`` cannot do."""
    if method == "albert":
        raise ValueError("a second stage is about exits, and albert has none: not --method albert")
    if options.hidden:
        raise ValueError(f"hidden {options.hidden}: a second stage learns answers, not hidden states")
    if options.self_distillation:
        raise ValueError(
            f"self_distillation {options.self_distillation}: a second stage's teacher is the full depth it "
            "starts with"
        )


def kept_answers(
    stage: StageTwo,
    model: ExitModel,
    train: Encoded,
    pad_id: int,
    distillation: Distillation | None,
    options: JointOptions,
    output: Path,
    facts: dict[str, Any],
) -> Answers:
    """The teachers' answers to ``train``, kept in the run's folder ``output``.

    Args:
        stage: Says how much of whom.
        model: As it starts; a copy of it answers.
        train: Samples in the student's ids.
        pad_id: The student's.
        distillation: The BERT with the same samples; None: there is none.
        options: Temperature and precision.
        output: Folder of the run.
        facts: What the answers follow from, beside the options.
    """
    own = stage.own_share(distillation is not None)
    sources: dict[str, tuple[float, Source]] = {}
    if own:
        sources[OWN] = (own, FullDepth(model, train, pad_id))
    if distillation is not None:
        sources[TEACHER] = (1 - own, Bert(distillation))
    facts = {**facts, "max_length": options.max_length}
    lengths: Sequence[int] = [len(ids) for ids in train.ids]
    bfloat16 = options.autocast == "bfloat16"
    return Answers(sources, lengths, options.temperature, output / ANSWERS_FILE, facts, bfloat16)
