"""The tabular benchmark: stacked trainings equal ordinary ones, and its measures are what they say."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.alone import AloneSession
from benchmarks.tabular import training
from benchmarks.tabular.judging import CrossFitted, Judge, answer, nondominated
from benchmarks.tabular.problem import DIGITS
from benchmarks.tabular.searches import search
from benchmarks.tabular.table import JUDGES
from benchmarks.tabular.training import StackedTraining
from precsearch.data import Split, load_data, training_batches
from precsearch.evaluation.accuracy import measure
from precsearch.training.building import make_searchable
from precsearch.training.recalibration import recalibrate
from precsearch.training.stages import FinetuneStage, SearchStage
from precsearch.trial import run_trial

ALLOCATIONS = [(1, 2, 3, 4, 1), (2, 2, 2, 2, 2), (4, 1, 1, 3, 4)]


def fixed(bits, *overrides):
    return DIGITS.experiment(
        ["inner.budget.limit=3.5", "inner.sampler=fixed", f"inner.allocation={list(bits)}", *overrides]
    )


@pytest.mark.parametrize("epochs", [(0, 1, 0), (1, 1, 1)])
def test_a_net_of_the_stack_ends_like_its_ordinary_trial(tmp_path, monkeypatch, epochs):
    monkeypatch.setattr(training, "CHUNK", 2)  # the last net is in a stack of its own
    short = "inner.epochs={{warmup: {}, search: {}, finetune: {}}}".format(*epochs)
    stacked = list(StackedTraining(DIGITS.experiment([short]), 3).losses(ALLOCATIONS))
    for number, (bits, loss) in enumerate(zip(ALLOCATIONS, stacked, strict=True)):
        folder = tmp_path / str(number)
        folder.mkdir()
        trial = run_trial(fixed(bits, short), AloneSession(3, folder))
        assert loss == pytest.approx(trial.metrics["validation_loss"], abs=2e-5)


def test_what_was_trained_before_changes_nothing():
    short = "inner.epochs={warmup: 1, search: 1, finetune: 0}"
    together = StackedTraining(DIGITS.experiment([short]), 3)
    first, again = (list(together.losses(ALLOCATIONS)) for _ in range(2))
    assert first == again
    alone = [next(StackedTraining(DIGITS.experiment([short]), 3).losses([bits])) for bits in ALLOCATIONS]
    assert first == pytest.approx(alone, abs=2e-5)


@pytest.mark.slow
def test_whole_trainings_are_equal_in_double_precision():
    """Stages as `run_trial` strings them together; in single precision rounding would part the two in the end."""
    stacked = list(StackedTraining(DIGITS.experiment(), 4, torch.Tensor.double).losses(ALLOCATIONS))
    for bits, loss in zip(ALLOCATIONS, stacked, strict=True):
        assert loss == pytest.approx(ordinary_in_double(fixed(bits), seed=4), abs=1e-9)


def ordinary_in_double(experiment, seed):
    data = load_data(experiment.data)
    halves = [Split(split.inputs.double(), split.targets) for split in (data.train, data.validation, data.test)]
    batches = training_batches(halves[0], experiment.data, torch.Generator().manual_seed(seed))
    torch.manual_seed(seed)
    searchable = make_searchable(experiment, data, seed).double()
    stage = SearchStage(searchable, experiment.inner, batches, None)
    for _ in range(experiment.inner.epochs.warmup):
        stage.warm_up()
    for _ in range(experiment.inner.epochs.search):
        stage.search()
    searchable.quantize(True)
    model = searchable.freeze()
    recalibrate(model, batches)
    tuning = FinetuneStage(model, experiment.inner, batches)
    for _ in range(experiment.inner.epochs.finetune):
        tuning.finetune()
    return measure(model, halves[1]).loss


def made_table(losses_SA, cost_A):
    """A table of two layers whose losses are given."""
    columns = {seed: np.asarray(losses, dtype=float) for seed, losses in enumerate(losses_SA)}
    return SimpleNamespace(cost=np.asarray(cost_A), losses=lambda seeds: np.stack([columns[s] for s in seeds]))


def test_hypervolume_is_the_area_between_the_front_and_its_worst_corner():
    table = made_table([[4, 2, 3, 1]] * len(JUDGES), [1.0, 2.0, 2.0, 4.0])
    judge = Judge(table)
    assert judge.front == [0, 1, 3]
    assert judge.reference == (4.0, 4.0)
    assert judge.volume([0, 1, 3]) == 1  # from cost 2 to 4, loss 2 to 4: 4
    assert judge.volume([2]) == 0.5
    assert judge.volume([3]) == judge.volume([]) == 0
    assert judge.answered(judge.best) == 1
    assert judge.answered(lambda limit: 2 if limit >= 2 else 0) == 0.5


def test_regret_is_told_from_the_best_within_the_limit():
    judge = Judge(made_table([[4, 2, 3, 1]] * len(JUDGES), [1.0, 2.0, 2.0, 4.0]))
    assert [judge.best(limit) for limit in (1, 2, 3.9, 4)] == [0, 1, 1, 3]
    assert judge.regret(2, 3) == 1


def test_the_pooled_error_is_that_of_a_mean():
    losses = [[2 * (seed % 2), 10] for seed in JUDGES]
    judge = Judge(made_table(losses, [1.0, 2.0]))
    spread = np.var([row[0] for row in losses], ddof=1)
    assert judge.error(1) == pytest.approx((spread / len(JUDGES)) ** 0.5)
    assert judge.error(2) == pytest.approx((spread / 2 / len(JUDGES)) ** 0.5)


def test_cross_fitting_does_not_judge_with_the_seeds_that_chose():
    """Each half of the seeds has an own favourite by luck; the steady third is as good as theirs, and is said to be."""
    lucky = [[0, 5, 2] if seed % 2 == 0 else [5, 0, 2] for seed in JUDGES]
    table = made_table(lucky, [1.0, 1.0, 1.0])
    assert Judge(table).best(1) == 2
    assert list(CrossFitted(table).differences(2, 1)) == [-3] * len(JUDGES)
    assert CrossFitted(table).among_best(2, 1)
    assert not CrossFitted(made_table([[1, 2 + seed % 2] for seed in JUDGES], [1.0, 1.0])).among_best(1, 1)


def test_an_answer_is_the_lowest_loss_seen_within_the_limit():
    ask = answer(np.array([4.0, 2.0, 3.0, 1.0]), np.array([1.0, 2.0, 2.5, 4.0]), [2, 3])
    assert [ask(limit) for limit in (1.0, 2.4, 2.5, 3.9, 4.0)] == [0, 0, 2, 2, 3]
    assert nondominated(np.array([1.0, 2.0, 2.5, 4.0]), np.array([4.0, 2.0, 3.0, 1.0])) == [0, 1, 3]


def test_searches_keep_every_limit_that_they_are_asked_for():
    for kind in ("uniform", "random"):
        answers = list(search(DIGITS, kind, 10))
        assert [found.limit for found in answers] == list(DIGITS.limits)
        assert all(DIGITS.cost(found.bits) <= found.limit + 1e-9 for found in answers)
