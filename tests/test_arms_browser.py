"""The page of a comparison in a real browser: drawn, quiet, without a network, on a desk and on a phone."""

from __future__ import annotations

from typing import Any

import pytest
from made_comparisons import make_comparison
from test_report_browser import DESK, PHONE, Visit, browser

from precsearch.report.page import Written, write_report

__all__ = ["browser"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Written:
    run = make_comparison(tmp_path_factory.mktemp("one") / "made", seeds=3, failed=((0, "learned", 1),))
    return write_report([run])


@pytest.mark.parametrize(("size", "scheme"), [(DESK, "light"), (PHONE, "dark")])
def test_every_figure_is_drawn_and_nothing_else_is_asked_for(
    browser: Any, one: Written, size: tuple[int, int], scheme: str
) -> None:
    visit = Visit(browser, one, size, scheme)
    page = visit.page
    assert len(one.figures) == 16
    visit.check(one)
    assert page.locator("#answers .answer").count() == sum(len(part.answers) for part in one.page.questions) > 10
    assert page.locator("#answers .answer").first.is_visible()


def test_trainings_sort_and_are_filtered_by_arm(browser: Any, one: Written) -> None:
    visit = Visit(browser, one, DESK)
    headers = [str(text) for text in visit.page.locator("table.sortable thead th").all_text_contents()]
    wanted = headers.index("test error %")
    visit.page.locator("table.sortable thead th").nth(wanted).locator("button").click()
    numbers = [float(text) for text in visit.column(wanted) if text]
    assert numbers == sorted(numbers) and len(numbers) == 2 * 7 * 3 - 1
    visit.page.locator("select[data-filter=arm]").select_option("stochastic")
    assert set(visit.column(headers.index("arm"))) == {"stochastic"}
    assert visit.page.locator("#shown").inner_text() == f"6 of {len(one.page.trials.rows)} rows"
    assert visit.wrong == []


def test_claims_unfold_where_scripts_do_not_run(browser: Any, one: Written) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(one.path.as_uri())
    sentence = page.locator("#verdicts details li").first
    assert not sentence.is_visible()
    page.locator("#verdicts details summary").first.click()
    assert sentence.is_visible() and "less uniform" in sentence.inner_text()
