from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import TRIALS, allocation, record
from scipy import stats

from precsearch.analysis.bits import bits_rows, distance_from_uniform, entropy_rows, spread_rows
from precsearch.analysis.generalization import gap_correlations, gap_rows
from precsearch.analysis.robustness import attack_rows, caveat, corruption_rows, flip_rows
from precsearch.analysis.sensitivity import sensitivity_rows
from precsearch.measured import Alone, AttackCurve, BitFlips, Calibration, Corruption, Evaluation, MaskingCheck
from precsearch.results import Progress, TrialRecord

CURVE = AttackCurve(
    attack="pgd", norm="linf", epsilons=(0.0, 0.1, 0.3), accuracies=(0.9, 0.5, 0.1), steps=20, restarts=1
)
PASSED = MaskingCheck(check="noise", passed=True, value=0.9, bound=0.5, told="noise: fine.")
FAILED = MaskingCheck(check="transfer", passed=False, value=0.1, bound=0.5, told="Transfer beats PGD: 10 % to 50 %.")


def evaluation(**fields: object) -> Evaluation:
    plain = {
        "split": "validation",
        "images": 100,
        "seed": 0,
        "calibration": Calibration(nll=0, brier=0, ece=0, bins=()),
    }
    return Evaluation.model_validate({**plain, **fields})


def gapped(number: int, bits: float, gap: float, arm: str | None = None, state: str = "complete") -> TrialRecord:
    metrics = {"average_bits": bits, "generalization_gap": gap, "validation_loss": 0.5, "train_loss": 0.2}
    fields = {"number": number, "state": state, "baseline": arm, "seed": number, "metrics": metrics}
    return TrialRecord.model_validate(fields)


def test_gaps_are_told_by_arm_and_bits() -> None:
    records = [gapped(0, 4, 0.02), gapped(1, 2, 0.05), gapped(0, 4, 0.03, "uniform"), gapped(2, 3, 0, state="failed")]
    rows = gap_rows([*records, TrialRecord(number=3, state="complete", seed=0)])
    assert [(row.arm, row.number, row.bits, row.gap) for row in rows] == [
        ("found", 1, 2, 0.05), ("found", 0, 4, 0.02), ("uniform", 0, 4, 0.03),
    ]  # fmt: skip
    assert rows[0].loss_gap == pytest.approx(0.3)
    assert rows[0].accuracy is None
    assert gap_rows(records, bits="bitops") == []


def test_gaps_correlate_within_an_arm() -> None:
    draws = np.random.default_rng(0)
    bits, gaps = draws.uniform(2, 8, 20), draws.normal(size=20)
    found = gap_correlations(gap_rows([gapped(i, *pair) for i, pair in enumerate(zip(bits, gaps, strict=True))]))
    assert found.keys() == {"found"}
    assert found["found"].value == pytest.approx(stats.spearmanr(bits, gaps).statistic)


def test_rows_of_attacks() -> None:
    of = record(1, 0.9, 1e6, 3.0, "uniform")
    rows = attack_rows([(of, evaluation(attacks=(CURVE,), masking=(PASSED, FAILED))), (of, None)])
    assert [(row.epsilon, row.accuracy) for row in rows] == [(0.0, 0.9), (0.1, 0.5), (0.3, 0.1)]
    assert {(row.of.arm, row.of.number, row.attack, row.norm, row.caveat) for row in rows} == {
        ("uniform", 1, "pgd", "linf", FAILED.told)
    }
    assert caveat(evaluation(masking=(PASSED,))) == ""


def test_rows_of_corruptions() -> None:
    found = evaluation(
        corruptions=(
            Corruption(corruption="blur", accuracies=(0.9, 0.7)),
            Corruption(corruption="contrast", accuracies=(0.6,)),
        )
    )
    rows = corruption_rows([(record(0, 0.9, 1e6, 3.0), found), (record(1, 0.9, 1e6, 3.0), evaluation())])
    assert [(row.corruption, row.severity, row.accuracy) for row in rows] == [
        ("blur", 1, 0.9), ("blur", 2, 0.7), ("blur", None, pytest.approx(0.8)),
        ("contrast", 1, 0.6), ("contrast", None, 0.6), ("mean", None, pytest.approx(0.7)),
    ]  # fmt: skip
    assert rows[-1].accuracy == pytest.approx(found.metrics()["validation_corrupted_accuracy"])


def test_rows_of_flips() -> None:
    flips = (BitFlips(rate=0.0, accuracies=(0.9, 0.9)), BitFlips(rate=0.1, accuracies=(0.5, 0.7)))
    none, some = flip_rows([(record(0, 0.9, 1e6, 3.0), evaluation(bit_flips=flips))])
    assert (none.accuracy.mean, none.accuracy.low, none.worst, none.best) == (pytest.approx(0.9), None, 0.9, 0.9)
    assert (some.accuracy.mean, some.accuracy.n, some.worst, some.best) == (pytest.approx(0.6), 2, 0.5, 0.7)
    assert some.accuracy.low == pytest.approx(0.6 - stats.t.ppf(0.975, 1) * 0.1)


def test_sensitivities_over_networks() -> None:
    def alone(loss: float) -> Alone:
        return Alone(layer="fc1", target="weight", bits=2, loss=loss, accuracy=0.5)

    (row,) = sensitivity_rows(
        [evaluation(alone=(alone(1.5),), float_loss=1.0), evaluation(alone=(alone(1.3),), float_loss=1.2), None]
    )
    assert (row.layer, row.target, row.bits) == ("fc1", "weight", 2)
    assert (row.loss.mean, row.loss.n, row.accuracy.mean) == (pytest.approx(0.3), 2, 0.5)


def test_bits_of_a_front() -> None:
    rows = bits_rows([(2, TRIALS[2][1]), (3, None)])
    assert [(row.layer, row.target, row.bits) for row in rows] == [
        ("fc1", "weight", 4), ("fc2", "weight", None), ("fc3", "weight", 8),
        ("fc1", "activation", 4), ("fc2", "activation", 4), ("fc3", "activation", 2),
    ]  # fmt: skip
    assert [row.share for row in rows] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 1 / 3, 1 / 3, 1 / 3])


def test_tied_layers_have_no_weights_of_their_own() -> None:
    made = allocation([(4, 4), (4, 4)])
    tied = made.model_copy(update={"layers": (made.layers[0], made.layers[1].model_copy(update={"tied_to": "fc1"}))})
    assert [row.share for row in bits_rows([(0, tied)]) if row.target == "weight"] == [1.0, 0.0]


def test_how_far_from_uniform() -> None:
    rows = spread_rows([(2, TRIALS[2][1]), (0, TRIALS[0][1])])
    assert [(r.number, r.target, r.mean, r.distance, r.lowest, r.highest) for r in rows] == [
        (2, "weight", 6.0, 2.0, 4, 8),
        (2, "activation", pytest.approx(10 / 3), pytest.approx(2 / 3), 2, 4),
        (0, "weight", 2.0, 0.0, 2, 2),
        (0, "activation", 2.0, 0.0, 2, 2),
    ]


@given(bits=st.lists(st.integers(1, 16), min_size=1, max_size=12))
def test_no_uniform_allocation_is_nearer(bits: list[int]) -> None:
    away = [np.abs(np.array(bits) - uniform).mean() for uniform in range(1, 17)]
    assert distance_from_uniform(bits) == pytest.approx(min(away))


def test_entropy_until_the_allocation_is_settled() -> None:
    def epoch(step: int, phase: str, bits: dict[str, int], **metrics: float) -> Progress:
        layers = {layer: {"weight": own} for layer, own in bits.items()}
        return Progress.model_validate(
            {"phase": phase, "epoch": 1, "step": step, "steps": 4, "metrics": metrics, "bits": layers}
        )

    steps = [
        epoch(1, "warmup", {"a": 4, "b": 4}, entropy=1.5),
        epoch(2, "search", {"a": 4, "b": 2}, entropy=1.0, temperature=0.7),
        epoch(3, "search", {"a": 2, "b": 4}, entropy=0.5),
        epoch(4, "finetune", {"a": 2, "b": 4}),
    ]
    rows = entropy_rows([(7, steps), (8, ())])
    assert [(row.number, row.step, row.phase, row.entropy, row.temperature, row.moved) for row in rows] == [
        (7, 1, "warmup", 1.5, None, 0), (7, 2, "search", 1.0, 0.7, 1), (7, 3, "search", 0.5, None, 2),
    ]  # fmt: skip
