"""The trainable in tuners of the user's own: under their schedulers, their searchers, and a worker's death."""

from __future__ import annotations

import inspect
import json
import math
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import real_trials
from real_trials import Recorder

import precsearch
from precsearch.allocation import TABLED
from precsearch.errors import AllocationError
from precsearch.experiment import EvaluateSettings
from precsearch.experiment.evaluate import unmeasured
from precsearch.results import SELECTABLE_METRICS
from precsearch.study.seeds import trial_seed
from precsearch.study.trainable import _seed, allocation_of
from precsearch.training.checkpoint import load_checkpoint
from precsearch.trial import run_trial

EPOCHS = 5
LR = "inner.optimizer.lr"
SPACE = (
    "space={inner.budget.limit: {type: float, low: 2.0, high: 6.0, step: 0.5}, "
    "inner.optimizer.lr: {type: float, low: 1e-3, high: 1e-1, log: true}}"
)
KEYS = {"phase", "epoch", "step", "steps", *SELECTABLE_METRICS}
# no budget here has a table, and nothing is asked of `evaluate:`
UNASKED = {*TABLED, *(name for name in SELECTABLE_METRICS if unmeasured(name, EvaluateSettings()) is not None)}
AT_THE_END = {"train_accuracy", "generalization_gap", "validation_brier", "validation_ece"}
MEASURED = [name for name in SELECTABLE_METRICS if name not in UNASKED]


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of how it will be
        environment.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        environment.setenv("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
        environment.setenv("PYTHONPATH", str(Path(__file__).parent))
        import ray

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
        ray.shutdown()


def tuned(
    tmp_path: Path,
    space: dict[str, Any],
    *overrides: str,
    train: Callable[[dict[str, Any]], None] | None = None,
    run: dict[str, Any] | None = None,
    **config: Any,
) -> tuple[Any, dict[str, list[dict[str, Any]]]]:
    """A tuner's results, and every report by trial id."""
    from ray import tune

    class Watcher(tune.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.told: dict[str, list[dict[str, Any]]] = {}

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
            self.told.setdefault(trial.trial_id, []).append(dict(result))

    watcher, run = Watcher(), dict(run or {})
    tuner = tune.Tuner(
        train or precsearch.tune_trainable(real_trials.experiment(*overrides)),
        param_space=space,
        tune_config=tune.TuneConfig(metric="validation_accuracy", mode="max", reuse_actors=True, **config),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path / "ray"), verbose=0, callbacks=[watcher, *run.pop("callbacks", [])], **run
        ),
    )
    return tuner.fit(), watcher.told


def check_reports(told: dict[str, list[dict[str, Any]]]) -> None:
    for reports in told.values():
        for report in reports:
            assert report.keys() >= KEYS
            assert not [key for key in report if key.startswith("test_")]
            assert report["training_iteration"] == report["step"]
            missing = {key for key in SELECTABLE_METRICS if math.isnan(report[key])}
            last = report["step"] == report["steps"]
            assert missing == {*UNASKED, *(set() if last else AT_THE_END)}


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_under_asha(tmp_path: Path) -> None:
    from ray.tune.schedulers import ASHAScheduler

    results, told = tuned(
        tmp_path,
        precsearch.tune_space(real_trials.experiment(SPACE)),
        SPACE,
        num_samples=6,
        scheduler=ASHAScheduler(grace_period=2, max_t=EPOCHS, reduction_factor=2),
    )
    assert not results.errors
    check_reports(told)
    ended = [result for result in results if result.metrics["step"] == result.metrics["steps"]]
    stopped = [result for result in results if result.metrics["step"] < result.metrics["steps"]]
    assert len(ended) > 0
    assert len(stopped) > 0
    for result in ended:
        allocation = allocation_of(result)
        assert allocation.budget is not None
        assert allocation.budget.limit == result.config["inner.budget.limit"]
        assert max(allocation.budget.by_target.values()) <= result.config["inner.budget.limit"]
        assert {name: result.metrics[name] for name in MEASURED} == {
            name: allocation.metrics[name] for name in MEASURED
        }
        files = {path.name for path in Path(result.checkpoint.path).iterdir()}
        assert files >= {"state.pt", "allocation.json", "evaluation.json", "weights.safetensors"}
    with pytest.raises(AllocationError, match=r"ended after epoch \d of 5; choose among .*`step` equal to `steps`"):
        allocation_of(stopped[0])


def in_turn(train: Callable[[dict[str, Any]], None], folder: Path) -> tuple[Callable[[dict[str, Any]], None], Any]:
    """Two trials that report in turn, each epoch once the scheduler has had the other's; with the callback it needs.

    The first is never more than an epoch ahead, so the second is judged at a step when the first has been judged, and
    told to save, at that very step.
    """
    from ray import tune

    class Judged(tune.Callback):  # type: ignore[misc]
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
            (folder / f"{int(trial.trial_id.rpartition('_')[2])}-{result['step']}").touch()

    def taking_turns(config: dict[str, Any]) -> None:
        number = int(tune.get_context().get_trial_id().rpartition("_")[2])
        report = tune.report

        def wait(told: dict[str, Any], checkpoint: Any) -> None:
            before = folder / f"{1 - number}-{told['step'] - 1 + number}"
            until = time.monotonic() + 300
            while told["step"] + number > 1 and not before.exists():
                assert time.monotonic() < until, f"{before.name} was not judged"
                time.sleep(0.01)
            report(told, checkpoint=checkpoint)

        tune.report = wait
        try:
            train(config)
        finally:
            tune.report = report  # the process is used again

    return taking_turns, Judged()


def changes(told: dict[str, list[dict[str, Any]]]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The first report of every clone, with those of the other trials for the epoch before."""
    found = []
    for reports in told.values():
        others = [report for each in told.values() if each is not reports for report in each]
        for before, after in pairwise(reports):
            if before["config"][LR] != after["config"][LR]:
                found.append((after, [other for other in others if other["step"] == after["step"] - 1]))
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_under_population_based_training(tmp_path: Path) -> None:
    from ray import tune
    from ray.tune.schedulers import PopulationBasedTraining

    # Not `synch=True`: Ray 2.60 was then seen to leave every trial paused, and to wait.
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        quantile_fraction=0.5,
        resample_probability=0.0,
        hyperparam_mutations={LR: tune.loguniform(1e-3, 1e-1)},
    )
    document = real_trials.experiment("inner.budget.limit=8.0", "inner.epochs={warmup: 4, search: 1, finetune: 1}")
    train, judged = in_turn(precsearch.tune_trainable(document), tmp_path)
    space = {LR: tune.grid_search([0.02, 1e-9])}  # the second cannot learn
    results, told = tuned(tmp_path, space, train=train, scheduler=scheduler, run={"callbacks": [judged]})
    assert not results.errors
    check_reports(told)
    ((clone, donors),) = changes(told)
    assert clone["step"] == 5  # of step 4: at 2 the first had nobody to be better than, and left no checkpoint
    factors = [clone["config"][LR] / donor["config"][LR] for donor in donors]
    assert any(math.isclose(factor, known) for factor in factors for known in (0.8, 1.2))
    for result in results:
        assert result.metrics["step"] == 6
        state = load_checkpoint(Path(result.checkpoint.path))
        lr = state["stage"]["optimizer"]["param_groups"][0]["initial_lr"]
        assert lr == pytest.approx(result.config[LR] / 3)  # of the fine-tune
        assert json.loads(state["experiment"])["inner"]["optimizer"]["lr"] == result.config[LR]
        assert allocation_of(result).metrics["validation_loss"] == result.metrics["validation_loss"]
    assert len({allocation_of(result).provenance["seed"] for result in results}) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_under_optuna_search(tmp_path: Path) -> None:
    from ray.tune.search.optuna import OptunaSearch

    search = OptunaSearch(seed=0)
    results, told = tuned(
        tmp_path,
        precsearch.tune_space(real_trials.experiment(SPACE)) | {"inner.epochs.search": 1},
        SPACE,
        num_samples=4,
        search_alg=search,
    )
    assert not results.errors
    check_reports(told)
    assert [len(reports) for reports in told.values()] == [EPOCHS - 1] * 4
    assert {trial.state.name for trial in search._ot_study.trials} == {"COMPLETE"}
    seeds = {allocation_of(result).provenance["seed"] for result in results}
    assert len(seeds) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_a_killed_worker_makes_no_difference(tmp_path: Path) -> None:
    from ray import tune

    class Killer(tune.Callback):  # type: ignore[misc]
        killed: int | None = None

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
            if self.killed is None and result["step"] == 3:
                self.killed = result["pid"]
                os.kill(result["pid"], signal.SIGKILL)

    killer = Killer()
    run = {"failure_config": tune.FailureConfig(max_failures=1), "callbacks": [killer]}
    results, told = tuned(tmp_path, {"seed": 7, "inner.budget.limit": 3.5}, run=run)
    (reports,) = told.values()
    (result,) = results
    assert killer.killed not in {None, result.metrics["pid"]}
    assert result.error is None
    check_reports(told)
    # Tune registers a checkpoint after its report: the third may be lost, and its epoch be trained again.
    assert [report["step"] for report in reports] in ([1, 2, 3, 4, 5], [1, 2, 3, 3, 4, 5])
    told_once = {report["step"]: report["validation_loss"] for report in reports}
    assert all(told_once[report["step"]] == report["validation_loss"] for report in reports)
    recorder = Recorder(tmp_path / "undisturbed", seed=7)
    undisturbed = run_trial(real_trials.experiment("inner.budget.limit=3.5"), recorder)
    assert {name: result.metrics[name] for name in MEASURED} == {name: undisturbed.metrics[name] for name in MEASURED}
    assert allocation_of(result).layers == undisturbed.allocation.layers
    assert allocation_of(result).provenance["seed"] == 7
    weights = (Path(result.checkpoint.path) / "weights.safetensors").read_bytes()
    assert weights == (recorder.directory / "weights.safetensors").read_bytes()
    assert told_once == {progress.step: progress.metrics["validation_loss"] for progress in recorder.told}


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_a_training_that_cannot_go_on_errs_alone(tmp_path: Path) -> None:
    from ray import tune

    configs = [{LR: 0.01}, {LR: 1e30}, {"inner.optimizer.lrr": 1.0}]
    space = {"which": tune.grid_search([0, 1, 2])}
    train = precsearch.tune_trainable(real_trials.experiment())

    def chosen(config: dict[str, Any]) -> None:
        train(configs[config["which"]])

    run_config = tune.RunConfig(storage_path=str(tmp_path / "ray"), verbose=0)
    results = tune.Tuner(chosen, param_space=space, run_config=run_config).fit()
    assert results[0].error is None
    assert "DivergedError" in str(results[1].error)
    assert "lower inner.optimizer.lr" in str(results[1].error)
    assert "did you mean 'inner.optimizer.lr'?" in str(results[2].error)
    with pytest.raises(AllocationError, match="only a trial that ran to its end has an allocation"):
        allocation_of(results[2])


NET = """
from pathlib import Path
from torch import nn

def build(input_shape, classes, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, classes))

def images(root):
    from precsearch.data.digits import load_digits
    from precsearch.experiment import DataSettings
    assert (Path(root) / "here").is_file()
    data = load_digits(DataSettings())
    return (data.train.inputs, data.train.targets), (data.test.inputs, data.test.targets)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_own_modules_and_relative_paths_are_those_of_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_net.py").write_text(NET)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "here").touch()
    monkeypatch.chdir(tmp_path)
    own = ("model={name: 'my_own_net:build', width: 8}", "data={name: 'my_own_net:images', root: images}")
    results, _ = tuned(tmp_path, {"model.width": 6}, *own, "inner.epochs={warmup: 0, search: 1, finetune: 0}")
    assert not results.errors
    assert allocation_of(results[0]).layers[0].numel == 64 * 6


def test_it_is_a_function_that_travels() -> None:
    from ray import cloudpickle

    function = precsearch.tune_trainable(real_trials.experiment(), overrides=["inner.budget.limit=2.5"])
    assert inspect.isfunction(function)
    again = pickle.loads(cloudpickle.dumps(function))
    assert list(inspect.signature(again).parameters) == ["config"]


def test_seeds_follow_from_the_trials_number_where_it_has_one() -> None:
    document = real_trials.experiment("study.seed=3")
    assert _seed(document, "1a2b3_00004") == trial_seed(3, 4)
    assert _seed(document, "1a2b3c4d") == _seed(document, "1a2b3c4d") != _seed(document, "12345678")
    assert _seed(document, "12345678") != _seed(real_trials.experiment(), "12345678")
