"""The tasks the project is measured on: where each lies, its classes, its metrics, and its dev split."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from golden_model.data.splits import cut_dev
from golden_model.data.tables import Columns, TextDataset, load_dataset

DATA_VARIABLE = "ELBERT_DATA"
"""Environment variable that names the folder the tasks' folders lie in."""

SPLITS = ("train", "dev", "test")

_GLUE_TEST = "GLUE does not publish its test labels"


@dataclass(frozen=True)
class HubTable:
    """The same data on the Hugging Face hub.

    Members:
        source: As ``golden_model.data.tables.load_dataset`` takes it.
        columns: Where text and label are.
        classes: The hub's names of the classes in the task's order; None: the task's own.
        train: The hub's split, or splits, that make up the training data.
    """

    source: str
    columns: Columns = field(default_factory=Columns)
    classes: tuple[str, ...] | None = None
    train: str = "train"


@dataclass(frozen=True)
class Task:
    """One classification task.

    Members:
        name: Of the task, as commands take it.
        folder: Below the data root.
        label_names: Classes. A model's are found among them by name, whatever the order of its logits.
        columns: Of the local tables; two texts when ``columns.pair`` is set.
        metrics: Fields of ``golden_model.data.metrics.Scores`` to report, the primary one (GLUE's own for its
            tasks) first.
        hub: The same data on the hub.
        stored: The classes as the local tables write them, in numbers; None: by their names.
        file: The one table of a folder that is not divided into files per split.
        dev_share: Share of the training rows that ``cut_dev`` takes for dev; None: dev is a file of its own.
        no_test: Why there is no test split; None: there is one.
        max_length: Tokens per sentence, or pair, to train with; what the bundled geometry allows.
    """

    name: str
    folder: str
    label_names: tuple[str, ...]
    columns: Columns
    metrics: tuple[str, ...]
    hub: HubTable
    stored: tuple[str, ...] | None = None
    file: str | None = None
    dev_share: float | None = None
    no_test: str | None = None
    max_length: int = 64

    @property
    def metric(self) -> str:
        """The primary metric."""
        return self.metrics[0]

    @property
    def is_pair(self) -> bool:
        """Whether a sample is two texts."""
        return self.columns.pair is not None


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "sst2",
            "SST-2",
            ("negative", "positive"),
            Columns("sentence", label="label"),
            ("accuracy",),
            HubTable("hub:nyu-mll/glue/sst2"),
            stored=("0", "1"),
            no_test=_GLUE_TEST,
        ),
        Task(
            "rte",
            "RTE",
            ("entailment", "not_entailment"),
            Columns("sentence1", "sentence2", "label"),
            ("accuracy",),
            HubTable("hub:nyu-mll/glue/rte"),
            no_test=_GLUE_TEST,
        ),
        Task(
            "mrpc",
            "MRPC",
            ("not_equivalent", "equivalent"),
            Columns("#1 String", "#2 String", "Quality"),
            ("f1", "accuracy"),
            HubTable("hub:nyu-mll/glue/mrpc", train="train+validation"),
            stored=("0", "1"),
            dev_share=0.1,
            no_test=_GLUE_TEST,
        ),
        Task(
            "cola",
            "CoLA",
            ("unacceptable", "acceptable"),
            Columns("3", label="1", header=False),
            ("mcc", "accuracy"),
            HubTable("hub:nyu-mll/glue/cola"),
            stored=("0", "1"),
            no_test=_GLUE_TEST,
        ),
        Task(
            "trec",
            "TREC",
            ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"),
            Columns("text", label="label", encoding="latin-1"),
            ("accuracy",),
            # the parquet branch: the data set's main branch is a script, which `datasets` 4 no longer runs
            HubTable("hub:CogComp/trec/default@refs/convert/parquet", Columns("text", label="coarse_label")),
            dev_share=0.1,
        ),
        Task(
            "fpb",
            "FinancialPhraseBank",
            ("negative", "neutral", "positive"),
            Columns("content", label="result", encoding="latin-1"),
            ("accuracy", "f1"),
            HubTable(
                "hub:lmassaron/FinancialPhraseBank/default",
                Columns("sentence", label="label"),
                train="train+validation+test",
            ),
            file="all-data.csv",
            dev_share=0.2,
            no_test="the corpus is one table",
        ),
        Task(
            "imdb",
            "IMDB",
            ("negative", "positive"),
            Columns("text", label="label", spaces=("<br />",)),
            ("accuracy",),
            HubTable(
                "hub:stanfordnlp/imdb/plain_text",
                Columns("text", label="label", spaces=("<br />",)),
                classes=("neg", "pos"),
            ),
            stored=("0", "1"),
            dev_share=0.08,
        ),
    )
}


def find_task(name: str) -> Task:
    """The task of that name; raises ValueError naming those there are."""
    if name not in TASKS:
        raise ValueError(f"task {name!r} is not one of {', '.join(TASKS)}")
    return TASKS[name]


def data_root() -> Path:
    """The folder that ``ELBERT_DATA`` names.

    Raises:
        FileNotFoundError: it is not set or names no folder; the message says what to set.
    """
    value = os.environ.get(DATA_VARIABLE, "")
    if not value:
        raise FileNotFoundError(f"{DATA_VARIABLE} is not set; it names the folder that holds {_folders()}")
    if not Path(value).is_dir():
        raise FileNotFoundError(
            f"{DATA_VARIABLE}={value} is no folder; it names the one that holds {_folders()}"
        )
    return Path(value)


def load_task(task: Task | str, split: str = "dev", root: Path | str | None = None) -> TextDataset:
    """Reads one split of a task: its local folder or, where that is not there, the Hugging Face hub.

    Args:
        task: A task or its name.
        split: ``train``, ``dev`` or ``test``.
        root: Folder the task's folder lies in; None: :func:`data_root`.

    Returns:
        The rows, ``label_names`` those of the task whatever the files write.

    Raises:
        ValueError: the task or the split is not known, or the task has no such split.
        FileNotFoundError: no such folder and no package ``datasets``; or the folder lacks the split's file.
    """
    task = find_task(task) if isinstance(task, str) else task
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    if split == "test" and task.no_test is not None:
        raise ValueError(f"task {task.name} has no test split, only train and dev: {task.no_test}")
    if split == "test" or task.dev_share is None:
        return _read(task, split, root)
    rest, dev = cut_dev(_read(task, "train", root), task.dev_share)
    chosen = rest if split == "train" else dev
    return replace(chosen, source=f"{chosen.source} ({split}, cut by text)")


def check_source(table: Path | str | None, task: str | None, columns: Columns | None = None) -> None:
    """Raises ValueError unless either a table (or folder) or a task is named, a task without columns."""
    if table is None and task is None:
        raise ValueError("name a table or a task: either a table or --task, not neither")
    if task is None:
        return
    if table is not None:
        raise ValueError(
            f"both the table {table} and the task {task} are named: either a table or --task, not both"
        )
    if columns not in (None, Columns()):
        raise ValueError(f"task {task} has its own columns; those given are for a table")


def open_data(
    table: Path | str | None, task: str | None, split: str = "dev", columns: Columns | None = None
) -> TextDataset:
    """A split of a table's folder (or the table itself), or of a task, whichever is named.

    Raises:
        ValueError, FileNotFoundError: as :func:`check_source`, :func:`load_task` and ``load_dataset``.
    """
    check_source(table, task, columns)
    return load_task(task, split) if task is not None else load_dataset(str(table), split, columns)


def _read(task: Task, split: str, root: Path | str | None) -> TextDataset:
    """A split as it is stored."""
    try:
        folder = _local_folder(task, root)
    except FileNotFoundError as missing:
        if importlib.util.find_spec("datasets") is None:
            raise FileNotFoundError(
                f"task {task.name}: {missing}; put the data there (docs/tasks.md says how), or install the "
                f"package 'datasets', which fetches {task.hub.source}"
            ) from missing
        hub = task.hub
        wanted = hub.train if split == "train" else split
        data = load_dataset(hub.source, wanted, hub.columns, hub.classes or task.label_names)
    else:
        source = folder if task.file is None else folder / task.file
        data = load_dataset(source, split, task.columns, task.stored or task.label_names)
    numbers = None if task.stored is None else [int(each) for each in task.stored]
    return replace(data, label_names=list(task.label_names), label_numbers=numbers)


def _local_folder(task: Task, root: Path | str | None) -> Path:
    folder = (data_root() if root is None else Path(root)) / task.folder
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder")
    return folder


def _folders() -> str:
    return ", ".join(f"{task.folder}/" for task in TASKS.values())
