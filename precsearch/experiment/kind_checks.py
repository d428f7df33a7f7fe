"""What must hold of an experiment's kind: its block, what it leaves no room for, and every training it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from precsearch.experiment.cells import Arm, Point, arms_of, cells_of, combinations, joined
from precsearch.experiment.document import Experiment
from precsearch.experiment.evaluate import unmeasured
from precsearch.experiment.outer import StudySettings
from precsearch.experiment.paths import path_problem
from precsearch.experiment.places import Finding, Trail
from precsearch.experiment.values import with_values
from precsearch.experiment.wording import show

_BLOCKS: Final = ("compare", "grid")
_START: Final = {"model.checkpoint": "weights.safetensors"}  # whatever it is called when it is there


@dataclass(frozen=True)
class _Given:
    """A dotted path and a value, and where in the document they stand."""

    path: str
    value: Any
    trail: Trail

    def holds(self, trail: Trail) -> bool:
        """Whether a finding at `trail` is about this value, or about a part of it."""
        return _within(".".join(map(str, trail)), self.path)

    @property
    def key(self) -> Trail:
        """Where the path stands."""
        return self.trail[:-1] if isinstance(self.trail[-1], int) else self.trail


def kind_findings(experiment: Experiment) -> Iterator[Finding]:
    """Find what is wrong with the kind of an experiment, and with the trainings that it asks for."""
    kind = experiment.kind
    for name in _BLOCKS:
        block = getattr(experiment, name)
        if block is not None and name != kind:
            yield Finding((name,), f"`{name}` goes with `kind: {name}`, and only with it; got kind {kind!r}", True)
        if block is None and name == kind:
            yield Finding(("kind",), f"`kind: {kind}` needs a block `{kind}`; add one")
    if kind == "search":
        return
    yield from _left_out(experiment)
    if getattr(experiment, kind) is None:
        return
    wrong = [*_paths(experiment), *_tuned(experiment)]
    yield from wrong or _trainings(experiment)


def _left_out(experiment: Experiment) -> Iterator[Finding]:
    kind, study = experiment.kind, experiment.study
    instead = {"compare": "`compare.at` and `compare.arms`", "grid": "`grid.axes`"}[kind]
    if experiment.space:
        yield Finding(("space",), f"`kind: {kind}` searches nothing; drop `space`, and write {instead}", True)
    for key in StudySettings.model_fields:
        if key not in ("seed", "viewers") and getattr(study, key) != getattr(StudySettings(), key):
            more = f"; `{kind}.seeds` says how many trainings there are" if key == "n_trials" else ""
            message = f"`kind: {kind}` has no outer search, of `study` it takes seed and viewers only; drop `{key}`"
            yield Finding(("study", key), message + more, True)
    if "optuna-dashboard" in study.viewers:
        yield Finding(("study", "viewers"), f"optuna-dashboard shows a study, and `kind: {kind}` has none; drop it")


def _paths(experiment: Experiment) -> Iterator[Finding]:
    """What is wrong with dotted paths: each names a setting of a training, and no two of them mean the same."""
    for givens in _by_place(experiment):
        keys = {given.path: given.key for given in givens}
        for path, trail in keys.items():
            if problem := path_problem(path):
                yield Finding(trail, problem, True)
            for other in keys:
                if other != path and _within(path, other):
                    yield Finding(trail, f"`{other}` is there too, and `{path}` is a part of it; drop one", True)


def _by_place(experiment: Experiment) -> list[list[_Given]]:
    """Everything that is given as dotted paths, by the mapping that it is given in."""
    compare, grid = experiment.compare, experiment.grid
    if experiment.kind == "compare" and compare is not None:
        arms = [_settings(arm.set, ("compare", "arms", name, "set")) for name, arm in compare.arms.items()]
        tuned = [_values(compare.tune.over, ("compare", "tune", "over"))] if compare.tune is not None else []
        return [_values(compare.at, ("compare", "at")), *arms, *tuned]
    if experiment.kind == "grid" and grid is not None:
        return [_values(grid.axes, ("grid", "axes")), _settings(grid.retrain, ("grid", "retrain"))]
    return []


def _values(axes: Mapping[str, Any], before: Trail) -> list[_Given]:
    return [_Given(p, value, (*before, p, i)) for p, values in axes.items() for i, value in enumerate(values)]


def _settings(settings: Mapping[str, Any], before: Trail) -> list[_Given]:
    return [_Given(path, value, (*before, path)) for path, value in settings.items()]


def _tuned(experiment: Experiment) -> Iterator[Finding]:
    """What is tuned is chosen for each arm in each cell, so neither may set it."""
    compare = experiment.compare
    if experiment.kind != "compare" or compare is None or compare.tune is None:
        return
    for path in compare.tune.over:
        here = ("compare", "tune", "over", path)
        for name, set_there in (("`at`", compare.at), *((f"arm {n!r}", a.set) for n, a in compare.arms.items())):
            if any(_within(path, other) or _within(other, path) for other in set_there):
                yield Finding(here, f"what is tuned may not be set, but `{path}` is, by {name}; drop one", True)
    if (key := unmeasured(compare.tune.metric, experiment.evaluate)) is not None:
        yield Finding(
            ("compare", "tune", "metric"),
            f"a metric that trainings measure must be named, but got {compare.tune.metric!r}, which `evaluate:` does "
            f"not ask for; set {key}, or name another",
        )


def _trainings(experiment: Experiment) -> Iterator[Finding]:
    """Build the experiment of every cell, arm and combination of what is tuned; each complaint once."""
    tune = experiment.compare.tune if experiment.compare is not None else None
    told: dict[Finding, None] = {}
    for cell in cells_of(experiment):
        for arm in arms_of(experiment):
            for tuned in combinations(tune.over if tune is not None else {}):
                told |= dict.fromkeys(_training(experiment, cell, arm, tuned))
    yield from told


def _training(experiment: Experiment, cell: Point, arm: Arm, tuned: Point) -> Iterator[Finding]:
    point = joined(cell, arm.point, tuned, _START if arm.start is not None else {})
    try:
        _, findings = with_values(experiment, point)
    except LookupError as error:
        findings = [Finding((), str(error.args[0]))]
    for finding in findings:
        yield _placed(experiment, finding, point, arm)


def _placed(experiment: Experiment, finding: Finding, point: Point, arm: Arm) -> Finding:
    """The finding where the document says the value; at the arm where several values do not go together."""
    block = ("grid",) if experiment.kind == "grid" else ("compare", "arms", arm.label)
    own = [
        given
        for givens in _by_place(experiment)
        for given in givens
        if given.path in point and given.value == point[given.path]
        if given.trail[:2] != ("compare", "arms") or given.trail[:3] == block
    ]
    for given in reversed(own):
        if given.holds(finding.trail):
            return Finding(given.trail, f"`{given.path}` cannot be {show(given.value)}: {finding.message}")
    where = f"`{finding.path}`: " if finding.trail else ""
    return Finding(block, f"{arm.label!r} cannot be trained: {where}{finding.message}")


def _within(path: str, other: str) -> bool:
    return f"{path}.".startswith(f"{other}.")
