from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from precsearch.analysis.arm_claims import arm_claims, paired_arms, pairings
from precsearch.analysis.arms import ERROR, GAP, METRICS, NLL, arm_measure, arms_of, mean_rows, networks_of, values_of
from precsearch.results import TrainingRecord

KINDS = {"float": "float", "uniform": "uniform", "learned": "learned", "random": "random", "stochastic": "stochastic",
         "dropout": "dropout", "noise": "weight-noise"}  # fmt: skip
MEANS = {"float": 0.96, "uniform": 0.94, "learned": 0.945, "random": 0.93, "stochastic": 0.946, "dropout": 0.95,
         "noise": 0.9405}  # fmt: skip
SEEDS = 12


def record(arm: str, index: int, cell: int = 0, accuracy: float = 0.9, **more: float) -> TrainingRecord:
    metrics = {"test_accuracy": accuracy, "train_accuracy": accuracy + 0.03, "test_loss": 2 * (1 - accuracy)} | more
    return TrainingRecord(
        number=cell, state="complete", baseline=arm, seed=100 + index, metrics=metrics, arm=arm, index=index, limit=3.0
    )


def failed(arm: str, index: int, cell: int = 0) -> TrainingRecord:
    return record(arm, index, cell).model_copy(update={"state": "failed", "metrics": {}, "reason": "loss is nan"})


def made(seed: int = 0, cells: int = 2) -> list[TrainingRecord]:
    """Every arm, each seed with a luck of its own."""
    draws = np.random.default_rng(seed)
    luck = draws.normal(0, 0.004, SEEDS)
    found = []
    for cell in range(cells):
        for arm, mean in MEANS.items():
            for index in range(SEEDS):
                accuracy = float(mean + luck[index] + draws.normal(0, 0.002) - 0.002 * cell)
                more = {"drawn_test_accuracy": accuracy + 0.001} if arm == "stochastic" else {}
                more["train_accuracy"] = accuracy + float(draws.uniform(0.02, 0.03))
                found.append(record(arm, index, cell, accuracy, **more))
    return found


def claims_of(records: list[TrainingRecord], metric: str = ERROR, margin: float = 0.005):  # type: ignore[no-untyped-def]
    arms = arms_of(KINDS, records)
    told = arm_measure(metric, margin)
    return arm_claims(networks_of(records, arms), pairings(arms, "uniform"), told, {0: "2 bits", 1: "4 bits"})


# ---- values and means


def test_errors_and_gaps_follow_from_accuracies() -> None:
    metrics = {"test_accuracy": 0.9, "train_accuracy": 0.97, "test_loss": 0.4, "train_loss": 0.1, "model_size": 7.0,
               "drawn_test_accuracy": 0.92, "drawn_train_accuracy": 0.95}  # fmt: skip
    frozen, drawn = values_of(metrics), values_of(metrics, drawn=True)
    assert (frozen[ERROR], frozen[GAP], frozen["test_loss_gap"]) == pytest.approx((0.1, 0.07, 0.3))
    assert (drawn[ERROR], drawn[GAP]) == pytest.approx((0.08, 0.03))
    assert "drawn_test_accuracy" not in frozen and drawn.keys().isdisjoint({"model_size", "test_loss", "test_loss_gap"})


def test_a_stochastic_arm_is_two_where_it_was_drawn() -> None:
    names = [arm.name for arm in arms_of(KINDS, made())]
    assert names == ["float", "uniform", "learned", "random", "stochastic, frozen", "stochastic, drawn", "dropout",
                     "noise"]  # fmt: skip
    assert [arm.name for arm in arms_of(KINDS, [record("stochastic", 0)])][4:6] == ["stochastic", "dropout"]


def test_means_are_those_of_scipy() -> None:
    records = [*made()[:-1], failed("noise", SEEDS - 1, 1)]
    rows = list(mean_rows(networks_of(records, arms_of(KINDS, records))))
    assert len(rows) == 2 * (7 * 3 + 1)  # of the mean over draws nothing but the error was measured
    for row in rows:
        drawn = row.arm.kind == "drawn"
        own = [each for each in records if (each.number, each.arm) == (row.cell, row.arm.arm)]
        samples = [values_of(each.metrics, drawn)[row.metric] for each in own if each.metrics]
        low, high = stats.t.interval(0.95, len(samples) - 1, np.mean(samples), stats.sem(samples))
        assert row.failed == (row.cell == 1 and row.arm.arm == "noise")
        assert row.interval.n == len(samples) == SEEDS - row.failed
        assert (row.interval.mean, row.interval.low, row.interval.high) == pytest.approx((np.mean(samples), low, high))


# ---- which arms are compared


def test_every_arm_meets_the_reference_and_what_the_questions_are_about() -> None:
    pairs = [(one.name, two.name) for one, two in pairings(arms_of(KINDS, made()), "uniform")]
    assert len(pairs) == len(set(pairs))
    frozen, drawn = "stochastic, frozen", "stochastic, drawn"
    assert pairs[:7] == [(arm, "uniform") for arm in ("float", "learned", "random", frozen, drawn, "dropout", "noise")]
    assert set(pairs[7:]) == {
        ("learned", "random"),
        (drawn, frozen),
        *((arm, noise) for arm in (frozen, drawn) for noise in ("dropout", "noise")),
    }


def test_a_reference_that_is_not_uniform() -> None:
    arms = arms_of(KINDS, made())
    pairs = {(one.name, two.name) for one, two in pairings(arms, "float")}
    assert {("uniform", "float"), ("learned", "uniform"), ("stochastic, drawn", "uniform")} <= pairs
    own = {(one.name, two.name) for one, two in pairings(arms, "stochastic")}
    assert ("uniform", "stochastic, frozen") in own and ("stochastic, drawn", "stochastic, frozen") in own
    assert not any(one == two for one, two in pairs | own)


# ---- the figures, against other libraries


def accuracies(records: list[TrainingRecord], cell: int, name: str) -> np.ndarray:
    arm, _, way = name.partition(", ")
    key = "drawn_test_accuracy" if way == "drawn" else "test_accuracy"
    return np.array([each.metrics[key] for each in records if (each.number, each.arm) == (cell, arm)])


def test_claims_are_those_of_scipy_and_statsmodels() -> None:
    records = made(1)
    found = claims_of(records)
    assert len(found) == 2 * 13
    pairs = [(each.differences.cell, each.differences.arm.name, each.differences.against.name) for each in found]
    samples = [(1 - accuracies(records, cell, one), 1 - accuracies(records, cell, two)) for cell, one, two in pairs]
    flat = [np.ptp(one - two) < 1e-12 for one, two in samples]  # drawn less frozen: the same in every pair
    assert sum(flat) == 2
    p = [2 / 2**SEEDS if same else stats.ttest_rel(*pair).pvalue for same, pair in zip(flat, samples, strict=True)]
    assert [each.comparison.p_holm for each in found] == pytest.approx(multipletests(p, method="holm")[1], rel=1e-6)
    tost = [ttost_paired(*pair, -0.005, 0.005)[0] for same, pair in zip(flat, samples, strict=True) if not same]
    known = iter(multipletests(tost, method="holm")[1])
    for each, same, (one, two) in zip(found, flat, samples, strict=True):
        assert each.comparison.difference.mean == pytest.approx((one - two).mean())
        assert (
            each.comparison.p_equivalent is None if same else each.comparison.p_equivalent == pytest.approx(next(known))
        )
        if not same:
            interval = stats.ttest_rel(one, two).confidence_interval()
            assert (each.comparison.difference.low, each.comparison.difference.high) == pytest.approx(interval)
        shown = each.comparison.p_holm < 0.05
        better = "shown better" if (one - two).mean() < 0 else "shown worse"
        assert each.verdict == (better if shown else "equivalent" if each.comparison.equivalent else "not shown")
    assert {each.verdict for each in found} == {"shown better", "shown worse", "equivalent"}


@pytest.mark.parametrize("gap", [0.0005, 0.0015, 0.004])
def test_the_smallest_gap_that_had_been_shown(gap: float) -> None:
    """Simulated: about 80 in a hundred runs show a true difference as large as the one told."""
    draws = np.random.default_rng(5)
    records = [
        record(arm, i, accuracy=0.9 + float(draws.normal(0, gap))) for arm in ("uniform", "learned") for i in range(8)
    ]
    arms = arms_of({"uniform": "uniform", "learned": "learned"}, records)
    [claim] = arm_claims(networks_of(records, arms), pairings(arms, "uniform"), arm_measure(ERROR), {})
    spread, least = np.std(list(claim.differences.by_seed.values()), ddof=1), claim.comparison.detectable
    shown = stats.ttest_1samp(draws.normal(least, spread, (4000, 8)), 0, axis=1).pvalue < 0.05
    assert shown.mean() == pytest.approx(0.8, abs=0.03)


# ---- what failed, what is missing


def test_a_pair_with_a_failed_member_is_left_out_and_counted() -> None:
    records = [failed(each.arm, each.index, each.number)
               if (each.arm, each.index) in {("learned", 2), ("uniform", 5)} and each.number == 0 else each
               for each in made()]  # fmt: skip
    found = {(each.differences.cell, each.differences.arm.name, each.differences.against.name): each
             for each in claims_of(records)}  # fmt: skip
    claim = found[0, "learned", "uniform"]
    assert set(claim.differences.by_seed) == set(range(SEEDS)) - {2, 5} and claim.differences.left_out == 2
    assert "10 seeds" in claim.sentence and "2 more left out for a failed training" in claim.sentence
    whole = found[1, "learned", "uniform"]
    assert whole.differences.left_out == 0 and "left out" not in whole.sentence and "12 seeds" in whole.sentence
    assert found[0, "float", "uniform"].differences.left_out == 1


def test_what_has_not_ended_is_no_failure() -> None:
    records = [each for each in made(cells=1) if not (each.arm == "learned" and each.index >= 7)]
    [claim] = [each for each in claims_of(records) if each.differences.arm.name == "learned"
               and each.differences.against.name == "uniform"]  # fmt: skip
    assert (len(claim.differences.by_seed), claim.differences.left_out) == (7, 0)


def test_arms_that_share_no_seed_are_not_compared() -> None:
    records = [record("uniform", 0), record("learned", 1)]
    arms = arms_of(KINDS, records)
    assert paired_arms(networks_of(records, arms), pairings(arms, "uniform"), ERROR) == []
    assert claims_of([failed("uniform", 0), failed("learned", 0)]) == []


@given(order=st.randoms(use_true_random=False), gone=st.sets(st.integers(0, len(MEANS) * SEEDS - 1), max_size=20))
@settings(max_examples=15, deadline=None)
def test_claims_do_not_depend_on_the_order_of_records(order: random.Random, gone: set[int]) -> None:
    records = [each for at, each in enumerate(made(cells=1)) if at not in gone]
    shuffled = list(records)
    order.shuffle(shuffled)
    if not any(each.arm == "stochastic" for each in records):
        return
    assert [each.sentence for each in claims_of(shuffled)] == [each.sentence for each in claims_of(records)]


# ---- the sentences


def two(difference: Callable[[int], float], seeds: int = 10) -> list[TrainingRecord]:
    return [record("uniform", index, accuracy=0.9 + 0.001 * (index % 3)) for index in range(seeds)] + [
        record("learned", index, accuracy=0.9 + 0.001 * (index % 3) + difference(index)) for index in range(seeds)
    ]


@pytest.mark.parametrize(
    ("difference", "told", "ending"),
    [
        (lambda i: 0.02 + 0.001 * (i % 2), "yes, better", ": yes, better."),
        (lambda i: -0.02 - 0.001 * (i % 2), "yes, worse", ": yes, worse."),
        (lambda i: 0.0005 * (-1) ** i, "no, equivalent within 0.50 points", ": no, equivalent within 0.50 points."),
        (lambda i: 0.001 + 0.0005 * (i % 2), "yes, better", ": yes, better, yet equivalent within 0.50 points."),
        (lambda i: 0.02 * (-1) ** i, "not shown", "could have shown 2."),
    ],
)
def test_one_sentence_says_whether_arms_differ(difference: Callable[[int], float], told: str, ending: str) -> None:
    [claim] = claims_of(two(difference))
    assert claim.told == told
    assert claim.sentence.startswith("At 2 bits, learned less uniform: ") and ending in claim.sentence
    assert "of test error, lower is better" in claim.sentence and claim.sentence.endswith(".")


def test_one_pair_tells_nothing() -> None:
    [claim] = claims_of(two(lambda i: 0.1, seeds=1))
    assert claim.verdict == "not shown" and "One pair tells nothing of chance" in claim.sentence
    [same] = claims_of(two(lambda i: 0.0))
    assert same.verdict == "not shown" and "as where both train the same" in same.sentence


@pytest.mark.parametrize("metric", METRICS)
def test_every_measure_is_better_when_it_is_less(metric: str) -> None:
    told = arm_measure(metric, 0.01)
    assert told.direction == "minimize" and told.margin
    assert told.margin == (0.01 if metric in {ERROR, GAP} else arm_measure(metric).margin)
    assert arm_measure(NLL).words == "test NLL" and arm_measure(GAP).words == "train-test gap"
