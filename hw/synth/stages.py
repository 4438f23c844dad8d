"""Stages of a synthesis kept by content: the same inputs give the same folder, made once and whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden_model.files import write_json
from golden_model.locks import held

RECORD = "stage.json"
"""What a stage was made from and what it took; written last."""

KEY_LENGTH = 16
"""Hex digits of the SHA-256 in a folder's name."""


@dataclass(frozen=True)
class Stage:
    """A finished stage."""

    folder: Path
    key: str
    """Of everything that it was made from."""
    record: dict[str, Any]
    """What ``make`` returned."""
    reused: bool
    """It was there already."""


class Stages:
    """Finished stages below ``folder``, each in ``<name>-<key>``.

    A stage is made in ``.<name>-<key>/work`` and moved when it is whole. What fails leaves its logs there for
    the reader, what is interrupted leaves nothing; the next attempt begins anew.
    """

    LOGS = (".log", ".ys")

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stage(
        self,
        name: str,
        inputs: Mapping[str, str],
        make: Callable[[Path], dict[str, Any]],
    ) -> Stage:
        """The stage of that name and these inputs, made by ``make`` in an empty folder if it is not there.

        Args:
            inputs: text by what it is; a change of any of them is another stage.
            make: writes the files and returns a record for JSON.

        Raises:
            FolderInUse: another process makes the same stage.
        """
        hashes = {what: hashlib.sha256(text.encode()).hexdigest() for what, text in sorted(inputs.items())}
        key = hashlib.sha256(json.dumps(hashes).encode()).hexdigest()[:KEY_LENGTH]
        target = self.folder / f"{name}-{key}"
        if found := self._found(target, key):
            return found
        place = self.folder / f".{name}-{key}"
        with held(place):
            if found := self._found(target, key):  # made while this process waited for its turn
                return found
            work = place / "work"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            try:
                record = make(work)
                write_json(work / RECORD, {"inputs": hashes, "record": record})
            except Exception:
                self._leave_logs(work)
                raise
            except BaseException:
                shutil.rmtree(work, ignore_errors=True)
                raise
            shutil.rmtree(target, ignore_errors=True)  # without a record: not of this program
            work.replace(target)
        with contextlib.suppress(OSError):  # of an earlier attempt that failed
            place.rmdir()
        return Stage(target, key, record, reused=False)

    @staticmethod
    def _found(target: Path, key: str) -> Stage | None:
        try:
            record = json.loads((target / RECORD).read_text(encoding="utf-8"))["record"]
        except FileNotFoundError:
            return None
        return Stage(target, key, record, reused=True)

    def _leave_logs(self, work: Path) -> None:
        for path in work.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix not in self.LOGS:
                path.unlink(missing_ok=True)
