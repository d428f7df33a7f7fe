"""Intervals hold what is true 95 times in a hundred, give or take two, where `docs/statistics.md` says that they do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.coverage import SIZES, correlated, covered

PAGE = (Path(__file__).parent.parent / "docs" / "statistics.md").read_text()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("samples", ["normal", "counted on 360 images"])
def test_student_s_interval_covers(samples: str, n: int) -> None:
    assert covered(samples, n, "t") == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("n", SIZES)
def test_the_page_says_what_is_measured(n: int) -> None:
    (cells,) = re.findall(r"^\| skewed \| t \| (.*) \|$", PAGE, re.MULTILINE)
    assert float(cells.split(" | ")[SIZES.index(n)]) == pytest.approx(100 * covered("skewed", n, "t"), abs=0.11)


@pytest.mark.slow
def test_the_bootstrap_covers_from_30_samples_on_and_not_at_5() -> None:
    assert covered("normal", 30, "bca", studies=2000) == pytest.approx(0.95, abs=0.02)
    assert covered("normal", 5, "bca", studies=1000) < 0.9


def test_the_interval_of_a_rank_correlation_covers() -> None:
    assert correlated(0.5, 20, studies=1000) == pytest.approx(0.95, abs=0.025)
