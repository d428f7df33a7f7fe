from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawings import CHECKS, HOSTILE, rows
from made_comparisons import COMPARE, ONE_CELL, comparison_data

from precsearch.analysis.arms import ERROR, GAP, NLL
from precsearch.report.arms.reading import ArmsData
from precsearch.report.figures import Figure
from precsearch.report.figures.arms import COMPARE_FIGURES, draw_arms
from precsearch.report.figures.arms.common import looks
from precsearch.report.figures.palette import COLORS, arm_style

FAILED = ((0, "learned", 1), (1, "random", 2))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ArmsData:
    return comparison_data(tmp_path_factory.mktemp("made") / "run", seeds=4, failed=FAILED)


@pytest.fixture(scope="module")
def figures(run: ArmsData) -> dict[str, Figure]:
    return {figure.name: figure for figure in draw_arms([run])}


@pytest.fixture(scope="module")
def of_two(run: ArmsData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figure]:
    other = comparison_data(tmp_path_factory.mktemp("made") / "other", HOSTILE, text=ONE_CELL, seeds=2)
    return {figure.name: figure for figure in draw_arms([run, other])}


@pytest.fixture(params=["figures", pytest.param("of_two", marks=pytest.mark.slow)])
def drawn(request: pytest.FixtureRequest) -> dict[str, Figure]:
    """Figures of one run, and, slow to draw, of two."""
    found: dict[str, Figure] = request.getfixturevalue(request.param)
    return found


def test_every_figure_is_drawn(drawn: dict[str, Figure]) -> None:
    assert list(drawn) == list(COMPARE_FIGURES)


def test_figures_of_one_section_follow_each_other(figures: dict[str, Figure]) -> None:
    sections = [figure.section for figure in figures.values()]
    changes = [one for one, before in zip(sections, [None, *sections], strict=False) if one != before]
    assert len(changes) == len(set(changes))


@pytest.mark.slow
def test_two_runs_are_told_apart(of_two: dict[str, Figure]) -> None:
    assert [{row["run"] for row in rows(figure)} for figure in of_two.values()] == [{"made", HOSTILE}] * len(of_two)


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", COMPARE_FIGURES)
def test_drawing(name: str, check: Callable[[Figure], None], drawn: dict[str, Figure]) -> None:
    check(drawn[name])


def test_no_two_arms_look_the_same(tmp_path: Path) -> None:
    twice = COMPARE.replace("random: {kind: random}", "random: {kind: random}\n    other: {kind: uniform}")
    twice = twice.replace("other:", "third: {kind: uniform}\n    other:")
    data = comparison_data(tmp_path / "run", text=twice, seeds=1)
    look = looks([data])
    styles = [arm_style(look[arm.name]) for arm in data.compared.arms]
    assert len({style.marker for style in styles}) == len({style.color for style in styles}) == len(styles) == 6
    every = [arm_style(name) for name in ("float", "uniform", "learned", "random", "stochastic", "drawn", "dropout",
                                          "weight-noise", "fixed")]  # fmt: skip
    for part in zip(*every, strict=True):
        assert len(set(part)) == len(every)


# ---- the numbers


@pytest.mark.parametrize(("name", "metric"), [("arms-error", ERROR), ("arms-gap", GAP), ("arms-nll", NLL)])
def test_seeds_and_means_are_those_of_the_records(
    name: str, metric: str, run: ArmsData, figures: dict[str, Figure]
) -> None:
    found = rows(figures[name])
    of = {
        ERROR: lambda m: 1 - m["test_accuracy"],
        GAP: lambda m: m["train_accuracy"] - m["test_accuracy"],
        NLL: lambda m: m["test_loss"],
    }
    for cell in run.points:
        own = [each for each in run.complete if (each.cell, each.arm) == (cell, "learned")]
        expected = {str(each.record.index): of[metric](each.record.metrics) for each in own}
        mine = [row for row in found if (row["cell"], row["arm"]) == (str(cell), "learned")]
        assert {row["seed"]: float(row[metric]) for row in mine if row["seed"]} == pytest.approx(expected)
        [mean] = [row for row in mine if not row["seed"]]
        assert float(mean[metric]) == pytest.approx(np.mean(list(expected.values())))
        assert (mean["seeds"], mean["failed"]) == (str(4 - (cell == 0)), str(int(cell == 0)))


def test_differences_are_paired_by_seed(run: ArmsData, figures: dict[str, Figure]) -> None:
    metrics = {(each.cell, each.arm, each.record.index): each.record.metrics for each in run.complete}
    found = [row for row in rows(figures["differences-error"]) if row["seed"]]
    assert found
    for row in found:
        cell, index = int(row["cell"]), int(row["seed"])
        own, other = (
            metrics[cell, row[side].partition(",")[0], index][
                "drawn_test_accuracy" if row[side].endswith("drawn") else "test_accuracy"
            ]
            for side in ("arm", "against")
        )
        assert float(row[f"{ERROR}_difference"]) == pytest.approx(other - own)
    [left] = {
        (row["pairs"], row["left_out"])
        for row in rows(figures["differences-error"])
        if not row["seed"] and (row["cell"], row["arm"], row["against"]) == ("0", "learned", "uniform")
    }
    assert left == ("3", "1")


def test_bits_are_those_of_the_allocations(run: ArmsData, figures: dict[str, Figure]) -> None:
    found = Counter(
        (row["cell"], row["arm"], row["target"], row["layer"], row["bits"])
        for row in rows(figures["bits-over-seeds"])
        if row["arm"] == "learned"
    )
    expected = Counter(
        (str(each.cell), each.arm, target, layer.name, str(layer.bits(target)))
        for each in run.complete
        if each.arm == "learned" and each.allocation is not None
        for layer in each.allocation.layers
        for target in layer.targets
    )
    assert found == expected and expected


def test_attacks_say_which_checks_failed(run: ArmsData, figures: dict[str, Figure]) -> None:
    failed = Counter(
        (each.cell, each.arm)
        for each in run.complete
        if each.evaluation is not None and any(not check.passed for check in each.evaluation.masking)
    )
    assert failed
    caveats = {(row["cell"], row["arm"]): row["caveat"] for row in rows(figures["arms-epsilon"]) if row["caveat"]}
    own = Counter((each.cell, each.arm) for each in run.complete)
    for (cell, arm), seeds in failed.items():
        assert caveats[str(cell), arm] == f"transfer failed in {seeds} of {own[cell, arm]}"
        assert f"{arm}: transfer failed in {seeds}" in figures["arms-epsilon"].caption
    assert len(caveats) == len(failed)
    assert "robust" not in " ".join(figure.caption + figure.svg for figure in figures.values())


def test_reliability_pools_the_images_of_all_seeds(run: ArmsData, figures: dict[str, Figure]) -> None:
    own = [each.evaluation for each in run.complete if (each.cell, each.arm) == (1, "uniform")]
    bins = list(zip(*(each.calibration.bins for each in own if each is not None), strict=True))
    found = [row for row in rows(figures["arms-reliability"]) if (row["cell"], row["arm"]) == ("1", "uniform")]
    assert [int(row["count"]) for row in found] == [sum(each.count for each in same) for same in bins]
    for row, same in zip(found, bins, strict=True):
        right = sum(each.count * each.accuracy for each in same)
        assert float(row["accuracy"]) * int(row["count"]) == pytest.approx(right)


def test_what_was_chosen_is_ringed(run: ArmsData, figures: dict[str, Figure]) -> None:
    assert run.tuned is not None
    chosen = {(row["cell"], row["arm"]): row["settings"] for row in rows(figures["tuning"]) if row["chosen"] == "1"}
    assert len(chosen) == len(run.tuned.arms) == 14
    for arm in run.tuned.arms:
        assert arm.chosen is not None
        assert f"{arm.chosen['inner.optimizer.lr']:.4g}" in chosen[str(arm.cell), arm.arm]


# ---- whatever a run has


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    bare = comparison_data(tmp_path / "run", measured=False, seeds=2, text=ONE_CELL)
    bare = replace(bare, tuned=None)
    drawn = [figure.name for figure in draw_arms([bare])]
    missing = {"arms-reliability", "arms-epsilon", "arms-corruptions", "arms-bit-flips", "tuning"}
    assert drawn == [name for name in COMPARE_FIGURES if name not in missing]


def test_nothing_is_drawn_of_no_training(tmp_path: Path) -> None:
    empty = replace(comparison_data(tmp_path / "run", seeds=0), tuned=None)
    assert draw_arms([empty]) == []


def test_one_training_is_drawn(run: ArmsData) -> None:
    one = replace(run, trainings=run.complete[:1])
    drawn = draw_arms([one])
    assert {"arms-error", "arms-gap", "gap-nll"} <= {figure.name for figure in drawn}
    assert not any(figure.name.startswith("differences") for figure in drawn)
    for figure in drawn:
        assert "nan" not in figure.svg and not re.search(r"\b(nan|None|inf)\b", figure.caption)


def test_two_arms_that_learn_look_different(tmp_path: Path) -> None:
    text = ONE_CELL.replace("learned: {kind: learned}", "learned: {kind: learned}\n    other: {kind: learned}")
    data = comparison_data(tmp_path / "run", text=text, seeds=1, measured=False)
    look, figure = looks([data]), COMPARE_FIGURES["tuning"]([data])
    assert figure is not None and look["learned"] == "learned" != look["other"]
    for arm in ("learned", "other"):
        assert f'"{COLORS[arm_style(look[arm]).color][0]}"' in figure.svg and f">{arm}<" in figure.svg
