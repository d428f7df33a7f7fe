from __future__ import annotations

import numpy as np
import pytest
from made_reports import LAYERS, allocation, evaluation
from test_arm_claims import KINDS, failed, made, record

from precsearch.allocation import Allocation
from precsearch.analysis.answers import Answer
from precsearch.analysis.arm_answers import (
    BEATS,
    BESIDE,
    MORE,
    REGULARIZES,
    UNIFORM,
    WITHSTANDS,
    beats,
    near_uniform,
    regularizes,
    withstands,
)
from precsearch.analysis.arm_bits import layer_rows, spent_rows, uniformity_rows
from precsearch.analysis.arm_claims import arm_claims, pairings
from precsearch.analysis.arm_robustness import (
    Condition,
    disturbances,
    disturbed_claims,
    disturbed_networks,
    disturbed_rows,
)
from precsearch.analysis.arms import ERROR, GAP, NLL, arm_measure, arms_of, networks_of
from precsearch.results import TrainingRecord

SEEDS = 10


def answers(gap: float, nll: float, error: float, noise: float = 1e-4) -> list[Answer]:
    """Of a stochastic arm that differs from uniform bits by so much, and from dropout by nothing but noise."""
    draws = np.random.default_rng(3)
    records = []
    for arm in ("uniform", "stochastic", "dropout"):
        for index in range(SEEDS):
            less = arm == "stochastic"
            accuracy = 0.9 - less * error + float(draws.normal(0, noise))
            more = {
                "train_accuracy": accuracy + 0.05 + less * gap + float(draws.normal(0, noise)),
                "test_loss": 0.3 + less * nll + float(draws.normal(0, noise)),
            }
            records.append(record(arm, index, accuracy=accuracy, **more))
    arms = arms_of({"uniform": "uniform", "stochastic": "stochastic", "dropout": "dropout"}, records)
    networks, pairs = networks_of(records, arms), pairings(arms, "uniform")
    claims = [claim for metric in (ERROR, GAP, NLL) for claim in arm_claims(networks, pairs, arm_measure(metric), {})]
    return regularizes(claims, "uniform")


@pytest.mark.parametrize(
    ("gap", "nll", "error", "noise", "told"),
    [
        (-0.01, -0.02, -0.01, 1e-4, "yes"),
        (-0.01, 0.0, 0.0, 1e-4, "yes"),
        (0.01, 0.02, 0.01, 1e-4, "no"),
        (0.0, 0.0, 0.0, 1e-4, "no"),  # equivalent in all of them
        (-0.01, 0.02, 0.0, 1e-4, "mixed"),
        (0.0, 0.0, 0.0, 0.05, "not shown"),
    ],
)
def test_what_is_shown_decides_whether_it_regularizes(
    gap: float, nll: float, error: float, noise: float, told: str
) -> None:
    found = answers(gap, nll, error, noise)
    assert [each.question for each in found] == [REGULARIZES, MORE]
    assert found[0].told == told
    assert "stochastic less uniform (10 seeds): train-test gap" in found[0].sentence
    assert found[0].sentence.index("gap") < found[0].sentence.index("NLL") < found[0].sentence.index("test error")
    assert ("could have shown" in found[0].sentence) == (told == "not shown")


def test_drawn_and_frozen_are_answered_each_in_every_cell() -> None:
    records = [each for each in made() if not (each.arm == "dropout" and each.index == 3)] + [
        failed("dropout", 3, cell) for cell in (0, 1)
    ]
    arms = arms_of(KINDS, records)
    networks, pairs, places = networks_of(records, arms), pairings(arms, "uniform"), {0: "2 bits", 1: "4 bits"}
    claims = [
        claim for metric in (ERROR, GAP, NLL) for claim in arm_claims(networks, pairs, arm_measure(metric), places)
    ]
    found = regularizes(claims, "uniform")
    assert [each.at for each in found if each.question == REGULARIZES] == ["2 bits", "2 bits", "4 bits", "4 bits"]
    assert sum(each.question == MORE for each in found) == 2 * 2 * 2
    said = [each.sentence for each in found if "less dropout" in each.sentence]
    assert said and all("11 seeds, 1 more left out for a failed training" in each for each in said)
    learned = beats(claims, {(0, "learned"): "1.98 bits", (0, "uniform"): "2 bits"})
    assert [each.question for each in learned] == [BEATS] * 4
    assert learned[0].told == "yes" and learned[0].sentence.endswith("Spent: learned 1.98 bits, uniform 2 bits.")
    assert "learned less random" in learned[1].sentence and learned[1].sentence.endswith("bits.")


# ---- bits


def bits_of(widths: list[list[int]], arm: str = "learned", cell: int = 0) -> list[tuple[TrainingRecord, Allocation]]:
    """One training for each list of weight bits, one a layer."""
    return [
        (record(arm, index, cell), allocation([(bits, None) for bits in own], 3.0)) for index, own in enumerate(widths)
    ]


def near(widths: list[list[int]]) -> Answer:
    found = [*bits_of(widths), *bits_of([[2, 8, 2, 8, 4]] * 3, "random")]
    [answer] = near_uniform(list(uniformity_rows(found)), KINDS, {0: "3 bits"})
    assert answer.question == UNIFORM and "Random allocations of equal cost: weights 2.40" in answer.sentence
    return answer


def test_allocations_near_one_width_are_near_uniform() -> None:
    assert near([[3, 3, 3, 3, 3]] * 4).told == "yes"
    assert near([[3, 3, 3, 3, 4]] * 2 + [[3, 3, 3, 3, 3]] * 2).told == "yes"
    assert near([[2, 8, 2, 8, 4]] * 4).told == "no"
    assert near([[3, 3, 3, 3, 3], [2, 8, 2, 8, 4]]).told == "not shown"
    assert near([[3, 3, 3, 3, 3]]).told == "not shown"  # one seed
    said = near([[3, 3, 3, 3, 4]] * 2 + [[3, 3, 3, 3, 3]] * 2).sentence
    assert said.startswith("At 3 bits, learned: weights 0.10 (95 % interval") and "4 seeds, 2 of them uniform" in said


def test_bits_of_layers_over_seeds() -> None:
    rows = layer_rows([*bits_of([[2, 3, 3, 3, 8], [4, 3, 3, 3, 8]]), *bits_of([[2] * 5], "uniform")])
    first = rows[0]
    assert (first.arm, first.target, first.layer, first.bits) == ("learned", "weight", LAYERS[0][0], (2, 4))
    assert (first.mean, first.sd) == (3.0, pytest.approx(np.std([2, 4], ddof=1)))
    assert len(rows) == 10 and {row.sd for row in rows[1:]} == {0.0}
    [learned, uniform] = uniformity_rows([*bits_of([[2, 3, 3, 3, 8], [4, 3, 3, 3, 8]]), *bits_of([[2] * 5], "uniform")])
    assert learned.distance.mean == pytest.approx(1.2) and learned.exact == 0 and uniform.exact == 1


def test_what_is_spent_is_the_mean_over_seeds() -> None:
    found = bits_of([[2] * 5, [4] * 5])
    assert spent_rows(found) == {(0, "learned"): pytest.approx(3.0)}
    first = found[0][1]
    by_target = first.model_copy(update={"budget": first.budget.model_copy(update={"achieved": {"weight": 2.0}})})
    assert spent_rows([(found[0][0], by_target)]) == {(0, "learned"): {"weight": 2.0}}
    assert spent_rows([(found[0][0], None)]) == {}


# ---- disturbances


def measured(records: list[TrainingRecord], coarse: set[int]):  # type: ignore[no-untyped-def]
    """An evaluation each; the masking check on transfer fails for the seeds in `coarse`."""
    import random

    for each in records:
        width = 2 if each.index in coarse else 8
        metrics = {"validation_accuracy": each.metrics["test_accuracy"], "average_bits": float(width)}
        found = evaluation(allocation([(width, width)] * 5, 3.0), metrics, "test", random.Random(each.index))
        yield each, found, None


def test_conditions_are_those_of_the_evaluation() -> None:
    [(_, found, _)] = measured([record("learned", 0)], set())
    values = disturbances(found)
    curve = found.attacks[1]
    assert values[Condition("attack", "pgd linf", 0.1)] == curve.accuracies[2]
    assert values[Condition("attack", "pgd linf")] == pytest.approx(np.mean(curve.accuracies[1:]))
    means = {each.corruption: np.mean(each.accuracies) for each in found.corruptions}
    assert values[Condition("corruption", "mean")] == pytest.approx(np.mean(list(means.values())))
    assert values[Condition("corruption", "noise")] == pytest.approx(means["gaussian_noise"])
    assert values[Condition("bit flips", "", 0.001)] == pytest.approx(np.mean(found.bit_flips[1].accuracies))
    assert values[Condition("perturbation", "linf")] == 0.11
    beyond = found.model_copy(update={"perturbations": (found.perturbations[0].model_copy(
        update={"quartiles": (0.1, None, None)}),)})  # fmt: skip
    assert disturbances(beyond)[Condition("perturbation", "linf")] == found.perturbations[0].largest


def test_masking_checks_stand_beside_attacks_and_are_counted_over_seeds() -> None:
    records = [record(arm, index) for arm in ("uniform", "learned") for index in range(5)]
    own = [*measured(records[:5], set()), *measured(records[5:], {1, 3})]
    own.append((failed("learned", 5), None, None))
    own.append((record("uniform", 5), None, None))  # nothing was asked of it
    arms = arms_of({"uniform": "uniform", "learned": "learned"}, [each for each, *_ in own])
    networks, conditions = disturbed_networks(own, arms)
    assert len(networks) == 11
    rows = list(disturbed_rows(networks, conditions))
    attacks = [row for row in rows if row.arm.name == "learned" and row.condition.group in ("attack", "perturbation")]
    assert {row.caveat for row in attacks} == {"transfer failed in 2 of 5"}
    assert not any(row.caveat for row in rows if row not in attacks)
    claims = disturbed_claims(networks, conditions, pairings(arms, "uniform"), {}, margin=0.01)
    told = {claim.measure.metric: claim for claim in claims}
    assert len(claims) == len(told) == len([each for each in conditions if each.overall]) == 8
    pgd = told["attack pgd linf mean"]
    assert pgd.measure.direction == "maximize" and pgd.comparison.margin == 0.01
    assert "learned: transfer failed in 2 of 5" in pgd.sentence and pgd.doubtful
    assert not told["corruption mean"].caveat and "masking" not in told["corruption mean"].sentence.lower()
    assert pgd.differences.left_out == 1
    assert not any("robust" in claim.sentence.lower() for claim in claims)
    [answer] = withstands(claims, "uniform")
    assert answer.question == WITHSTANDS and "transfer failed in 2 of 5" in answer.sentence
    assert "learned less uniform (5 seeds, 1 more left out for a failed training): FGSM, mean over" in answer.sentence


@pytest.mark.parametrize(
    ("kind", "question"), [("learned", WITHSTANDS), ("float", BESIDE), ("dropout", BESIDE), ("weight-noise", BESIDE)]
)
@pytest.mark.parametrize(("gained", "told"), [(0.05, "yes"), (-0.05, "no"), (0.0, "no")])
def test_doubted_conditions_do_not_count(kind: str, question: str, gained: float, told: str) -> None:
    """Attacks seem to hurt the other arm much less, but its masking checks fail: the other conditions decide."""
    draws = np.random.default_rng(0)
    own = []
    for arm in ("uniform", kind):
        for index in range(8):
            [(each, found, _)] = measured([record(arm, index)], {index} if arm == kind else set())
            shift = gained * (arm == kind) + float(draws.normal(0, 1e-4))
            curve = found.attacks[0].model_copy(
                update={"accuracies": tuple(0.3 + 0.5 * (arm == kind) + shift for _ in found.attacks[0].epsilons)}
            )
            blur = found.corruptions[1].model_copy(update={"accuracies": (0.8 + shift,)})
            changed = {"attacks": (curve,), "corruptions": (blur,), "bit_flips": (), "perturbations": ()}
            own.append((each, found.model_copy(update=changed), None))
    arms = arms_of({"uniform": "uniform", kind: kind}, [each for each, *_ in own])
    networks, conditions = disturbed_networks(own, arms)
    [answer] = withstands(disturbed_claims(networks, conditions, pairings(arms, "uniform"), {}, 0.005), "uniform")
    assert answer.question == question
    assert "(yes, better)" in answer.sentence.split("corruptions")[0], "the attack itself"
    assert answer.told == told
