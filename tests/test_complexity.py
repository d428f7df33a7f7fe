from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_grids import WIDTH, network, plane, row_of_widths

from precsearch.analysis.complexity import axis_effects, gaps, vanishings
from precsearch.analysis.grid import Grid, grid_of, point_text
from precsearch.analysis.grid_answers import axis_answers, layer_answers, vanishing_answers, worth_answers
from precsearch.analysis.layerwise import layer_costs, most_sensitive
from precsearch.results import TrainingRecord

SIZES = [100.0, 200.0, 400.0, 800.0]  # a doubling each
NOISE = np.array([-3.0, 1, 2, -1, 1]) * 1e-4  # of seeds; sums to 0
LUCK = np.array([2.0, -1, 0, 1, -2]) * 1e-3  # of seeds, in every network: pairs take it off


def grown(gap_by_cell: list[float], noise: float = 1.0, sizes: list[float] = SIZES, arm: str = "retrained") -> Grid:
    """Float networks of falling error, and networks at 2 bits whose mean gaps are given, exactly."""
    turned = [np.roll(NOISE, cell) * noise for cell in range(len(sizes))]
    floats = [list(0.1 / (cell + 1) + LUCK) for cell in range(len(sizes))]
    quantized = {cell: list(np.array(floats[cell]) + gap + turned[cell]) for cell, gap in enumerate(gap_by_cell)}
    return row_of_widths(sizes, floats, quantized, arm=arm)


def answer(grid: Grid) -> tuple[str, str]:
    (found,) = vanishings(gaps(grid))
    (said,) = vanishing_answers([found], grid)
    assert said.told == found.told
    return said.told, said.sentence


# ---- gaps


def test_gaps_are_paired_by_seed() -> None:
    rows = gaps(grown([0.04, 0.02, 0.01, 0.0]))
    assert [row.size for row in rows] == SIZES
    np.testing.assert_allclose([row.comparison.difference.mean for row in rows], [0.04, 0.02, 0.01, 0.0], atol=1e-12)
    for row in rows:  # what is common to a seed is gone
        assert np.std(list(row.differences.values()), ddof=1) == pytest.approx(np.std(NOISE, ddof=1))
    assert {row.comparison.family for row in rows} == {4}


@given(st.floats(-0.05, 0.05), st.lists(st.floats(0, 0.1), min_size=4, max_size=4))
@settings(max_examples=20, deadline=None)
def test_what_is_common_to_a_cell_is_no_gap(shift: float, gap: list[float]) -> None:
    grid = grown(gap)
    moved = Grid(
        grid.axes,
        tuple(
            network(each.cell, each.at, each.size, {i: e + shift for i, e in each.errors.items()}, each.arm, each.bits)
            for each in grid.networks
        ),
    )
    for one, two in zip(gaps(grid), gaps(moved), strict=True):
        assert two.comparison.difference.mean == pytest.approx(one.comparison.difference.mean, abs=1e-12)


def test_only_seeds_that_both_have_are_compared() -> None:
    grid = row_of_widths([100, 200], [{0: 0.1, 1: 0.2}, [0.1]], {0: {1: 0.3, 2: 0.9}, 1: {4: 0.5}})
    (row,) = gaps(grid)
    assert row.differences == {1: pytest.approx(0.1)}
    assert not vanishings([row])  # one cell shows no trend


def test_each_arm_is_a_family() -> None:
    networks = [*grown([0.04, 0.02, 0.01, 0.0]).networks, *grown([0.4, 0.3, 0.2, 0.1], arm="direct").networks[4:]]
    rows = gaps(Grid((WIDTH,), tuple(networks)))
    assert [row.network.arm for row in rows] == ["direct"] * 4 + ["retrained"] * 4
    assert {row.comparison.family for row in rows} == {4}


# ---- does the gap vanish?


@given(st.floats(-0.02, 0.02), st.floats(0.0, 0.1))
@settings(max_examples=20, deadline=None)
def test_the_slope_is_the_change_with_each_doubling(slope: float, start: float) -> None:
    (found,) = vanishings(gaps(grown([start + slope * step for step in range(4)])))
    assert found.slope is not None
    assert found.slope.difference.mean == pytest.approx(slope, abs=1e-9)


def test_yes() -> None:
    told, sentence = answer(grown([0.03, 0.02, 0.01, 0.0001]))
    assert told == "yes"
    assert sentence == (
        "Retrained, 2 bits: the gap falls by 1.00 points of test error with each doubling of size (95 % interval"
        " -1.01 to -0.99, 5 seeds; paired t test p < 0.001); in the largest network, width 4, it is +0.01 points"
        " (95 % interval -0.01 to +0.03, 5 seeds; paired t test p 0.33): yes, it shrinks, and what is left there is"
        " equivalent to none within 0.20 points."
    )


@pytest.mark.parametrize(
    ("gap", "noise", "told", "ending"),
    [
        ([0.04, 0.03, 0.02, 0.01], 1, "no", "no, it shrinks, yet a gap is left."),
        ([0.01, 0.01, 0.01, 0.01], 1, "no", "no, a gap is left."),
        ([0.0, 0.01, 0.02, 0.03], 1, "no", "no, it grows."),
        ([0.0001] * 4, 1, "not shown", "not shown, for there is none to vanish: in every network it is equivalent to"),
        ([0.0, 0.02, 0.02, 0.0], 4, "not shown", "but that it shrinks is not shown."),
        ([0.05, 0.03, 0.015, 0.001], 20, "not shown", "not shown: it shrinks, but whether any is left is open; these"),
        ([0.002, 0.0, 0.002, 0.001], 60, "not shown", "not shown; these seeds could have shown "),
    ],
)
def test_no_and_not_shown(gap: list[float], noise: float, told: str, ending: str) -> None:
    found, sentence = answer(grown(gap, noise))
    assert found == told
    assert ending in sentence


def test_one_seed_shows_nothing() -> None:
    grid = row_of_widths([100, 200], [[0.1], [0.05]], {0: [0.2], 1: [0.06]})
    told, sentence = answer(grid)
    assert told == "not shown"
    assert "one seed, which tells nothing of chance" in sentence
    assert not re.search(r"None|nan|untested", sentence)


def test_cells_of_one_size_have_no_trend() -> None:
    told, sentence = answer(grown([0.02, 0.02, 0.02, 0.02], sizes=[100.0] * 4))
    assert sentence.startswith("Retrained, 2 bits: the gap cannot be followed over size; in the largest network")
    assert told == "no"


# ---- shape


@given(st.floats(-0.01, 0.01), st.floats(-0.02, 0.02))
@settings(max_examples=10, deadline=None)
def test_size_and_depth_are_told_apart(by_size: float, by_depth: float) -> None:
    sizes = {(width, depth): 100.0 * width * (1 + depth) for width in (1.0, 2.0, 4.0) for depth in (1, 2, 3)}
    errors = {}
    for at, ((width, depth), size) in enumerate(sizes.items()):
        gap = 0.1 + by_size * np.log2(size) + by_depth * depth
        errors[width, depth] = {"float": list(0.1 + LUCK), "retrained-2": list(0.1 + LUCK + gap + np.roll(NOISE, at))}
    grid = plane(errors, sizes)
    (effect,) = axis_effects(grid, gaps(grid))
    (found,) = vanishings(gaps(grid))
    assert (effect.axis, effect.arm, effect.bits) == ("model.depth", "retrained", 2)
    assert effect.effect.difference.mean == pytest.approx(by_depth, abs=3e-4)
    assert found.largest_cell == 8
    (said,) = axis_answers([effect])
    assert said.question == "Does depth change the gap at equal size?"
    assert said.told == ("yes" if effect.effect.p_holm is not None and effect.effect.p_holm < 0.05 else "not shown")


def test_depth_that_goes_with_size_is_not_told_apart_from_it() -> None:
    sizes = {(1.0, 1): 100.0, (1.0, 2): 200.0}
    grid = plane({key: {"float": [0.1, 0.2], "retrained-2": [0.2, 0.35]} for key in sizes}, sizes)
    assert grid.main_axis == "model.depth"
    assert not axis_effects(grid, gaps(grid))


# ---- layers


def alone(costs: dict[str, float], noise: float = 1.0, seeds: int = 5) -> Grid:
    floats = 0.1 + LUCK[:seeds]
    networks = [network(0, {WIDTH: 1.0}, 100, list(floats))]
    for at, (layer, cost) in enumerate(costs.items()):
        errors = list(floats + cost + np.roll(NOISE, at)[:seeds] * noise)
        networks.append(network(0, {WIDTH: 1.0}, 90, errors, "direct", 2, layer))
    return Grid((WIDTH,), tuple(networks))


def test_the_most_sensitive_layer_and_what_carries_it() -> None:
    grid = alone({"fc1": 0.01, "fc2": 0.05, "out": 0.03})
    (found,) = most_sensitive(layer_costs(grid))
    assert (found.layer, found.after, found.pairs, found.shown) == ("fc2", "out", 3, True)
    assert found.cost.mean == pytest.approx(0.05)
    assert found.over.mean == pytest.approx(0.02)
    (said,) = layer_answers([found])
    assert (said.at, said.told) == ("width 1, direct, 2 bits", "yes")
    assert said.sentence.startswith(
        "Width 1, direct, 2 bits: fc2 costs most, +5.00 points of test error (95 % interval "
    )
    assert "2.00 points more than out, the next (95 % interval " in said.sentence
    assert said.sentence.endswith(" after Holm over 3 pairs of layers): yes.")


def test_a_lead_within_the_noise_is_not_shown() -> None:
    (found,) = most_sensitive(layer_costs(alone({"fc1": 0.0301, "fc2": 0.03}, noise=20)))
    assert not found.shown
    (said,) = layer_answers([found])
    assert said.told == "not shown"


def test_the_lead_must_hold_against_every_layer() -> None:
    # fc1 beats fc2 in every seed, but not out, whose cost scatters
    grid = alone({"fc1": 0.05, "fc2": 0.049, "out": 0.02})
    networks = [each for each in grid.networks if each.layer != "out"]
    wild = {0: 0.3, 1: 0.1, 2: 0.1, 3: 0.1, 4: 0.1}
    networks.append(network(0, {WIDTH: 1.0}, 90, wild, "direct", 2, "out"))
    (found,) = most_sensitive(layer_costs(Grid((WIDTH,), tuple(networks))))
    assert (found.layer, found.shown) == ("fc1", False)


def test_one_seed_or_one_layer() -> None:
    (found,) = most_sensitive(layer_costs(alone({"fc1": 0.05, "fc2": 0.01}, seeds=1)))
    assert (found.layer, found.p, found.shown) == ("fc1", None, False)
    (said,) = layer_answers([found])
    assert "one seed, which tells nothing of chance" in said.sentence
    assert not most_sensitive(layer_costs(alone({"fc1": 0.05})))
    assert not layer_costs(grown([0.01] * 4))  # networks quantized throughout are none of these


def test_networks_with_one_layer_alone_are_no_part_of_the_gap() -> None:
    grid = alone({"fc1": 0.01, "fc2": 0.05})
    assert not gaps(grid)
    assert not worth_answers([])


# ---- from records


def record(cell: int, arm: str, index: int, accuracy: float | None, bits: int | None = None) -> TrainingRecord:
    label = arm if bits is None else f"{arm}-{bits}"
    metrics = {} if accuracy is None else {"test_accuracy": accuracy, "model_size": 100.0 * (cell + 1)}
    state = "complete" if metrics else "failed"
    fields = {"number": cell, "state": state, "baseline": label, "seed": index, "metrics": metrics}
    return TrainingRecord.model_validate(fields | {"arm": arm, "index": index, "bits": bits})


def test_a_grid_is_made_of_the_complete_records() -> None:
    records = [record(0, "float", index, 0.9) for index in (1, 0)]
    records += [record(0, "direct", 0, 0.7, 2), record(0, "direct", 1, None, 2), record(1, "float", 0, None)]
    grid = grid_of(records, {0: {WIDTH: 0.5}, 1: {WIDTH: 1.0}})
    assert [(each.arm, each.bits, each.errors) for each in grid.networks] == [
        ("float", None, {0: pytest.approx(0.1), 1: pytest.approx(0.1)}),
        ("direct", 2, {0: pytest.approx(0.3)}),
    ]
    assert list(grid.floats) == [0]
    assert grid.main_axis is None
    assert list(grid.families().values()) == []


def test_cells_in_words() -> None:
    assert point_text({"model.width": 0.5, "model.hidden": [64, 32], "inner.per_channel": True}) == (
        "width 0.5, hidden 64-32, per channel True"
    )
