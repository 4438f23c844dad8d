"""Resumable joint training of all exits."""

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
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import safe_open
from safetensors.torch import save_file

from golden_model.albert import ElbertForSequenceClassification
from golden_model.metrics import iteration_scores
from golden_model.results import PromiseBroken, header, replacing, write_json
from golden_model.tokenizer import ElbertTokenizer
from golden_model.train.batches import Encoded, collate, epoch_batches
from golden_model.train.evaluate import all_logits
from golden_model.train.loss import JointLoss

STATE_FILE = "state.safetensors"
WEIGHTS_FILE = "model.safetensors"
EXIT_WEIGHTS_FILE = "exit_weights.safetensors"
RECORD_FILE = "training.json"

REPLANNED = ("epochs", "max_steps", "evaluate_every", "save_every")
"""Options that may differ on resume."""


class TrainingOptions(BaseModel):
    """Every number of a training run; stored with it, and compared on resume.

    Defaults are the released code's, learning rate and batches apart where the recipe says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: float = Field(default=3.0, gt=0)
    max_steps: int | None = Field(default=None, ge=1)
    """Stops (and plans the learning rate) for this many steps, instead of ``epochs``."""
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=3e-5, gt=0)
    exit_learning_rate: float = Field(default=1e-2, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.06, ge=0, lt=1)
    """Share of the steps with rising learning rate; it then falls linearly to zero."""
    clip: float = Field(default=1.0, gt=0)
    """Largest gradient norm of the model's parameters."""
    weighting: Literal["dynamic", "equal"] = "dynamic"
    autocast: Literal["none", "bfloat16"] = "none"
    max_length: int = Field(default=64, ge=3)
    seed: int = Field(default=0, ge=0)
    evaluate_every: int = Field(default=1000, ge=1)
    save_every: int = Field(default=250, ge=1)


def save_tensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Writes a safetensors file whole or not at all."""
    with replacing(path) as temporary:
        save_file({k: v.detach().contiguous() for k, v in tensors.items()}, temporary, metadata=metadata)


def write_checkpoint(
    folder: Path,
    model: ElbertForSequenceClassification,
    tokenizer: ElbertTokenizer,
    loss: JointLoss | None,
    record: dict[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes a complete checkpoint folder that Hugging Face and :func:`golden_model.albert.load_float` open.

    Every file is replaced whole: the folder can be read at any moment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = model.model.config.to_dict()
    config["architectures"] = ["AlbertForSequenceClassification"]
    config["dtype"] = str(dtype).removeprefix("torch.")
    write_json(folder / "config.json", dict(sorted(config.items())))
    tokenizer.save(folder)
    weights = {name: value.to(dtype) for name, value in model.model.state_dict().items()}
    save_tensors(weights, folder / WEIGHTS_FILE, {"format": "pt"})
    if loss is not None:
        save_tensors({"t": loss.t}, folder / EXIT_WEIGHTS_FILE, {"weighting": loss.weighting})
    write_json(folder / RECORD_FILE, record)


class Trainer:
    """One training run in one folder.

    Folder layout: ``state.safetensors`` (everything resuming needs: parameters, optimiser, random state and,
    as JSON in its header, position and history), ``latest/`` and ``best/`` (complete checkpoints; best by
    accuracy of the last iteration).
    """

    def __init__(
        self,
        model: ElbertForSequenceClassification,
        tokenizer: ElbertTokenizer,
        train: Encoded,
        dev: Encoded,
        options: TrainingOptions,
        output: Path,
        facts: dict[str, Any] | None = None,
    ) -> None:
        """``facts`` (data hashes and the like) go into the record as they are.

        Raises:
            ValueError: when a sentence is longer than the model's position embedding.
        """
        longest = max(len(ids) for part in (train, dev) for ids in part.ids)
        if longest > model.config.max_position_embeddings:
            raise ValueError(
                f"a sentence of {longest} tokens is above max_position_embeddings "
                f"{model.config.max_position_embeddings}"
            )
        self.model, self.tokenizer = model, tokenizer
        self.train_data, self.dev_data = train, dev
        self.options, self.output = options, Path(output)
        self.facts = dict(facts or {})
        self.loss = JointLoss(model.config.num_hidden_layers, options.weighting)
        self.steps_per_epoch = math.ceil(len(train) / options.batch_size)
        self.total_steps = options.max_steps or max(1, round(options.epochs * self.steps_per_epoch))
        self.step = 0
        self.plans = [{"from_step": 0, "total_steps": self.total_steps}]
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.seconds = 0.0
        self._recent: deque[float] = deque(maxlen=200)
        self.optimizer = self._make_optimizer()
        self.header = header(options.seed, self.facts.get("start_sha256"))

    def _make_optimizer(self) -> torch.optim.AdamW:
        decayed: list[torch.nn.Parameter] = []
        plain: list[torch.nn.Parameter] = []
        for name, parameter in self.model.named_parameters():
            (plain if parameter.ndim < 2 or "LayerNorm" in name else decayed).append(parameter)
        rate, decay = self.options.learning_rate, self.options.weight_decay
        groups: list[dict[str, Any]] = [
            {"params": decayed, "lr": rate, "weight_decay": decay, "start": rate},
            {"params": plain, "lr": rate, "weight_decay": 0.0, "start": rate},
        ]
        if self.loss.t.requires_grad and self.loss.t.numel():
            exit_rate = self.options.exit_learning_rate
            groups.append({"params": [self.loss.t], "lr": exit_rate, "weight_decay": 0.0, "start": exit_rate})
        return torch.optim.AdamW(groups, fused=True)

    def rate_factor(self, step: int) -> float:
        """Share of the full learning rate at a step: linear rise over the warm-up, then linear fall to 0."""
        warm = self.options.warmup * self.total_steps
        if step < warm:
            return (step + 1) / (warm + 1)
        return max(0.0, (self.total_steps - step) / max(1.0, self.total_steps - warm))

    def _named(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        yield from self.model.model.named_parameters()
        if self.loss.t.requires_grad and self.loss.t.numel():
            yield "exit_weights.t", self.loss.t

    def save_state(self) -> None:
        """Writes ``state.safetensors`` whole."""
        self.output.mkdir(parents=True, exist_ok=True)
        tensors = {"random": torch.get_rng_state()}
        for name, parameter in self._named():
            tensors[f"parameter/{name}"] = parameter
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{key}/{name}"] = torch.as_tensor(value)
        document = {
            "step": self.step,
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
            for key, value in self.options.model_dump().items():
                if key not in REPLANNED and document["options"].get(key) != value:
                    raise ValueError(
                        f"{path} was trained with {key} {document['options'].get(key)!r}, asked for {value!r}"
                    )
            if document["facts"] != json.loads(json.dumps(self.facts)):
                changed = [k for k in self.facts if document["facts"].get(k) != self.facts[k]]
                raise ValueError(f"{path} was trained on other inputs: {', '.join(changed)} differ")
            keys = set(file.keys())
            with torch.no_grad():
                for name, parameter in self._named():
                    parameter.copy_(file.get_tensor(f"parameter/{name}"))
                    state = {
                        key: file.get_tensor(f"optimizer/{key}/{name}").clone()
                        for key in ("step", "exp_avg", "exp_avg_sq")
                        if f"optimizer/{key}/{name}" in keys
                    }
                    if state:
                        self.optimizer.state[parameter] = state
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
            "total_steps": self.total_steps,
            "plans": self.plans,
            "steps_per_epoch": self.steps_per_epoch,
            "seconds": round(self.seconds, 1),
            "options": self.options.model_dump(),
            "inputs": self.facts,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "best": self.best,
            "history": self.history,
        }

    def evaluate(self) -> dict[str, Any]:
        """Scores on the dev data, appended to the history; updates ``latest/`` and, if better, ``best/``."""
        logits = all_logits(self.model, self.dev_data, self.tokenizer.pad_id)
        with torch.inference_mode():
            total, each = self.loss(logits, self.dev_data.labels)
        found = iteration_scores(logits, self.dev_data.labels)
        entry: dict[str, Any] = {
            "step": self.step,
            "dev_loss": round(float(total), 5),
            "dev_cross_entropy": [round(float(v), 5) for v in each],
            "dev_accuracy": [round(s.accuracy, 6) for s in found],
            "dev_f1": [round(s.f1, 6) for s in found],
            "dev_mcc": [round(s.mcc, 6) for s in found],
            "exit_weights": [round(float(v), 4) for v in self.loss.weights().detach()],
        }
        if self.history and self.history[-1]["step"] == self.step:
            self.history.pop()
        recent = self._recent
        entry["train_loss"] = round(sum(recent) / len(recent), 5) if recent else None
        self.history.append(entry)
        better = self.best is None or entry["dev_accuracy"][-1] > self.best["dev_accuracy"][-1]
        if better:
            self.best = entry
        self.write_latest()
        if better:
            self.write("best")
        return entry

    def write(self, name: str) -> Path:
        """Writes the present weights as the checkpoint ``name`` of the run's folder."""
        folder = self.output / name
        write_checkpoint(folder, self.model, self.tokenizer, self.loss, self.record())
        return folder

    def write_latest(self) -> None:
        """Writes ``latest/`` and the state to resume from."""
        self.write("latest")
        self.save_state()

    def train_step(self, index: list[int]) -> float:
        """One optimiser step on the samples ``index``; returns the joint loss.

        Raises:
            PromiseBroken: when the loss is not finite.
        """
        batch = collate(self.train_data, index, self.tokenizer.pad_id)
        factor = self.rate_factor(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["start"] * factor
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.autocast == "bfloat16"):
            logits = self.model(batch.ids, batch.mask, batch.types)
        total, _ = self.loss(logits, batch.labels)
        value = float(total.detach())
        if not math.isfinite(value):
            raise PromiseBroken(f"the loss at step {self.step} is {value}")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)
        self.optimizer.step()
        self.step += 1
        return value

    def run(self, stop_after: int | None = None, quiet: bool = False) -> dict[str, Any]:
        """Trains to the end, or until ``stop_after`` steps are done in all; returns the record.

        On KeyboardInterrupt it saves first; what is lost on a kill is less than ``save_every`` steps.
        """
        goal = self.total_steps if stop_after is None else min(stop_after, self.total_steps)
        lengths = [len(ids) for ids in self.train_data.ids]
        self._recent.clear()
        self.model.train()
        columns = (
            TextColumn("step"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
        )
        began, before = time.monotonic(), self.seconds
        epoch, batches = -1, []
        with Progress(*columns, disable=quiet) as progress:
            task = progress.add_task("", total=self.total_steps, completed=self.step)
            try:
                while self.step < goal:
                    if self.step // self.steps_per_epoch != epoch:
                        epoch = self.step // self.steps_per_epoch
                        batches = epoch_batches(lengths, self.options.batch_size, self.options.seed, epoch)
                    self._recent.append(self.train_step(batches[self.step % self.steps_per_epoch]))
                    self.seconds = before + time.monotonic() - began
                    mean = sum(self._recent) / len(self._recent)
                    progress.update(task, completed=self.step, description=f"loss {mean:.3f}")
                    if self.step % 50 == 0 and not quiet and not progress.console.is_terminal:
                        print(f"step {self.step} loss {mean:.4f} seconds {self.seconds:.0f}", flush=True)
                    if self.step % self.options.evaluate_every == 0 or self.step == self.total_steps:
                        entry = self.evaluate()
                        if not quiet:
                            progress.console.print(
                                f"step {self.step}: dev accuracy "
                                + " ".join(f"{100 * v:.1f}" for v in entry["dev_accuracy"])
                            )
                    elif self.step % self.options.save_every == 0:
                        self.write_latest()
            except KeyboardInterrupt:
                self.save_state()
                raise
        self.save_state()
        return self.record()
