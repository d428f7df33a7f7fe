from __future__ import annotations

from pathlib import Path

import pytest
from fake_trials import Watcher, experiment, left_behind, progress, score
from fake_trials import finish as finished
from optuna.trial import TrialState

from precsearch.errors import ConfigurationError
from precsearch.experiment import Experiment
from precsearch.results import RunDirectory, Session, TrialResult
from precsearch.study.driver import check_study, run_study
from precsearch.study.pruning import make_pruning

MEDIAN = "n_trials: 24, sampler: {name: random}, pruner: {name: median, n_startup_trials: 2%s}, baselines: []"
LIMITS = "space: {inner.budget.limit: {type: float, low: 2.0, high: 6.0}}\n"


def trial(experiment: Experiment, session: Session) -> TrialResult:
    """Few bits are worse than many at every epoch; seeds spread the trials of one limit a little."""
    luck = 1e-2 * (session.seed % 100) / 100
    for step in range(1, 4):
        session.report(progress(step, (score(experiment) + luck) * step / 3), None)
    return finished(experiment, session)


def pruned_limits(path: Path, bands: str) -> list[float]:
    run_study(experiment(MEDIAN % bands, LIMITS), RunDirectory(path), Watcher(), trial)
    return [
        record.limit
        for record in RunDirectory(path).records()
        if record.state == "pruned" and isinstance(record.limit, float)
    ]


def test_low_bit_trials_are_not_pruned_by_high_bit_ones(tmp_path: Path) -> None:
    # In one band the cheap end of the front dies and the dear end lives; in four each loses its own worst.
    together = pruned_limits(tmp_path / "one", ", bands: 1")
    apart = pruned_limits(tmp_path / "many", ", bands: 4")
    assert max(together) < 5.0 < max(apart)
    assert 0 < len([limit for limit in apart if limit < 3.0]) < len([limit for limit in together if limit < 3.0])


def test_no_trial_is_pruned_after_its_last_epoch(tmp_path: Path) -> None:
    """It would lose a trained result, and save nothing."""
    trained: list[int] = []

    def flat_or_better_at_the_end(experiment: Experiment, session: Session) -> TrialResult:
        trained.append(session.seed)
        for step in range(1, 4):
            session.report(progress(step, 0.9 if step == 3 and len(trained) % 2 else 0.5), None)
        return finished(experiment, session)

    run_study(experiment(MEDIAN % ", bands: 1", LIMITS), RunDirectory(tmp_path), Watcher(), flat_or_better_at_the_end)
    assert [record.state for record in RunDirectory(tmp_path).records()] == ["complete"] * 24


def test_a_trial_is_compared_with_its_own_band_only() -> None:
    pruning = make_pruning(experiment("pruner: {name: median, n_startup_trials: 1, bands: 2}", LIMITS))
    assert pruning is not None
    pruning.begin(0, {"inner.budget.limit": 5.5}, {})
    assert pruning.report(0, 1, 0.1) is None
    pruning.finish(0, TrialState.COMPLETE)
    pruning.begin(1, {"inner.budget.limit": 2.5}, {})
    assert pruning.report(1, 1, 0.9) is None  # a loss much worse, of another band
    pruning.begin(2, {"inner.budget.limit": 6.0}, {})
    reason = pruning.report(2, 1, 0.9)
    assert reason == "pruned by median in budget band 2 of 2 at step 1: validation_loss 0.9"
    assert pruning.report(2, 1, 0.9) is None  # told again after a resume: nothing new to decide


def test_bands_are_equal_parts_of_the_searched_range() -> None:
    pruning = make_pruning(experiment("pruner: {name: median, bands: 4}", LIMITS))
    assert pruning is not None
    limits = [2.0, 2.9, 3.0, 4.9, 5.0, 6.0]
    assert [pruning.band({"inner.budget.limit": limit}) for limit in limits] == [0, 0, 1, 2, 3, 3]


def test_there_is_one_band_where_the_limit_is_not_searched() -> None:
    space = "space: {inner.regularization.strength: {type: float, low: 0.0, high: 1.0}}\n"
    pruning = make_pruning(experiment("pruner: {name: asha, bands: 4}", space))
    assert pruning is not None
    assert pruning.bands == 1


@pytest.mark.parametrize("name", ["median", "percentile", "asha", "hyperband"])
def test_every_pruner_prunes_and_a_continued_study_prunes_the_same(tmp_path: Path, name: str) -> None:
    study = "n_trials: %d, sampler: {name: random}, pruner: {name: " + name + ", bands: 2}, baselines: []"
    run_study(experiment(study % 18, LIMITS), RunDirectory(tmp_path / "whole"), Watcher(), trial)
    for n_trials in (5, 11, 18):  # every call rebuilds the bands from what the trials before reported
        run_study(experiment(study % n_trials, LIMITS), RunDirectory(tmp_path / "parts"), Watcher(), trial)
    whole, parts = left_behind(tmp_path / "whole"), left_behind(tmp_path / "parts")
    assert whole == parts
    assert "PRUNED" in {trial[1] for trial in whole["trials"]}
    assert all(name in r.reason for r in whole["records"] if r.state == "pruned")


def test_single_objective_trials_show_their_curve(tmp_path: Path) -> None:
    study = "n_trials: 1, baselines: [], objectives: [{metric: validation_accuracy, direction: maximize}]"
    run_study(experiment(study, LIMITS), RunDirectory(tmp_path), Watcher(), trial)
    assert list(left_behind(tmp_path)["trials"][0][6]) == [1, 2, 3]


def test_an_unknown_argument_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"no argument 'reduction_facto'.*mean 'reduction_factor'"):
        check_study(experiment("pruner: {name: asha, reduction_facto: 3}", LIMITS))


def test_a_value_that_optuna_refuses_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"study\.pruner: 'percentile' refuses.*between 0 and 100"):
        check_study(experiment("pruner: {name: percentile, percentile: 101}", LIMITS))
