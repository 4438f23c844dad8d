"""Where logit tables lie: those published with the project, which are read first, and the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from golden_model.data.quoting import listed
from golden_model.progress import Bars, silent
from quant.studies.exits.rows import Rows, read_labels, write_labels
from quant.studies.exits.sources import Source
from quant.studies.exits.table import LogitTable, TableError

PUBLISHED = Path(__file__).parent / "logits"
"""Tables that come with the project: a folder per task, a file per table."""

SUFFIX = ".safetensors"


@dataclass
class Gathered:
    """The tables of a study and how they were come by.

    Members:
        tables: By name.
        origins: Per name ``published``, ``cache`` or ``computed``.
        notes: What was found broken, foreign or out of date, in plain words.
    """

    tables: dict[str, LogitTable] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Store:
    """Finds tables, and keeps those that are computed.

    Members:
        task: Name of the task.
        rows: Its sentences. Of the first ones only, tables of all serve too: they are cut.
        cache: Folder written to.
        published: Folder of tables per task, never written to here; None: not looked at.
        say: Told each note as it comes.
    """

    task: str
    rows: Rows
    cache: Path
    published: Path | None = PUBLISHED
    say: Callable[[str], None] = lambda note: None

    def gather(self, sources: Iterable[Source], bars: Bars = silent) -> Gathered:
        """Every table that is published, cached or can be computed; each is kept as soon as it is there.

        A checkpoint that is here decides: a table of another one is not taken in its place. Answers are
        numbered as the rows' classes are.

        Raises:
            ValueError, FileNotFoundError: as ``Source.compute``; the published labels are broken.
        """
        found = Gathered()
        for source in sources:
            if source.classes is None:
                names = listed(self.rows.classes)
                self._note(found, f"{source.folder} names no classes: taken as {names}, in this order")
            table, origin = self._find(source, found)
            if table is None:
                computed, origin = source.compute(self.task, self.rows, bars), "computed"
                computed.save(self._cached(source, self.rows.sha256))
                table = computed.answering(self.rows.classes)
            found.tables[source.name], found.origins[source.name] = table, origin
        for path in self._published():
            name = path.name.removesuffix(SUFFIX)
            if name not in found.tables:
                table = self._take(path, name, None, found)
                if table is not None:
                    found.tables[name], found.origins[name] = table, "published"
        return found

    def publish(self, tables: Iterable[LogitTable], folder: Path) -> list[Path]:
        """Writes tables and labels where :attr:`published` of a later study finds them.

        Raises:
            ValueError: the rows are the first ones of a data set only.
        """
        if len(self.rows) < self.rows.total:
            raise ValueError(
                f"{len(self.rows)} of {self.rows.total} sentences are not published: name no limit"
            )
        paths = []
        for table in tables:
            paths.append(folder / self.task / f"{table.facts.name}{SUFFIX}")
            table.save(paths[-1])
        return [*paths, write_labels(folder / self.task, self.task, self.rows)]

    @cached_property
    def _published_classes(self) -> list[str] | None:
        """What published tables that name no classes are of."""
        labels = None if self.published is None else read_labels(self.published / self.task)
        return None if labels is None else labels.classes

    def _find(self, source: Source, found: Gathered) -> tuple[LogitTable | None, str]:
        digests = dict.fromkeys((self.rows.all_sha256, self.rows.sha256))
        places = [("cache", self._cached(source, digest)) for digest in digests]
        if self.published is not None:
            places.insert(0, ("published", self.published / self.task / f"{source.name}{SUFFIX}"))
        for origin, path in places:
            if path.is_file():
                table = self._take(path, source.name, source.sha256, found)
                if table is None:
                    continue
                if table.facts.answer_macs is None and self.rows.absent is None:
                    self._note(found, f"made anew: {path} does not say what answer first costs")
                    continue
                return table, origin
        return None, ""

    def _take(self, path: Path, name: str, checkpoint: str | None, found: Gathered) -> LogitTable | None:
        """The table of a file if it is whole and the one wanted; else a note says why not."""
        try:
            table = LogitTable.load(path)
        except TableError as error:
            self._note(found, f"not used: {error}")
            return None
        facts, rows = table.facts, self.rows
        whole = (facts.rows_sha256, facts.samples) == (rows.all_sha256, rows.total)
        wanted = {"name": (facts.name, name)}
        if not whole:
            wanted["sentences"] = (facts.rows_sha256, rows.sha256)
        if checkpoint is not None:
            wanted["checkpoint"] = (facts.checkpoint_sha256, checkpoint)
        for what, (has, needs) in wanted.items():
            if has != needs:
                self._note(found, f"not used: {path} is of another {what}: {has[:16]}, not {needs[:16]}")
                return None
        try:
            table = table.answering(rows.classes, self._published_classes)
        except ValueError as error:
            self._note(found, f"not used: {path}: {error}")
            return None
        if len(rows) < facts.samples:
            note = (
                f"the first {len(rows)} of logits of all {rows.total} sentences; "
                "multiply-adds are means over all of them"
            )
            if note not in found.notes:
                self._note(found, note)
            return table.head(len(rows), rows.sha256)
        return table

    def _note(self, found: Gathered, text: str) -> None:
        found.notes.append(text)
        self.say(text)

    def _published(self) -> list[Path]:
        folder = None if self.published is None else self.published / self.task
        return sorted(folder.glob(f"*{SUFFIX}")) if folder is not None and folder.is_dir() else []

    def _cached(self, source: Source, digest: str) -> Path:
        parts = (source.sha256, digest, source.backend, *(source.classes or self.rows.classes))
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        return self.cache / f"{self.task}-{source.name}-{key[:16]}{SUFFIX}"
