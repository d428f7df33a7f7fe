"""`evaluate:` in whole trials: what is measured, where it goes, and that it disturbs nothing."""

import json
from pathlib import Path

import optuna
import pytest
import torch
from real_trials import Interrupted, Recorder, experiment, left, train

from precsearch.data import load_data
from precsearch.errors import ConfigurationError, DataError
from precsearch.evaluation.whole import evaluate_network
from precsearch.experiment import EvaluateSettings, load_experiment_text
from precsearch.experiment.evaluate import unmeasured
from precsearch.measured import Evaluation, read_evaluation
from precsearch.results import SELECTABLE_METRICS, RunDirectory, TrialRecord
from precsearch.study.objective import OptunaObjective
from precsearch.study.shared.travel import packed, unpacked
from precsearch.study.tune_space import at_home
from precsearch.trial import inspect_trial, run_trial

EVERYTHING = (
    "evaluate={images: 40, attacks: [fgsm, pgd], norms: [linf, l2], epsilons: [0.1], l2_epsilons: [0.5], steps: 3, "
    "perturbation: true, corruptions: [blur, occlusion], bit_flips: [1e-2], alone: true}",
)


def test_without_a_word_calibration_is_measured_alone(tmp_path: Path) -> None:
    result = train(tmp_path / "0000")
    found = read_evaluation(tmp_path / "0000")
    assert found is not None
    assert (found.split, found.seed, found.draws) == ("validation", 1, 1)
    assert found.calibration.nll == pytest.approx(result.metrics["validation_loss"], abs=1e-6)
    assert sum(each.count for each in found.calibration.bins) == 288
    assert (found.attacks, found.corruptions, found.bit_flips, found.alone) == ((), (), (), ())
    assert set(found.metrics()) == {"validation_brier", "validation_ece"}
    assert found.metrics().items() <= result.metrics.items()
    assert found.metrics().items() <= result.allocation.metrics.items()


def test_everything_asked_for_is_measured_and_the_network_is_the_same(tmp_path: Path) -> None:
    plain, result = train(tmp_path / "a"), train(tmp_path / "b", *EVERYTHING)
    found = read_evaluation(tmp_path / "b")
    assert found is not None
    assert found.images == 40
    assert [(curve.attack, curve.norm) for curve in found.attacks] == [
        (attack, norm) for norm in ("linf", "l2") for attack in ("fgsm", "pgd")
    ]
    assert len(found.alone) == 3 * 2 * 4
    assert found.float_loss is not None
    assert found.masking
    assert set(found.metrics()) <= set(SELECTABLE_METRICS)
    optional = {name for name in SELECTABLE_METRICS if unmeasured(name, EvaluateSettings()) is not None}
    assert set(result.metrics) - set(plain.metrics) == optional
    assert plain.metrics.items() <= result.metrics.items()
    assert (tmp_path / "a" / "weights.safetensors").read_bytes() == (
        tmp_path / "b" / "weights.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_a_killed_and_resumed_trial_measures_the_same(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", *EVERYTHING)
    for died_at in (2, 5):
        folder = tmp_path / f"died{died_at}"
        with pytest.raises(Interrupted):
            run_trial(experiment(*EVERYTHING), Recorder(folder, die_after=(died_at,)))
        result = run_trial(experiment(*EVERYTHING), Recorder(folder, die_after=()))
        assert left(folder, result) == left(tmp_path / "whole", whole)
        first, second = (_without_time(each) for each in (folder, tmp_path / "whole"))
        assert first == second


def _without_time(folder: Path) -> dict[str, object]:
    found = json.loads((folder / "evaluation.json").read_text())
    return found | {"seconds": 0}


def test_the_global_random_state_is_left_as_it_was(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    train(tmp_path / "0000", *EVERYTHING)
    assert torch.equal(torch.random.get_rng_state(), before)


class Noisy(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :10] + torch.rand(())  # as a network of one's own may, in evaluation too


def test_a_network_that_draws_leaves_the_global_random_state_as_well() -> None:
    data = load_data(experiment().data)
    before = torch.random.get_rng_state()
    evaluate_network(Noisy(), data, EvaluateSettings(images=20), "validation", seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_test_split_is_measured_where_it_is_asked_for(tmp_path: Path) -> None:
    result = run_trial(experiment(*EVERYTHING), Recorder(tmp_path / "0000"), evaluated="test")
    found = read_evaluation(tmp_path / "0000")
    assert found is not None
    assert found.split == "test"
    assert sum(each.count for each in found.calibration.bins) == 360
    assert "test_pgd_accuracy" in result.metrics
    assert "validation_pgd_accuracy" not in result.metrics


def test_an_attack_can_be_the_objective_of_a_study() -> None:
    searched = experiment(
        "evaluate={images: 30, attacks: [pgd], epsilons: [0.05], steps: 2}",
        "study.objectives=[{metric: validation_pgd_accuracy, direction: maximize}]",
        "study.constraints=[{metric: validation_ece, max: 1}]",
        "space={inner.budget.limit: {type: float, low: 2, high: 6}}",
    )
    study = optuna.create_study(direction="maximize")
    study.optimize(OptunaObjective(searched), n_trials=2)
    for trial in study.trials:
        assert trial.value == trial.user_attrs["precsearch:metrics"]["validation_pgd_accuracy"]
    assert study.best_value == max(trial.value or 0 for trial in study.trials)


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("validation_pgd_accuracy", "`evaluate.attacks` to a list with pgd"),
        ("validation_fgsm_l2_accuracy", "one with l2"),
        ("validation_corrupted_accuracy", "`evaluate.corruptions`"),
        ("validation_bit_flip_accuracy", "`evaluate.bit_flips`"),
        ("validation_perturbation", "`evaluate.perturbation: true`"),
    ],
)
@pytest.mark.parametrize("block", ["objectives", "constraints"])
def test_what_is_not_measured_cannot_be_selected_by(metric: str, says: str, block: str) -> None:
    entry = "direction: maximize" if block == "objectives" else "min: 0.5"
    text = f"version: 1\nstudy:\n  {block}:\n    - {{metric: {metric}, {entry}}}\n"
    with pytest.raises(ConfigurationError) as raised:
        load_experiment_text(text, "space.yaml")
    assert str(raised.value).startswith("space.yaml:4:16: ")
    assert says in str(raised.value)


def test_what_cannot_be_measured_is_told_before_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "flat_inputs.py").write_text(
        "import torch\n"
        "def flat():\n"
        "    x = torch.rand(40, 16)\n"
        "    return (x, torch.arange(40) % 2), (x, torch.arange(40) % 2), (x, torch.arange(40) % 2)\n"
    )
    blurred = experiment("evaluate.corruptions=[blur]", "data={name: 'flat_inputs:flat'}")
    ready = experiment(f"evaluate.corrupted={tmp_path / 'nowhere'}")
    for wrong, error, says in [(blurred, ConfigurationError, r"\[16\]"), (ready, DataError, "is no folder")]:
        with pytest.raises(error, match=says):
            inspect_trial(wrong)
        recorder = Recorder(tmp_path / "0000")
        with pytest.raises(error, match=says):
            run_trial(wrong, recorder)
        assert recorder.told == []


def test_ready_images_are_read_for_the_test_split_alone(tmp_path: Path) -> None:
    import numpy as np

    (tmp_path / "fog").mkdir()
    np.save(tmp_path / "fog" / "test_images.npy", np.zeros((12, 8, 8, 1), np.uint8))
    np.save(tmp_path / "fog" / "test_labels.npy", np.zeros(12, np.int64))
    settings = EvaluateSettings(images=20, corruptions=("blur",), corrupted=str(tmp_path))
    data, model = load_data(experiment().data), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    validation, test = (evaluate_network(model, data, settings, split, 0) for split in ("validation", "test"))
    assert [row.corruption for row in validation.corruptions] == ["blur"]
    assert [row.corruption for row in test.corruptions] == ["blur", f"{tmp_path.name}/fog"]
    assert test.metrics()["test_corrupted_accuracy"] == pytest.approx(sum(test.corruptions[0].accuracies) / 5)


def test_evaluations_travel_with_allocations(tmp_path: Path) -> None:
    train(tmp_path / "there")
    record = TrialRecord(number=3, state="complete", seed=1)
    run = RunDirectory(tmp_path / "run")
    unpacked(run, run.trial(3), packed(tmp_path / "there", record))
    found = read_evaluation(run.trial(3))
    assert isinstance(found, Evaluation)
    assert found == read_evaluation(tmp_path / "there")


def test_relative_folders_mean_those_at_home(tmp_path: Path) -> None:
    moved = at_home(experiment("evaluate.corrupted=mnist_c"), tmp_path)
    assert moved.evaluate.corrupted == str(tmp_path / "mnist_c")
