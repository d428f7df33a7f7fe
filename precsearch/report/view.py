"""What a run directory holds, read for people and machines; nothing here writes or starts work."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from precsearch.allocation import Allocation
from precsearch.errors import RunDirectoryError
from precsearch.experiment.loading import load_experiment
from precsearch.results import RunDirectory, TrialRecord
from precsearch.selection import best, front

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from precsearch.experiment import Experiment


def exit_status(counts: Mapping[str, int]) -> int:
    """0 where all that was trained completed, 1 where nothing did, 3 where some failed.

    Args:
        counts: how many ended as ``complete``, and as ``failed``.
    """
    if not counts["complete"]:
        return 1
    return 3 if counts["failed"] else 0


@dataclass(frozen=True)
class Member:
    """One trained allocation: a member of the front, or a baseline beside it.

    Attributes:
        record: how its trial was configured and ended.
        metrics: the record's, and what was measured on the test split once the study was done.
        allocation: None where its file was not copied along.
        baselines: uniform and random allocations at the same budget; empty for a baseline.
    """

    record: TrialRecord
    metrics: dict[str, float]
    allocation: Allocation | None
    baselines: tuple[Member, ...] = ()


@dataclass(frozen=True)
class RunView:
    """Everything that `list` and the closing summary show of one run directory."""

    run: RunDirectory
    experiment: Experiment
    trials: tuple[TrialRecord, ...]
    baselines: tuple[TrialRecord, ...]
    front: tuple[Member, ...]
    best: Member | None
    confirmed: tuple[TrialRecord, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """State -> number of trials of the study."""
        found = Counter(record.state for record in self.trials)
        return {state: found[state] for state in ("complete", "pruned", "failed")}

    @property
    def finished(self) -> bool:
        """Whether every trial that was asked for has ended."""
        return len(self.trials) >= self.experiment.study.n_trials

    @property
    def exit_status(self) -> int:
        """0 done, 1 no trial completed, 3 done but trials failed; baselines are told, but do not count."""
        return exit_status(self.counts)

    def to_dict(self) -> dict[str, Any]:
        """The view as one JSON object; `precsearch list --json` prints it.

        Keys: ``run``, ``name``, ``objectives``, ``n_trials``, ``finished`` (every trial asked for has ended),
        ``counts`` (by state), ``seconds``, ``best`` (trial number or null), ``front`` (a list of ``trial``,
        ``params``, ``limit``, ``metrics``, ``allocation`` and ``baselines`` by kind), ``trials`` and
        ``baselines`` (every `TrialRecord`), and ``confirmed`` (every `TrialRecord` of a training on a fresh seed,
        its arm in ``baseline``).
        """
        return {
            "run": str(self.run.path),
            "name": self.experiment.name,
            "objectives": [each.model_dump() for each in self.experiment.study.objectives],
            "n_trials": self.experiment.study.n_trials,
            "finished": self.finished,
            "counts": self.counts,
            "seconds": sum(record.seconds for record in self.trials + self.baselines),
            "best": self.best.record.number if self.best else None,
            "front": [_member_dict(member) for member in self.front],
            "trials": [record.model_dump(mode="json") for record in self.trials],
            "baselines": [record.model_dump(mode="json") for record in self.baselines],
            "confirmed": [record.model_dump(mode="json") for record in self.confirmed],
        }


def _member_dict(member: Member) -> dict[str, Any]:
    return {
        "trial": member.record.number,
        "params": member.record.params,
        "limit": member.record.limit,
        **_measured(member),
        "baselines": {str(each.record.baseline): _measured(each) for each in member.baselines},
    }


def _measured(member: Member) -> dict[str, Any]:
    allocation = member.allocation.model_dump(mode="json") if member.allocation else None
    return {"metrics": member.metrics, "allocation": allocation}


def read_run(run: RunDirectory) -> RunView:
    """Read a run directory, finished or not, moved or not.

    Raises:
        RunDirectoryError: when it is none, or one of its files cannot be read.
        AllocationError: when an allocation of the front is damaged.
    """
    run.require()
    experiment = load_experiment(run.experiment)
    trials, baselines = run.records(), run.baselines()
    tested = _tested(run)
    rules = experiment.study.objectives, experiment.study.constraints
    # beside each member in the order that the experiment names them
    kinds = experiment.study.baselines
    baselines.sort(key=lambda record: (record.number, [*kinds, record.baseline].index(record.baseline)))
    members = tuple(_member(run, record, baselines, tested) for record in front(trials, *rules))
    chosen = best(trials, *rules)
    return RunView(
        run=run,
        experiment=experiment,
        trials=tuple(trials),
        baselines=tuple(baselines),
        front=members,
        best=_member(run, chosen, baselines, tested) if chosen else None,
        confirmed=tuple(record for _, record in run.confirmations()),
    )


def read_allocation(directory: Path) -> Allocation | None:
    """The allocation of a trial's directory; None where there is no file."""
    path = directory / "allocation.json"
    return Allocation.from_json(path) if path.is_file() else None


# (trial number, baseline kind or None) -> metrics; the test split is read once, when the study is done
_Tested = dict[tuple[int, str | None], dict[str, float]]


def _member(run: RunDirectory, record: TrialRecord, baselines: list[TrialRecord], tested: _Tested) -> Member:
    beside = tuple(
        Member(each, _all_metrics(each, tested), read_allocation(run.baseline(each.number, str(each.baseline))))
        for each in baselines
        if each.number == record.number and each.state == "complete"
    )
    return Member(record, _all_metrics(record, tested), read_allocation(run.trial(record.number)), beside)


def _all_metrics(record: TrialRecord, tested: _Tested) -> dict[str, float]:
    return record.metrics | tested.get((record.number, record.baseline), {})


def _tested(run: RunDirectory) -> _Tested:
    """Metrics by `pareto.json`; none where the study has not come to its end."""
    try:
        document = json.loads(run.pareto.read_text(encoding="utf-8"))
        found: _Tested = {}
        for member in document["front"]:
            found[member["trial"], None] = dict(member["metrics"])
            for kind, baseline in member["baselines"].items():
                found[member["trial"], kind] = dict(baseline["metrics"])
        return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunDirectoryError(
            f"cannot read {run.pareto}: {error!s}; was the file cut short? "
            f"`precsearch resume {run.path}` writes it again"
        ) from None
