"""From how a job ended to what its directory keeps: `result.json`, and `error.txt` where it failed."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Sequence

from precsearch.errors import ConfigurationError
from precsearch.experiment import StudySettings
from precsearch.files import write_text
from precsearch.results import RunDirectory, TrialRecord, TrialState
from precsearch.study.executors.base import Job, Outcome


def judged_metrics(study: StudySettings) -> list[str]:
    """The metrics that objectives and constraints look at."""
    named = [objective.metric for objective in study.objectives]
    return named + [c.metric for c in study.constraints if c.metric not in named]


def keep_outcome(
    directory: RunDirectory,
    job: Job,
    outcome: Outcome,
    judged: Sequence[str],
    make: Callable[..., TrialRecord] = TrialRecord,
) -> TrialRecord:
    """Write down how `job` ended; `result.json` last, since a trial that has one is never trained again.

    Args:
        directory: of the run.
        job: what was trained.
        outcome: how it ended.
        judged: metrics that have to be there and finite for the trial to count.
        make: the record, of what every record says.

    Raises:
        ConfigurationError: when a judged metric is none that a trial measures.
    """
    state, reason, metrics = judge(outcome, judged)
    if state == "failed":
        trace = "".join(traceback.format_exception(outcome.error)) if outcome.error else f"{reason}\n"
        write_text(job.directory / "error.txt", trace)
    record = make(
        number=job.number,
        state=state,
        baseline=job.baseline,
        params=job.params,
        seed=job.seed,
        metrics=metrics,
        reason=reason,
        seconds=round(outcome.seconds, 3),
        node=outcome.node,
        limit=job.experiment.inner.budget.limit,
    )
    directory.write_record(job.directory, record)
    return record


def judge(outcome: Outcome, judged: Sequence[str]) -> tuple[TrialState, str | None, dict[str, float]]:
    """What a trial that ended so counts as -> its state, the reason unless it is complete, its finite metrics.

    Raises:
        ConfigurationError: when a judged metric is none that a trial measures.
    """
    if outcome.stopped is not None:
        return "pruned", outcome.stopped, {}
    if outcome.result is None:
        error = outcome.error
        return "failed", f"{type(error).__name__}: {error}" if error else "no result", {}
    metrics = outcome.result.metrics
    for name in judged:
        if name not in metrics:
            raise ConfigurationError(
                f"study: a metric that a trial measures must be named, but got {name!r}; "
                f"this one measures {', '.join(sorted(metrics))}"
            )
        if not math.isfinite(metrics[name]):
            return "failed", f"{name} is {metrics[name]}, not a finite number", {}
    # JSON has no word for infinity: a figure that nothing is judged by is left out, the trial is not lost.
    return "complete", None, {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
