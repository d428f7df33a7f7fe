"""`precsearch show`, and what `list` says of disturbed networks."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_evaluations import CALIBRATION, evaluation
from made_runs import FAILED, TRIALS, listing, make_run, record

from precsearch.allocation import Allocation
from precsearch.cli import main
from precsearch.measured import Evaluation
from precsearch.report.disturbed import attack_tables
from precsearch.report.shown import float_costs
from precsearch.report.sparklines import grouped, sparkline
from precsearch.results import Progress, RunDirectory

STEPS = (
    Progress(phase="warmup", epoch=1, step=1, steps=3, metrics={"train_loss": 2.0, "validation_accuracy": 0.5}),
    Progress(
        phase="search", epoch=1, step=2, steps=3, metrics={"train_loss": 1.0, "entropy": 1.1},
        bits={"fc1": {"weight": 2, "activation": 3}},
    ),
)  # fmt: skip


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COLUMNS", "80")

    def _call(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "\x1b" not in out  # plain where it is no terminal
        return int(ended.value.code or 0), out, err

    return _call


@pytest.fixture
def made(tmp_path: Path) -> RunDirectory:
    run = make_run(tmp_path / "made", FAILED)
    evaluation().write(run.trial(1))
    evaluation(0.1, passed=True).write(run.baseline(1, "uniform"))
    (run.trial(1) / "steps.jsonl").write_text("".join(f"{step.model_dump_json()}\n" for step in STEPS))
    return run


def row(out: str, name: str, after: str = "") -> list[str]:
    """The cells of the one line that begins with `name`, of those from `after` on."""
    out = out[out.index(after) :]
    (found,) = [line for line in out.splitlines() if line.strip().startswith(name)]
    return found.strip().removeprefix(name).split()


def test_the_best_trial_and_all_there_is_of_it(call: Any, made: RunDirectory) -> None:
    before = listing(made.path)
    status, out, err = call("show", made.path)
    assert (status, err) == (0, "") and listing(made.path) == before
    assert out.startswith("made, trial 1: complete, best, on the front\n")
    assert row(out, "measured") == ["found", "uniform", "random", "float32"]
    assert row(out, "validation accuracy, %", "\nmeasured") == ["95.50", "94.50", "90.50", "-"]
    assert row(out, "test accuracy (read once), %") == ["94.10", "93.10", "91.10", "-"]
    assert row(out, "BitOPs") == ["1.90", "M", "1.90", "M", "1.90", "M", "6.14", "M"]
    assert row(out, "train loss, nats") == ["2", "█▁", "1"] and row(out, "phase") == ["ws"]
    assert row(out, "entropy, nats") == ["1.1", "▄", "1.1"]
    assert row(out, "fc2") == ["2,000", "████····", "4", "███·····", "3"]
    assert row(out, "pgd, 20 steps  found", "L2 attack") == ["95.00", "70.00", "40.00"]
    assert row(out, "fgsm           uniform") == ["95.00", "72.00", "53.00", "15.00"]
    assert row(out, "corrupted, accuracy in %") == ["75.00", "65.00"]
    assert row(out, "weight bits flipped at 0.001, in %") == ["80.00", "70.00"]
    assert row(out, "median perturbation, L-inf") == ["0.0813", "0.0813"]
    assert row(out, "calibration error (ECE), %") == ["3.21", "3.21"]
    assert "masking check failed: noise: noise of norm 0.2 leaves 31 %, pgd 52 %" in out and "transfer" not in out


def test_a_baseline_has_the_trial_beside_it(call: Any, made: RunDirectory) -> None:
    _, out, _ = call("show", made.path, "--baseline", "uniform")
    assert out.startswith("made, uniform beside trial 1: complete\n")
    assert row(out, "measured") == ["uniform", "found", "random", "float32"]
    assert "no sign that the attacks fail for want of a gradient (transfer)" in out


def test_a_trial_that_failed(call: Any, made: RunDirectory) -> None:
    (made.trial(3) / "error.txt").write_text("Traceback")
    status, out, _ = call("show", made.path, "--trial", "3")
    assert status == 0 and out.startswith("made, trial 3: failed\n")
    assert row(out, "reason")[-2:] == ["epoch", "2"] and row(out, "traceback") == ["error.txt"]
    assert "measured" not in out


@pytest.mark.parametrize("torn", ["", '{"phase": "sea'])
def test_a_trial_that_runs(call: Any, made: RunDirectory, torn: str) -> None:
    made.trial(4).mkdir()
    (made.trial(4) / "steps.jsonl").write_text("".join(f"{step.model_dump_json()}\n" for step in STEPS) + torn)
    status, out, _ = call("show", made.path, "--trial", "4")
    assert status == 0 and out.startswith("made, trial 4: not ended\n")
    assert "search, epoch 1 (step 2 of 3)" in out and "bits when last seen: fc1 2/3" in out
    assert row(out, "after its last epoch") == ["found"]
    assert row(out, "train loss, nats", "after its") == ["1"]
    told = json.loads(call("show", made.path, "--trial", "4", "--json")[1])
    assert told["record"] is None and told["state"] == "not ended" and len(told["steps"]) == 2


def test_one_that_has_just_begun(call: Any, made: RunDirectory) -> None:
    made.trial(4).mkdir()
    assert call("show", made.path, "--trial", "4")[0] == 0


def test_json_is_what_the_files_say(call: Any, made: RunDirectory) -> None:
    told = json.loads(call("show", made.path, "--json")[1])
    assert told.keys() == {
        "run", "name", "trial", "baseline", "state", "best", "on_front", "record", "metrics", "float32", "allocation",
        "evaluation", "steps", "beside",
    }  # fmt: skip
    assert Evaluation.model_validate_json(json.dumps(told["evaluation"])) == evaluation()
    assert Allocation.from_json(json.dumps(told["allocation"])) == TRIALS[1][1]
    assert [Progress.model_validate(step) for step in told["steps"]] == list(STEPS)
    assert told["record"] == json.loads((made.trial(1) / "result.json").read_text())
    assert told["beside"].keys() == {"uniform", "random"} and told["beside"]["random"]["evaluation"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trial", "9"], "got --trial 9; there are 0 to 1, 3"),
        (["--trial", "3", "--baseline", "uniform"], "it has none"),
        (["--baseline", "nope"], "got --baseline nope; it has uniform, random"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    call: Any, made: RunDirectory, arguments: list[str], words: str
) -> None:
    shutil.rmtree(made.trial(2))
    status, out, err = call("show", made.path, *arguments)
    assert (status, out) == (2, "") and words in err and len(err.splitlines()) == 1


def test_no_best_trial(call: Any, made: RunDirectory) -> None:
    for number in range(3):
        shutil.rmtree(made.trial(number))
    status, _, err = call("show", made.path)
    assert status == 2 and "none is the best; name one with --trial: there are 3" in err
    shutil.rmtree(made.trial(3))
    assert "there are none yet" in call("show", made.path)[2]


def test_a_directory_that_is_no_run(call: Any, tmp_path: Path) -> None:
    status, _, err = call("show", tmp_path)
    assert status == 1 and "is not a run directory" in err


def test_everything_fits_80_columns(call: Any, made: RunDirectory) -> None:
    epsilons = [i / 20 for i in range(12)]
    long = evaluation().model_dump(mode="json")
    long["attacks"] = [
        {"attack": "pgd", "norm": "linf", "epsilons": epsilons, "accuracies": [0.5] * 12, "steps": 100, "restarts": 10}
    ]
    document = TRIALS[1][1].model_dump(mode="json")
    document["layers"][0]["name"] = "backbone." * 9 + "conv"
    for folder in (made.trial(1), made.baseline(1, "uniform"), made.baseline(1, "random")):
        Evaluation.model_validate(long).write(folder)
        (folder / "allocation.json").write_text(json.dumps(document))
        steps = [STEPS[1].model_copy(update={"step": step, "steps": 300}) for step in range(1, 301)]
        (folder / "steps.jsonl").write_text("".join(f"{step.model_dump_json()}\n" for step in steps))
    for command in ("show", "list"):
        assert max(len(line) for line in call(command, made.path)[1].splitlines()) <= 80


def test_list_has_a_line_for_each_that_was_disturbed(call: Any, made: RunDirectory) -> None:
    _, out, _ = call("list", made.path)
    after = out[out.index("The front, disturbed") :]
    assert row(after, "1  found") == ["48.00", "pgd", "75.00", "86.50", "3.21"]
    assert row(after, "uniform") == ["38.00", "pgd", "65.00", "76.50", "3.21"]
    assert "random" not in after  # it was not evaluated
    for folder in (made.trial(1), made.baseline(1, "uniform")):
        (folder / "evaluation.json").unlink()
    assert "disturbed" not in call("list", made.path)[1]


def test_calibration_alone_is_not_called_disturbed(call: Any, made: RunDirectory) -> None:
    for folder in (made.trial(1), made.baseline(1, "uniform")):
        Evaluation(split="validation", images=80, seed=0, calibration=CALIBRATION).write(folder)
    assert "isturbed" not in call("list", made.path)[1]
    _, out, _ = call("show", made.path)
    assert "Calibration, on the validation split" in out and "isturbed" not in out
    assert row(out, "Brier score") == ["0.0654", "0.0654"]


def test_list_leaves_out_what_nobody_measured(call: Any, made: RunDirectory) -> None:
    evaluation().model_copy(update={"attacks": (), "bit_flips": ()}).write(made.trial(1))
    (made.baseline(1, "uniform") / "evaluation.json").unlink()
    _, out, _ = call("list", made.path)
    assert row(out, "trial", "The front, disturbed") == ["allocation", "corrupted", "%", "ECE", "%"]
    assert row(out, "1  found", "The front, disturbed") == ["75.00", "3.21"]


def test_a_float_training_beside_it_says_what_float_costs(call: Any, made: RunDirectory) -> None:
    beside = record(1, 0.97, 6_144_000, 32.0, "float")
    made.write_record(made.baseline(1, "float"), beside)
    _, out, _ = call("show", made.path)
    assert row(out, "measured") == ["found", "uniform", "random", "float"]
    assert row(out, "BitOPs")[-2:] == ["6.14", "M"]


def test_a_damaged_evaluation_is_one_message(call: Any, made: RunDirectory) -> None:
    (made.trial(1) / "evaluation.json").write_text('{"format"')
    for command in ("show", "list"):
        status, _, err = call(command, made.path)
        assert status == 1 and "evaluation.json" in err and "delete the file to do without it" in err


def test_attack_tables_have_a_row_for_each_attack_and_arm() -> None:
    tables = list(attack_tables({"found": evaluation(), "uniform": evaluation(0.1)}))
    assert [made.row_count for made in tables] == [4, 2]
    assert [str(column.header) for column in tables[1].columns] == ["L2 attack", "allocation", "0", "0.5", "1"]
    assert list(tables[0].columns[5].cells) == ["25.00", "15.00", "12.00", "2.00"]


# --- figures


def test_costs_in_float32_by_hand() -> None:
    _, found = TRIALS[2]  # fc1 4/4, fc2 float/4, fc3 8/2; 1,000, 2,000 and 3,000 weights, as many MACs
    costs = float_costs(found)
    assert costs["model_size"] == found.cost.model_size + (4000 - 500) + 0 + (12000 - 3000)
    assert costs["bitops"] == 6000 * 32 * 32
    assert costs["average_bits_weight"] == costs["average_bits_activation"] == 32


VALUES = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=200)


@given(VALUES, st.integers(1, 60))
def test_groups_are_the_values_in_order(values: list[float | None], cells: int) -> None:
    groups = grouped(values, cells)
    assert len(groups) == min(len(values), cells)
    assert [value for group in groups for value in group] == values
    assert not groups or max(map(len, groups)) - min(map(len, groups)) <= 1


@given(VALUES)
def test_a_sparkline_rises_with_its_values(values: list[float | None]) -> None:
    line = sparkline(values, cells=200)
    assert len(line) == len(values)
    pairs = [(value, bar) for value, bar in zip(values, line, strict=True) if value is not None]
    assert [bar for value, bar in zip(values, line, strict=True) if value is None] == [" "] * values.count(None)
    assert [bar for _, bar in sorted(pairs)] == sorted(bar for _, bar in pairs)
    if len({value for value, _ in pairs}) > 1:
        assert min(pairs)[1] == "▁" and max(pairs)[1] == "█"


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=99), st.sampled_from([0.25, 2.0]), st.integers(-9, 9))
def test_a_sparkline_knows_no_unit(values: list[int], factor: float, offset: int) -> None:
    assert sparkline([factor * value + offset for value in values]) == sparkline(values)


def test_what_is_not_finite_is_blank() -> None:
    assert sparkline([math.nan, 1.0, math.inf, 2.0]) == " ▁ █" and sparkline([]) == ""
