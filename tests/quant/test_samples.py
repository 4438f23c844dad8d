"""Rows are chosen once each, by the seed alone, and all of them where fewer are there than asked for."""

from __future__ import annotations

import pytest

from quant.samples import choose_samples


def test_rows_are_chosen_once_each() -> None:
    chosen = choose_samples(100, 30, seed=5)
    assert len(chosen) == len(set(chosen)) == 30
    assert set(chosen) <= set(range(100))
    assert chosen == choose_samples(100, 30, seed=5) != choose_samples(100, 30, seed=6)


@pytest.mark.parametrize("samples", [3, 4, 1 << 40])
def test_all_rows_where_there_are_fewer(samples: int) -> None:
    assert sorted(choose_samples(3, samples, seed=0)) == [0, 1, 2]


def test_wrong_counts_are_named() -> None:
    with pytest.raises(ValueError, match="samples 0 is below 1"):
        choose_samples(3, 0, seed=0)
    with pytest.raises(ValueError, match="no rows"):
        choose_samples(0, 3, seed=0)
