from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch
from xml.etree import ElementTree

import pytest
from drawings import CHECKS, HOSTILE, SVG, rows
from hypothesis import given
from hypothesis import strategies as st
from made_arms import GRID, MadeArms, make_arms, make_grid
from made_grids import plane
from matplotlib.axes import Axes

from precsearch.analysis.compression import ALL_CELLS
from precsearch.report.arms.answers import ANSWERS
from precsearch.report.arms.reading import ArmsData, read_arms_data
from precsearch.report.figures import Figure
from precsearch.report.figures.arms import GRID_FIGURES, draw_arms
from precsearch.report.figures.arms.grid_marks import plain_ticks
from precsearch.report.page.grid_tables import grid_tables
from precsearch.results import RunDirectory, read_training

FAILED = ((0, "float", 1), (3, "retrained-2", 0), (5, "direct-3-fc1", 2))
ONE_AXIS = GRID.replace(
    "model.width: [0.25, 0.5, 1.0, 2.0], model.depth: [1, 2]", "model.width: [0.5, 1.0, 2.0]"
).replace("  layers: true\n  layers_at: {model.width: 1.0, model.depth: 2}\n", "")
SMALL = (
    GRID.replace("[0.25, 0.5, 1.0, 2.0]", "[0.5, 1.0]").replace("bits: [2, 3, 4]", "bits: [2, 4]")
    .replace("  retrain: {inner.optimizer.lr: 5.0e-4}", "  arms: [float, retrained]")
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ArmsData:
    folder = tmp_path_factory.mktemp("made") / "run"
    return read_arms_data(make_grid(folder, measured=False, steps=False, failed=FAILED), "run")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> ArmsData:
    folder = tmp_path_factory.mktemp("made") / "narrow"
    return read_arms_data(made_text(folder, ONE_AXIS, seeds=3), "narrow")


def made_text(folder: Path, text: str, seeds: int) -> RunDirectory:
    return make_arms(folder, MadeArms(text=text, seeds=seeds, measured=False, steps=False), 3)


@pytest.fixture(scope="module")
def figures(run: ArmsData) -> dict[str, Figure]:
    return {figure.name: figure for figure in draw_arms([run])}


@pytest.fixture(scope="module")
def of_two(run: ArmsData) -> dict[str, Figure]:
    other = replace(run, label=HOSTILE)
    return {figure.name: figure for figure in draw_arms([run, other])}


def test_every_figure_is_drawn_and_has_the_name_that_it_is_known_by(
    figures: dict[str, Figure], of_two: dict[str, Figure]
) -> None:
    assert list(figures) == list(of_two) == list(GRID_FIGURES)


def test_two_runs_are_told_apart(of_two: dict[str, Figure]) -> None:
    for figure in of_two.values():
        assert {row["run"] for row in rows(figure)} == {"run", HOSTILE}


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", GRID_FIGURES)
def test_drawing(
    name: str, check: Callable[[Figure], None], figures: dict[str, Figure], of_two: dict[str, Figure]
) -> None:
    for figure in (figures[name], of_two[name]):
        check(figure)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in GRID_FIGURES])
def test_the_same_data_draws_the_same_bytes(name: str, run: ArmsData, figures: dict[str, Figure]) -> None:
    assert GRID_FIGURES[name]([replace(run)]) == figures[name]


# ---- the numbers


def test_the_error_table_has_every_network_and_its_mean(run: ArmsData, figures: dict[str, Figure]) -> None:
    table = rows(figures["grid-error"])
    assert len(table) == 8 + 8 * 2 * 3
    for row in table:
        label = row["arm"] + (f"-{row['bits']}" if row["bits"] else "")
        errors = [1 - each.record.metrics["test_accuracy"] for each in run.of(label, int(row["cell"]))]
        assert float(row["test_error"]) == pytest.approx(sum(errors) / len(errors))
        assert int(row["seeds"]) == len(errors) == (4 if (int(row["cell"]), label, 1) in FAILED
                                                    or (int(row["cell"]), label, 0) in FAILED else 5)  # fmt: skip


def test_gaps_are_those_of_the_pairs(run: ArmsData, figures: dict[str, Figure]) -> None:
    table = {(int(row["cell"]), row["arm"], int(row["bits"])): row for row in rows(figures["grid-gap"])}
    assert len(table) == 48
    floats = {each.record.index: each.record.metrics["test_accuracy"] for each in run.of("float", 3)}
    own = {each.record.index: each.record.metrics["test_accuracy"] for each in run.of("retrained-2", 3)}
    gap = [floats[index] - own[index] for index in own]
    assert float(table[3, "retrained", 2]["gap"]) == pytest.approx(sum(gap) / 4)
    assert table[3, "retrained", 2]["seeds"] == "4"


def test_no_gap_is_one_within_the_margin_of_the_experiment(tmp_path: Path) -> None:
    told = {}
    for margin in (0.0001, 0.9):
        text = ONE_AXIS.replace("grid:\n", f"grid:\n  margin: {margin}\n")
        data = read_arms_data(made_text(tmp_path / str(margin), text, seeds=3), "run")
        assert {row.comparison.margin for row in data.gridded.gaps} == {margin}
        assert {each.largest.margin for each in data.gridded.vanishings} == {margin}
        told[margin] = {row.comparison.equivalent for row in data.gridded.gaps}
        with patch.object(Axes, "set_yscale", autospec=True, side_effect=Axes.set_yscale) as scaled:
            figure = GRID_FIGURES["grid-gap"]([data])
        wide = margin < 0.001  # of ten times as much
        assert [call.kwargs["linthresh"] for call in scaled.call_args_list] == [pytest.approx(100 * margin)] * 2 * wide
        assert figure is not None and f"within {100 * margin:.2f} points of none" in figure.caption
        assert ("An axis of wide gaps is logarithmic" in figure.caption) == wide
    assert told == {0.0001: {False}, 0.9: {True}}


def test_every_ratio_has_its_bound(figures: dict[str, Figure]) -> None:
    table = rows(figures["grid-ratio"])
    assert {row["curve"] for row in table} == {"depth 1", "depth 2", ALL_CELLS}
    assert len(table) == 2 * 48
    for row in table:
        assert float(row["nominal"]) > 1
        assert (row["bound"] == "at most") <= (row["low"] == "")
    # an arrow for each bound that is drawn, and no interval
    bounds = sum(row["bound"] != "exact" and row["curve"] == ALL_CELLS for row in table)
    titles = [str(each.text) for each in ElementTree.fromstring(figures["grid-ratio"].svg).iter(f"{SVG}title")]
    assert sum("≤" in title or "≥" in title for title in titles) == bounds
    assert 0 < bounds < len(titles) == 48


def test_layers_are_drawn_where_they_were_trained(figures: dict[str, Figure]) -> None:
    table = rows(figures["grid-layers"])
    assert {row["cell"] for row in table} == {"5"}
    assert len(table) == 2 * 3 * 5
    assert {row["seeds"] for row in table if (row["arm"], row["bits"], row["layer"]) == ("direct", "3", "fc1")} == {"4"}


def test_a_grid_of_one_axis_has_no_shapes_and_one_curve(narrow: ArmsData) -> None:
    drawn = {figure.name: figure for figure in draw_arms([narrow])}
    assert list(drawn) == ["grid-error", "grid-gap", "grid-ratio"]
    assert {row["curve"] for row in rows(drawn["grid-ratio"])} == {ALL_CELLS}
    assert "depth" not in drawn["grid-gap"].caption


def test_an_unfinished_grid_draws_what_it_has(tmp_path: Path) -> None:
    run = make_grid(tmp_path / "run", measured=False, steps=False, seeds=1)
    for folder in (run.path / "trainings").iterdir():
        record = read_training(folder)
        if record is not None and (record.arm != "float" or record.number > 1):
            (folder / "result.json").unlink()
    floats = read_arms_data(run, "run")
    assert not draw_arms([floats])
    assert not ANSWERS["grid"](floats)


def test_one_seed_is_drawn_without_intervals(tmp_path: Path) -> None:
    data = read_arms_data(made_text(tmp_path / "run", SMALL, seeds=1), "run")
    drawn = draw_arms([data])
    assert [figure.name for figure in drawn] == list(GRID_FIGURES)
    for row in (row for figure in drawn for row in rows(figure)):
        assert row["low"] == row["high"] == ""
    told = ANSWERS["grid"](data)
    assert {each.told for each in told} == {"not shown"}
    assert not any(re.search(r"\b(nan|None|inf)\b|  ", each.sentence) for each in told)


# ---- the answers


def test_answers_go_question_by_question(run: ArmsData) -> None:
    answers = ANSWERS["grid"](run)
    questions = list(dict.fromkeys(each.question for each in answers))
    assert questions == [
        "Does the gap to the float network vanish as the network grows?",
        "Does depth change the gap at equal size?",
        "Does quantizing beat shrinking: is a float network that errs as little larger than the quantized one?",
        "Is one layer more sensitive than every other?",
    ]
    assert [questions.index(each.question) for each in answers] == sorted([0] * 6 + [1] * 6 + [2] * 6 + [3] * 6)
    for each in answers:
        assert each.at
        assert each.sentence.endswith(".")
        assert not re.search(r"\b(nan|None|inf)\b|  |robust", each.sentence)


def test_worth_says_how_many_and_why_not() -> None:
    from precsearch.analysis.compression import compression_rows
    from precsearch.analysis.grid_answers import worth_answers

    sizes = {(1.0, 1): 100.0, (2.0, 1): 400.0, (4.0, 1): 1600.0}
    errors = {(1.0, 1): [0.40] * 3, (2.0, 1): [0.2] * 3, (4.0, 1): [0.1] * 3}
    quantized = {(1.0, 1): [0.5, 0.6, 0.55], (2.0, 1): [0.3] * 3, (4.0, 1): [0.05] * 3}
    made = {key: {"float": errors[key], "retrained-2": quantized[key]} for key in errors}
    (found,) = worth_answers(compression_rows(plane(made, sizes)))
    assert (found.at, found.told) == ("retrained, 2 bits", "mixed")
    assert found.sentence == (
        "Retrained, 2 bits: the effective compression ratio is 8.0 (width 2, depth 1; 95 % interval 8.0 to 8.0), beside"
        " 16 by bytes alone. 1 network is worse than the smallest float network, so all that is known is a ratio of at"
        " most 16. 1 network is better than the best float network, so all that is known is a ratio of at least 16."
        " Of 3 networks: yes in 2, not shown in 1."
    )


@given(st.floats(1e-3, 1e9), st.floats(1.4, 1e7))
def test_a_logarithmic_axis_has_few_plain_numbers(low: float, times: float) -> None:
    ticks = plain_ticks(low, low * times)
    assert 2 <= len(ticks) <= 6
    assert all(low * (1 - 1e-9) <= tick <= low * times * (1 + 1e-9) for tick in ticks)
    assert ticks == sorted(set(ticks))
    assert len({f"{tick:,g}" for tick in ticks}) == len(ticks)


# ---- the page


def test_the_page_has_the_tables_and_machines_the_rows(run: ArmsData, narrow: ArmsData) -> None:
    parts = {part.id: part for part in grid_tables([run])}
    assert list(parts) == ["ratios", "gaps", "layers"]
    assert [table.title for table in parts["gaps"].tables] == ["Over size (points)", "Direct", "Retrained"]
    for table in (table for part in parts.values() for table in part.tables):
        assert table.rows
        assert all(len(row) == len(table.headers) for row in table.rows)
        assert not any(re.search(r"\b(nan|None|inf)\b", cell.text) for row in table.rows for cell in row)
    ratios, gaps = parts["ratios"], parts["gaps"]
    assert [len(table.rows) for table in ratios.tables] == [24, 24]
    assert len(ratios.told) == 2 * 48
    assert len(gaps.told) == 48
    (told,) = (each for each in gaps.told if (each["cell"], each["arm"]) == (3, "retrained-2"))
    assert told["seeds"] == 4
    assert ", 1 more left out for a failed training" in told["sentence"]
    json.dumps([ratios.told, gaps.told], allow_nan=False)
    assert [part.id for part in grid_tables([narrow])] == ["ratios", "gaps"]
    assert "among" not in grid_tables([narrow])[0].tables[0].headers


def test_an_empty_run_has_no_tables(run: ArmsData) -> None:
    assert not grid_tables([replace(run, trainings=())])
