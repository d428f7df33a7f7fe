"""What must hold between the blocks of an experiment: its space, its enqueued points, its sampler."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from precsearch.allocation import TABLED
from precsearch.errors import ConfigurationError
from precsearch.experiment.document import Experiment
from precsearch.experiment.evaluate import unmeasured
from precsearch.experiment.kind_checks import kind_findings
from precsearch.experiment.paths import path_problem
from precsearch.experiment.places import Finding
from precsearch.experiment.schema import nearest
from precsearch.experiment.values import data_findings, with_values
from precsearch.experiment.wording import show
from precsearch.space import FloatDimension


def check(experiment: Experiment, searched: Collection[str]) -> Iterator[Finding]:
    """Find what is wrong between the blocks.

    Args:
        experiment: valid block by block.
        searched: the paths that `space` names, those with an invalid dimension too.
    """
    yield from data_findings(experiment.data)
    yield from kind_findings(experiment)
    yield from _measured(experiment)
    for path in experiment.space:
        yield from _path(experiment, path)
        yield from _condition(experiment, path, searched)
    yield from _enqueued(experiment, searched)
    if experiment.study.sampler.name == "grid":
        yield from _countable(experiment)


def _measured(experiment: Experiment) -> Iterator[Finding]:
    targets = experiment.inner.targets
    for block in ("objectives", "constraints"):
        for i, each in enumerate(getattr(experiment.study, block)):
            budgets = (experiment.inner.budget, *experiment.inner.budgets.values())
            if each.metric in TABLED and each.metric not in {budget.kind for budget in budgets}:
                yield Finding(
                    ("study", block, i, "metric"),
                    f"a metric that trials measure must be named, but got {each.metric!r}, and no budget has "
                    f"its table; add one of `kind: {each.metric}` with its `table` to `inner.budgets`, or drop this",
                )
            if (key := unmeasured(each.metric, experiment.evaluate)) is not None:
                yield Finding(
                    ("study", block, i, "metric"),
                    f"a metric that trials measure must be named, but got {each.metric!r}, which `evaluate:` does not "
                    f"ask for; set {key}, or drop this entry",
                )
            target = each.metric.removeprefix("average_bits_")
            if target not in {each.metric, *targets} and "inner.targets" not in experiment.space:
                yield Finding(
                    ("study", block, i, "metric"),
                    f"a metric that trials measure must be named, but got {each.metric!r}, and `inner.targets` is "
                    f"[{', '.join(targets)}]; add {target} to it, or drop this entry",
                )


def _path(experiment: Experiment, path: str) -> Iterator[Finding]:
    here = ("space", path)
    if problem := path_problem(path, "searched"):
        yield Finding(here, problem, at_key=True)
        return
    for other in experiment.space:
        if path.startswith(f"{other}."):
            yield Finding(here, f"`{other}` is searched too, and `{path}` is a part of it; drop one", at_key=True)
            return
    yield from _ends(experiment, path)


def _ends(experiment: Experiment, path: str) -> Iterator[Finding]:
    dimension = experiment.space[path]
    for key, value in dimension.ends().items():
        place = ("space", path, "choices", key) if isinstance(key, int) else ("space", path, key)
        _, findings = with_values(experiment, {path: value})
        whole = isinstance(dimension, FloatDimension) and any("whole number" in f.message for f in findings)
        for finding in findings:
            advice = "; search it with `type: int`" if whole else ""
            yield Finding(place, f"`{path}` cannot be {show(value)}: {finding.message}{advice}")


def _condition(experiment: Experiment, path: str, searched: Collection[str]) -> Iterator[Finding]:
    before = list(experiment.space)[: list(experiment.space).index(path)]
    for other, values in experiment.space[path].when.items():
        here = ("space", path, "when", other)
        if other not in searched:
            hint = nearest(other, searched) or f"; searched are {', '.join(searched)}"
            yield Finding(
                here,
                f"`when` must name a searched dimension, but got {other!r}{hint}",
                True,
            )
        elif other in experiment.space and other not in before:
            yield Finding(here, f"`when` must name a dimension that stands above `{path}`; move `{other}` up", True)
        elif other in experiment.space:
            dimension = experiment.space[other]
            for i, value in enumerate(values):
                if not dimension.contains(value):
                    yield Finding(
                        (*here, i), f"a value of `{other}` ({dimension}) must be given, but got {show(value)}"
                    )


def _enqueued(experiment: Experiment, searched: Collection[str]) -> Iterator[Finding]:
    for i, point in enumerate(experiment.study.enqueue):
        for path, value in point.items():
            here = ("study", "enqueue", i, path)
            if path not in searched:
                hint = nearest(path, searched) or f"; add `{path}` to `space`, or drop it here"
                yield Finding(here, f"a searched dimension must be enqueued, but got {path!r}{hint}", at_key=True)
            elif path in experiment.space and not experiment.space[path].contains(value):
                within = experiment.space[path]
                yield Finding(here, f"a value of `{path}` ({within}) must be given, but got {show(value)}")


def _countable(experiment: Experiment) -> Iterator[Finding]:
    if not experiment.space:
        yield Finding(("study", "sampler"), "a grid needs a searched dimension, but `space` is empty; add one")
    for path, dimension in experiment.space.items():
        try:
            dimension.grid(path)
        except ConfigurationError as error:
            yield Finding(("space", path), str(error))
