"""The page of a grid in a real browser: drawn, quiet, without a network, on a desk and on a phone."""

from __future__ import annotations

from typing import Any

import pytest
from made_arms import make_grid
from test_report_browser import DESK, PHONE, Visit, browser

from precsearch.report.figures.arms import GRID_FIGURES
from precsearch.report.page import Written, write_report

__all__ = ["browser"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Written:
    failed = ((0, "float", 1), (3, "retrained-2", 0))
    return write_report([make_grid(tmp_path_factory.mktemp("one") / "made", measured=False, failed=failed)])


@pytest.mark.parametrize(("size", "scheme"), [(DESK, "light"), (PHONE, "dark")])
def test_every_figure_is_drawn_and_nothing_else_is_asked_for(
    browser: Any, one: Written, size: tuple[int, int], scheme: str
) -> None:
    visit = Visit(browser, one, size, scheme)
    page = visit.page
    assert [figure.name for figure in one.figures] == list(GRID_FIGURES)
    visit.check(one)
    assert page.locator("#answers .answer").count() == sum(len(part.answers) for part in one.page.questions) == 24
    assert page.locator("#ratios table").count() == 2
    assert page.locator("#gaps li").count() == 48


def test_machines_are_told_every_gap_and_every_ratio(one: Written) -> None:
    told = one.to_dict()
    by_metric = [each["metric"] for each in told["verdicts"]]
    assert by_metric.count("test_error") == 48
    assert by_metric.count("effective_compression_ratio") == 96
    assert len(told["answers"]) == 24
