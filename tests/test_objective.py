"""An experiment as the objective of a study that somebody else made."""

from __future__ import annotations

import contextlib
import json
import math
import pickle
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_trials
import optuna
import pytest
import real_trials
from optuna.artifacts import FileSystemArtifactStore, download_artifact, get_all_artifact_meta
from optuna.storages import GrpcStorageProxy, RDBStorage
from optuna.trial import FixedTrial, FrozenTrial, TrialState
from postgres import server

from precsearch import Allocation, OptunaObjective, TargetPrecision
from precsearch.errors import (
    AllocationError,
    BudgetError,
    ConfigurationError,
    DataError,
    DivergedError,
    ModelError,
    RunDirectoryError,
    TrialStopped,
)
from precsearch.experiment import Experiment, dump_experiment
from precsearch.results import Progress, RunDirectory, Session, TrialResult
from precsearch.study.driver import run_study
from precsearch.study.seeds import trial_seed

ONE = "objectives: [{metric: validation_accuracy, direction: maximize}]"
TWO = (
    "objectives: [{metric: validation_accuracy, direction: maximize}, {metric: bitops, direction: minimize}], "
    "constraints: [{metric: model_size, max: 450, min: 300}]"
)
POINT = {"inner.budget.limit": 3.0, "inner.temperature.schedule": "constant", "inner.regularization.strength": 0.1}
TINY_ONE = f"study: {{{ONE}, seed: 5}}"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    yield
    optuna.logging.set_verbosity(before)


def fake(study: str = ONE, space: str = fake_trials.SPACE, run: Any = fake_trials.run_trial, **more: Any) -> Any:
    return OptunaObjective(fake_trials.experiment(study, space), run_trial=run, **more)


def create(directions: str | list[str] = "maximize", **more: Any) -> optuna.Study:
    more = {"sampler": optuna.samplers.TPESampler(seed=0), "pruner": optuna.pruners.NopPruner()} | more
    return optuna.create_study(directions=[directions] if isinstance(directions, str) else directions, **more)


def real(*overrides: str, **more: Any) -> OptunaObjective:
    document = real_trials.experiment(
        "study.objectives=[{metric: validation_accuracy, direction: maximize}]",
        "study.seed=5",
        "study.baselines=[]",
        "space={inner.budget.limit: {type: float, low: 2.0, high: 4.0, step: 0.5}}",
        "inner.epochs={warmup: 0, search: 1, finetune: 1}",
        *overrides,
    )
    return OptunaObjective(document, **more)


# One objective


def test_reports_every_epoch_and_returns_the_objective() -> None:
    study = create()
    objective = fake()
    study.optimize(objective, n_trials=5)
    for trial in study.trials:
        accuracy = fake_trials.score(objective.suggest(trial))
        assert trial.value == accuracy == trial.user_attrs["precsearch:metrics"]["validation_accuracy"]
        assert trial.intermediate_values == {step: pytest.approx(accuracy * step / 3) for step in (1, 2, 3)}
    assert len({trial.value for trial in study.trials}) == 5


def test_what_no_epoch_measures_is_not_reported() -> None:
    study = create("minimize")
    study.optimize(fake("objectives: [{metric: bitops, direction: minimize}]"), n_trials=2)
    assert [trial.intermediate_values for trial in study.trials] == [{}, {}]
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)


def test_the_pruner_of_the_study_decides() -> None:
    class Second(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
            return trial.number == 1 and trial.last_step == 2

    study = create(pruner=Second())
    told: list[int] = []

    def run(experiment: Experiment, session: Session) -> TrialResult:
        told.append(0)
        for step in range(1, 4):
            told[-1] = step
            session.report(fake_trials.progress(step, 0.5), None)
        return fake_trials.finish(experiment, session)

    study.optimize(fake(run=run), n_trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert told == [3, 2, 3]
    pruned = study.trials[1]
    assert pruned.value == 0.5  # Optuna's own: the last report
    assert "precsearch:allocation" not in pruned.user_attrs
    with pytest.raises(AllocationError, match="trial 1 has none"):
        OptunaObjective.allocation(pruned)


def test_a_median_pruner_prunes_and_the_study_goes_on() -> None:
    study = create(pruner=optuna.pruners.MedianPruner(n_startup_trials=2))
    for limit in (6.0, 5.5, 2.0, 6.0):
        study.enqueue_trial(POINT | {"inner.budget.limit": limit})
    study.optimize(fake(), n_trials=4)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE"]


# Several objectives, constraints


def test_two_objectives_are_told_in_order_and_never_reported() -> None:
    study = create(["maximize", "minimize"], sampler=optuna.samplers.NSGAIISampler(seed=1, population_size=4))
    study.optimize(fake(TWO), n_trials=10)
    for trial in study.trials:
        metrics = trial.user_attrs["precsearch:metrics"]
        assert trial.values == [metrics["validation_accuracy"], metrics["bitops"]]
        assert trial.intermediate_values == {}
        size = metrics["model_size"]
        assert trial.constraints == {"model_size <= 450.0": size - 450, "model_size >= 300.0": 300 - size}
    assert study.best_trials
    assert all(300 <= trial.user_attrs["precsearch:metrics"]["model_size"] <= 450 for trial in study.best_trials)


def test_constraints_have_the_names_of_a_study_of_our_own(tmp_path: Path) -> None:
    document = fake_trials.experiment(f"{TWO}, n_trials: 1, baselines: []")
    run_study(document, RunDirectory(tmp_path), fake_trials.Watcher(), fake_trials.run_trial)
    (ours,) = fake_trials.open_study(RunDirectory(tmp_path)).trials
    fixed = FixedTrial(ours.params)
    assert fake(TWO)(fixed) == tuple(ours.values)
    assert fixed.constraints == ours.constraints


@pytest.mark.parametrize(
    ("study", "directions"),
    [
        (ONE, ["minimize"]),
        (ONE, ["maximize", "minimize"]),
        (TWO, ["maximize"]),
        (TWO, ["minimize", "maximize"]),
    ],
)
def test_directions_must_match(study: str, directions: list[str]) -> None:
    def never(experiment: Experiment, session: Session) -> TrialResult:
        raise AssertionError("trained")

    objective = fake(study, run=never)
    theirs = create(directions, study_name="theirs")
    with pytest.raises(ConfigurationError) as caught:
        theirs.optimize(objective, n_trials=1)
    wanted = [each.direction for each in objective.experiment.study.objectives]
    for part in ("'theirs'", str(directions), "'fake'", "validation_accuracy: maximize", f"directions={wanted}"):
        assert part in str(caught.value)
    assert theirs.trials[0].params == {}


# The study is its owner's


def test_nothing_of_the_study_is_touched() -> None:
    storage = optuna.storages.InMemoryStorage()
    sampler, pruner = optuna.samplers.TPESampler(seed=3), optuna.pruners.MedianPruner()
    study = create(sampler=sampler, pruner=pruner, storage=storage)
    study.set_user_attr("mine", 1)
    before = random.getstate()
    study.optimize(
        fake(f"{ONE}, sampler: {{name: random}}, pruner: {{name: asha}}, enqueue: [{{inner.budget.limit: 2.0}}]"),
        n_trials=2,
    )
    assert study.sampler is sampler
    assert study.pruner is pruner
    assert study._storage is storage
    assert study.user_attrs == {"mine": 1}
    assert storage.get_study_system_attrs(study._study_id) == {}
    assert len(study.trials) == 2
    assert random.getstate() == before


def test_the_same_parameters_as_an_objective_of_ones_own() -> None:
    def own(trial: optuna.Trial) -> float:
        limit = trial.suggest_float("inner.budget.limit", 2.0, 6.0, step=0.5)
        schedule = trial.suggest_categorical("inner.temperature.schedule", ["constant", "linear"])
        start = trial.suggest_float("inner.temperature.start", 0.5, 5.0, log=True) if schedule == "linear" else 2.0
        strength = trial.suggest_float("inner.regularization.strength", 0.001, 1.0, log=True)
        return 1.0 - 1.0 / limit - 0.1 * strength - 0.01 * start

    studies = [create(sampler=optuna.samplers.TPESampler(seed=7, n_startup_trials=3)) for _ in range(2)]
    for study, objective in zip(studies, (own, fake()), strict=True):
        study.optimize(objective, n_trials=12)
    mine, ours = ([(t.params, t.distributions, t.value) for t in study.trials] for study in studies)
    assert mine == ours


def test_prefixed_parameters_stand_beside_others() -> None:
    objective = fake(prefix="bits:")

    def both(trial: optuna.Trial) -> float:
        return float(objective(trial)) - trial.suggest_float("mine", 0, 1)

    study = create()
    study.enqueue_trial({f"bits:{path}": value for path, value in POINT.items()} | {"mine": 0.5})
    study.optimize(both, n_trials=3)
    first = study.trials[0]
    assert first.params == {f"bits:{path}": value for path, value in POINT.items()} | {"mine": 0.5}
    assert first.value == pytest.approx(1 - 1 / 3 - 0.01 - 0.02 - 0.5)
    assert all(name == "mine" or name.startswith("bits:inner.") for name in study.trials[-1].params)


def test_a_study_without_a_space() -> None:
    study = create()
    objective = fake(space="")
    study.optimize(objective, n_trials=2)
    assert [trial.params for trial in study.trials] == [{}, {}]
    assert objective.suggest(FixedTrial({})) == objective.experiment


def test_asked_and_told_by_hand() -> None:
    study = create()
    trial = study.ask()
    study.tell(trial, fake()(trial))
    assert study.best_trial.number == trial.number


# Values of the caller's own


def test_values_of_ones_own_reach_the_trial() -> None:
    objective = fake(space="space: {inner.budget.limit: {type: float, low: 2.0, high: 6.0}}")
    fixed = FixedTrial({"inner.budget.limit": 4.0})
    values = {"inner.regularization.strength": 0.5, "inner.bits": "2,4"}
    document = objective.suggest(fixed, values)
    assert (document.inner.regularization.strength, document.inner.bits) == (0.5, (2, 4))
    assert document.inner.budget.limit == 4.0
    assert objective(fixed, values) == fake_trials.score(document) != objective(fixed)


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"inner.budget.limit": 3.0}, ["not searched", "'inner.budget.limit'", "drop one"]),
        ({"inner.budget.limit.weight": 3.0}, ["not searched", "'inner.budget.limit.weight'"]),
        ({"study.seed": 3}, ["data, model, inner", "'study.seed'", "`overrides`"]),
        ({"inner.bitz": [2]}, ["inner.bitz", "'inner.bits'"]),
        ({"inner.bits": "0,4"}, ["inner.bits", "0"]),
    ],
)
def test_values_that_cannot_be_set(values: dict[str, Any], parts: list[str]) -> None:
    for call in (fake(), fake().suggest):
        with pytest.raises(ConfigurationError) as caught:
            call(FixedTrial(POINT), values)
        assert all(part in str(caught.value) for part in parts), str(caught.value)


# What a trial is left with


def test_attributes_are_json_and_read_back() -> None:
    study = create()
    study.optimize(fake(f"{ONE}, seed: 9"), n_trials=2)
    trial = study.trials[1]
    attributes = json.loads(json.dumps(trial.user_attrs, allow_nan=False))
    seed = trial_seed(9, 1)
    assert attributes["precsearch:seed"] == seed
    assert set(attributes["precsearch:metrics"]) == {"validation_accuracy", "bitops", "model_size"}
    limit = int(trial.params["inner.budget.limit"])
    assert attributes["precsearch:bits"] == f"fc {limit}"
    assert OptunaObjective.allocation(trial) == fake_trials.allocation(limit, seed)
    assert Allocation.from_json(json.dumps(attributes["precsearch:allocation"])) == fake_trials.allocation(limit, seed)
    assert "precsearch:fail_reason" not in attributes


def test_bits_for_people() -> None:
    def run(experiment: Experiment, session: Session) -> TrialResult:
        result = fake_trials.finish(experiment, session)
        (layer,) = result.allocation.layers
        weight = layer.targets["weight"]
        layers = (
            layer.model_copy(update={"targets": {"weight": weight, "activation": TargetPrecision(bits=5)}}),
            layer.model_copy(update={"name": "out", "targets": {"weight": TargetPrecision(bits=None)}}),
        )
        return result.model_copy(update={"allocation": result.allocation.model_copy(update={"layers": layers})})

    fixed = FixedTrial(POINT)
    fake(run=run)(fixed)
    assert fixed.user_attrs["precsearch:bits"] == "fc 3/5, out f/f"


def test_artifacts_go_to_the_store(tmp_path: Path) -> None:
    tmp_path.joinpath("store").mkdir()
    store = FileSystemArtifactStore(tmp_path / "store")
    study = create()
    objective = fake(artifact_store=store)
    study.optimize(objective, n_trials=2)
    for trial in study.trials:
        (meta,) = get_all_artifact_meta(trial, storage=study._storage)
        assert (meta.filename, meta.mimetype) == ("allocation.json", "application/json")
        copy = tmp_path / f"{trial.number}.json"
        download_artifact(artifact_store=store, artifact_id=meta.artifact_id, file_path=str(copy))
        assert Allocation.from_json(copy) == objective.allocation(trial)
    assert objective(FixedTrial(study.best_trial.params, number=study.best_trial.number)) == study.best_value
    assert objective(study.best_trial) == study.best_value
    assert len(list((tmp_path / "store").iterdir())) == 2


def test_no_folder_is_left_without_a_directory() -> None:
    folders: list[Path] = []

    def run(experiment: Experiment, session: Session) -> TrialResult:
        assert session.resume() is None
        folders.append(session.directory)
        return fake_trials.run_trial(experiment, session)

    create().optimize(fake(run=run), n_trials=2)
    assert [folder.name for folder in folders] == ["0000", "0001"]
    assert not any(folder.parent.exists() for folder in folders)


def test_a_directory_keeps_each_trial_apart_from_other_studies(tmp_path: Path) -> None:
    study = create()
    study.optimize(fake(directory=tmp_path / "kept"), n_trials=2)
    study.optimize(fake(directory=tmp_path / "kept"), n_trials=1)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")) == [
        f"kept/{number:04d}/allocation.json" for number in range(3)
    ]
    for trial in study.trials:
        written = Allocation.from_json(tmp_path / "kept" / f"{trial.number:04d}" / "allocation.json")
        assert written == OptunaObjective.allocation(trial)
    assert not list(tmp_path.rglob("checkpoint"))

    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    with pytest.raises(RunDirectoryError, match=r"0000 exists.*another study") as caught:
        create(sampler=optuna.samplers.RandomSampler(seed=1)).optimize(fake(directory=tmp_path / "kept"), n_trials=1)
    assert "remove the folder" in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before


def test_a_training_that_left_nothing_can_be_run_again(tmp_path: Path) -> None:
    def refuses(experiment: Experiment, session: Session) -> TrialResult:
        raise DataError("no data")

    with pytest.raises(DataError):
        create().optimize(fake(run=refuses, directory=tmp_path), n_trials=1)
    create().optimize(fake(directory=tmp_path), n_trials=1)
    assert (tmp_path / "0000" / "allocation.json").is_file()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match=r"cannot make .*file.*another `directory`"):
        fake(directory=tmp_path / "file")(FixedTrial(POINT))


# Failing


@pytest.mark.parametrize("study", [ONE, TWO])
@pytest.mark.parametrize(
    "error",
    [DivergedError("the loss is nan"), BudgetError("2 bits"), ModelError("too wide"), AllocationError("not its own")],
)
def test_one_point_that_fails_is_a_failed_trial(study: str, error: Exception) -> None:
    objective = fake(study, run=fake_trials.failing(error))
    theirs = create([each.direction for each in objective.experiment.study.objectives])
    theirs.optimize(objective, n_trials=3)
    assert [trial.state.name for trial in theirs.trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    failed = theirs.trials[1]
    assert failed.user_attrs["precsearch:fail_reason"] == f"{type(error).__name__}: {error}"
    assert failed.values is None
    assert "precsearch:metrics" not in failed.user_attrs
    with pytest.raises(AllocationError, match=f"trial 1 has none: {type(error).__name__}: {error}"):
        objective.allocation(failed)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", ["validation_accuracy", "bitops", "model_size"])
def test_what_is_judged_must_be_finite(metric: str, value: float) -> None:
    def run(experiment: Experiment, session: Session) -> TrialResult:
        return fake_trials.finish(experiment, session, **{metric: value})

    study = create(["maximize", "minimize"])
    study.optimize(fake(TWO, run=run), n_trials=1)
    (trial,) = study.trials
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["precsearch:fail_reason"] == f"{metric} is {value}, not a finite number"
    assert trial.constraints == {}
    fixed = fake(TWO, run=run)(FixedTrial(POINT))
    assert isinstance(fixed, tuple) and len(fixed) == 2 and all(map(math.isnan, fixed))


def test_what_is_not_judged_may_be_infinite() -> None:
    def run(experiment: Experiment, session: Session) -> TrialResult:
        return fake_trials.finish(experiment, session, train_loss=math.inf)

    study = create()
    study.optimize(fake(run=run), n_trials=1)
    assert study.trials[0].state == TrialState.COMPLETE
    assert "train_loss" not in study.trials[0].user_attrs["precsearch:metrics"]


def test_a_point_that_is_not_valid_fails_alone() -> None:
    epochs = [f"inner.epochs.{phase}: {{type: int, low: 0, high: 1}}" for phase in ("warmup", "search", "finetune")]
    space = f"space: {{{', '.join(epochs)}}}"
    study = create()
    study.enqueue_trial({f"inner.epochs.{phase}": 0 for phase in ("warmup", "search", "finetune")})
    objective = fake(space=space)
    study.optimize(objective, n_trials=1)
    (trial,) = study.trials
    assert trial.state == TrialState.FAIL
    assert "at least one epoch" in trial.user_attrs["precsearch:fail_reason"]
    with pytest.raises(ConfigurationError):
        objective.suggest(trial)


@pytest.mark.parametrize(
    ("error", "space"),
    [
        (ConfigurationError("no such model"), fake_trials.SPACE),
        (DataError("no such folder"), fake_trials.SPACE),
        (RunDirectoryError("disk full"), fake_trials.SPACE),
        (ZeroDivisionError("a bug"), fake_trials.SPACE),
        (BudgetError("2 bits"), ""),
        (ModelError("too wide"), ""),
        (AllocationError("not its own"), ""),
    ],
)
def test_what_every_trial_would_raise_ends_the_study(error: Exception, space: str) -> None:
    def run(experiment: Experiment, session: Session) -> TrialResult:
        raise error

    study = create()
    with pytest.raises(type(error), match=str(error)):
        study.optimize(fake(space=space, run=run), n_trials=3)
    (trial,) = study.trials
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["precsearch:fail_reason"] == f"{type(error).__name__}: {error}"


def test_an_objective_that_is_not_measured_is_told() -> None:
    study = create("minimize")
    with pytest.raises(ConfigurationError, match=r"a metric that a trial measures.*'train_accuracy'"):
        study.optimize(fake("objectives: [{metric: train_accuracy, direction: minimize}]"), n_trials=1)


def test_a_space_that_cannot_be_read_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file"):
        OptunaObjective(tmp_path / "none.yaml")
    path = tmp_path / "space.yaml"
    path.write_text("version: 1\nname: mine\n")
    assert OptunaObjective(str(path), overrides=["study.seed=4"]).experiment.study.seed == 4
    document = fake_trials.experiment()
    assert OptunaObjective(document, overrides=["study.seed=4"]).experiment.study.seed == 4
    for experiment in (path, document):
        with pytest.raises(ConfigurationError, match=r"study\.sed"):
            OptunaObjective(experiment, overrides=["study.sed=4"])


def test_stopping_from_below_prunes() -> None:
    def run(experiment: Experiment, session: Session) -> TrialResult:
        raise TrialStopped("enough")

    with pytest.raises(optuna.TrialPruned, match="enough"):
        fake(TWO, run=run)(FixedTrial(POINT))


# Threads, processes


def test_trainings_of_one_process_take_turns() -> None:
    lock = threading.Lock()
    threads = set()

    def run(experiment: Experiment, session: Session) -> TrialResult:
        assert lock.acquire(blocking=False), "two at once"
        threads.add(threading.get_ident())
        time.sleep(0.01)
        lock.release()
        return fake_trials.run_trial(experiment, session)

    study = create()
    study.optimize(fake(run=run), n_trials=8, n_jobs=4)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 8
    assert len(threads) > 1


def test_the_objective_can_be_sent_to_another_process(tmp_path: Path) -> None:
    objective = pickle.loads(pickle.dumps(fake(directory=tmp_path, prefix="p")))
    assert objective(FixedTrial({f"p{path}": value for path, value in POINT.items()})) == fake()(FixedTrial(POINT))


# For real


def test_a_trial_is_what_a_study_of_our_own_records(tmp_path: Path) -> None:
    objective = real("study.n_trials=2", directory=tmp_path / "theirs")
    directory = RunDirectory(tmp_path / "ours")
    run_study(objective.experiment, directory, fake_trials.Watcher())
    study = create()
    for record in directory.records():
        study.enqueue_trial(record.params)
    study.optimize(objective, n_trials=2)
    for record, trial in zip(directory.records(), study.trials, strict=True):
        assert (trial.user_attrs["precsearch:metrics"], trial.user_attrs["precsearch:seed"]) == (
            record.metrics,
            record.seed,
        )
        assert trial.value == record.metrics["validation_accuracy"]
        ours, theirs = directory.trial(record.number), tmp_path / "theirs" / f"{trial.number:04d}"
        for name in ("allocation.json", "weights.safetensors", "steps.jsonl"):
            assert (theirs / name).read_bytes() == (ours / name).read_bytes()
        assert objective.allocation(trial) == Allocation.from_json(ours / "allocation.json")
        steps = [Progress.model_validate_json(line) for line in (theirs / "steps.jsonl").read_text().splitlines()]
        assert trial.intermediate_values == {p.step: p.metrics["validation_accuracy"] for p in steps}
        bits = trial.user_attrs["precsearch:bits"].split(", ")
        allocation = objective.allocation(trial)
        assert bits == [f"{layer.name} {layer.bits()}/{layer.bits('activation')}" for layer in allocation.layers]


def test_training_a_frozen_trial_again_gives_its_value() -> None:
    study = create()
    objective = real("study.constraints=[{metric: model_size, max: 100000}]")
    study.optimize(objective, n_trials=2)
    best = study.best_trial
    attributes = dict(best.user_attrs)
    assert len(best.constraints) == 1
    assert objective(best) == study.best_value
    assert best.user_attrs == attributes
    again = FixedTrial(best.params, number=best.number)
    assert objective(again) == study.best_value
    assert again.user_attrs == attributes


def test_a_trial_does_not_depend_on_threads_beside_it() -> None:
    found = []
    for jobs in (1, 2):
        study = create()
        for limit in (2.0, 3.0, 2.5, 4.0):
            study.enqueue_trial({"inner.budget.limit": limit})
        study.optimize(real(), n_trials=4, n_jobs=jobs)
        found.append([(trial.params, trial.value, trial.user_attrs) for trial in study.trials])
    assert found[0] == found[1]


def test_a_limit_that_no_allocation_keeps_fails_alone() -> None:
    objective = real("inner.pin={out: 8}", "space={inner.budget.limit: {type: float, low: 2.0, high: 6.0, step: 0.5}}")
    study = create()
    study.enqueue_trial({"inner.budget.limit": 2.0})
    study.enqueue_trial({"inner.budget.limit": 6.0})
    study.optimize(objective, n_trials=2)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]
    assert study.trials[0].user_attrs["precsearch:fail_reason"].startswith("BudgetError: ")


SERVER = """
import sys
import optuna
from optuna.storages import run_grpc_proxy_server
run_grpc_proxy_server(optuna.storages.get_storage(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]))
"""
WORKER = """
import sys
import optuna
import precsearch
study = optuna.load_study(study_name="shared", storage=sys.argv[1], pruner=optuna.pruners.NopPruner())
study.optimize(precsearch.OptunaObjective(sys.argv[2], directory=sys.argv[3]), n_trials=3)
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_study_behind_a_grpc_server(tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"sqlite:///{tmp_path / 'study.db'}"
    server = subprocess.Popen([sys.executable, "-W", "ignore", "-c", SERVER, url, str(port)])
    proxy = GrpcStorageProxy(host="127.0.0.1", port=port)
    try:
        proxy.wait_server_ready(timeout=60)
        store_path = tmp_path / "store"
        store_path.mkdir()
        study = create(["maximize", "minimize"], storage=proxy, study_name="remote")
        objective = fake(TWO, artifact_store=FileSystemArtifactStore(store_path))
        study.optimize(objective, n_trials=4, n_jobs=2)
        read = optuna.load_study(study_name="remote", storage=url)
        assert [trial.state.name for trial in read.trials] == ["COMPLETE"] * 4
        for trial in read.trials:
            assert len(trial.constraints) == 2
            assert len(get_all_artifact_meta(trial, storage=read._storage)) == 1
            assert objective(FixedTrial(trial.params, trial.number)) == tuple(trial.values)
            assert objective.allocation(trial).provenance == {"seed": trial.user_attrs["precsearch:seed"]}
    finally:
        proxy.close()
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RDBStorage]:
    with contextlib.ExitStack() as stack:
        kind = f"sqlite:///{tmp_path / 'study.db'}"
        storage = RDBStorage(kind if request.param == "sqlite" else stack.enter_context(server()).new("shared"))
        yield storage
        storage.remove_session()
        storage.engine.dispose()


@pytest.mark.slow
def test_several_processes_share_a_study_and_a_directory(tmp_path: Path, shared: RDBStorage) -> None:
    objective = real()
    (tmp_path / "space.yaml").write_text(dump_experiment(objective.experiment))
    create(storage=shared, study_name="shared")
    command = [sys.executable, "-c", WORKER, shared.url, str(tmp_path / "space.yaml"), str(tmp_path / "kept")]
    workers = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    trials = optuna.load_study(study_name="shared", storage=shared).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 6
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [f"{number:04d}" for number in range(6)]
    for trial in trials:
        assert objective(FixedTrial(trial.params, trial.number)) == trial.value


@pytest.mark.slow
def test_tpe_with_a_median_pruner_for_real() -> None:
    study = create(
        sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=4),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
    )
    objective = real("inner.epochs={warmup: 1, search: 3, finetune: 2}")
    study.optimize(objective, n_trials=12)
    states = [trial.state for trial in study.trials]
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in study.trials:
        steps = list(trial.intermediate_values)
        assert steps == list(range(1, len(steps) + 1))
        assert (len(steps) == 6) == (trial.state == TrialState.COMPLETE) or trial.state == TrialState.PRUNED
    use = objective.allocation(study.best_trial).budget
    assert use is not None and all(spent <= use.limit for spent in use.by_target.values())  # type: ignore[operator]


@pytest.mark.slow
def test_the_page_prints_what_it_shows(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    page = (root / "docs" / "optuna.md").read_text()
    (tmp_path / "search_spaces").symlink_to(root / "search_spaces")
    code = "".join(re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    shown = "".join(re.findall(r"<!-- output: \w+ -->\n```text\n(.*?)```", page, re.DOTALL))
    command = [sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    # Digits differ by machine, and with them the number of digits.
    assert re.sub(r"[\d.]+", "0", ran.stdout) == re.sub(r"[\d.]+", "0", shown)
    assert len(list((tmp_path / "artifacts").iterdir())) == 6
