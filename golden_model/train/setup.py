"""Puts a training run together: data, tokenizer, starting weights, teacher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from golden_model.config import ElbertConfig
from golden_model.data.tables import Columns, TextDataset, load_dataset, read_texts
from golden_model.data.tasks import load_task
from golden_model.devices import find_device
from golden_model.files import sha256_of
from golden_model.float.albert import ElbertForSequenceClassification, name_labels
from golden_model.float.batches import Encoded, encode
from golden_model.float.files import RECORD_FILE
from golden_model.float.methods.files import read_model, weights_sha256
from golden_model.float.methods.model import ExitModel
from golden_model.float.methods.names import AFTER_ALBERT, TWO_STAGES
from golden_model.float.weights import stored_sha256
from golden_model.labels import read_label_names
from golden_model.text.tokenizer import ElbertTokenizer, select_vocabulary
from golden_model.train.distillation import BertTeacher, Distillation, iteration_of_layer
from golden_model.train.initialise import fresh, from_bert_layer, keep_vocabulary, minilm_folder
from golden_model.train.joint import JointExits, JointOptions, SelfDistillation
from golden_model.train.stage_two import StageTwo, check_options, checkpoint_of, kept_answers
from golden_model.train.teacher import TeacherLabels
from golden_model.train.texts import Unlabelled, digest
from golden_model.train.trainer import Trainer, TrainingOptions


@dataclass(frozen=True)
class Splits:
    """What a run learns from and what it is measured on."""

    train: TextDataset
    dev: TextDataset

    @classmethod
    def of_folder(cls, data: str, columns: Columns | None = None) -> Splits:
        """Train and dev of a folder or ``hub:NAME``; the classes are those of the training data."""
        train = load_dataset(data, "train", columns)
        return cls(train, load_dataset(data, "dev", columns, train.label_names))

    @classmethod
    def of_task(cls, name: str) -> Splits:
        """Train and dev of a task of :mod:`golden_model.data.tasks`."""
        return cls(load_task(name, "train"), load_task(name, "dev"))

    def in_order_of(self, names: Sequence[str] | None) -> Splits:
        """The same data in the order of a model's classes, where those are the data's own by name."""
        if names is None or sorted(names) != sorted(self.train.label_names):
            return self
        return Splits(self.train.relabelled(names), self.dev.relabelled(names))

    def facts(self) -> dict[str, Any]:
        """For the record."""
        return {
            "label_names": self.train.label_names,
            "train": {"rows": len(self.train), "sha256": self.train.sha256},
            "dev": {"rows": len(self.dev), "sha256": self.dev.sha256},
        }


@dataclass(frozen=True)
class Vocabulary:
    """How a whole vocabulary is pruned to the geometry's size (``tokenizer.select_vocabulary``).

    Members:
        texts: Tables with a column ``text`` that rank the pieces after the task's own.
        rows: Rows read of each.
    """

    texts: Sequence[Path] = ()
    rows: int = 20000


@dataclass(frozen=True)
class Teaching:
    """A fine-tuned BERT beside the labels.

    Members:
        folder: Of the teacher.
        stretch: Iterations per layer of the teacher, for the hidden states.
    """

    folder: Path
    stretch: int = 1


STAGE_TWO = {"deebert": (1.0, 1.0), "fastbert": (10.0, 5 / 3), "elbert": (1.0, 1.0), "pabee": (1.0, 1.0)}
"""Learning rate and length of a second stage, as multiples of the options' own.

DeeBERT's released code repeats the first stage's; FastBERT's paper fine-tunes for 3 epochs at 2e-5 and
distils for 5 at 2e-4. ELBERT's second stage is ours, and PABEE's with it.
"""


def prepare(
    splits: Splits,
    config: ElbertConfig,
    options: JointOptions,
    output: Path,
    *,
    init: str = "minilm",
    tokenizer_folder: Path | None = None,
    vocabulary: Vocabulary | None = None,
    teaching: Teaching | None = None,
    unlabelled: Unlabelled | None = None,
    method: str = "elbert",
    iterations: int | None = None,
    stage_one: Path | None = None,
    stage_two: StageTwo | None = None,
    device: str = "cpu",
) -> Trainer:
    """Everything before the first step of a method's training.

    Args:
        splits: The data.
        config: Geometry; its ``num_labels`` is replaced by the number of classes in the training data. A
            vocabulary smaller than the tokenizer's means pruning.
        options: The run's numbers; a second stage's follow from them by :data:`STAGE_TWO`.
        output: The run's folder.
        init: ``minilm``, ``fresh``, or the folder of a local ALBERT checkpoint (then its geometry counts; a
            whole vocabulary is pruned to ``config``'s).
        tokenizer_folder: Needed for ``fresh``; otherwise the start's own by default.
        vocabulary: What ranks the pruned vocabulary after the training data.
        teaching: None: learn from labels alone.
        unlabelled: Texts without labels that the teacher answers, or a second stage's own full depth.
        method: One of ``methods.names.METHODS``.
        iterations: Of a plain ALBERT; None: all.
        stage_one: A two-stage method's start in place of ``init``, and ELBERT's if given: a finished run of
            the plain ALBERT with all iterations on the same data.
        stage_two: Start in place of ``init`` and ``stage_one``: a finished ELBERT of the same data, whose
            full depth may teach. ELBERT goes on from it; so may the methods it is compared with, for an equal
            budget: its layer is then their backbone, its pooler and classifier start theirs.
        device: As ``devices.find_device`` takes it.

    Raises:
        FileNotFoundError: naming the file that is not there.
        ValueError: naming the value and its bound.
    """
    if options.max_length > config.max_position_embeddings:
        raise ValueError(
            f"max_length {options.max_length} is above max_position_embeddings "
            f"{config.max_position_embeddings}"
        )
    if method in TWO_STAGES and stage_one is None and stage_two is None:
        raise ValueError(f"{method} wants a finished stage one")
    if stage_one is not None and method not in AFTER_ALBERT:
        raise ValueError(f"{method} has no use for a finished stage one")
    if stage_two is not None:
        if stage_one is not None:
            raise ValueError("a second stage goes on from a finished elbert: it takes no stage one")
        check_options(options, method)
    place = find_device(device)
    start = stage_two.folder if stage_two is not None else stage_one
    known = Path(init) if start is None else checkpoint_of(start)
    if start is not None or init not in ("minilm", "fresh"):
        splits = splits.in_order_of(read_label_names(known))  # what its classifier knows stays true
    costs: dict[str, Any] | None = None
    if stage_two is not None:
        backbone, tokenizer, facts, costs = _after(stage_two.folder, splits, "elbert")
    elif stage_one is None:
        vocabulary = vocabulary or Vocabulary()
        backbone, tokenizer, facts = _start(splits, config, options, init, tokenizer_folder, vocabulary)
    else:
        backbone, tokenizer, facts, costs = _after(stage_one, splits, "albert")
    if start is not None:
        options = second_options(options, method)
    model = ExitModel(backbone, method, iterations, options.seed).to(place)
    facts |= {"method": method, "iterations": model.iterations}
    train = encode(splits.train, tokenizer, options.max_length)
    extra = [] if unlabelled is None else unlabelled.texts()
    if extra and teaching is None and stage_two is None:
        raise ValueError(f"{len(extra)} texts without labels, and no teacher to answer them")
    distillation = None
    if teaching is not None:
        train, distillation, facts["teacher"] = _teach(teaching, splits.train, extra, tokenizer, options)
        distillation.teacher.to(place)
    elif extra:
        train = _samples(splits.train, extra, tokenizer, options)
        facts["unlabelled"] = {"rows": len(extra), "sha256": digest(extra)}
    answers = None
    if stage_two is not None and options.soft:
        facts["own_answers"] = stage_two.own_share(distillation is not None)
        pad_id = tokenizer.pad_id
        answers = kept_answers(stage_two, model, train, pad_id, distillation, options, output, facts)
        distillation = None
    dev = encode(splits.dev, tokenizer, options.max_length)
    if method == "fastbert":
        distillation = None  # only the teacher's unlabelled sentences count: it learns from its last exit
    kind = SelfDistillation if method == "fastbert" else JointExits
    objective = kind(model, tokenizer, train, dev, options, distillation, costs, answers)
    return Trainer(objective, options, output, facts)


def second_options(options: JointOptions, method: str) -> JointOptions:
    """Numbers of a two-stage method's second stage, after :data:`STAGE_TWO`.

    Behind frozen hidden states the teacher's are not learnt; FastBERT's teacher is its own last exit. A
    learning rate given for the heads stays theirs.
    """
    rate, length = STAGE_TWO[method]
    changes: dict[str, Any] = {
        "learning_rate": options.learning_rate * rate,
        "epochs": options.epochs * length,
        "max_steps": None if options.max_steps is None else round(options.max_steps * length),
        "hidden": 0.0 if method in TWO_STAGES else options.hidden,
        "soft": 0.0 if method == "fastbert" else options.soft,
    }
    return options.model_copy(update=changes)


def _start(
    splits: Splits,
    config: ElbertConfig,
    options: JointOptions,
    init: str,
    tokenizer_folder: Path | None,
    vocabulary: Vocabulary,
) -> tuple[ElbertForSequenceClassification, ElbertTokenizer, dict[str, Any]]:
    """Model, tokenizer, and facts for the record, before any training on the task."""
    source = minilm_folder() if init == "minilm" else None if init == "fresh" else Path(init)
    folder = tokenizer_folder or source
    if folder is None:
        raise ValueError("a fresh start needs a tokenizer folder")
    full = ElbertTokenizer.from_folder(folder)
    tokenizer = _pruned(full, splits.train, config.vocab_size, vocabulary)
    names = splits.train.label_names
    if init in ("minilm", "fresh"):
        config = ElbertConfig(**{**config.model_dump(), "num_labels": len(names)})
        tokenizer.check_fits(config.vocab_size, folder)
        model = fresh(config, names, options.seed)
        if source is not None:
            from_bert_layer(model, source, tokenizer)
    else:
        with torch.random.fork_rng(devices=[]):  # the classifier may start fresh
            torch.manual_seed(options.seed)
            model = ElbertForSequenceClassification.from_pretrained(
                init, new_classifier=True, num_labels=len(names)
            )
        full.check_fits(model.config.vocab_size, init)
        if options.max_length > model.config.max_position_embeddings:
            raise ValueError(
                f"max_length {options.max_length} is above {init}'s max_position_embeddings "
                f"{model.config.max_position_embeddings}"
            )
        if tokenizer is not full:
            model = keep_vocabulary(model, full, tokenizer)
        name_labels(model.model.config, names)
    facts: dict[str, Any] = {
        "init": init if init in ("minilm", "fresh") else "checkpoint",
        "config": model.config.model_dump(),
        **splits.facts(),
        "vocabulary": {"pieces": tokenizer.size, "of": tokenizer.full.get_vocab_size()},
        "vocabulary_texts": [
            {"file": path.name, "rows": vocabulary.rows, "sha256": sha256_of(path)}
            for path in vocabulary.texts
        ],
    }
    if source is not None:
        facts["start_sha256"] = stored_sha256(source)
    return model, tokenizer, facts


def _after(
    folder: Path, splits: Splits, method: str
) -> tuple[ElbertForSequenceClassification, ElbertTokenizer, dict[str, Any], dict[str, Any]]:
    """Model, tokenizer, facts and training cost of a finished run of ``method``: its folder, or a checkpoint.

    Raises:
        ValueError: it is another method's run, a cut one, unfinished, or of other data.
    """
    folder = checkpoint_of(folder)
    loaded, tokenizer, record = read_model(folder)
    inputs = record.get("inputs", {})
    depth = inputs.get("config", {}).get("num_hidden_layers")
    if loaded.method != method or loaded.iterations != depth:
        raise ValueError(
            f"{folder} is {loaded.method} with {loaded.iterations} of {depth} iterations; "
            f"the stage before is {method} with all"
        )
    for key in ("step", "total_steps", "training_cost"):
        if key not in record:
            raise ValueError(f"{folder / RECORD_FILE} lacks the key {key!r}: no record of a training run")
    if record["step"] < record["total_steps"]:
        raise ValueError(f"{folder} is at step {record['step']} of {record['total_steps']}: not finished")
    changed = [key for key, value in splits.facts().items() if inputs.get(key) != value]
    if changed:
        raise ValueError(f"{folder} was trained on other inputs: {', '.join(changed)} differ")
    facts = {
        "init": "stage-one" if method == "albert" else "stage-two",
        "config": loaded.config.model_dump(),
        **splits.facts(),
        "start_sha256": weights_sha256(folder),
    }
    return loaded.backbone, tokenizer, facts, record["training_cost"]


def prepare_teacher(
    splits: Splits,
    options: TrainingOptions,
    output: Path,
    folder: Path | None = None,
    device: str = "cpu",
) -> Trainer:
    """Everything before the first step of a teacher's fine-tuning.

    Args:
        splits: The data.
        options: The run's numbers.
        output: The run's folder.
        folder: A BERT; None: MiniLM.
        device: As ``devices.find_device`` takes it.
    """
    place = find_device(device)
    folder = folder or minilm_folder()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        teacher = BertTeacher.from_folder(folder, num_labels=len(splits.train.label_names))
    name_labels(teacher.model.config, splits.train.label_names)
    facts = {"start_sha256": stored_sha256(folder), **splits.facts()}
    train, dev = (encode(part, teacher.tokenizer, options.max_length) for part in (splits.train, splits.dev))
    teacher.to(place)
    return Trainer(TeacherLabels(teacher, train, dev, options), options, output, facts)


def _pruned(full: ElbertTokenizer, train: TextDataset, size: int, vocabulary: Vocabulary) -> ElbertTokenizer:
    if full.kept is not None or full.size <= size:
        return full
    own: Iterator[str] = (text for part in (train.texts, train.pairs or ()) for text in part)
    others = (text for path in vocabulary.texts for text in islice(read_texts(path), vocabulary.rows))
    return full.pruned(select_vocabulary(full, own, others, size))


def _teach(
    teaching: Teaching,
    train: TextDataset,
    extra: Sequence[str],
    tokenizer: ElbertTokenizer,
    options: JointOptions,
) -> tuple[Encoded, Distillation, dict[str, Any]]:
    """The samples in the student's ids, the teacher with the same in its own, and facts for the record.

    Raises:
        ValueError: when the teacher has other classes, or splits text otherwise than the student.
    """
    teacher = BertTeacher.from_folder(teaching.folder).eval().requires_grad_(False)
    count = teacher.model.config.num_labels
    if count != len(train.label_names):
        raise ValueError(f"{teaching.folder} has {count} classes, the data {len(train.label_names)}")
    match = train.match(read_label_names(teaching.folder, count) or train.label_names, count)
    if match.classes != tuple(range(count)):
        raise ValueError(
            f"{teaching.folder} numbers the classes otherwise than {train.source}: {match}; "
            "train a teacher on these data"
        )
    ours, theirs = (_samples(train, extra, each, options) for each in (tokenizer, teacher.tokenizer))
    if [len(ids) for ids in ours.ids] != [len(ids) for ids in theirs.ids]:
        raise ValueError(f"the tokenizer of {teaching.folder} splits text otherwise than the student's")
    facts = {
        "sha256": stored_sha256(teaching.folder),
        "stretch": teaching.stretch,
        "unlabelled": {"rows": len(extra), "sha256": digest(extra)},
    }
    return ours, Distillation(teacher, theirs, iteration_of_layer(teacher.layers, teaching.stretch)), facts


def _samples(
    train: TextDataset, extra: Sequence[str], tokenizer: ElbertTokenizer, options: JointOptions
) -> Encoded:
    """The training data, and behind them the sentences ``extra``, which have no label."""
    labelled = encode(train, tokenizer, options.max_length)
    more = tokenizer.encode_many(extra, options.max_length) if extra else []
    return Encoded(
        labelled.ids + [ids for ids, _ in more],
        labelled.types + [types for _, types in more],
        torch.cat([labelled.labels, torch.full((len(more),), -1)]),
    )
