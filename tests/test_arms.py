"""Arms trained without training: what is planned, that pairs are pairs, and that no kill and no order changes a run."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_trials import Watcher, run_trial
from hypothesis import given
from hypothesis import strategies as st
from made_runs import listing

from precsearch.errors import ConfigurationError, DataError, DivergedError, ModelError, RunDirectoryError
from precsearch.experiment import ARM_KINDS, Experiment
from precsearch.experiment.evaluate import EvaluateSettings
from precsearch.experiment.loading import load_experiment, load_experiment_text, with_overrides
from precsearch.results import RunDirectory, Session, TrialResult
from precsearch.study.arms.plan import ArmsPlan, Training, plan_arms
from precsearch.study.arms.run import run_arms
from precsearch.study.directory import hold
from precsearch.study.seeds import arm_seeds, tuning_seeds

HEAD = "version: 1\nname: fake\nmodel: {name: mlp, hidden: [4]}\ninner: {epochs: {warmup: 1, search: 1, finetune: 1}}\n"
COMPARE = f"""{HEAD}kind: compare
compare:
  seeds: 2
  at: {{inner.budget.limit: [2.5, 4.0]}}
  arms: {{float: {{kind: float}}, uniform: {{kind: uniform}}, learned: {{kind: learned}}}}
"""
TUNED = f"""{HEAD}kind: compare
compare:
  seeds: 2
  at: {{inner.budget.limit: [2.5, 4.0]}}
  arms: {{float: {{kind: float}}, uniform: {{kind: uniform}}}}
  tune: {{over: {{inner.regularization.strength: [0.5, 0.1]}}, seeds: 2}}
"""
GRID = f"""{HEAD}kind: grid
grid:
  seeds: 2
  axes: {{inner.optimizer.lr: [0.1, 0.2]}}
  bits: [2, 3]
  layers: true
  layers_at: {{inner.optimizer.lr: 0.2}}
"""
ALL = {"compare": COMPARE, "tuned": TUNED, "grid": GRID.replace("[2, 3]", "[2]")}


class Killed(BaseException):
    """The process is gone: nothing may catch it."""


class Trainer:
    """Trains nothing; writes down what it was given, leaves weights, and dies at one report of all."""

    def __init__(self, dies_at: int | None = None, fails: Callable[[str], Exception | None] = lambda _: None) -> None:
        self.calls: list[tuple[str, Experiment, int, str]] = []
        self.reports = 0
        self.dies_at, self.fails = dies_at, fails

    def __call__(self, experiment: Experiment, session: Session, evaluated: str = "validation") -> TrialResult:
        self.calls.append((session.directory.name, experiment, session.seed, evaluated))
        if (error := self.fails(session.directory.name)) is not None:
            raise error
        before = session.report

        def report(progress: Any, checkpoint: Path | None) -> None:
            before(progress, checkpoint)
            self.reports += 1
            if self.reports == self.dies_at:
                raise Killed

        session.report = report  # type: ignore[method-assign]
        result = run_trial(experiment, session, evaluated)
        start = experiment.model.checkpoint
        (session.directory / "weights.safetensors").write_text(
            f"{session.seed} {Path(start).parent.name if start else ''}"
        )
        return result

    @property
    def names(self) -> list[str]:
        return [name for name, *_ in self.calls]


def diverging(which: Callable[[str], bool]) -> Callable[[str], Exception | None]:
    return lambda name: DivergedError("nan") if which(name) else None


def run(text: str, path: Path, trainer: Trainer | None = None, watcher: Watcher | None = None, *sets: str) -> ArmsPlan:
    document = with_overrides(load_experiment_text(text), sets)
    return run_arms(document, RunDirectory(path), watcher or Watcher(), trainer or Trainer())


def left(path: Path) -> dict[str, Any]:
    """Everything but times, places of checkpoints and who held the lock."""
    found: dict[str, Any] = {}
    for file in sorted(path.rglob("*")):
        name = str(file.relative_to(path))
        if file.is_dir() or name in {".driver.lock", "environment.json"}:
            continue
        if file.name == "result.json":
            found[name] = json.loads(file.read_text()) | {"seconds": 0.0}
        else:
            found[name] = file.read_bytes()
    return found


@pytest.fixture(scope="module", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda file: None)
        yield


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Undisturbed runs, by kind."""
    made = {name: tmp_path_factory.mktemp(name) / "run" for name in ALL}
    for name, text in ALL.items():
        run(text, made[name])
    return made


def test_every_arm_has_every_seed_in_every_cell_and_the_seeds_are_paired(through: dict[str, Path]) -> None:
    records = RunDirectory(through["compare"]).trainings()
    assert len(records) == 2 * 3 * 2
    seeds = arm_seeds(0, 2)
    for folder, record in records:
        assert folder.name == f"{record.number:04d}-{record.label}-{record.index:02d}"
        assert record.seed == seeds[record.index] and record.state == "complete" and record.arm == record.label
        assert record.limit == record.params["inner.budget.limit"] == (2.5, 4.0)[record.number]
        assert "test_accuracy" in record.metrics
    assert not list(through["compare"].rglob("checkpoint"))


def test_what_each_arm_trains(tmp_path: Path) -> None:
    trainer = Trainer()
    run(COMPARE.replace("{kind: learned}", "{kind: learned, set: {inner.temperature.start: 0.7}}"), tmp_path, trainer)
    samplers = {name[5:-3]: at.inner.sampler for name, at, *_ in trainer.calls}
    assert samplers == {"float": "float", "uniform": "uniform", "learned": "perturb-and-map"}
    assert {at.inner.temperature.start for name, at, *_ in trainer.calls if "learned" in name} == {0.7}
    assert {at.inner.temperature.start for name, at, *_ in trainer.calls if "learned" not in name} == {2.0}
    assert {evaluated for *_, evaluated in trainer.calls} == {"test"}


def test_every_kind_of_arm_sets_what_it_says_and_no_other_is_drawn_to_the_end(tmp_path: Path) -> None:
    arms = ", ".join(f"{kind}: {{kind: {kind}}}" for kind in ARM_KINDS if kind != "fixed")
    arms += ", fixed: {kind: fixed, set: {inner.allocation: [3, 3]}}"
    text = COMPARE.replace("{float: {kind: float}, uniform: {kind: uniform}, learned: {kind: learned}}", f"{{{arms}}}")
    trainer = Trainer()
    run(text, tmp_path, trainer, None, "inner.stochastic=true", "compare.seeds=1", "compare.at={}")
    found = {
        name[5:-3]: (at.inner.sampler, at.inner.stochastic, at.inner.noise.kind, at.inner.allocation)
        for name, at, *_ in trainer.calls
    }
    assert found == {
        "float": ("float", False, "none", None),
        "uniform": ("uniform", False, "none", None),
        "random": ("random", False, "none", None),
        "fixed": ("fixed", False, "none", (3, 3)),
        "learned": ("perturb-and-map", False, "none", None),
        "stochastic": ("perturb-and-map", True, "none", None),
        "dropout": ("float", False, "dropout", None),
        "weight-noise": ("float", False, "weight", None),
    }


def test_noise_of_the_weights_follows_the_budget_and_is_not_shared(tmp_path: Path) -> None:
    arms = "{float: {kind: float}, dropout: {kind: dropout}, noise: {kind: weight-noise}}"
    text = COMPARE.replace("{float: {kind: float}, uniform: {kind: uniform}, learned: {kind: learned}}", arms)
    plan = plan_arms(load_experiment_text(text))
    shared = {label for (cell, label), owner in plan.owners.items() if owner != cell}
    assert shared == {"float", "dropout"}


def test_whoever_is_interrupted_has_whole_pairs(tmp_path: Path) -> None:
    trainer = Trainer()
    run(COMPARE, tmp_path, trainer)
    indices = [int(name[-2:]) for name in trainer.names]
    assert indices == sorted(indices)


def test_what_would_be_trained_alike_is_trained_once(tmp_path: Path, through: dict[str, Path]) -> None:
    trainer = Trainer()
    plan = run(COMPARE, tmp_path, trainer)
    assert plan.shared == 2 and [name for name in trainer.names if "float" in name] == [
        "0000-float-00",
        "0000-float-01",
    ]
    for index in range(2):
        own, other = (
            {f.name: r for f, r in RunDirectory(tmp_path).trainings()}[f"000{c}-float-0{index}"] for c in (0, 1)
        )
        assert own.metrics == other.metrics and own.params != other.params and (own.limit, other.limit) == (2.5, 4.0)
        assert other.seconds == 0.0
    trainer = Trainer()
    apart = run(
        COMPARE.replace("inner.budget.limit: [2.5, 4.0]", "inner.optimizer.lr: [0.1, 0.2]"), tmp_path / "b", trainer
    )
    assert apart.shared == 0 and len(trainer.names) == 12
    shutil.copytree(through["compare"], tmp_path / "copy")  # killed between a result and its sharing
    shutil.rmtree(tmp_path / "copy" / "trainings" / "0001-float-01")
    trainer = Trainer()
    run(COMPARE, tmp_path / "copy", trainer)
    assert trainer.names == [] and left(tmp_path / "copy") == left(through["compare"])


@pytest.mark.parametrize("kind", list(ALL))
def test_killed_at_any_report_it_leaves_what_an_undisturbed_run_leaves(
    kind: str, tmp_path: Path, through: dict[str, Path]
) -> None:
    """Killed again and again, a report later each time, until nothing is left to do."""
    kills = 0
    while True:
        watcher = Watcher()
        try:
            run(ALL[kind], tmp_path, Trainer(dies_at=2 + kills % 4), watcher)
        except Killed:
            kills += 1
            continue
        break
    assert kills > 5 and left(tmp_path) == left(through[kind])


@pytest.mark.parametrize("kind", list(ALL))
def test_no_report_is_special(kind: str, tmp_path: Path, through: dict[str, Path]) -> None:
    """Killed once, anywhere, then run to the end: nothing is trained twice but what was under way."""
    reports = Trainer()
    run(ALL[kind], tmp_path / "count", reports)
    for at in range(1, reports.reports + 1, 7):
        path = tmp_path / str(at)
        first, then = Trainer(dies_at=at), Trainer()
        with pytest.raises(Killed):
            run(ALL[kind], path, first)
        run(ALL[kind], path, then)
        assert left(path) == left(through[kind])
        begun = Counter(first.names + then.names)
        assert set(begun.values()) <= {1, 2} and [name for name, n in begun.items() if n == 2] == [first.names[-1]]
        shutil.rmtree(path)


@pytest.mark.parametrize("kind", list(ALL))
def test_run_again_nothing_is_trained_or_written(kind: str, tmp_path: Path, through: dict[str, Path]) -> None:
    shutil.copytree(through[kind], tmp_path / "moved")
    trainer, watcher = Trainer(), Watcher()
    before = {name: at for name, at in listing(tmp_path / "moved").items() if name not in {".", ".driver.lock"}}
    plan = run(ALL[kind], tmp_path / "moved", trainer, watcher)
    assert trainer.names == [] and len(watcher.before) == len(plan.tuning) + len(plan.trainings)
    assert {name: at for name, at in listing(tmp_path / "moved").items() if name not in {".", ".driver.lock"}} == before


def test_more_seeds_continue_a_run_and_nothing_else_does(tmp_path: Path) -> None:
    for text, kind in ((COMPARE, "compare"), (GRID, "grid")):
        run(text, tmp_path / kind)
        before, trainer = left(tmp_path / kind), Trainer()
        run(text, tmp_path / kind, trainer, None, f"{kind}.seeds=3")
        after = left(tmp_path / kind)
        assert {name[-2:] for name in trainer.names} == {"02"}
        assert {name: after[name] for name in before if name != "experiment.yaml"} == {
            name: value for name, value in before.items() if name != "experiment.yaml"
        }
        run(text, tmp_path / f"{kind}-through", None, None, f"{kind}.seeds=3")
        assert after == left(tmp_path / f"{kind}-through")
        assert run(text, tmp_path / kind).seeds == tuple(arm_seeds(0, 2))  # fewer train nothing, and delete nothing
        assert set(left(tmp_path / kind)) == set(after)
    for other in ("compare.margin=0.1", "inner.optimizer.lr=0.5", "study.seed=1", "compare.reference=float"):
        with pytest.raises(RunDirectoryError, match="which is not"):
            run(COMPARE, tmp_path / "compare", None, None, other)


class TestTuning:
    def test_the_best_mean_is_chosen_and_holds_with_every_seed(self, tmp_path: Path) -> None:
        trainer = Trainer()
        plan = run(TUNED, tmp_path, trainer)
        directory = RunDirectory(tmp_path)
        tuning = [call for call in trainer.calls if len(call[0].split("-")) == 4]
        assert len(tuning) == len(plan.tuning) == 3 * 2 * 2  # one float network serves both cells
        assert {evaluated for *_, evaluated in tuning} == {"validation"}
        seeds = set(tuning_seeds(0, 2))
        assert {seed for *_, seed, _ in tuning} == seeds and not seeds & set(plan.seeds)
        assert trainer.calls[: len(tuning)] == tuning  # before anything else
        # the fake score falls with the strength
        assert {r.params["inner.regularization.strength"] for _, r in directory.trainings()} == {0.1}
        assert {at.inner.regularization.strength for _, at, *_ in trainer.calls[len(tuning) :]} == {0.1}
        told = json.loads(directory.tuned.read_text())
        named = [(row["cell"], row["arm"]) for row in told["arms"]]
        assert named == [(cell, arm) for cell in (0, 1) for arm in ("float", "uniform")]
        for row in told["arms"]:
            means = [tried["mean"] for tried in row["tried"]]
            assert row["tried"][means.index(max(means))]["params"] == row["chosen"]

    def test_less_loss_is_better(self, tmp_path: Path) -> None:
        def lossy(experiment: Experiment, session: Session, evaluated: str = "validation") -> TrialResult:
            result = run_trial(experiment, session, evaluated)
            loss = {"validation_loss": experiment.inner.regularization.strength}
            return result.model_copy(update={"metrics": result.metrics | loss})

        document = load_experiment_text(TUNED.replace("seeds: 2}", "seeds: 1, metric: validation_loss}"))
        run_arms(document, RunDirectory(tmp_path), Watcher(), lossy)
        assert {r.params["inner.regularization.strength"] for _, r in RunDirectory(tmp_path).trainings()} == {0.1}

    def test_what_failed_once_is_not_chosen(self, tmp_path: Path) -> None:
        bad = Trainer(
            fails=lambda name: DivergedError("nan") if name.endswith("-01-00") and name.count("-") == 3 else None
        )
        run(TUNED, tmp_path, bad)
        assert {r.params["inner.regularization.strength"] for _, r in RunDirectory(tmp_path).trainings()} == {0.5}

    @pytest.mark.parametrize("metric", ["validation_accuracy", "validation_fgsm_accuracy"])
    def test_no_more_is_measured_than_what_chooses(self, tmp_path: Path, metric: str) -> None:
        trainer = Trainer()
        text = TUNED.replace("seeds: 2}", f"seeds: 2, metric: {metric}}}") + "evaluate: {attacks: [fgsm], images: 7}\n"
        run(text, tmp_path, trainer)
        measured = {evaluated: at.evaluate for _, at, _, evaluated in trainer.calls}
        asked = load_experiment_text(text).evaluate
        assert measured["validation"] == (asked if "fgsm" in metric else EvaluateSettings())
        assert "fgsm" in metric or measured["test"] == asked

    def test_an_arm_that_cannot_be_tuned_is_said_and_the_others_go_on(self, tmp_path: Path) -> None:
        bad = Trainer(
            fails=lambda name: DivergedError("nan") if "0000-uniform" in name and name.count("-") == 3 else None
        )
        run(TUNED, tmp_path, bad)
        records = RunDirectory(tmp_path).trainings()
        failed = [record for _, record in records if record.state == "failed"]
        assert {(r.number, r.label) for r in failed} == {(0, "uniform")} and len(failed) == 2 and len(records) == 8
        assert all("no combination of `compare.tune.over`" in str(record.reason) for record in failed)


class TestGrid:
    def test_others_start_from_the_float_network_of_their_cell_and_seed(self, tmp_path: Path) -> None:
        trainer = Trainer()
        plan = run(GRID, tmp_path, trainer)
        # float; two arms at two bit-widths; in one cell both layers alone
        assert len(plan.trainings) == 2 * (2 * 5 + 2 * 4)
        floats = [name for name in trainer.names if "-float-" in name]
        assert trainer.names[: len(floats)] == floats
        for name, at, _, evaluated in trainer.calls[len(floats) :]:
            assert at.model.checkpoint == str(
                tmp_path / "trainings" / f"{name[:4]}-float-{name[-2:]}" / "weights.safetensors"
            )
            assert (at.inner.sampler, evaluated) == ("uniform", "test")
            epochs = at.inner.epochs
            assert (epochs.warmup + epochs.search + epochs.finetune == 0) == ("direct" in name)

    def test_a_continued_network_is_trained_as_long_as_a_retrained_one(self, tmp_path: Path) -> None:
        trainer, epochs = Trainer(), "{warmup: 0, search: 0, finetune: 7}"
        arms = f"  arms: [continued, retrained, float]\n  retrain: {{inner.epochs: {epochs}}}\n"
        run(GRID.replace("grid:\n", f"grid:\n{arms}"), tmp_path, trainer)
        for cell in ("0000", "0001"):
            calls = {name[5:-3]: at for name, at, *_ in trainer.calls if name.startswith(cell) and name.endswith("-01")}
            continued, retrained = calls["continued"], calls["retrained-2"]
            assert (continued.inner.sampler, retrained.inner.sampler) == ("float", "uniform")
            assert continued.model == retrained.model
            assert continued.model.checkpoint == str(
                tmp_path / "trainings" / f"{cell}-float-01" / "weights.safetensors"
            )
            assert continued.inner.epochs == retrained.inner.epochs != calls["float"].inner.epochs

    def test_bits_and_layers_are_in_the_records(self, through: dict[str, Path]) -> None:
        records = [record for _, record in RunDirectory(through["grid"]).trainings() if record.number == 1]
        assert {r.label: (r.arm, r.bits, r.layer) for r in records} == {
            "float": ("float", None, None),
            **{f"{a}-2": (a, 2, None) for a in ("direct", "retrained")},
            **{f"{a}-2-{x}": (a, 2, x) for a in ("direct", "retrained") for x in ("fc1", "out")},
        }
        assert json.loads(RunDirectory(through["grid"]).layers.read_text()) == {"1": {"fc1": ["out"], "out": ["fc1"]}}

    def test_a_layer_alone_leaves_the_others_in_float(self, tmp_path: Path) -> None:
        trainer = Trainer()
        run(GRID.replace("inner: {", "inner: {pin: {out: {weight: 4}}, "), tmp_path, trainer)
        pins = {name[5:-3]: at.inner.pin for name, at, *_ in trainer.calls if name.startswith("0001-direct-2")}
        assert pins == {
            "direct-2": {"out": {"weight": 4}},
            "direct-2-fc1": {"out": "float"},
            "direct-2-out": {"out": {"weight": 4}, "fc1": "float"},
        }

    def test_without_its_float_network_a_training_fails_and_says_why(self, tmp_path: Path) -> None:
        bad = Trainer(fails=diverging(lambda name: name == "0000-float-01"))
        run(GRID, tmp_path, bad)
        failed = {folder.name: r.reason for folder, r in RunDirectory(tmp_path).trainings() if r.state == "failed"}
        assert set(failed) == {"0000-float-01", *(f"0000-{a}-{b}-01" for a in ("direct", "retrained") for b in (2, 3))}
        assert "(0000-float-01) did not complete: DivergedError: nan" in str(failed["0000-direct-2-01"])
        assert "0000-direct-2-01" not in bad.names
        again = Trainer()
        run(GRID, tmp_path, again)
        assert again.names == []

    def test_weights_that_are_gone_are_said(self, tmp_path: Path) -> None:
        run(GRID, tmp_path)
        (tmp_path / "trainings" / "0000-float-00" / "weights.safetensors").unlink()
        shutil.rmtree(tmp_path / "trainings" / "0000-direct-2-00")
        with pytest.raises(RunDirectoryError, match=r"0000-float-00 has no .*weights.safetensors.* to train it again"):
            run(GRID, tmp_path)


def test_a_training_that_fails_is_kept_and_not_tried_again(tmp_path: Path) -> None:
    bad = Trainer(fails=lambda name: ZeroDivisionError("oops") if name.startswith("0001-learned") else None)
    run(COMPARE, tmp_path, bad)
    failed = [record for _, record in RunDirectory(tmp_path).trainings() if record.state == "failed"]
    assert [record.reason for record in failed] == ["ZeroDivisionError: oops"] * 2
    again = Trainer()
    run(COMPARE, tmp_path, again)
    assert again.names == []


@pytest.mark.parametrize(
    ("error", "ends"), [(DataError("gone"), True), (ConfigurationError("no"), True), (ModelError("no"), False)]
)
def test_what_every_training_would_raise_ends_it(tmp_path: Path, error: Exception, ends: bool) -> None:
    bad = Trainer(fails=lambda name: error)
    if ends:
        with pytest.raises(type(error)):
            run(COMPARE, tmp_path, bad)
        assert RunDirectory(tmp_path).trainings() == [] and len(bad.names) == 1
    else:
        run(COMPARE, tmp_path, bad)
        assert {record.state for _, record in RunDirectory(tmp_path).trainings()} == {"failed"}


def test_a_run_that_has_a_driver_is_left_alone(tmp_path: Path) -> None:
    run(COMPARE, tmp_path)
    with hold(tmp_path), pytest.raises(RunDirectoryError, match="is in use"):
        run(COMPARE, tmp_path)


def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    text = COMPARE.replace("[2.5, 4.0]", "[2.5, 1.0]")  # every bit-width is above 1
    with pytest.raises(ConfigurationError, match=r"arm 'uniform' at inner.budget.limit=1.0: .*cannot be kept at 1"):
        run_arms(load_experiment_text(text), RunDirectory(tmp_path / "run"), Watcher())
    assert not (tmp_path / "run").exists()


def test_missing_data_is_no_arm_s_fault(tmp_path: Path) -> None:
    text = f"{COMPARE}data: {{name: mnist, root: {tmp_path}, download: false}}\n"
    with pytest.raises(DataError, match=r"^no MNIST in "):
        run_arms(load_experiment_text(text), RunDirectory(tmp_path / "run"), Watcher())


@given(
    limits=st.lists(st.sampled_from([2.0, 2.5, 3.0, 4.0]), min_size=1, max_size=3, unique=True),
    rates=st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=1, max_size=2, unique=True),
    seeds=st.integers(1, 4),
    evaluated=st.booleans(),
)
def test_a_plan_has_every_cell_arm_and_seed_once(
    limits: list[float], rates: list[float], seeds: int, evaluated: bool
) -> None:
    sets = [f"compare.at={{inner.budget.limit: {limits}, inner.optimizer.lr: {rates}}}", f"compare.seeds={seeds}"]
    sets.append(f"evaluate.alone={str(evaluated).lower()}")
    experiment = with_overrides(load_experiment_text(COMPARE), sets)
    plan = plan_arms(experiment)
    results = [
        (training.cell, training.arm.label, training.index)
        for own in plan.trainings
        for training in (own, *plan.sharing(own))
    ]
    cells = len(limits) * len(rates)
    assert len(results) == len(set(results)) == cells * 3 * seeds == len(plan.trainings) + plan.shared
    # a float network follows from the learning rate alone
    assert plan.shared == (len(limits) - 1) * len(rates) * seeds
    assert {each.seed for each in plan.trainings} == set(plan.seeds) and len(plan.seeds) == seeds


def test_names_of_trainings_are_their_folders(tmp_path: Path) -> None:
    experiment = load_experiment_text(TUNED)
    run_ = RunDirectory(tmp_path)
    for each in (*plan_arms(experiment).tuning, *plan_arms(experiment).trainings):
        folder = each.folder(run_).relative_to(tmp_path)
        assert isinstance(each, Training) and str(folder).replace(f"/{each.cell:04d}-", "/") == (
            each.name if each.tried is not None else f"trainings/{each.name}"
        )


def test_the_directory_says_which_experiment_it_holds(through: dict[str, Path]) -> None:
    for kind, path in through.items():
        assert load_experiment(path / "experiment.yaml") == load_experiment_text(ALL[kind])
