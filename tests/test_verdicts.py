from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.analysis.measures import measure
from precsearch.analysis.sentences import budget_text
from precsearch.analysis.statistics import compare
from precsearch.analysis.verdicts import (
    confirmed_claims,
    judge,
    paired_differences,
    summary,
    unconfirmed_claims,
)
from precsearch.results import TrialRecord

ARMS = ("uniform", "random", "float")
NOISE = np.array([-3.0, 1, 2, -1, 1]) * 1e-4  # sums to 0


def made(
    number: int, arm: str | None, seed: int, value: float, metric: str = "test_accuracy", limit: object = 3.0
) -> TrialRecord:
    fields = {"number": number, "state": "complete", "baseline": arm, "seed": seed, "limit": limit}
    return TrialRecord.model_validate({**fields, "metrics": {metric: value}})


def confirmed(
    gains: Mapping[str, float], number: int = 12, metric: str = "test_accuracy", seeds: int = 5, noise: float = 1.0
) -> list[TrialRecord]:
    """Trainings whose mean paired differences are `gains`, exactly."""
    records = []
    for seed in range(seeds):
        records.append(made(number, "found", seed, 0.9, metric))
        records += [
            made(number, arm, seed, 0.9 - gain + noise * NOISE[seed % 5], metric) for arm, gain in gains.items()
        ]
    return records


def only(records: list[TrialRecord], **options: object) -> tuple[str, str]:
    (claim,) = confirmed_claims(records, **options)  # type: ignore[arg-type]
    return claim.told, claim.sentence


def test_shown_better() -> None:
    verdict, sentence = only(confirmed({"uniform": 0.005}))
    assert verdict == "shown better"
    assert sentence == (
        "At 3 bits (trial 12), found less uniform: +0.50 points of test accuracy (95 % interval +0.48 to +0.52, "
        "5 fresh seeds; paired t test p < 0.001; sign flips p 0.062, at best 0.062 with 5 pairs): shown better."
    )


def test_lower_is_better_for_losses_and_gaps() -> None:
    verdict, sentence = only(confirmed({"uniform": 0.02}, metric="test_loss"), metric="test_loss")
    assert verdict == "shown worse"
    assert "+0.0200 nats of test loss, lower is better (" in sentence
    gap = confirmed({"uniform": -0.02}, metric="generalization_gap")
    assert only(gap, metric="generalization_gap")[0] == "shown better"


def test_equivalent_within_the_margin_that_is_said() -> None:
    verdict, sentence = only(confirmed({"uniform": 0.0001}, noise=2))
    assert verdict == "equivalent within 0.20 points"
    assert sentence.endswith(": equivalent within 0.20 points.")
    assert only(confirmed({"uniform": 0.0001}, noise=2), margin=0.0002)[0] == "not shown"


def test_not_shown_says_what_the_seeds_could_have_shown() -> None:
    records = confirmed({"uniform": 0.0012}, noise=10)
    verdict, sentence = only(records)
    (figures,) = compare({"a": list(paired_differences(records, "test_accuracy")[12, "uniform"].values())})
    assert verdict == "not shown"
    assert figures.detectable is not None
    assert sentence.endswith(
        f"not shown with these seeds, which could have shown {100 * figures.detectable:.2f} points."
    )


def test_an_interval_off_zero_that_holm_does_not_let_pass() -> None:
    records = confirmed({"uniform": 0.00028, "random": 0.0, "float": 0.0})
    claims = confirmed_claims(records, margin=1e-9)
    first = next(claim for claim in claims if claim.against == "uniform")
    assert first.comparison is not None
    assert not first.comparison.difference.holds(0)
    assert first.verdict == "not shown"
    assert "not shown once all 3 comparisons count; the seeds could have shown" in first.sentence


def test_shown_and_equivalent_at_once() -> None:
    assert only(confirmed({"uniform": 0.001}))[1].endswith("shown better, yet equivalent within 0.20 points.")


def test_one_pair_shows_nothing() -> None:
    verdict, sentence = only(confirmed({"uniform": 0.5}, seeds=1))
    assert verdict == "not shown"
    assert sentence.endswith("one pair of trainings: not shown. One pair tells nothing of chance.")


def test_the_same_difference_every_time() -> None:
    verdict, sentence = only(confirmed({"uniform": 1 / 360}, noise=0))
    assert verdict == "not shown"
    assert "(the same in each of 5 pairs of fresh seeds, so no interval; sign flips p 0.062, at best" in sentence
    assert only(confirmed({"uniform": 1 / 360}, noise=0, seeds=6))[0] == "shown better"
    verdict, sentence = only(confirmed({"uniform": 0.0}, noise=0))
    assert verdict == "not shown"
    assert "+0.00 points of test accuracy in each of 5 pairs of fresh seeds, as where both train the same" in sentence


def test_only_pairs_of_a_seed_count() -> None:
    records = [
        *confirmed({"uniform": 0.005}),
        made(12, "found", 77, 0.1),
        made(12, "uniform", 78, 0.9),
        TrialRecord(number=12, state="failed", baseline="uniform", seed=77),
        made(13, "uniform", 0, 0.9),
    ]
    assert {key: list(found) for key, found in paired_differences(records, "test_accuracy").items()} == {
        (12, "uniform"): [0, 1, 2, 3, 4]
    }
    assert confirmed_claims(records, "test_loss") == []


def test_the_mean_over_trials_comes_first_and_is_by_seed() -> None:
    records = confirmed({"uniform": 0.004}, 12) + confirmed({"uniform": 0.002}, 13) + confirmed({"random": 0.1}, 13)
    claims = confirmed_claims(records)
    assert [(claim.number, claim.against) for claim in claims] == [
        (None, "uniform"), (12, "uniform"), (13, "uniform"), (13, "random"),
    ]  # fmt: skip
    assert claims[0].sentence.startswith("In the mean over 2 trials, found less uniform: +0.30 points of test accuracy")
    assert summary(claims) == "Against uniform: 2 shown better. Against random: 1 shown better."


def test_the_mean_over_trials_takes_the_seeds_that_all_have() -> None:
    records = confirmed({"uniform": 0.004}, 12, seeds=4) + confirmed({"uniform": 0.002}, 13)
    assert list(paired_differences(records, "test_accuracy")[None, "uniform"]) == [0, 1, 2, 3]
    apart = [*confirmed({"uniform": 0.004}, 12, seeds=1), made(13, "found", 9, 0.9), made(13, "uniform", 9, 0.9)]
    assert (None, "uniform") not in paired_differences(apart, "test_accuracy")


def test_a_family_is_all_of_one_metric() -> None:
    claims = confirmed_claims(confirmed(dict.fromkeys(ARMS, 0.0)))
    assert [claim.comparison.family for claim in claims if claim.comparison] == [3, 3, 3]


@given(gain=st.floats(-0.02, 0.02), noise=st.floats(0.1, 30), seeds=st.integers(2, 9))
@settings(max_examples=40, deadline=None)
def test_sentences_say_what_the_figures_say(gain: float, noise: float, seeds: int) -> None:
    (claim,) = confirmed_claims(confirmed({"random": gain}, seeds=seeds, noise=noise))
    figures = claim.comparison
    assert figures is not None
    shown = figures.p_holm is not None and figures.p_holm < 0.05
    assert claim.verdict.startswith("shown") == shown
    if shown:
        assert (claim.verdict == "shown better") == (figures.difference.mean > 0)
    assert claim.verdict in claim.sentence
    mean, low, high = re.findall(r"[+-]\d+\.\d\d", claim.sentence)[:3]
    told = [figures.difference.mean, figures.difference.low or 0, figures.difference.high or 0]
    assert [float(mean), float(low), float(high)] == pytest.approx([100 * each for each in told], abs=0.0051)


def test_verdicts_go_by_the_corrected_test() -> None:
    (figures,) = compare({"a": [0.01, 0.011, 0.012]})
    assert judge(figures, measure("test_accuracy")) == "shown better"
    assert judge(figures, measure("test_loss")) == "shown worse"


def test_a_front_trained_once_shows_nothing_and_says_why() -> None:
    members, beside = [made(4, None, 0, 0.978, "validation_accuracy")], [
        made(4, "uniform", 0, 0.972, "validation_accuracy"), made(5, "random", 0, 0.9, "validation_accuracy"),
    ]  # fmt: skip
    (claim,) = unconfirmed_claims(members, beside, trials=20)
    assert (claim.verdict, claim.comparison, claim.against) == ("not shown", None, "uniform")
    assert claim.sentence == (
        "At 3 bits (trial 4), found less uniform: +0.60 points of validation accuracy, one training each: not shown. "
        "One training tells nothing of chance, and the best of 20 equal trials lies 1.87 standard deviations above "
        "their mean by luck."
    )
    assert unconfirmed_claims(members, beside, trials=1)[0].sentence.endswith("One training tells nothing of chance.")


def test_budgets_in_words() -> None:
    assert budget_text(2.5, "average_bits") == "2.5 bits"
    assert budget_text({"weight": 3, "activation": 4.5}, "layer_bits") == "3 weight and 4.5 activation bits"
    assert budget_text(20000, "model_size") == "20,000 bytes"
    assert budget_text(12.5, "latency") == "12.5 of latency"
    assert budget_text(None, "average_bits") == "no limit"


def test_metrics_in_words() -> None:
    names = ["test_accuracy", "validation_pgd_l2_accuracy", "test_ece", "validation_nll", "generalization_gap", "odd"]
    assert [measure(name).words for name in names] == [
        "test accuracy",
        "validation accuracy under PGD in L2",
        "test calibration error",
        "validation negative log-likelihood",
        "generalization gap",
        "odd",
    ]
    assert [measure(name).unit for name in names] == ["points", "points", "points", "nats", "points", ""]
    assert measure("test_accuracy").signed(-1e-6) == "+0.00 points"
    assert measure("bitops").amount(-12.3) == "12 BitOPs"
