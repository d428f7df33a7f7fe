from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from drawings import CHECKS, HOSTILE, SVG, rows, texts
from made_reports import Made, made_data

from precsearch.analysis.pareto import Goal, box, hypervolume, values
from precsearch.report.figures import FIGURES, Figure, draw
from precsearch.report.figures.marks import limits
from precsearch.report.figures.palette import COLORS, arm_style
from precsearch.report.figures.svg import printable, themed
from precsearch.report.reading import RunData, Trained


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    return made_data(tmp_path_factory.mktemp("made") / "run", Made(trials=14))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    return made_data(tmp_path_factory.mktemp("made") / "other", Made(trials=10), 7, HOSTILE)


@pytest.fixture(scope="module")
def figures(run: RunData) -> dict[str, Figure]:
    return {figure.name: figure for figure in draw([run])}


@pytest.fixture(scope="module")
def of_two(run: RunData, other: RunData) -> dict[str, Figure]:
    return {figure.name: figure for figure in draw([run, other])}


def test_every_figure_is_drawn_of_one_run_and_of_two(figures: dict[str, Figure], of_two: dict[str, Figure]) -> None:
    assert list(figures) == list(of_two) == list(FIGURES)


def test_figures_of_one_section_follow_each_other(figures: dict[str, Figure]) -> None:
    sections = [figure.section for figure in figures.values()]
    changes = [one for one, before in zip(sections, [None, *sections], strict=False) if one != before]
    assert len(changes) == len(set(changes))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == "front-size" else pytest.mark.slow) for n in FIGURES]
)
def test_the_same_data_draws_the_same_bytes(name: str, run: RunData, figures: dict[str, Figure]) -> None:
    assert FIGURES[name]([run]) == figures[name]


@pytest.mark.parametrize("name", FIGURES)
def test_tables_name_the_runs(name: str, run: RunData, of_two: dict[str, Figure]) -> None:
    assert {row["run"] for row in rows(of_two[name])} == {run.label, HOSTILE}


# ---- the drawing


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", FIGURES)
def test_drawing(
    name: str, check: Callable[[Figure], None], figures: dict[str, Figure], of_two: dict[str, Figure]
) -> None:
    for figure in (figures[name], of_two[name]):
        check(figure)


def test_no_two_figures_share_an_id(of_two: dict[str, Figure]) -> None:
    roots = [ElementTree.fromstring(figure.svg) for figure in of_two.values()]
    every = Counter(element.attrib["id"] for root in roots for element in root.iter() if "id" in element.attrib)
    assert max(every.values()) == 1


def test_arms_differ_by_more_than_colour() -> None:
    arms = [arm_style(arm) for arm in ("found", "uniform", "random", "float", "another")]
    for part in zip(*arms, strict=True):
        assert len(set(part)) == len(arms)


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("name", COLORS)
def test_colours_stand_out_from_the_paper(name: str, theme: int) -> None:
    pair = sorted(luminance(COLORS[each][theme]) for each in (name, "paper"))
    contrast = (pair[1] + 0.05) / (pair[0] + 0.05)
    least = {"paper": 1.0, "grid": 1.1, "ink": 7.0, "muted": 4.5}.get(name, 3.0)
    assert contrast >= least


def test_light_colours_are_told_apart() -> None:
    assert len({light for light, _ in COLORS.values()}) == len(COLORS)


def test_points_of_the_front_say_which_trial_they_are(run: RunData, figures: dict[str, Figure]) -> None:
    titles = [str(element.text) for element in ElementTree.fromstring(figures["front-bitops"].svg).iter(f"{SVG}title")]
    for each in run.front:
        accuracy = f"{100 * each.record.metrics['validation_accuracy']:.2f}"
        assert any(f"trial {each.record.number} (" in title and accuracy in title for title in titles)
    assert len(titles) == len(run.front) + 2 * len(run.front)  # with uniform and random beside each


def test_whatever_a_label_holds_is_text(of_two: dict[str, Figure]) -> None:
    shown = [text.text for text in texts(of_two["front-size"])]
    assert printable(HOSTILE) in {text.lstrip("\N{ZERO WIDTH NON-JOINER}") for text in shown}
    assert '_a <b> & "c" $d$' in printable(HOSTILE)


def test_numbers_are_rounded_and_nothing_else_changes() -> None:
    source = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 10 20">'
        '<defs><style>*{x}</style><path id="m" d="M 0 1.04 \nL 0 1.06 " style="stroke: #000000"/></defs>'
        '<g id="g_1"><g id="tip-0"><use xlink:href="#m" x="1.23456" y="-0.001" style="fill: #0072b2"/></g>'
        '<path d="M 1.5 2.04 L 1.5 2.04 " style="fill: none; stroke: #0072b2; stroke-width: 0.8"/>'
        '<path d="M 0 0 L 1 1" style="fill: none"/></g></svg>'
    )
    root = ElementTree.fromstring(themed(source, "name", "T", "D", {"tip-0": "a < b"}))
    [marker] = root.findall(f"{SVG}defs/{SVG}path")
    assert marker.attrib == {"id": "name-m", "d": "M0 1L0 1.1"}
    [group] = root.findall(f"{SVG}g")
    assert group.findtext(f"{SVG}title") == "a < b"
    assert group[1].attrib == {"href": "#name-m", "x": "1.23", "y": "-0", "fill": "#0072b2"}
    [path] = root.findall(f"{SVG}path")  # the one that nobody sees is gone
    assert path.attrib == {"d": "M1.5 2h0", "fill": "none", "stroke": "#0072b2", "stroke-width": "0.8"}


def test_an_axis_leaves_out_what_would_flatten_it() -> None:
    trials = [0.90 + 0.005 * at for at in range(20)]
    low, high = limits([0.97, 0.98], trials)
    assert low < min(trials) < max(trials) < high
    low, high = limits([0.97, 0.98], [0.1, *trials])  # one trial at chance
    assert 0.8 < low < min(trials) < max(trials) < high
    low, high = limits([], [0.5])
    assert low < 0.5 < high


# ---- the numbers


def network(found: list[dict[str, str]], trained: Trained) -> list[dict[str, str]]:
    return [row for row in found if (row["trial"], row["arm"]) == (str(trained.record.number), trained.arm)]


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("front-bitops", ("bitops", "validation_accuracy", "average_bits")),
        ("front-size", ("model_size", "validation_accuracy", "average_bits")),
        ("gap", ("average_bits", "generalization_gap")),
    ],
)
def test_scatters_have_every_network(
    name: str, metrics: tuple[str, ...], run: RunData, figures: dict[str, Figure]
) -> None:
    found = rows(figures[name])
    assert len(found) == len(run.trials) + len(run.baselines)
    for trained in (*run.trials, *run.baselines):
        [row] = network(found, trained)
        for metric in metrics:
            without = trained.arm == "float" and metric == "average_bits"
            assert row[metric] == ("" if without else str(trained.record.metrics[metric]))
    members = {int(row["trial"]) for row in found if row["arm"] == "found" and row["on_front"] == "1"}
    assert members == {each.record.number for each in run.front}


def test_the_line_joins_what_nothing_beats(run: RunData, figures: dict[str, Figure]) -> None:
    def point(trained: Trained) -> tuple[float, float]:
        return trained.record.metrics["model_size"], -trained.record.metrics["validation_accuracy"]

    def beaten(trained: Trained) -> bool:
        own = point(trained)
        points = [point(each) for each in run.trials]
        return any(all(a <= b for a, b in zip(each, own, strict=True)) and each != own for each in points)

    joined = {int(row["trial"]) for row in rows(figures["front-size"]) if row["on_line"] == "1"}
    assert joined == {each.record.number for each in run.trials if not beaten(each)}


def test_bits_are_those_of_the_allocations(run: RunData, figures: dict[str, Figure]) -> None:
    [best] = [each for each in run.trials if run.view.best and each.record.number == run.view.best.record.number]
    assert best.allocation is not None
    found = {row["layer"]: row for row in rows(figures["bits-per-layer"])}
    for layer in best.allocation.layers:
        row = found[layer.name]
        assert (row["weight_bits"], row["activation_bits"]) == (str(layer.bits()), str(layer.bits("activation")))
        assert row["weights"] == str(layer.numel)
    cells = Counter(
        (row["trial"], row["target"], row["layer"], row["bits"]) for row in rows(figures["bits-over-front"])
    )
    expected = Counter(
        (str(each.record.number), target, layer.name, str(layer.bits(target)))
        for each in run.front
        for layer in (each.allocation.layers if each.allocation else ())
        for target in layer.targets
    )
    assert cells == expected


def test_measurements_are_those_of_the_evaluations(run: RunData, figures: dict[str, Figure]) -> None:
    measured = {name: rows(figures[name]) for name in ("epsilon", "corruptions", "bit-flips", "reliability")}
    for trained in (*run.front, *run.baselines):
        evaluation = trained.evaluation
        assert evaluation is not None
        own = {name: network(found, trained) for name, found in measured.items()}
        assert [row["accuracy"] for row in own["epsilon"]] == [
            str(each) for curve in evaluation.attacks for each in curve.accuracies
        ]
        assert [row["accuracy"] for row in own["corruptions"] if row["severity"]] == [
            str(each) for corruption in evaluation.corruptions for each in corruption.accuracies
        ]
        assert [(row["rate"], row["worst"], row["best"]) for row in own["bit-flips"]] == [
            (str(flips.rate), str(min(flips.accuracies)), str(max(flips.accuracies))) for flips in evaluation.bit_flips
        ]
        assert [(row["confidence"], row["count"]) for row in own["reliability"]] == [
            (str(each.confidence), str(each.count)) for each in evaluation.calibration.bins
        ]


def test_the_rest_is_that_of_the_records(run: RunData, figures: dict[str, Figure]) -> None:
    entropies = {(row["trial"], row["epoch"]): row["entropy"] for row in rows(figures["entropy"])}
    for trained in run.trials:
        for step in trained.steps:
            shown = entropies.get((str(trained.record.number), str(step.step)))
            assert shown == (str(step.metrics["entropy"]) if "entropy" in step.metrics else None)
    for row in rows(figures["parallel"]):
        [trained] = [each for each in run.trials if each.record.number == int(row["trial"])]
        assert row["regularization.strength"] == str(trained.record.params["inner.regularization.strength"])
        assert row["quantizer"] == trained.record.params["inner.quantizer"]
        assert row["average bits"] == str(trained.record.metrics["average_bits"])
        assert row["BitOPs"] == str(trained.record.metrics["bitops"])
    losses = {(row["layer"], row["target"], row["bits"]): row["added_loss"] for row in rows(figures["sensitivity"])}
    assert float(losses["fc3", "weight", "2"]) == pytest.approx(0.9 * 4.0**-2)


def test_the_front_s_volume_stands_beside_the_baselines(run: RunData, figures: dict[str, Figure]) -> None:
    [told] = re.findall(r"front (\d\.\d\d), uniform (\d\.\d\d), random (\d\.\d\d)\.", figures["front-bitops"].caption)
    goals = Goal.of("validation_accuracy"), Goal.of("bitops")
    arms = [run.front, *([each for each in run.baselines if each.arm == arm] for arm in ("uniform", "random"))]
    points = [values([each.record for each in own], goals) for own in arms]
    within = box(np.concatenate(points), goals)
    assert told == tuple(f"{hypervolume(own, goals, within):.2f}" for own in points)
    assert len(set(told)) > 1


def test_noise_of_equal_norm_is_marked_where_it_was_measured(run: RunData, figures: dict[str, Figure]) -> None:
    assert "noise of equal norm" in figures["epsilon"].svg
    without = [
        replace(each, evaluation=each.evaluation.model_copy(update={"masking": ()}))
        for each in run.trials
        if each.evaluation is not None
    ]
    bare = replace(run, trials=tuple(without), baselines=())
    found = FIGURES["epsilon"]([bare])
    assert found is not None and "noise of equal norm" not in found.svg


def test_differences_are_those_of_the_same_seeds(run: RunData, figures: dict[str, Figure]) -> None:
    accuracy = {
        (each.record.number, each.arm, each.record.seed): each.record.metrics["test_accuracy"] for each in run.confirmed
    }
    seeds = [row for row in rows(figures["confirmed"]) if row["trial"] and row["seed"]]
    assert len(seeds) == 2 * len(run.confirmed) // 3
    for row in seeds:
        number, seed = int(row["trial"]), int(row["seed"])
        expected = 100 * (accuracy[number, "found", seed] - accuracy[number, row["baseline"], seed])
        assert float(row["points"]) == pytest.approx(expected)


def test_failed_masking_checks_are_told(run: RunData) -> None:
    best = next(each for each in run.trials if run.view.best and each.record.number == run.view.best.record.number)
    assert best.evaluation is not None
    for passed in (True, False):
        checks = tuple(check.model_copy(update={"passed": passed}) for check in best.evaluation.masking)
        changes = {"masking": checks, "attacks": best.evaluation.attacks[:1]}
        marked = replace(best, evaluation=best.evaluation.model_copy(update=changes))
        figure = FIGURES["epsilon"]([replace(run, trials=(marked,), baselines=())])
        assert figure is not None
        assert ("Every masking check passed" in figure.caption) == passed
        assert all((check.told in figure.caption) != passed for check in checks)
        hollow = f'fill="{COLORS["paper"][0]}" stroke="{COLORS["found"][0]}"'
        assert (hollow in figure.svg) != passed


# ---- whatever a run has


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    bare = made_data(tmp_path / "run", Made(measured=False, steps=False, seeds=0, baselines=()))
    needs = ("sensitivity", "epsilon", "attack-bits", "corruptions", "bit-flips", "reliability", "entropy", "confirmed")
    assert [FIGURES[name]([bare]) for name in needs] == [None] * len(needs)
    assert FIGURES["front-size"]([bare]) is not None


@pytest.mark.slow
def test_one_of_two_runs_may_have_what_the_other_has_not(run: RunData, tmp_path: Path) -> None:
    bare = made_data(tmp_path / "run", Made(trials=3, measured=False, steps=False, seeds=0, baselines=()), 3, "bare")
    assert [figure.name for figure in draw([bare, run])] == list(FIGURES)


@pytest.mark.parametrize("made", [Made(trials=0), Made(trials=0, pruned=0, failed=0)])
def test_nothing_is_drawn_of_no_complete_trial(made: Made, tmp_path: Path) -> None:
    assert draw([made_data(tmp_path / "run", made)]) == []


@pytest.mark.slow
@pytest.mark.parametrize("made", [Made(trials=1), Made(trials=5, constant=True, seeds=1), Made(trials=2, baselines=())])
def test_few_or_equal_trials_are_drawn(made: Made, tmp_path: Path) -> None:
    drawn = draw([made_data(tmp_path / "run", made)])
    assert {"front-bitops", "bits-per-layer", "gap", "parallel", "epsilon"} <= {figure.name for figure in drawn}
    for figure in drawn:
        ElementTree.fromstring(figure.svg)
        assert "nan" not in figure.svg
        assert not re.search(r"\b(nan|None|inf)\b", figure.caption)


def deep(run: RunData, layers: int) -> RunData:
    """The same run of a network that has many layers with long names."""

    def deeper(trained: Trained) -> Trained:
        assert trained.allocation is not None
        own = trained.allocation.layers
        many = tuple(
            own[at % len(own)].model_copy(update={"name": f"features.denseblock{at // 9}.denselayer{at}.conv"})
            for at in range(layers)
        )
        return replace(trained, allocation=trained.allocation.model_copy(update={"layers": many}))

    return replace(run, trials=tuple(map(deeper, run.trials)))


@pytest.mark.parametrize(
    "layers", [1, pytest.param(40, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.slow)]
)
def test_deep_networks_stay_legible(layers: int, run: RunData) -> None:
    for name in ("bits-per-layer", "bits-over-front"):
        figure = FIGURES[name]([deep(run, layers)])
        assert figure is not None
        assert float(ElementTree.fromstring(figure.svg).attrib["height"]) < 1700
        found = list(texts(figure))
        assert min(text.left for text in found) >= -1
        for one, two in combinations(found, 2):
            assert one.right <= two.left or two.right <= one.left or one.bottom <= two.top or two.bottom <= one.top


def test_allocations_may_be_missing(run: RunData) -> None:
    without = replace(run, trials=tuple(replace(each, allocation=None) for each in run.trials))
    assert [FIGURES[name]([without]) for name in ("bits-per-layer", "bits-over-front")] == [None, None]


@pytest.mark.slow
def test_a_thousand_trials_stay_small(run: RunData) -> None:
    def again(trained: Trained, number: int) -> Trained:
        shift = 1 + number % 97 / 1000
        metrics = {
            name: value / shift if name != "bitops" else value * shift for name, value in trained.record.metrics.items()
        }
        return replace(trained, record=trained.record.model_copy(update={"number": number, "metrics": metrics}))

    start = len(run.trials)
    many = tuple(again(run.trials[number % start], number) for number in range(start, 1000))
    drawn = draw([replace(run, trials=(*run.trials, *many))])
    assert [figure.name for figure in drawn] == list(FIGURES)
    assert sum(len(figure.svg.encode()) for figure in drawn) < 600_000
    [entropy] = [figure for figure in drawn if figure.name == "entropy"]
    assert "200 trials of 1000" in entropy.caption
    assert len({row["trial"] for row in rows(entropy)}) == 1000
