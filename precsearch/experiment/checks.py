"""What must hold between the blocks of an experiment: its space, its enqueued points, its sampler."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from precsearch.allocation import TABLED
from precsearch.errors import ConfigurationError
from precsearch.experiment.base import Settings
from precsearch.experiment.document import Experiment
from precsearch.experiment.evaluate import unmeasured
from precsearch.experiment.images import DATA_KEYS, NoKeys
from precsearch.experiment.places import Finding, Trail
from precsearch.experiment.schema import locate, nearest, set_at
from precsearch.experiment.task import DataSettings
from precsearch.experiment.wording import block_findings, show, validate
from precsearch.experiment.yaml12 import scalar
from precsearch.space import FloatDimension

_SEARCHABLE: Final = ("data", "model", "inner")  # what a trial may differ in from another of its study
_LISTS: Final[dict[Trail, type]] = {("inner", "bits"): int, ("inner", "targets"): str}


def with_values(experiment: Experiment, params: Mapping[str, Any]) -> tuple[Experiment | None, list[Finding]]:
    """The experiment with dotted paths set, or what is wrong with it.

    Raises:
        LookupError: when there is no such path.
    """
    raw = experiment.model_dump()
    for path, value in params.items():
        trail = locate(path)
        kind = int if trail[:2] == ("inner", "candidates") else _LISTS.get(trail)
        set_at(raw, trail, value if kind is None else _listed(value, kind))
    changed, findings = validate(raw)
    if changed is not None:
        known = data_findings(experiment.data)  # told already, and not by this point
        wrong = [finding for finding in data_findings(changed.data) if finding not in known]
        return (None, wrong) if wrong else (changed, [])
    return changed, findings


def _listed(value: Any, kind: type) -> Any:
    """`"2,4,8"` as a list: Optuna's choices are scalars, so the space writes lists as text."""
    if not isinstance(value, str):
        return value
    entries = [scalar(entry.strip()) for entry in value.split(",")]
    return [str(entry) if kind is str else entry for entry in entries]


def check(experiment: Experiment, searched: Collection[str]) -> Iterator[Finding]:
    """Find what is wrong between the blocks.

    Args:
        experiment: valid block by block.
        searched: the paths that `space` names, those with an invalid dimension too.
    """
    yield from data_findings(experiment.data)
    yield from _measured(experiment)
    for path in experiment.space:
        yield from _path(experiment, path)
        yield from _condition(experiment, path, searched)
    yield from _enqueued(experiment, searched)
    if experiment.study.sampler.name == "grid":
        yield from _countable(experiment)


def data_findings(data: DataSettings) -> list[Finding]:
    """What is wrong with the keys that belong to the data set's name; of a function of one's own, it says itself."""
    kind = None if ":" in data.name else DATA_KEYS.get(data.name, NoKeys)
    if kind is None:
        return []
    extra = data.model_extra or {}
    known = [*DataSettings.model_fields, *kind.model_fields]
    strange = [key for key in extra if key not in kind.model_fields]
    return [
        Finding(("data", key), f"unknown key {key!r}{_hint(key, known)}", at_key=True) for key in strange
    ] + block_findings(kind, {key: value for key, value in extra.items() if key not in strange}, ("data",))


def data_keys(data: DataSettings) -> Settings | None:
    """The keys that belong to the data set's name, checked; None for a data function of one's own.

    Raises:
        ConfigurationError: when one is unknown or its value is not allowed.
    """
    if findings := data_findings(data):
        told = "; ".join(f"`{finding.path}`: {finding.message}" for finding in findings)
        raise ConfigurationError(f"{told} (data set {data.name!r})")
    return None if ":" in data.name else DATA_KEYS.get(data.name, NoKeys).model_validate(data.model_extra or {})


def _hint(key: str, known: list[str]) -> str:
    owners = [name for name, kind in DATA_KEYS.items() if key in kind.model_fields]
    if owners:
        return f"; only {', '.join(owners)} and a data function of your own take it"
    return nearest(key, known) or "; only a data function of your own takes others"


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
    if path.split(".", maxsplit=1)[0] not in _SEARCHABLE:
        hint = _known(path) or f"; it starts with {', '.join(_SEARCHABLE[:-1])} or {_SEARCHABLE[-1]}"
        yield Finding(here, f"a path of `data`, `model` or `inner` must be searched, but got {path!r}{hint}", True)
        return
    if problem := _known(path):
        yield Finding(here, problem.removeprefix("; "), at_key=True)
        return
    for other in experiment.space:
        if path.startswith(f"{other}."):
            yield Finding(here, f"`{other}` is searched too, and `{path}` is a part of it; drop one", at_key=True)
            return
    yield from _ends(experiment, path)


def _known(path: str) -> str:
    """What is wrong with a path, or nothing."""
    try:
        locate(path)
    except LookupError as error:
        return f"; {error.args[0]}"
    return ""


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
