"""Training a front again on fresh seeds: pairs that are pairs, whatever interrupts it; nothing is chosen by it."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fake_trials import SPACE, Watcher, experiment, finish, run_trial
from made_runs import listing
from test_kill import COMMAND, Driver, after, make_home

from precsearch.allocation import Allocation
from precsearch.cli import main
from precsearch.errors import ConfigurationError, DataError, RunDirectoryError
from precsearch.experiment import Experiment
from precsearch.experiment.loading import load_experiment, with_overrides
from precsearch.measured import read_evaluation
from precsearch.report.confirming import ConfirmLines, ConfirmLive
from precsearch.report.console import console
from precsearch.results import RunDirectory, Session, TrialRecord, TrialResult
from precsearch.selection import front
from precsearch.study.confirm.plan import ARMS, MOST, plan_confirmation
from precsearch.study.confirm.run import confirm_run
from precsearch.study.directory import hold
from precsearch.study.driver import run_study
from precsearch.study.seeds import confirm_seeds, trial_seed

STUDY = "n_trials: 4, seed: 2, baselines: []"
LR = SPACE + "  inner.optimizer.lr: {type: float, low: 0.001, high: 0.1, log: true}\n"


class Killed(BaseException):
    """The process is gone: nothing may catch it."""


class Seen:
    """A trial that writes down what it was given, and dies at the report of one training."""

    def __init__(self, dies_in: str = "", at: int = 2) -> None:
        self.calls: list[tuple[str, Experiment, int, str]] = []
        self.dies_in, self.at = dies_in, at

    def __call__(self, experiment: Experiment, session: Session, evaluated: str = "validation") -> TrialResult:
        self.calls.append((session.directory.name, experiment, session.seed, evaluated))
        before = session.report

        def report(progress: Any, checkpoint: Path | None) -> None:
            before(progress, checkpoint)
            if session.directory.name == self.dies_in and progress.step == self.at:
                raise Killed

        session.report = report  # type: ignore[method-assign]
        return run_trial(experiment, session, evaluated)


def made(path: Path, study: str = STUDY, space: str = SPACE, more: str = "") -> tuple[Experiment, RunDirectory]:
    """A study that has ended."""
    document, directory = experiment(study, space, more), RunDirectory(path)
    run_study(document, directory, Watcher(), run_trial)
    return document, directory


def confirmed(directory: RunDirectory) -> dict[str, TrialRecord]:
    return {folder.name: record.model_copy(update={"seconds": 0.0}) for folder, record in directory.confirmations()}


def test_arms_are_paired_on_seeds_that_no_trial_has(tmp_path: Path) -> None:
    document, directory = made(tmp_path)
    seen = Seen()
    plan = confirm_run(document, directory, Watcher(), 3, run_trial=seen)
    assert plan.missing == () and len(plan.members) > 1
    records = confirmed(directory)
    assert len(records) == 3 * len(ARMS) * len(plan.members)
    for name, record in records.items():
        assert record.seed == plan.seeds[int(name.rpartition("-")[2])]
        assert (f"{record.number:04d}-{record.baseline}", record.state) == (name[:-3], "complete")
        assert record.baseline in ARMS and "test_accuracy" in record.metrics
    assert {evaluated for *_, evaluated in seen.calls} == {"test"}
    assert not {trial_seed(2, number) for number in range(1000)} & set(plan.seeds)
    assert not list(tmp_path.rglob("checkpoint"))


def test_every_arm_trains_the_trials_point_at_its_limit(tmp_path: Path) -> None:
    document, directory = made(tmp_path)
    seen = Seen()
    plan = confirm_run(document, directory, Watcher(), 1, run_trial=seen)
    trained = {name: at for name, at, *_ in seen.calls}
    for member in plan.members:
        allocation = (directory.trial(member.number) / "allocation.json").read_text()
        for arm, sampler in (("found", "fixed"), ("uniform", "uniform"), ("random", "random")):
            inner = trained[f"{member.number:04d}-{arm}-00"].inner
            assert inner.sampler == sampler
            assert inner.budget.limit == member.limit == member.params["inner.budget.limit"]
            assert inner.temperature.start == member.params.get("inner.temperature.start", 2.0)
            assert inner.epochs == document.inner.epochs
            assert inner.allocation == (Allocation.from_json(allocation).to_json() if arm == "found" else None)


def test_of_a_range_the_limit_that_was_answered_is_confirmed(tmp_path: Path) -> None:
    document, directory = made(tmp_path, space="", study="n_trials: 1, baselines: []")
    ranged = with_overrides(document, ["inner.budget={kind: average_bits, range: [2, 4]}"])
    seen = Seen()
    confirm_run(ranged, directory, Watcher(), 1, run_trial=seen)
    assert {(at.inner.budget.range, at.inner.budget.limit) for _, at, *_ in seen.calls} == {(None, 3.0)}


def test_more_seeds_add_those_and_fewer_train_nothing(tmp_path: Path) -> None:
    document, directory = made(tmp_path / "grown")
    shutil.copytree(tmp_path / "grown", tmp_path / "through")
    counts = []
    for seeds in (1, 3, 2, 3):
        seen = Seen()
        confirm_run(document, directory, Watcher(), seeds, run_trial=seen)
        counts.append(len(seen.calls))
    each = len(plan_confirmation(directory, document, 1).trainings)
    assert counts == [each, 2 * each, 0, 0]
    confirm_run(document, RunDirectory(tmp_path / "through"), Watcher(), 3, run_trial=run_trial)
    assert confirmed(directory) == confirmed(RunDirectory(tmp_path / "through"))


@pytest.mark.parametrize("step", [1, 3])
def test_killed_in_any_training_it_continues(tmp_path: Path, step: int) -> None:
    document, directory = made(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "through")
    confirm_run(document, RunDirectory(tmp_path / "through"), Watcher(), 2, run_trial=run_trial)
    names = [
        f"{each.member.number:04d}-{each.arm}-{each.index:02d}"
        for each in plan_confirmation(directory, document, 2).trainings
    ]
    begun: list[str] = []
    for name in names[::3]:
        seen = Seen(name, step)
        with pytest.raises(Killed):
            confirm_run(document, directory, Watcher(), 2, run_trial=seen)
        begun += [trained for trained, *_ in seen.calls if trained != name]
        assert not (directory.path / "confirm" / name / "result.json").exists()
    watcher = Watcher()
    confirm_run(document, directory, watcher, 2, run_trial=Seen())
    assert watcher.started[0][1]  # it was continued
    assert confirmed(directory) == confirmed(RunDirectory(tmp_path / "through"))
    assert max(Counter(begun).values()) <= 2  # the one that was killed, and once more to its end
    assert not list(tmp_path.rglob("checkpoint"))


def test_killed_between_a_result_and_the_end(tmp_path: Path) -> None:
    """The checkpoint goes, and float networks that are shared are shared, without training anything."""
    document, directory = made(tmp_path)
    plan = confirm_run(document, directory, Watcher(), 1, run_trial=run_trial)
    before = confirmed(directory)
    (sharing,) = [number for number, owner in plan.owners.items() if owner != number][:1]
    shutil.rmtree(directory.confirm(sharing, "float", 0))
    (directory.confirm(plan.members[0].number, "found", 0) / "checkpoint").mkdir()
    seen = Seen()
    confirm_run(document, directory, Watcher(), 1, run_trial=seen)
    assert confirmed(directory) == before and len(seen.calls) == 0 and not list(tmp_path.rglob("checkpoint"))


def test_one_float_network_serves_all_that_would_be_trained_alike(tmp_path: Path) -> None:
    document, directory = made(tmp_path / "shared")
    seen = Seen()
    plan = confirm_run(document, directory, Watcher(), 2, run_trial=seen)
    assert sum("-float-" in name for name, *_ in seen.calls) == 2
    for index in range(2):
        own = [r for n, r in confirmed(directory).items() if n.endswith(f"-float-{index:02d}")]
        assert len(own) == len(plan.members) and len({record.metrics["test_accuracy"] for record in own}) == 1
        assert [record.params for record in own] == [member.params for member in plan.members]
        for member in plan.members:
            assert (directory.confirm(member.number, "float", index) / "allocation.json").is_file()
    document, directory = made(tmp_path / "apart", space=LR)
    seen = Seen()
    plan = confirm_run(document, directory, Watcher(), 2, run_trial=seen)
    assert len(plan.members) > 1
    assert sum("-float-" in name for name, *_ in seen.calls) == 2 * len(plan.members)


def test_of_a_large_front_the_best_and_the_ends(tmp_path: Path) -> None:
    document, directory = made(tmp_path, "n_trials: 12, seed: 1, baselines: [], sampler: {name: random}")
    members = front(directory.records(), document.study.objectives)
    assert len(members) > MOST
    plan = plan_confirmation(directory, document, 1)
    numbers = {member.number for member in plan.members}
    assert len(numbers) <= MOST and plan.front == len(members)
    assert json.loads(directory.pareto.read_text())["best"] in numbers
    assert max(members, key=lambda m: m.metrics["validation_accuracy"]).number in numbers
    assert min(members, key=lambda m: m.metrics["bitops"]).number in numbers
    others = [record.number for record in directory.records() if record.number not in numbers][:2]
    assert [m.number for m in plan_confirmation(directory, document, 1, [*others[::-1], others[0]]).members] == others


def test_a_training_that_fails_is_kept_and_not_tried_again(tmp_path: Path) -> None:
    document, directory = made(tmp_path)

    def run(experiment: Experiment, session: Session, evaluated: str) -> TrialResult:
        if "-random-" in session.directory.name:
            raise ZeroDivisionError("oops")
        return run_trial(experiment, session, evaluated)

    confirm_run(document, directory, Watcher(), 1, run_trial=run)
    assert {r.reason for r in confirmed(directory).values() if r.state == "failed"} == {"ZeroDivisionError: oops"}
    seen = Seen()
    confirm_run(document, directory, Watcher(), 1, run_trial=seen)
    assert len(seen.calls) == 0


def test_what_every_training_would_raise_ends_it_and_keeps_nothing(tmp_path: Path) -> None:
    document, directory = made(tmp_path)

    def run(experiment: Experiment, session: Session, evaluated: str) -> TrialResult:
        raise DataError("gone")

    with pytest.raises(DataError, match="gone"):
        confirm_run(document, directory, Watcher(), 1, run_trial=run)
    assert confirmed(directory) == {}


def test_refusals_write_nothing(tmp_path: Path) -> None:
    study = "n_trials: 2, constraints: [{metric: model_size, max: 1}], baselines: []"
    document, directory = made(tmp_path / "none", study)
    before = listing(tmp_path)
    with pytest.raises(RunDirectoryError, match="no front to confirm: no complete trial that keeps the constraints"):
        confirm_run(document, directory, Watcher(), 1, run_trial=run_trial)
    with pytest.raises(ConfigurationError, match="--trial must name a complete trial, but got 7; complete: 0, 1"):
        confirm_run(document, directory, Watcher(), 1, [7], run_trial=run_trial)
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        confirm_run(document, RunDirectory(tmp_path / "else"), Watcher(), 1, run_trial=run_trial)
    assert listing(tmp_path) == before


def test_a_run_that_has_a_driver_is_left_alone(tmp_path: Path) -> None:
    document, directory = made(tmp_path)
    with hold(directory.path), pytest.raises(RunDirectoryError, match="is in use"):
        confirm_run(document, directory, Watcher(), 1, run_trial=run_trial)


def test_an_allocation_that_is_gone_is_said(tmp_path: Path) -> None:
    document, directory = made(tmp_path)
    (member, *_) = plan_confirmation(directory, document, 1).members
    (directory.trial(member.number) / "allocation.json").unlink()
    with pytest.raises(RunDirectoryError, match=f"trial {member.number} has no .*copied whole"):
        confirm_run(document, directory, Watcher(), 1, run_trial=run_trial)


def test_seeds_are_distinct_and_stay_as_more_are_asked_for() -> None:
    assert confirm_seeds(0, 50)[:7] == confirm_seeds(0, 7) != confirm_seeds(1, 7)
    assert len(set(confirm_seeds(0, 50))) == 50
    assert all(2**31 <= seed < 2**32 for seed in confirm_seeds(3, 50))


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The command line in this process, its trainings replaced and the page left out."""
    monkeypatch.setattr("precsearch.trial.run_trial", run_trial)
    monkeypatch.setattr("precsearch.report.redraw.closing_report", lambda run, tell: None)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main([str(each) for each in arguments])
        return int(exit_.value.code or 0), *capsys.readouterr()

    return run


def test_the_command_line(call: Any, tmp_path: Path) -> None:
    _, directory = made(tmp_path)
    before = listing(tmp_path)
    status, out, _ = call("confirm", tmp_path, "--seeds", 6, "--dry-run", "--json")
    plan = json.loads(out)
    assert status == 0 and plan["left"] == plan["trainings"] == 6 * (3 * len(plan["trials"]) + 1)
    assert plan["seconds"] == pytest.approx(0.5 * plan["trainings"])
    status, out, _ = call("confirm", tmp_path, "--seeds", 6, "--dry-run")
    assert status == 0 and f"= {plan['trainings']} trainings" in out and listing(tmp_path) == before
    status, out, err = call("confirm", tmp_path, "--seeds", 6, "--json")
    told = json.loads(out)
    assert status == told["exit_status"] == 0 and told["left"] == 0
    assert f"{plan['trainings']} of {plan['trainings']} trainings done" in err and "Confirmed on fresh seeds" in err
    assert len(told["confirmed"]) == 6 * 4 * len(plan["trials"])
    equal = [claim for claim in told["claims"] if claim["against"] == "uniform" and claim["trial"] is not None]
    assert [claim["difference"]["mean"] for claim in equal] == pytest.approx([0] * len(plan["trials"]))
    status, out, _ = call("list", tmp_path)
    assert status == 0 and "Confirmed on fresh seeds" in out
    assert len(json.loads(call("list", tmp_path, "--json")[1])["confirmed"]) == len(told["confirmed"])
    assert json.loads(directory.pareto.read_text())  # nothing else of the run has changed
    after = listing(tmp_path)
    assert {name: after[name] for name in before if name not in {".driver.lock", "."}} == {
        name: before[name] for name in before if name not in {".driver.lock", "."}
    }
    assert call("confirm", tmp_path)[0] == call("confirm", tmp_path, "--seeds", 0)[0] == 2


def test_failures_are_told_by_the_exit_status(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, directory = made(tmp_path)

    def some(experiment: Experiment, session: Session, evaluated: str) -> TrialResult:
        if "-random-" in session.directory.name:
            raise ZeroDivisionError("oops")
        return run_trial(experiment, session, evaluated)

    monkeypatch.setattr("precsearch.trial.run_trial", some)
    status, out, _ = call("confirm", tmp_path, "--seeds", 1)
    assert status == 3 and "ZeroDivisionError: oops" in out
    shutil.rmtree(directory.path / "confirm")

    def every(experiment: Experiment, session: Session, evaluated: str) -> TrialResult:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("precsearch.trial.run_trial", every)
    assert call("confirm", tmp_path, "--seeds", 1)[0] == 1


def test_ctrl_c_says_how_to_go_on(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, directory = made(tmp_path)
    number = directory.records()[0].number

    def interrupted(experiment: Experiment, session: Session, evaluated: str) -> TrialResult:
        raise KeyboardInterrupt

    monkeypatch.setattr("precsearch.trial.run_trial", interrupted)
    status, _, err = call("confirm", tmp_path, "--seeds", 2, "--trial", number)
    assert status == 130 and f"continue with `precsearch confirm {tmp_path} --seeds 2 --trial {number}`" in err


def test_the_live_view_says_what_is_trained(tmp_path: Path) -> None:
    document, directory = made(tmp_path)
    shown: list[str] = []
    to = console(stderr=True)
    view = ConfirmLive(document, directory, to)

    def run(experiment: Experiment, session: Session, evaluated: str) -> TrialResult:
        with to.capture() as capture:
            to.print(view.picture())
        shown.append(capture.get())
        return finish(experiment, session, test_accuracy=0.5)

    with view:
        plan = confirm_run(document, directory, view, 1, run_trial=run)
    assert "found, seed 0" in shown[0] and f"0 of {len(plan.trainings)} trainings done" in shown[0]
    assert view.headline() == f"{len(plan.trainings)} of {len(plan.trainings)} trainings done"
    assert not view.idle and view.running == {}
    lines = ConfirmLines(document, directory, to)
    confirm_run(document, directory, lines, 1, run_trial=run)
    assert lines.idle


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of two trials on the digits, whose network tells of its steps; confirmed once, undisturbed."""
    home = make_home(tmp_path_factory.mktemp("digits"))
    status, _, err = Driver(home, *COMMAND, "--trials", "2", "--output", "run").end()
    assert status == 0, err
    shutil.copytree(home / "run", home / "fresh")
    status, _, err = Driver(home, "confirm", "run", "--seeds", "2", "--trial", "0", "--json").end()
    assert status == 0, err
    return home


def trained(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = dict(confirmed(RunDirectory(run)))
    for pattern in ("confirm/*/allocation.json", "confirm/*/weights.safetensors", "confirm/*/steps.jsonl"):
        found |= {str(path.relative_to(run)): path.read_bytes() for path in run.glob(pattern)}
    return found


@pytest.mark.slow
def test_on_digits(digits: Path) -> None:
    run = RunDirectory(digits / "run")
    folders = {folder.name: (folder, record) for folder, record in run.confirmations()}
    assert len(folders) == 8
    for folder, record in folders.values():
        evaluation = read_evaluation(folder)
        assert record.state == "complete" and evaluation is not None and evaluation.split == "test"
        assert evaluation.metrics().items() <= record.metrics.items()
    bits = {
        name: [layer.targets for layer in Allocation.from_json(folder / "allocation.json").layers]
        for name, (folder, _) in folders.items()
    }
    searched = Allocation.from_json(run.trial(0) / "allocation.json")
    for index in range(2):
        assert [
            {target: precision.bits for target, precision in targets.items()}
            for targets in bits[f"0000-found-{index:02d}"]
        ] == [{target: p.bits for target, p in layer.targets.items()} for layer in searched.layers]
    limit = load_experiment(run.experiment).inner.budget.kind, run.records()[0].limit
    for arm in ("uniform", "random"):
        for index in range(2):
            allocation = Allocation.from_json(run.confirm(0, arm, index) / "allocation.json")
            assert allocation.budget is not None
            assert (allocation.budget.kind, allocation.budget.limit) == limit
    assert {p.bits for targets in bits["0000-float-00"] for p in targets.values()} == {None}
    first = [(run.confirm(0, arm, 0) / "steps.jsonl").read_text().splitlines()[0] for arm in ARMS]
    assert len({json.loads(line)["metrics"]["train_loss"] for line in first}) == 1  # one start, one order, one warm-up


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_and_interrupted_on_the_command_line(digits: Path, tmp_path: Path) -> None:
    home = make_home(tmp_path)
    shutil.copytree(digits / "fresh", home / "run")
    command = ["confirm", "run", "--seeds", "2", "--trial", "0"]
    for name, epoch in (("0000-found-00", 2), ("0000-random-00", 4)):
        driver = Driver(home, *command)
        driver.until(after(home / "run" / "confirm" / name, epoch))
        assert driver.kill()[0] == -signal.SIGKILL
    driver = Driver(home, *command, "--json")
    driver.until(after(home / "run" / "confirm" / "0000-uniform-01", 2))
    status, out, err = driver.kill(signal.SIGINT)
    assert status == 130 and json.loads(out)["exit_status"] == 130 and "Traceback" not in err
    assert err.splitlines()[-1].endswith("continue with `precsearch confirm run --seeds 2 --trial 0`")
    status, _, err = Driver(home, *command).end()
    assert status == 0 and "trial 0, uniform, seed 1: continued" in err, err
    assert trained(home / "run") == trained(digits / "run")


@pytest.mark.slow
def test_on_ray_it_is_the_same(tmp_path: Path) -> None:
    document, directory = made(tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "ray")
    confirm_run(document, directory, Watcher(), 2, run_trial=run_trial)
    on_ray = with_overrides(document, ["executor.name=ray", "executor.max_concurrent=2"])
    watcher = Watcher()
    plan = confirm_run(on_ray, RunDirectory(tmp_path / "ray"), watcher, 2, run_trial=run_trial)
    away = confirmed(RunDirectory(tmp_path / "ray"))
    assert {record.node for record in away.values()} != {None}
    assert {name: record.model_copy(update={"node": None}) for name, record in away.items()} == confirmed(directory)
    assert len(watcher.finished) == len(plan.trainings) == len({(r.number, r.baseline) for r in watcher.finished})
