"""docs/api.md is true: its examples are run."""

from __future__ import annotations

import doctest

from golden_model.provenance import ROOT


def test_examples_give_what_the_page_says():
    found = doctest.testfile(str(ROOT / "docs" / "api.md"), module_relative=False)
    assert found.attempted > 15
    assert found.failed == 0
