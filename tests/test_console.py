from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from made_runs import FAILED, TRIALS, allocation, make_run, record
from rich.console import Console

from precsearch.experiment import Experiment
from precsearch.report import words
from precsearch.report.console import watch
from precsearch.report.lines import PlainLines
from precsearch.report.live import LiveView
from precsearch.report.pace import Pace
from precsearch.report.summary import print_files, print_list, print_summary
from precsearch.report.tables import bars
from precsearch.report.view import read_run
from precsearch.results import Progress, RunDirectory


def printed(width: int, **options: Any) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False, **options)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def progress(phase: str, epoch: int, step: int) -> Progress:
    return Progress(
        phase=phase,  # type: ignore[arg-type]
        epoch=epoch,
        step=step,
        steps=4,
        metrics={"validation_accuracy": 0.5, "average_bits_weight": 3.1, "average_bits_activation": 2.9},
        bits={"fc1": {"weight": 4, "activation": 3}},
    )


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("validation_accuracy", 0.95499, "95.50"),
        ("bitops", 1_234_567, "1.23 M"),
        ("bitops", 999_600, "1.00 M"),
        ("bitops", 123_456, "123 k"),
        ("model_size", 999, "999 B"),
        ("model_size", 2345, "2.35 kB"),
        ("average_bits_weight", 3, "3.00"),
        ("validation_loss", 0.123456, "0.1235"),
        ("bitops", None, "-"),
    ],
)
def test_metric_text(metric: str, value: float | None, text: str) -> None:
    assert words.metric_text(metric, value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.21, "4.2 s"), (59.97, "1 min 00 s"), (185, "3 min 05 s"), (7380, "2 h 03 min")]
)
def test_duration(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "10 s"), (44, "40 s"), (56, "1 min"), (208, "3 min"), (7380, "2 h 03 min")]
)
def test_about(seconds: float, text: str) -> None:
    assert words.about(seconds) == text


def test_params_text() -> None:
    params = {"inner.budget.limit": 3.5, "model.width": 8, "inner.width": 2}
    assert words.params_text(params) == "budget.limit=3.5, model.width=8, width=2"
    assert words.params_text(params, brief=True) == "limit=3.5, model.width=8, width=2"


def test_bits_text() -> None:
    assert words.bits_text(words.bits_of(allocation([(4, 3), (None, 2)]).layers)) == "fc1 4/3  fc2 f/2"
    assert words.bits_text({"fc1": {"weight": 4}, "fc2": {}}) == "fc1 4  fc2 f"


def test_pace() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    assert pace.left(3, 0, 4) is None
    pace.begin()
    now[0] = 20.0  # of loading
    pace.epoch()
    assert pace.left(trainings=1, open_epochs=3, steps=4) is None
    now[0] = 23.0
    pace.epoch()
    assert pace.left(trainings=1, open_epochs=2, steps=4) == 3 * (4 + 2)
    pace.end(2)  # trainings turn out to be half as long
    assert pace.left(trainings=1, open_epochs=0, steps=4) == 3 * 2


def test_pace_of_long_epochs_is_known_after_the_first() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    pace.begin()
    now[0] = 600.0
    pace.epoch()
    assert pace.left(trainings=1, open_epochs=3, steps=4) == 600 * (4 + 3)


def test_pace_of_several_at_a_time() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    pace.begin()
    pace.begin()
    for second in (12, 14, 16):
        now[0] = second
        pace.epoch()
    assert pace.left(trainings=0, open_epochs=5, steps=4) is None
    now[0] = 18
    pace.epoch()  # each does one in four seconds, so that together they do one in two
    assert pace.left(trainings=1, open_epochs=5, steps=4) == 2 * (4 + 5)


@pytest.mark.parametrize("width", [80, 120])
def test_the_summary_fits_and_tells_all(tmp_path: Path, width: int) -> None:
    run = make_run(tmp_path / "r", last=FAILED)
    console = printed(width)
    print_summary(console, read_run(run))
    print_files(console, read_run(run), run.path / "report.html")
    text = text_of(console)
    lines = text.splitlines()
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= width
    for wanted in ("3 complete, 1 failed", "loss is nan at epoch 2", "once)", "fc1 3/4  fc2 4/3",
                   "Best allocation, trial 1", "precsearch list", "report.html", "-o best.json"):  # fmt: skip
        assert wanted in text
    assert "finished already" not in text
    found = next(line for line in lines if line.strip().startswith("* 1"))
    uniform = lines[lines.index(found) + 1]
    assert found.split()[2:] == ["found", "3", "95.50", "1.90", "M", "3.00/3.00", "94.10"]
    assert uniform.split() == ["uniform", "94.50", "1.90", "M", "3.00/3.00", "93.10"]
    assert found.index("95.50") == uniform.index("94.50")


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_fits(tmp_path: Path, width: int) -> None:
    console = printed(width)
    print_list(console, read_run(make_run(tmp_path / "r")))
    assert max(map(len, text_of(console).splitlines())) <= width
    assert " limit=2.5" in text_of(console)


def test_an_empty_run_can_be_printed(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.experiment.write_text("version: 1\nname: empty\n")
    console = printed(80)
    print_list(console, read_run(run))
    print_summary(console, read_run(run), finished_before=True)
    print_files(console, read_run(run), None)
    assert "report.html" not in text_of(console)
    assert text_of(console).startswith("empty: 0 of 20 trials")
    assert "finished already" in text_of(console)


def test_bars_are_as_long_as_the_bits() -> None:
    console = printed(80)
    console.print(bars(allocation([(2, 4), (None, 8)])))
    first, second = text_of(console).splitlines()[-2:]
    assert first.count("█") == 2 + 4 and second.count("█") == 8 and "float" in second


def test_reasons_are_not_markup(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r", last=FAILED.model_copy(update={"reason": "shape [3, 4] [/red]"}))
    console = printed(80)
    print_summary(console, read_run(run))
    assert "shape [3, 4] [/red]" in text_of(console)


def drive(observer: PlainLines | LiveView) -> None:
    found = TRIALS[1][0]
    with observer:
        observer.study_started(4, [TRIALS[0][0]])
        observer.trial_started(1, found.params, True, None)
        for step, (phase, epoch) in enumerate([("warmup", 1), ("search", 1), ("search", 2), ("finetune", 1)], 1):
            observer.trial_progressed(1, progress(phase, epoch, step), None)
        observer.trial_finished(found, [TRIALS[0][0], found])
        observer.trial_started(3, {}, False, None)
        observer.trial_finished(FAILED, [TRIALS[0][0], found])
        observer.trial_started(1, {}, False, "uniform")
        observer.trial_finished(record(1, 0.9, 1e6, 3.0, "uniform"), [TRIALS[0][0], found])


def test_plain_lines(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r")
    console = printed(80)
    observer = watch(Experiment(name="made"), run, console)
    assert isinstance(observer, PlainLines)
    drive(observer)
    lines = text_of(console).splitlines()
    assert lines[0].startswith("made: 4 trials, 1 of them finished before")
    assert lines[1] == "trial 1: continued with budget.limit=3"
    assert [line.split(":")[1].split(",")[0].strip() for line in lines[2:5]] == [
        "warmup",
        "search",
        "finetune",
    ]
    assert "validation 50.00 %, average bits 3.10/2.90" in lines[2]
    assert "validation % 95.50" in lines[5] and lines[5].endswith("bits fc1 3/4  fc2 4/3  fc3 2/2")
    assert lines[6] == "front: trials 0, 1"
    assert lines[8] == "trial 3: failed: loss is nan at epoch 2"
    assert lines[9] == "uniform beside trial 1: started"
    assert len(lines) == 11 and not observer.idle


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_view(tmp_path: Path, width: int) -> None:
    run = make_run(tmp_path / "r")
    terminal = printed(width, force_terminal=True)
    observer = watch(Experiment(name="made"), run, terminal)
    assert isinstance(observer, LiveView)
    drive(observer)
    assert "Front so far" in text_of(terminal)
    observer.trial_started(2, {}, False, None)
    observer.trial_progressed(2, progress("search", 1, 2), None)
    console = printed(width)
    console.print(observer.picture())
    text = text_of(console)
    for wanted in ("3 of 4 trials done, 1 failed, about", "trial 2: search, epoch 1 (step 2 of 4)", "fc1 4/3",
                   "fc1 3/4  fc2 4/3", "95.50"):  # fmt: skip
        assert wanted in text
    assert max(map(len, text.splitlines())) <= width
