"""Schemes drawn by a multi-objective search: Optuna's tree-structured Parzen estimator (Ozaki et al. 2020).

Its trials are in an SQLite file of the study's folder. A trial that a killed study left unfinished is given
up and its scheme asked for again, so that none is lost.
"""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from quant.schemes import Scheme

if TYPE_CHECKING:
    from optuna import Study, Trial

OBJECTIVES: dict[str, Literal["maximize", "minimize"]] = {
    "accuracy": "maximize",
    "weight_bytes": "minimize",
    "products_x_bits": "minimize",
    "predicted_cycles": "minimize",
}
"""Columns of a row and their directions."""
NO_CYCLES = math.inf
"""Of a scheme that the hardware does not run."""
WEIGHTS = ("8", "6", "4", "3", "2", "ternary")
FILE = "search.db"
SCHEME, FAILED = "scheme", "error"
"""Attributes of a trial: its scheme, and why that could not be measured."""


def draw_scheme(trial: Trial) -> Scheme:
    """The scheme of a trial; whatever is drawn is legal."""
    weights = trial.suggest_categorical("weights", WEIGHTS)
    bits = 2 if weights == "ternary" else int(weights)
    members: dict[str, Any] = {
        "weight_bits": bits,
        "ternary": weights == "ternary",
        "activation_bits": trial.suggest_int("activation_bits", 4, 8),
        "observer": trial.suggest_categorical("observer", ("max", "percentile", "mse")),
        "scales": trial.suggest_categorical("scales", ("iteration", "shared")),
        "symmetric": trial.suggest_categorical("symmetric", (True, False)),
    }
    if bits < 8:
        members["rounding"] = trial.suggest_categorical("rounding", ("nearest", "gptq"))
        members["weight_observer"] = trial.suggest_categorical("weight_observer", ("max", "mse"))
        members["granularity"] = trial.suggest_categorical("granularity", ("channel", "group"))
        if trial.suggest_categorical("eight_bit_head", (True, False)):
            plain = {"weight_bits": 8, "ternary": False, "granularity": "channel"}
            members["mixed"] = {"pooler": plain, "classifier": plain}
    if members["scales"] == "iteration":
        members["correct_bias"] = trial.suggest_categorical("correct_bias", (True, False))
    return Scheme(**members)


class Search:
    """So many trials of a study, in its file."""

    def __init__(self, folder: Path, digest: str, trials: int, seed: int) -> None:
        """Opens the file, or makes it.

        Args:
            folder: Of the study.
            digest: Of its subject: another one is another search in the same file.
            trials: Finished ones in all, those of before included.
            seed: Of the sampler.

        Raises:
            ValueError: Optuna is not installed.
            OSError: the file is none of Optuna's.
        """
        if importlib.util.find_spec("optuna") is None:
            raise ValueError("--search: the package optuna is not installed: install the extra 'study'")
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(logging.ERROR)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        try:
            self.study: Study = optuna.create_study(
                storage=f"sqlite:///{path.resolve()}",
                study_name=digest,
                directions=list(OBJECTIVES.values()),
                load_if_exists=True,
            )
        except (SQLAlchemyError, RuntimeError) as error:
            raise OSError(f"{path} is no file of searches: {str(error).splitlines()[0]}") from error
        self.trials = trials
        self._states = optuna.trial.TrialState
        # a resumed sampler must not draw what the interrupted one drew
        self.study.sampler = optuna.samplers.TPESampler(
            seed=seed + len(self.study.trials), n_startup_trials=min(10, trials), constant_liar=True
        )
        self._running: dict[Scheme, list[Trial]] = {}
        self._give_back()

    def _give_back(self) -> None:
        """Has what an ended process left unfinished drawn again."""
        for trial in self.study.get_trials(states=(self._states.RUNNING,)):
            self.study.tell(trial.number, state=self._states.FAIL)
            if trial.params:
                self.study.enqueue_trial(trial.params)

    @property
    def finished(self) -> int:
        """Trials with a point, or whose scheme could not be measured."""
        return sum(1 for t in self.study.trials if t.state == self._states.COMPLETE or FAILED in t.user_attrs)

    @property
    def wanted(self) -> int:
        """Trials that are still to be drawn."""
        running = sum(len(trials) for trials in self._running.values())
        return max(0, self.trials - self.finished - running)

    def ask(self) -> Scheme:
        """Draws a scheme; another trial may have the same."""
        trial = self.study.ask()
        scheme = draw_scheme(trial)
        trial.set_user_attr(SCHEME, scheme.as_dict())
        self._running.setdefault(scheme, []).append(trial)
        return scheme

    def tell(self, scheme: Scheme, row: Mapping[str, Any]) -> None:
        """What became of a scheme that was asked for."""
        for trial in self._running.pop(scheme):
            if row["error"] is not None:
                trial.set_user_attr(FAILED, row["error"])
                self.study.tell(trial, state=self._states.FAIL)
                continue
            values = [row[name] for name in OBJECTIVES]
            self.study.tell(trial, [NO_CYCLES if value is None else float(value) for value in values])

    def schemes(self) -> list[Scheme]:
        """Of all finished trials, in their order, each once."""
        found = [
            Scheme.from_dict(trial.user_attrs[SCHEME])
            for trial in self.study.trials
            if trial.state == self._states.COMPLETE or FAILED in trial.user_attrs
        ]
        return list(dict.fromkeys(found))
