"""Which trial of a run is exported: its allocation, and where the trained network is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from precsearch.allocation import Allocation
from precsearch.errors import ConfigurationError, RunDirectoryError
from precsearch.experiment.loading import for_searches
from precsearch.precision.front import BudgetFront
from precsearch.results import RunDirectory, TrialRecord, read_record, read_training
from precsearch.selection import best, front, knee, within_budget

if TYPE_CHECKING:
    from precsearch.experiment import StudySettings


@dataclass(frozen=True)
class Choice:
    """What is exported.

    Attributes:
        run: that it is from.
        allocation: bits of every layer.
        folder: of the training that found it; None for what a search over a range answers: nothing was trained so.
        record: of that training; None where its folder was not copied.
    """

    run: RunDirectory
    allocation: Allocation
    folder: Path | None = None
    record: TrialRecord | None = None


def choose(
    run: RunDirectory,
    trial: int | None = None,
    budget: float | None = None,
    at_knee: bool = False,
    training: str | None = None,
) -> Choice:
    """What was asked for: by number, by budget, at the knee of the front, or the best one.

    Args:
        run: a run directory, finished or not.
        trial: number of a trial.
        budget: in the budget kind's unit: what a trial whose budget has a range answers there, `trial` or else the
            best one; in a run without a range, the allocation of the best trial whose limit is at most this.
        at_knee: the knee of the front.
        training: of a `compare` or a `grid`, by its name; nothing else goes with it.

    Raises:
        BudgetError: when the budget is outside of the range.
        ConfigurationError: when they do not go together, or none of the trials matches.
        RunDirectoryError: when the chosen trial has no allocation.
    """
    if at_knee and (trial is not None or budget is not None):
        raise ConfigurationError("at most one of --knee and --trial or --budget may be given; drop the other")
    if training is not None:
        if at_knee or trial is not None or budget is not None:
            raise ConfigurationError("--training goes with no other choice; drop --trial, --budget and --knee")
        return _trained(run, run.find_training(training))
    experiment = for_searches(run, "export", "name a training with --training")
    if trial is None and budget is None and not at_knee and run.best.is_file():
        return _best(run, Allocation.from_json(run.best))
    records = run.records()
    study = experiment.study
    if trial is not None:
        record = _numbered(records, trial)
        return _trial(run, record) if budget is None else Choice(run, _answer(record, run, budget))
    if budget is not None and experiment.inner.budget.range is not None:
        return Choice(run, _answer(_selected(records, study, None, at_knee=False), run, budget))
    return _trial(run, _selected(records, study, budget, at_knee))


def _numbered(records: list[TrialRecord], trial: int) -> TrialRecord:
    found = next((record for record in records if record.number == trial), None)
    complete = ", ".join(str(record.number) for record in records if record.state == "complete") or "none"
    if found is None:
        raise ConfigurationError(f"a finished trial must be named, but there is no trial {trial}; complete: {complete}")
    if found.state != "complete":
        raise ConfigurationError(
            f"a complete trial must be named, but trial {trial} is {found.state} ({found.reason}); complete: {complete}"
        )
    return found


def _selected(records: list[TrialRecord], study: StudySettings, budget: float | None, at_knee: bool) -> TrialRecord:
    rules = study.objectives, study.constraints
    if budget is not None:
        found, what = within_budget(records, budget, *rules), f" whose budget limit is at most {budget:g}"
    elif at_knee:
        members = front(records, *rules)
        found, what = knee(members, study.objectives) if members else None, ""
    else:
        found, what = best(records, *rules), ""
    if found is None:
        kept = " that keeps the constraints" if study.constraints else ""
        raise ConfigurationError(
            f"there is no complete trial{kept}{what}; `precsearch list` shows the trials there are"
        )
    return found


def _answer(record: TrialRecord, run: RunDirectory, budget: float) -> Allocation:
    path = run.trial(record.number) / "front.json"
    if not path.is_file():
        raise ConfigurationError(
            f"a trial whose budget has a range answers any budget, but trial {record.number} has no {path}: it was "
            "searched under one limit (or its file was not copied); search with `inner.budget.range`, or leave "
            "--trial out for the best trial whose limit is at most the budget"
        )
    return BudgetFront.read(path).at(budget)


def _best(run: RunDirectory, allocation: Allocation) -> Choice:
    """`best.json`, which is read wherever it was copied alone, with its trial where that was copied too."""
    name = str(allocation.provenance.get("trial"))
    if not name.isdecimal():
        return Choice(run, allocation)
    folder = run.trial(int(name))
    return Choice(run, allocation, folder, read_record(folder))


def _trial(run: RunDirectory, record: TrialRecord) -> Choice:
    folder = run.trial(record.number)
    path = folder / "allocation.json"
    if not path.is_file():
        raise RunDirectoryError(f"trial {record.number} has no {path}; was the run directory copied whole?")
    return Choice(run, Allocation.from_json(path), folder, record)


def _trained(run: RunDirectory, folder: Path) -> Choice:
    path = folder / "allocation.json"
    if not path.is_file():
        raise RunDirectoryError(f"training {folder.name} has no {path}; it has not completed, or was not copied whole")
    return Choice(run, Allocation.from_json(path), folder, read_training(folder))
