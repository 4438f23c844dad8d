"""Where logit tables lie: those published with the project, which are read first, and the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from golden_model.data.tables import TextDataset
from golden_model.progress import Bars, silent
from quant.studies.exits.sources import Source
from quant.studies.exits.table import LogitTable, TableError, rows_digest

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
        data: Its sentences.
        cache: Folder written to.
        published: Folder of tables per task, never written to here; None: not looked at.
        say: Told each note as it comes.
    """

    task: str
    data: TextDataset
    cache: Path
    published: Path | None = PUBLISHED
    say: Callable[[str], None] = lambda note: None

    def gather(self, sources: Iterable[Source], bars: Bars = silent) -> Gathered:
        """Every table that is published, cached or can be computed; each is kept as soon as it is there.

        A checkpoint that is here decides: a table of another one is not taken in its place.
        """
        found = Gathered()
        rows = rows_digest(self.data)
        for source in sources:
            table, origin = self._find(source, rows, found)
            if table is None:
                table, origin = source.compute(self.task, self.data, bars), "computed"
                table.save(self._cached(source, rows))
            found.tables[source.name], found.origins[source.name] = table, origin
        for path in self._published():
            name = path.name.removesuffix(SUFFIX)
            if name not in found.tables:
                table = self._take(path, name, None, rows, found)
                if table is not None:
                    found.tables[name], found.origins[name] = table, "published"
        return found

    def publish(self, tables: Iterable[LogitTable], folder: Path) -> list[Path]:
        """Writes tables where :attr:`published` of a later study finds them."""
        paths = []
        for table in tables:
            paths.append(folder / self.task / f"{table.facts.name}{SUFFIX}")
            table.save(paths[-1])
        return paths

    def _find(self, source: Source, rows: str, found: Gathered) -> tuple[LogitTable | None, str]:
        places = [("cache", self._cached(source, rows))]
        if self.published is not None:
            places.insert(0, ("published", self.published / self.task / f"{source.name}{SUFFIX}"))
        for origin, path in places:
            if path.is_file():
                table = self._take(path, source.name, source.sha256, rows, found)
                if table is not None:
                    return table, origin
        return None, ""

    def _take(
        self, path: Path, name: str, checkpoint: str | None, rows: str, found: Gathered
    ) -> LogitTable | None:
        """The table of a file if it is whole and the one wanted; else a note says why not."""
        try:
            table = LogitTable.load(path)
        except TableError as error:
            self._note(found, f"not used: {error}")
            return None
        facts = table.facts
        wanted = {"name": (facts.name, name), "sentences": (facts.rows_sha256, rows)}
        if checkpoint is not None:
            wanted["checkpoint"] = (facts.checkpoint_sha256, checkpoint)
        for what, (has, needs) in wanted.items():
            if has != needs:
                self._note(found, f"not used: {path} is of another {what}: {has[:16]}, not {needs[:16]}")
                return None
        return table

    def _note(self, found: Gathered, text: str) -> None:
        found.notes.append(text)
        self.say(text)

    def _published(self) -> list[Path]:
        folder = None if self.published is None else self.published / self.task
        return sorted(folder.glob(f"*{SUFFIX}")) if folder is not None and folder.is_dir() else []

    def _cached(self, source: Source, rows: str) -> Path:
        key = hashlib.sha256(f"{source.sha256}\0{rows}\0{source.backend}".encode()).hexdigest()
        return self.cache / f"{self.task}-{source.name}-{key[:16]}{SUFFIX}"
