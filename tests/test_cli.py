from __future__ import annotations

import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from made_runs import FAILED, TRIALS, listing, make_run, record
from typer.main import get_command

from precsearch.allocation import Allocation, BudgetPlan
from precsearch.cli import app, main
from precsearch.errors import DataError
from precsearch.plans import LayerPlan, TargetPlan, TrialPlan
from precsearch.results import RunDirectory, TrialRecord

COMMANDS = {
    "run": {"--output", "--set", "--trials", "--executor", "--address", "--dry-run", "--json"},
    "inspect": {"--set", "--json"},
    "resume": {"--trials", "--executor", "--address", "--json"},
    "list": {"--json"},
    "show": {"--trial", "--baseline", "--training", "--json"},
    "report": {"-o", "--output", "--json"},
    "confirm": {"--seeds", "--trial", "--executor", "--address", "--dry-run", "--json"},
    "export": {"--trial", "--budget", "--knee", "--training", "--format", "--images", "-o", "--output", "--json"},
    "init": set(),
}


@pytest.fixture
def made(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path / "made")


def fake_module(monkeypatch: pytest.MonkeyPatch, name: str, **names: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, name, module)


def fake_study(monkeypatch: pytest.MonkeyPatch, run_study: Any) -> None:
    fake_module(monkeypatch, "precsearch.study.driver", run_study=run_study)


def finishing(*records: TrialRecord) -> Any:
    def run_study(experiment: Any, directory: RunDirectory, observer: Any) -> Any:
        print("a library's chatter")
        directory.path.mkdir(parents=True, exist_ok=True)
        directory.experiment.write_text(f"version: 1\nname: {experiment.name}\nstudy: {{n_trials: {len(records)}}}\n")
        observer.study_started(len(records), [])
        for each in records:
            observer.trial_started(each.number, each.params, False, each.baseline)
            directory.write_record(directory.trial(each.number), each)
            observer.trial_finished(each, [each] if each.state == "complete" else [])
        return types.SimpleNamespace(elsewhere=0)

    return run_study


def test_the_commands_and_flags_are_these() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    found = {
        name: {
            option for parameter in command.params if parameter.param_type_name == "option" for option in parameter.opts
        }
        for name, command in commands.items()
    }
    assert {name: flags - {"--help", "-h"} for name, flags in found.items()} == COMMANDS


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(call: Any, command: list[str], flag: str) -> None:
    status, out, err = call(*command, flag)
    assert status == 0 and out.startswith("Usage: precsearch") and err == ""


def test_nothing_given_shows_help_and_is_a_usage_error(call: Any) -> None:
    status, out, _ = call()
    assert status == 2 and "Commands:" in out


def test_version(call: Any) -> None:
    assert call("--version")[:2] == (0, "precsearch 0.1.0\n")


@pytest.mark.parametrize(
    "arguments",
    [["nope"], ["run", "--nope"], ["run", "--trials", "0"], ["run", "--executor", "slurm"],
     ["run", "nowhere.yaml"], ["run", "--set", "inner.nope=3"], ["export", "x", "--trial", "1", "--knee"]],
)  # fmt: skip
def test_usage_and_configuration_errors_exit_2(call: Any, arguments: list[str]) -> None:
    status, out, err = call(*arguments)
    assert status == 2 and out == ""
    assert err.startswith("error: ") and "Traceback" not in err
    status, out, _ = call(*arguments, "--json")
    told = json.loads(out)
    assert status == 2 and told.keys() == {"error", "exit_status"} and told["exit_status"] == 2


@pytest.mark.parametrize(
    ("flags", "name", "address"),
    [
        ([], "inprocess", "local"),
        (["--executor", "ray"], "ray", "local"),
        (["--address", "auto"], "ray", "auto"),
        (["--executor", "ray", "--address", "ray://head:10001"], "ray", "ray://head:10001"),
    ],
)
def test_an_address_means_ray(
    call: Any, made: RunDirectory, monkeypatch: pytest.MonkeyPatch, flags: list[str], name: str, address: str
) -> None:
    seen = []
    fake_study(monkeypatch, lambda experiment, run, observer: seen.append(experiment.executor))
    call("resume", made.path, *flags)
    assert [(executor.name, executor.address) for executor in seen] == [(name, address)]


def test_init_writes_a_template_and_never_overwrites(call: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    status, out, err = call("init", path)
    assert status == 0 and out == "" and f"precsearch run {path}" in err
    assert "space:" in path.read_text() and "#" in path.read_text()
    path.write_text("mine")
    assert call("init", path)[0] == 2 and path.read_text() == "mine"


def test_list_shows_every_trial_and_writes_nothing(call: Any, made: RunDirectory) -> None:
    before = listing(made.path)
    status, out, err = call("list", made.path)
    assert status == 0 and err == ""
    for text in ("95.50", "pruned", "median pruner at step 3", "uniform", "random", "fc1 3/4", "94.10"):
        assert text in out
    assert listing(made.path) == before


def test_list_and_export_read_a_moved_copy(call: Any, made: RunDirectory, tmp_path: Path) -> None:
    original = json.loads(call("list", made.path, "--json")[1])
    copied = tmp_path / "elsewhere" / "copied"
    shutil.copytree(made.path, copied)
    shutil.rmtree(made.path)
    found = json.loads(call("list", copied, "--json")[1])
    assert found.pop("run") == str(copied) and original.pop("run") == str(made.path)
    assert found == original
    assert call("export", copied)[0] == 0


def test_list_json(call: Any, made: RunDirectory) -> None:
    told = json.loads(call("list", made.path, "--json")[1])
    assert told["counts"] == {"complete": 3, "pruned": 1, "failed": 0} and told["finished"]
    assert [member["trial"] for member in told["front"]] == [0, 1, 2] and told["best"] == 1
    member = told["front"][1]
    assert member["metrics"]["test_accuracy"] == 0.941
    assert member["baselines"]["uniform"]["metrics"]["test_accuracy"] == 0.931
    assert Allocation.model_validate(member["allocation"]) == TRIALS[1][1]


@pytest.mark.parametrize(
    ("flags", "trial"),
    [([], 1), (["--trial", "2"], 2), (["--budget", "2.9"], 0), (["--budget", "8"], 2), (["--knee"], 1)],
)
def test_export_chooses(call: Any, made: RunDirectory, flags: list[str], trial: int) -> None:
    before = listing(made.path)
    status, out, err = call("export", made.path, *flags)
    assert status == 0 and err == ""
    assert Allocation.from_json(out) == TRIALS[trial][1]
    assert listing(made.path) == before


def test_export_of_an_unfinished_run_takes_its_best(call: Any, made: RunDirectory) -> None:
    made.best.unlink()
    made.pareto.unlink()
    assert Allocation.from_json(call("export", made.path)[1]) == TRIALS[1][1]


def test_export_writes_a_file(call: Any, made: RunDirectory, tmp_path: Path) -> None:
    target = tmp_path / "best.json"
    assert call("export", made.path, "-o", target)[:2] == (0, "")
    assert Allocation.from_json(target) == TRIALS[1][1]
    told = json.loads(call("export", made.path, "-o", target, "--json")[1])
    assert told["output"] == str(target) and told["format"] == "json"


@pytest.mark.parametrize(
    ("flags", "says"),
    [(["--trial", "9"], "complete: 0, 1, 2"), (["--trial", "3"], "pruned"), (["--budget", "1"], "at most 1"),
     (["--format", "nope"], "known: json"), (["--knee", "--budget", "3"], "at most one")],
)  # fmt: skip
def test_export_refuses(call: Any, made: RunDirectory, flags: list[str], says: str) -> None:
    status, out, err = call("export", made.path, *flags)
    assert status == 2 and out == "" and says in err


@pytest.mark.parametrize("file", ["trials/0001/result.json", "trials/0001/allocation.json", "pareto.json"])
def test_a_truncated_file_is_named(call: Any, made: RunDirectory, file: str) -> None:
    path = made.path / file
    path.write_bytes(path.read_bytes()[:40])
    status, out, err = call("list", made.path)
    assert status in {1, 2} and out == "" and str(path) in err and "Traceback" not in err


@pytest.mark.parametrize("command", ["list", "export", "resume"])
def test_not_a_run_directory(call: Any, tmp_path: Path, command: str) -> None:
    status, _, err = call(command, tmp_path)
    assert status == 1 and "not a run directory" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("records", "status"), [([TRIALS[0][0]], 0), ([TRIALS[0][0], FAILED], 3), ([FAILED], 1)])
def test_run_exits_by_how_the_trials_ended(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: list[TrialRecord], status: int
) -> None:
    fake_study(monkeypatch, finishing(*records))
    found, out, err = call("run", "--output", tmp_path / "a")
    assert found == status
    assert "precsearch" in out and f"trial {records[0].number}: started" in err
    found, out, err = call("run", "--output", tmp_path / "b", "--json")
    told = json.loads(out)
    assert found == status == told["exit_status"] and "chatter" in err
    assert told["report"] == str(tmp_path / "b" / "report.html") and Path(told["report"]).is_file()


def test_a_report_that_fails_leaves_the_exit_status(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise DataError("no ink")

    monkeypatch.setattr("precsearch.report.page.write_report", fail)
    fake_study(monkeypatch, finishing(TRIALS[0][0]))
    status, out, err = call("run", "--output", tmp_path / "a")
    assert status == 0 and "warning: the report was not written: no ink" in err and "report.html" not in out
    assert json.loads(call("run", "--output", tmp_path / "b", "--json")[1])["report"] is None


def test_ctrl_c_says_how_to_go_on(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_study(experiment: Any, directory: RunDirectory, observer: Any) -> None:
        if directory.path.is_dir():
            directory.experiment.write_text("version: 1\n")
        raise KeyboardInterrupt

    fake_study(monkeypatch, run_study)
    assert call("run", "--output", tmp_path / "my run") == (130, "", "interrupted: nothing was begun\n")
    (tmp_path / "my run").mkdir()
    status, out, err = call("run", "--output", tmp_path / "my run")
    assert status == 130 and out == ""
    command = f"precsearch resume '{tmp_path}/my run'"
    assert err == f"interrupted: everything done so far is kept; continue with `{command}`\n"
    assert json.loads(call("run", "--json")[1])["exit_status"] == 130


def test_errors_on_purpose_and_bugs(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Exception] = [DataError("digits are gone"), ZeroDivisionError("by 0")]

    def run_study(*_: Any) -> None:
        raise raised[0]

    fake_study(monkeypatch, run_study)
    assert call("run") == (1, "", "error: digits are gone\n")
    raised.pop(0)
    status, _, err = call("run")
    assert status == 1 and "ZeroDivisionError: by 0" in err and "PRECSEARCH_DEBUG=1" in err and err.count("\n") == 1
    monkeypatch.setenv("PRECSEARCH_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["run"])


def test_a_finished_run_says_so(call: Any, made: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_study(monkeypatch, lambda experiment, run, observer: observer.study_started(4, run.records()))
    status, out, _ = call("resume", made.path)
    assert status == 0 and "finished already" in out and "fc1 3/4" in out


def test_resume_takes_more_trials(call: Any, made: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    fake_study(monkeypatch, lambda experiment, run, observer: seen.append(experiment.study.n_trials))
    call("resume", made.path, "--trials", "9")
    assert seen == [9]


def layer(name: str, **targets: TargetPlan) -> LayerPlan:
    return LayerPlan(name=name, type="Linear", shape=(3, 2), channels=3, numel=6, inputs=2, outputs=3, macs=6,
                     targets=targets)  # fmt: skip


def test_dry_run_prints_the_plan_and_writes_nothing(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = TargetPlan(decided="pinned", bits=(8,))
    searched = TargetPlan(decided="searched", bits=(2, 4), group="late")
    plan = TrialPlan(
        model="mlp", parameters=4321, left_float={"norm": "no such layer"}, targets=("weight", "activation"),
        bits=(2, 3), images={"train": 1000, "validation": 200, "test": 300},
        layers=[
            layer("fc1", weight=pinned, activation=pinned),
            layer("fc2", weight=pinned, activation=TargetPlan(decided="float")),
            layer("fc3", weight=searched, activation=TargetPlan(decided="float", reason="bypassed")),
            layer("fc4", weight=searched, activation=TargetPlan(decided="searched", bits=(2, 4))),
            layer("fc5", weight=TargetPlan(decided="fixed", bits=(3,)), activation=pinned),
        ],
        budgets=[
            BudgetPlan(name=None, kind="average_bits", limit=3.0, cheapest={"weight": 2.0}, dearest={"weight": 8.0},
                       loose=False),
            BudgetPlan(name="flash", kind="model_size", limit=123456.0, cheapest={"all": 9e4}, dearest={"all": 1e5},
                       loose=True),
        ],
    )  # fmt: skip
    fake_module(monkeypatch, "precsearch.trial", inspect_trial=lambda experiment: plan)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    status, out, _ = call("run", "--dry-run", "--trials", "7")
    assert status == 0 and list(tmp_path.iterdir()) == []
    shown = "\n".join(line.rstrip() for line in out.splitlines()) + "\n"
    for text in (
        "7 trials",
        "4,321",
        "1,000 train",
        "  pinned to 8\n",
        "weight pinned to 8; activation float: pinned",
        "weight 2, 4; activation float: bypassed, weight shared with group late",
        "2, 4 (weight and activation, weight shared with group late)",
        "weight fixed at 3; activation pinned to 8",
        "no such layer",
        "8.00",
        "Budget flash",
        "123 kB (never reached)",
        "norm",
    ):
        assert text in shown
    told = json.loads(call("run", "--dry-run", "--json")[1])
    assert told["plan"]["parameters"] == 4321 and list(tmp_path.iterdir()) == []


def test_constraints_that_nothing_keeps(call: Any, made: RunDirectory) -> None:
    text = made.experiment.read_text().replace("study:", "study:\n  constraints: [{metric: bitops, max: 10}]")
    made.experiment.write_text(text)
    made.best.unlink()
    assert call("list", made.path)[0] == 0
    status, _, err = call("export", made.path)
    assert status == 2 and "keeps the constraints" in err


def test_a_pinned_record_survives(made: RunDirectory) -> None:
    assert made.records()[0] == record(0, 0.91, 1_200_000, 2.0)
