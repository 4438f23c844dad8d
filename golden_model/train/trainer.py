"""Resumable training: batches, optimiser, learning rate, files. The objective says what is learnt."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import safe_open

from golden_model.errors import PromiseBroken
from golden_model.float.files import save_tensors
from golden_model.provenance import header
from golden_model.train.average import TailAverage
from golden_model.train.batches import epoch_batches
from golden_model.train.objective import Objective
from golden_model.train.processes import Processes
from golden_model.train.watch import Watch

STATE_FILE = "state.safetensors"
"""Everything that resuming needs."""

REPLANNED = ("epochs", "max_steps", "evaluate_every", "save_every")
"""Options that may differ on resume."""


class TrainingOptions(BaseModel):
    """Every number of a training run; stored with it, and compared on resume.

    Defaults are the released code's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: float = Field(default=3.0, gt=0)
    max_steps: int | None = Field(default=None, ge=1)
    """Stops (and plans the learning rate) for this many steps, instead of ``epochs``."""
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=3e-5, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.06, ge=0, lt=1)
    """Share of the steps with rising learning rate; it then falls linearly to zero."""
    clip: float = Field(default=1.0, gt=0)
    """Largest gradient norm of the model's parameters."""
    autocast: Literal["none", "bfloat16"] = "none"
    max_length: int = Field(default=64, ge=3)
    seed: int = Field(default=0, ge=0)
    evaluate_every: int = Field(default=1000, ge=1)
    save_every: int = Field(default=250, ge=1)
    average: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps, the last ones, whose weights' mean is measured and written; 0: the last weights."""


class Trainer:
    """One training run in one folder.

    Folder layout: ``state.safetensors`` (everything resuming needs: parameters, optimiser, random state and,
    as JSON in its header, position and history), ``latest/`` and ``best/`` (complete checkpoints; best by
    the objective's score).
    """

    def __init__(
        self,
        objective: Objective,
        options: TrainingOptions,
        output: Path,
        facts: dict[str, Any] | None = None,
    ) -> None:
        """``facts`` (data hashes and the like) go into the record as they are."""
        self.objective = objective
        self.options, self.output = options, Path(output)
        self.facts = dict(facts or {})
        self.steps_per_epoch = math.ceil(len(objective.lengths) / options.batch_size)
        self.total_steps = options.max_steps or max(1, round(options.epochs * self.steps_per_epoch))
        self.processes = Processes(objective.device)
        self.step = 0
        self.plans = [{"from_step": 0, "total_steps": self.total_steps}]
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.seconds = 0.0
        self._recent: deque[float] = deque(maxlen=200)
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": [parameter for _, parameter in group.parameters],
                    "lr": group.learning_rate,
                    "weight_decay": group.weight_decay,
                    "start": group.learning_rate,
                }
                for group in objective.groups
            ],
            fused=True,
        )
        self.average = TailAverage(objective.named(), options.average)
        self.header = header(options.seed, self.facts.get("start_sha256"))

    @property
    def finished(self) -> bool:
        """Whether every planned step is done."""
        return self.step >= self.total_steps

    def rate_factor(self, step: int) -> float:
        """Share of the full learning rate at a step: linear rise over the warm-up, then linear fall to 0."""
        warm = self.options.warmup * self.total_steps
        if step < warm:
            return (step + 1) / (warm + 1)
        return max(0.0, (self.total_steps - step) / max(1.0, self.total_steps - warm))

    def save_state(self) -> None:
        """Writes ``state.safetensors`` whole; like all that writes, in the main process alone."""
        if self.processes.index:
            return
        self.output.mkdir(parents=True, exist_ok=True)
        tensors = {"random": torch.get_rng_state()}
        for name, parameter in self.objective.named():
            tensors[f"parameter/{name}"] = parameter
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{key}/{name}"] = torch.as_tensor(value)
        tensors |= {f"average/{name}": mean for name, mean in self.average.tensors().items()}
        document = {
            "step": self.step,
            "averaged": self.average.count,
            "plans": self.plans,
            "seconds": self.seconds,
            "options": self.options.model_dump(),
            "facts": self.facts,
            "history": self.history,
            "best": self.best,
        }
        save_tensors(tensors, self.output / STATE_FILE, {"state": json.dumps(document)})

    def resume(self) -> bool:
        """Continues from ``state.safetensors`` when there is one; says whether there was.

        How long to train may be planned anew; the learning rate then follows the new plan from here on.

        Raises:
            ValueError: when that run had other options or other data.
        """
        path = self.output / STATE_FILE
        if not path.is_file():
            return False
        with safe_open(path, "pt") as file:
            document = json.loads(file.metadata()["state"])
            # an option that is younger than the run had its default
            before = type(self.options)(**document["options"]).model_dump()
            for key, value in self.options.model_dump().items():
                if key not in (*REPLANNED, *self.objective.unread) and before[key] != value:
                    raise ValueError(f"{path} was trained with {key} {before[key]!r}, asked for {value!r}")
            then, now = document["facts"], json.loads(json.dumps(self.facts))
            if then != now:
                changed = [key for key in {**now, **then} if then.get(key) != now.get(key)]
                raise ValueError(f"{path} was trained on other inputs: {', '.join(changed)} differ")
            keys = set(file.keys())
            with torch.no_grad():
                for name, parameter in self.objective.named():
                    parameter.copy_(file.get_tensor(f"parameter/{name}"))
                    state = {
                        key: file.get_tensor(f"optimizer/{key}/{name}").to(parameter.device, copy=True)
                        for key in ("step", "exp_avg", "exp_avg_sq")
                        if f"optimizer/{key}/{name}" in keys
                    }
                    if state:
                        self.optimizer.state[parameter] = state
            kept = {name: f"average/{name}" for name, _ in self.objective.named()}
            means = {name: file.get_tensor(key) for name, key in kept.items() if key in keys}
            self.average.restore(means, document.get("averaged", 0))
            torch.set_rng_state(file.get_tensor("random"))
        self.step, self.seconds = document["step"], document["seconds"]
        self.history, self.best = document["history"], document["best"]
        self.plans = document["plans"]
        if self.plans[-1]["total_steps"] != self.total_steps:
            self.plans.append({"from_step": self.step, "total_steps": self.total_steps})
        return True

    def record(self) -> dict[str, Any]:
        """The run so far, for ``training.json``."""
        return {
            "header": self.header,
            "step": self.step,
            "averaged_steps": self.average.count,
            "total_steps": self.total_steps,
            "plans": self.plans,
            "steps_per_epoch": self.steps_per_epoch,
            "seconds": round(self.seconds, 1),
            "options": self.options.model_dump(),
            "inputs": self.facts,
            "parameters": sum(p.numel() for p in self.objective.module.parameters()),
            "trained_parameters": sum(p.numel() for _, p in self.objective.named()),
            **self.objective.account(self.processed(), self.step, self.seconds),
            "best": self.best,
            "history": self.history,
        }

    def batches(self, epoch: int) -> list[list[int]]:
        """Sample numbers of every batch of an epoch."""
        options = self.options
        return epoch_batches(self.objective.lengths, options.batch_size, options.seed, epoch)

    def processed(self) -> Iterator[tuple[int, int]]:
        """Rows and width, its padding included, of every batch up to the present step.

        Of whole batches: what the shares of several processes need less of padding is not taken off.
        """
        lengths = self.objective.lengths
        for first in range(0, self.step, self.steps_per_epoch):
            batches = self.batches(first // self.steps_per_epoch)
            for index in batches[: self.step - first]:
                yield len(index), max(lengths[i] for i in index)

    def evaluate(self) -> dict[str, Any]:
        """The objective's measurements, kept in the history; writes ``latest/`` and, if better, ``best/``."""
        module = self.objective.module
        was_training = module.training
        module.eval()
        with self.average.applied(), torch.inference_mode():
            entry = {"step": self.step, **self.objective.evaluate()}
        module.train(was_training)
        if self.history and self.history[-1]["step"] == self.step:
            self.history.pop()
        recent = self._recent
        entry["train_loss"] = round(sum(recent) / len(recent), 5) if recent else None
        self.history.append(entry)
        better = self.best is None or self.objective.score(entry) > self.objective.score(self.best)
        if better:
            self.best = entry
        self.write_latest()
        if better:
            self.write("best")
        return entry

    def write(self, name: str) -> Path:
        """Writes the present weights as the checkpoint ``name`` of the run's folder."""
        folder = self.output / name
        if not self.processes.index:
            with self.average.applied():
                self.objective.write(folder, self.record())
        return folder

    def write_latest(self) -> None:
        """Writes ``latest/`` and the state to resume from."""
        self.write("latest")
        self.save_state()

    def train_step(self, index: list[int]) -> float:
        """One optimiser step on the samples ``index``, of which this process computes its share.

        Returns:
            The loss of them all.

        Raises:
            PromiseBroken: when the loss is not finite.
        """
        factor = self.rate_factor(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["start"] * factor
        device, share = self.objective.device, self.processes.share(index)
        loss = torch.zeros((), device=device)
        if share:
            enabled = self.options.autocast == "bfloat16"
            with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
                loss = self.objective.loss(share) * (len(share) / len(index))
        value = float(self.processes.total(loss.detach()))
        if not math.isfinite(value):
            raise PromiseBroken(f"the loss at step {self.step} is {value}")
        self.optimizer.zero_grad(set_to_none=True)
        if share:
            loss.backward()
        self.processes.add_gradients(parameter for _, parameter in self.objective.named())
        torch.nn.utils.clip_grad_norm_(self.objective.module.parameters(), self.options.clip)
        self.optimizer.step()
        self.step += 1
        self.average.stepped(self.step, self.total_steps)
        return value

    def run(self, stop_after: int | None = None, watch: Watch | None = None) -> dict[str, Any]:
        """Trains to the end, or until ``stop_after`` steps are done in all; returns the record.

        On KeyboardInterrupt it saves first; what is lost on a kill is less than ``save_every`` steps.
        """
        goal = self.total_steps if stop_after is None else min(stop_after, self.total_steps)
        if watch is None or self.processes.index > 0:
            watch = Watch()
        self._recent.clear()
        self.objective.module.train()
        began, before = time.monotonic(), self.seconds
        epoch, batches = -1, []
        watch.begin(self.step, self.total_steps)
        try:
            while self.step < goal:
                if self.step // self.steps_per_epoch != epoch:
                    epoch = self.step // self.steps_per_epoch
                    batches = self.batches(epoch)
                self._recent.append(self.train_step(batches[self.step % self.steps_per_epoch]))
                self.seconds = before + time.monotonic() - began
                watch.step(self.step, sum(self._recent) / len(self._recent), self.seconds)
                if self.step % self.options.evaluate_every == 0 or self.step == self.total_steps:
                    watch.evaluated(f"step {self.step}: {self.objective.describe(self.evaluate())}")
                elif self.step % self.options.save_every == 0:
                    self.write_latest()
        except KeyboardInterrupt:
            self.save_state()
            raise
        finally:
            watch.end()
        self.save_state()
        self.processes.wait()  # what the main process wrote is there for all
        return self.record()
