"""A model folder, opened: texts to classes by float model, golden model or simulated accelerator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from torch import Tensor

from elbert.bundled import BUNDLED
from elbert.classification import Classification, HardwareRun
from elbert.policies import POLICY, make_policy, read_certificate
from golden_model.config import ElbertConfig
from golden_model.errors import PromiseBroken
from golden_model.evaluation.backends import FloatBackend, GoldenBackend, model_folder
from golden_model.exits import ExitPolicy
from golden_model.integer.model import Sentence, Trace
from golden_model.integer.scales import dequantize
from golden_model.labels import read_label_names
from golden_model.numerics import ONE
from golden_model.text.tokenizer import ElbertTokenizer

BACKENDS = ("float", "golden", "rtl")


@dataclass(frozen=True)
class Simulation:
    """How ``backend="rtl"`` simulates.

    Members:
        array: Multipliers, ROWSxCOLUMNS.
        workers: Simulations side by side.
        seed: Of undefined values.
        run_dir: Where logs, traces, and waves of a failure go.
        check: Raise where an integer differs from the golden model; else the answers say so.
        on_build: Called when the simulation is built.
        on_progress: Told of each run that was compared: its text, its mismatches.
    """

    array: str = "8x16"
    workers: int = 2
    seed: int = 1
    run_dir: Path = Path("runs/simulation")
    check: bool = True
    on_build: Callable[[], None] | None = None
    on_progress: Callable[[str, int], None] | None = None


class Model:
    """A model folder with a ``float`` or an ``integer`` checkpoint, or both; each is opened when first used.

    Members:
        folder: As given.
        forms: ``float``, ``golden``: what the folder holds.
    """

    def __init__(self, folder: Path | str, device: str = "cpu") -> None:
        """See :func:`load`."""
        self.folder, self.device = Path(folder), device
        self.forms = [form for form in ("float", "golden") if self._has(form)]
        if not self.forms:
            model_folder(self.folder, "golden")  # says what is missing

    def __repr__(self) -> str:
        return f"Model({str(self.folder)!r}, {' and '.join(self.forms)}, classes {list(self.label2id)})"

    def _has(self, form: str) -> bool:
        try:
            model_folder(self.folder, form)
        except FileNotFoundError:
            return False
        return True

    @cached_property
    def float(self) -> FloatBackend:
        """The float model; raises FileNotFoundError where the folder holds none."""
        return FloatBackend(self.folder, self.device)

    @cached_property
    def golden(self) -> GoldenBackend:
        """The golden model; raises FileNotFoundError where the folder holds none."""
        return GoldenBackend(self.folder, self.device)

    @cached_property
    def id2label(self) -> dict[int, str]:
        """Names of the classes; their numbers as text where the model names none."""
        count = self.config.num_labels
        return dict(enumerate(read_label_names(self.folder, count) or [str(i) for i in range(count)]))

    @property
    def label2id(self) -> dict[str, int]:
        """Numbers of the classes by name."""
        return {name: i for i, name in self.id2label.items()}

    @property
    def _any(self) -> FloatBackend | GoldenBackend:
        """A form that is open already; else the golden one, where there is one."""
        opened = [form for form in self.forms if form in self.__dict__]
        return self.float if (opened or self.forms[::-1])[0] == "float" else self.golden

    @property
    def config(self) -> ElbertConfig:
        """Geometry."""
        return self._any.config

    @property
    def tokenizer(self) -> ElbertTokenizer:
        """Text to ids."""
        return self._any.tokenizer

    @property
    def weights(self) -> dict[str, Tensor]:
        """The integer checkpoint's tensors by name (docs/numerics.md)."""
        return dict(self.golden.model.checkpoint.tensors)

    def dequantize(self, name: str) -> Tensor:
        """A tensor of :attr:`weights` in real units, float64.

        Raises:
            ValueError: there is no such tensor, or it has no unit.
        """
        checkpoint = self.golden.model.checkpoint
        if name not in checkpoint.tensors:
            raise ValueError(f"tensor {name!r} is not part of an integer checkpoint")
        return self._units(name, checkpoint.tensors[name])

    def sha256(self, backend: str = "golden") -> str:
        """Hash of the checkpoint that answers for a backend."""
        return self.backend(backend).sha256

    def backend(self, backend: str) -> FloatBackend | GoldenBackend:
        """The form that answers for ``float``, ``golden`` or ``rtl``, opened; ValueError for another name."""
        if backend not in BACKENDS:
            raise ValueError(f"backend {backend!r} is not one of {', '.join(BACKENDS)}")
        return self.float if backend == "float" else self.golden

    @overload
    def classify(  # type: ignore[overload-overlap]  # a str is a sequence of str too
        self,
        texts: str,
        pairs: str | None = None,
        *,
        policy: ExitPolicy | str | Path | None = POLICY,
        backend: str = "golden",
        trace: str | Sequence[str] | None = None,
        simulation: Simulation | None = None,
        answer_first: bool | None = None,
    ) -> Classification: ...

    @overload
    def classify(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        policy: ExitPolicy | str | Path | None = POLICY,
        backend: str = "golden",
        trace: str | Sequence[str] | None = None,
        simulation: Simulation | None = None,
        answer_first: bool | None = None,
    ) -> list[Classification]: ...

    def classify(
        self,
        texts: str | Sequence[str],
        pairs: str | Sequence[str] | None = None,
        *,
        policy: ExitPolicy | str | Path | None = POLICY,
        backend: str = "golden",
        trace: str | Sequence[str] | None = None,
        simulation: Simulation | None = None,
        answer_first: bool | None = None,
    ) -> Classification | list[Classification]:
        """The class of each text, and the iteration after which it left.

        Args:
            texts: One text or several; several are computed together, and no answer depends on the others.
            pairs: For a model of pairs, the second text of each.
            policy: When a text leaves: a policy, or its name with the usual thresholds; ``certified``: the
                thresholds of the certificate beside the checkpoint, or the path of one, as ``elbert run``
                takes them (docs/guarantees.md); None: never early.
            backend: ``float``, ``golden`` (integers) or ``rtl`` (the simulated accelerator, every named
                tensor compared with the golden model).
            trace: Names of integer tensors to keep, shell patterns such as ``iteration.2.attention.*``.
            simulation: How to simulate, for ``rtl``.
            answer_first: Compute, in the iteration a text leaves after, of the rows that nothing reads any
                more none (docs/answer-first.md); answers are the same. None: so unless ``trace`` asks for
                tensors, which then have every row. The simulated hardware always computes all rows.

        Returns:
            A classification for one text, a list of them in the order given for several.

        Raises:
            ValueError: a text is empty or no text, the policy or the backend is not known, a certificate is
                broken or of another checkpoint, or ``float`` is asked for integers.
            OSError: the folder holds no checkpoint of that form, or no certificate that is asked for.
            PromiseBroken: of ``rtl``: an integer differs, or the simulation broke off.
        """
        if isinstance(texts, str):
            if pairs is not None and not isinstance(pairs, str):
                raise ValueError("one text has one pair, not a list of them")
            seconds = None if pairs is None else [pairs]
            return self._classify([texts], seconds, policy, backend, trace, simulation, answer_first)[0]
        if isinstance(pairs, str):
            raise ValueError("a list of texts has a list of pairs, not one")
        return self._classify(list(texts), pairs, policy, backend, trace, simulation, answer_first)

    def _classify(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        policy: ExitPolicy | str | Path | None,
        backend: str,
        trace: str | Sequence[str] | None,
        simulation: Simulation | None,
        answer_first: bool | None,
    ) -> list[Classification]:
        opened = self.backend(backend)
        policy = self._policy(policy, backend)
        if trace is not None and backend == "float":
            raise ValueError("trace names integer tensors: backend float has none, golden and rtl have")
        _check_texts(texts, pairs)
        if answer_first is None:
            answer_first = trace is None
        wanted = None if trace is None else Trace((trace,) if isinstance(trace, str) else tuple(trace))
        longest = self.config.max_position_embeddings
        sentences = opened.tokenizer.encode_many(texts, longest, pairs)
        if backend == "float":
            answers = self._float_answers(sentences, policy, answer_first)
        elif backend == "golden":
            answers = self._golden_answers(sentences, policy, wanted, answer_first)
        else:
            answers = self._rtl_answers(texts, sentences, policy, wanted, simulation or Simulation())
        return [
            Classification(
                text=text,
                pair=None if pairs is None else pairs[i],
                label=self.id2label[answer["label_id"]],
                iterations=self.config.num_hidden_layers,
                ids=tuple(sentence[0]),
                token_type_ids=tuple(sentence[1]),
                tokens=tuple(opened.tokenizer.pieces(sentence[0])),
                truncated=i in sentences.cut,
                **answer,
            )
            for i, (text, sentence, answer) in enumerate(zip(texts, sentences, answers, strict=True))
        ]

    def _policy(self, policy: ExitPolicy | str | Path | None, backend: str) -> ExitPolicy:
        if isinstance(policy, ExitPolicy):
            return policy
        if not isinstance(policy, str | Path | None):
            raise ValueError(f"policy {policy!r} is no ExitPolicy, nor the name of one or of a certificate")
        certificate = None if policy is None else read_certificate(policy, self.folder, backend)
        return make_policy(str(policy or "none")) if certificate is None else certificate.real_policy

    def _float_answers(
        self, sentences: Sequence[Sentence], policy: ExitPolicy, answer_first: bool
    ) -> list[dict[str, Any]]:
        from golden_model.float.leaving import answer_leaving  # brings transformers: seconds

        opened = self.float
        trajectories = answer_leaving(
            opened.model, sentences, opened.tokenizer.pad_id, policy, answer_first=answer_first
        )
        return [
            {
                "label_id": int(probabilities[-1].argmax()),
                "probabilities": tuple(probabilities[-1].tolist()),
                "exit_iteration": len(probabilities),
                "confidences": tuple(probabilities.amax(-1).tolist()),
            }
            for probabilities in trajectories
        ]

    def _golden_answers(
        self, sentences: Sequence[Sentence], policy: ExitPolicy, trace: Trace | None, answer_first: bool
    ) -> list[dict[str, Any]]:
        results = self.golden.model.run(sentences, policy, trace, answer_first=answer_first)
        return [
            {
                "label_id": result.label,
                "probabilities": tuple((result.probabilities[-1].double() / ONE).tolist()),
                "exit_iteration": result.exit_iteration,
                "confidences": tuple((result.probabilities.amax(-1).double() / ONE).tolist()),
                "tensors": result.taps,
                "_units": self._units,
            }
            for result in results
        ]

    def _rtl_answers(
        self,
        texts: Sequence[str],
        sentences: Sequence[Sentence],
        policy: ExitPolicy,
        trace: Trace | None,
        simulation: Simulation,
    ) -> list[dict[str, Any]]:
        from hw.params import parse_array
        from sim.sentences import SentenceRun, simulate_sentences

        tell = simulation.on_progress
        runs = simulate_sentences(
            self.golden.model.checkpoint,
            parse_array(simulation.array),
            sentences,
            policy.to_fixed(),
            seed=simulation.seed,
            workers=simulation.workers,
            run_dir=simulation.run_dir,
            on_build=simulation.on_build,
            on_progress=None if tell is None else lambda i, mismatches: tell(texts[i], mismatches),
        )

        def answer(run: SentenceRun) -> dict[str, Any]:
            registers, compared = run.outcome.registers, [outcome.comparison for outcome in run.both]
            first = next((c.first for c in compared if c.first), None)
            if simulation.check and first is not None:
                raise PromiseBroken(f"integers differ from the golden model; the first: {first}")
            taps = run.outcome.golden.taps  # equal to what the hardware wrote, or ``first`` says where not
            return {
                "label_id": registers["label"],
                "probabilities": tuple(p / ONE for p in registers["probabilities"]),
                "exit_iteration": registers["exit_iteration"],
                "confidences": tuple(c / ONE for c in registers["confidences"]),
                "tensors": {} if trace is None else {n: t for n, t in taps.items() if trace.wants(n)},
                "_units": self._units,
                "hardware": HardwareRun(
                    cycles=run.outcome.cycles,
                    cycles_full=run.both[-1].cycles,
                    checkpoints=sum(len(c.checkpoints) for c in compared),
                    elements=sum(c.elements for c in compared),
                    mismatches=sum(c.mismatches for c in compared),
                    first_mismatch=first.as_json() if first else None,
                    counters=registers["counters"],
                ),
            }

        return [answer(run) for run in runs]

    def _units(self, name: str, values: Tensor) -> Tensor:
        return dequantize(self.golden.model.checkpoint, name, values)


def load(folder: Path | str | None = None, device: str = "cpu") -> Model:
    """Opens a model folder.

    Args:
        folder: Holds a checkpoint, or ``float`` and ``integer`` folders with one each; None: the bundled one.
        device: Where PyTorch computes: ``cpu``, ``cuda``, ``cuda:N``, ``auto``.

    Raises:
        FileNotFoundError: there is no checkpoint, naming the files looked for.
        ValueError: a checkpoint is not legal, naming the file and what is wrong.
    """
    return Model(BUNDLED if folder is None else folder, device)


def _check_texts(texts: Sequence[str], pairs: Sequence[str] | None) -> None:
    if pairs is not None and len(pairs) != len(texts):
        raise ValueError(f"{len(texts)} texts and {len(pairs)} pairs")
    for kind, given in (("text", texts), ("pair", pairs or ())):
        for i, text in enumerate(given, start=1):
            if not isinstance(text, str):
                raise ValueError(f"{kind} {i} is a {type(text).__name__}, expected text")
            if not text.strip():
                raise ValueError(f"{kind} {i} is empty")
