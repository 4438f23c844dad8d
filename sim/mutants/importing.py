"""A module imported with a mutant in it; its file stays as it is."""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

from sim.mutants.rules import Mutant, mutated


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, mutant: Mutant) -> None:
        super().__init__(name, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        """Compiled from the changed tree, neither read from nor written to a cache."""
        path = Path(self.path)
        tree = mutated(path.read_text(encoding="utf-8"), self._mutant)
        return compile(tree, str(path), "exec", dont_inherit=True)


class _Finder:
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Of the mutant's module alone."""
        if fullname != self._mutant.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is None or spec.origin is None:
            return None
        spec.loader = _Loader(fullname, spec.origin, self._mutant)
        return spec


def plant(mutant: Mutant) -> None:
    """From here on this process imports the mutant's module changed.

    Raises:
        ValueError: the module is imported already.
    """
    if mutant.module in sys.modules:
        raise ValueError(f"{mutant.module} is imported already; a mutant of it would come too late")
    sys.meta_path.insert(0, _Finder(mutant))  # type: ignore[arg-type]
