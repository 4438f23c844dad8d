"""One synthesis at a time in a folder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from golden_model.locks import FolderInUse, held
from hw.synth.devices import find_device
from hw.synth.flow import synthesise


def test_a_folder_that_another_synthesis_writes_into_is_refused_before_any_work(tmp_path):
    def second() -> None:
        synthesise(lambda: pytest.fail("work was begun"), find_device("lfe5u-25f"), tmp_path)

    with held(tmp_path), ThreadPoolExecutor(1) as pool:
        with pytest.raises(FolderInUse, match=f"{tmp_path} is in use by process"):
            pool.submit(second).result(timeout=60)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
