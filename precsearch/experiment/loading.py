"""Reading, changing and writing an experiment; every error says file, line and column.

The text is read as plain data with marks (`yaml12`), changed by `--set` (`overrides`), validated block by
block (`wording`) and between blocks (`checks`); whatever is wrong anywhere is told at once.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from precsearch.errors import ConfigurationError
from precsearch.experiment.checks import check
from precsearch.experiment.document import Experiment
from precsearch.experiment.evaluate import EvaluateSettings
from precsearch.experiment.overrides import apply_overrides
from precsearch.experiment.places import Finding, Place, Places, Problem, raise_all
from precsearch.experiment.schema import nearest, without_empty_blocks
from precsearch.experiment.values import with_values
from precsearch.experiment.wording import validate
from precsearch.experiment.yaml12 import dump, parse
from precsearch.results import RunDirectory

_PACKAGE = Path(__file__).resolve().parent.parent
_LATER = ("budgets", "candidates", "groups", "share", "stochastic")
_OF_KINDS = (("kind",), ("compare",), ("grid",))
_BUNDLES = (_PACKAGE / "search_spaces", _PACKAGE.parent / "search_spaces")  # in a wheel; in a checkout


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read a search space.

    Args:
        path: a YAML file, UTF-8.
        overrides: `PATH=VALUE` texts, as `--set` gives them; a later one wins.

    Raises:
        ConfigurationError: lists everything that is wrong, one `file:line:column: path: message` a line.
    """
    return load_experiment_text(_read(Path(path)), str(path), overrides)


def load_experiment_text(text: str, name: str = "experiment.yaml", overrides: Sequence[str] = ()) -> Experiment:
    """Read a search space from text.

    Args:
        text: YAML.
        name: what messages call it.
        overrides: `PATH=VALUE` texts, as `--set` gives them.

    Raises:
        ConfigurationError: lists everything that is wrong.
    """
    document = parse(text, name)
    if document.value is None and not document.findings:
        raise ConfigurationError(
            f"{name}: an experiment must be given, but this is empty; `precsearch init` writes one"
        )
    return _resolve(document.value, document.places, overrides, document.findings)


def with_overrides(experiment: Experiment, overrides: Sequence[str]) -> Experiment:
    """The experiment with `PATH=VALUE` texts applied, as `--set` gives them.

    Raises:
        ConfigurationError: lists everything that is wrong.
    """
    places = Places(Place(0, 0, f"experiment {experiment.name}"))
    return _resolve(experiment.model_dump(), places, overrides, ())


def apply_point(experiment: Experiment, params: Mapping[str, Any]) -> Experiment:
    """The experiment of one trial: with the values that the outer search chose.

    Args:
        experiment: of the study.
        params: dotted path -> value; `inner.bits` and `inner.targets` also as text, such as ``"2,4,8"``.

    Raises:
        ConfigurationError: when a path does not exist, or a value is not allowed there.
    """
    place = Places(Place(0, 0, f"a point of experiment {experiment.name}"))
    try:
        changed, findings = with_values(experiment, params)
    except LookupError as error:
        raise ConfigurationError(str(place.problem(Finding((), str(error.args[0]))))) from None
    raise_all(place.problem(finding) for finding in findings)
    assert changed is not None  # no findings, so it is valid
    return changed


def dump_experiment(experiment: Experiment) -> str:
    """The whole experiment as YAML, defaults written out; loading it gives an equal experiment."""
    raw = experiment.model_dump(exclude={"space", *_of_other_kinds(experiment)})
    space = {path: dimension.model_dump(exclude_defaults=True) for path, dimension in experiment.space.items()}
    executor = raw.pop("executor")
    return dump({**raw, "space": space, "executor": executor})


def fingerprint(experiment: Experiment) -> str:
    """What must be equal for one run to continue another: all but how many trials or seeds, who runs and shows them.

    Returns:
        16 hexadecimal digits.
    """
    more: dict[str, Any] = {"executor": True, "study": {"n_trials", "storage", "viewers"}}
    raw = experiment.model_dump(exclude={**more, **dict.fromkeys(_of_other_kinds(experiment), True)})
    if experiment.kind == "search":
        del raw["kind"]  # this key came later
    else:
        del raw[experiment.kind]["seeds"]
    raw["space"] = list(raw["space"].items())  # the order in which a sampler is asked, and patterns matched, counts
    raw["inner"]["pin"] = list(raw["inner"]["pin"].items())
    # Keys that came later and say nothing are left out: what was begun without them can be continued.
    raw["inner"] = {key: value for key, value in raw["inner"].items() if value or key not in _LATER}
    if experiment.inner.noise.kind == "none":
        del raw["inner"]["noise"]
    if experiment.evaluate == EvaluateSettings():
        del raw["evaluate"]
    raw["inner"]["budget"] = {key: value for key, value in raw["inner"]["budget"].items() if value is not None}
    return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()[:16]


def _of_other_kinds(experiment: Experiment) -> set[str]:
    return {"compare", "grid"} - {experiment.kind}


def for_searches(run: RunDirectory, command: str, instead: str) -> Experiment:
    """The experiment of a run directory, for a command that only searches have.

    Raises:
        ConfigurationError: when it is of another kind; names `instead`.
        RunDirectoryError: when it is no run directory.
    """
    run.require()
    experiment = load_experiment(run.experiment)
    if experiment.kind != "search":
        raise ConfigurationError(
            f"`{command}` like this is for searches, but {run.path} is of kind {experiment.kind}: {instead}; "
            f"`precsearch list {run.path}` shows its arms"
        )
    return experiment


def search_given(experiment: Experiment | str | Path, overrides: Sequence[str], who: str) -> Experiment:
    """The search that a user gave as such or as a file.

    Raises:
        ConfigurationError: when it cannot be read, or is no search; names `who` asks.
    """
    if not isinstance(experiment, Experiment):
        experiment = load_experiment(experiment, overrides)
    elif overrides:
        experiment = with_overrides(experiment, overrides)
    if experiment.kind != "search":
        raise ConfigurationError(f"{who} is for searches, but {experiment.name!r} is of kind {experiment.kind}")
    return experiment


def bundled(name: str) -> Path:
    """The file of a search space that comes with precsearch, such as ``digits``.

    Raises:
        ConfigurationError: when there is none of that name.
    """
    found = {path.stem: path for folder in reversed(_BUNDLES) for path in sorted(folder.glob("*.yaml"))}
    try:
        return found[name.removesuffix(".yaml")]
    except KeyError:
        hint = nearest(name, found)
        raise ConfigurationError(
            f"the search spaces that come with precsearch are {', '.join(sorted(found))}; got {name!r}{hint}"
        ) from None


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        beside = [other.name for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        hint = nearest(path.name, beside) or "; `precsearch init` writes one"
        raise ConfigurationError(f"{path}: there is no such file{hint}") from None
    except IsADirectoryError:
        raise ConfigurationError(f"{path}: a YAML file must be given, but this is a folder") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}; check its permissions") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        place = Place(before.count(b"\n") + 1, error.start - before.rfind(b"\n"), str(path))
        message = f"UTF-8 must be given, but got the byte 0x{data[error.start]:02X}; save the file as UTF-8"
        raise ConfigurationError(str(Problem(place, message))) from None


def _resolve(raw: Any, places: Places, overrides: Sequence[str], unread: Sequence[Finding]) -> Experiment:
    problems = [places.problem(finding) for finding in unread]
    if isinstance(raw, dict):
        raw = without_empty_blocks(raw)
        problems += apply_overrides(raw, places, overrides)
    experiment, findings = validate(raw)
    sound = experiment or _sound_part(raw, findings)
    if sound is not None:
        findings = [*findings, *check(sound, _names(raw))]
    told = {finding.trail for finding in unread}  # what could not be read is null by now: say it once
    raise_all(problems + [places.problem(finding) for finding in findings if finding.trail not in told])
    assert experiment is not None  # no findings, so it is valid
    return experiment


def _sound_part(raw: Any, findings: Sequence[Finding]) -> Experiment | None:
    """The experiment without the blocks that are wrong, so that the rest can be checked in the same go."""
    kept = copy.deepcopy(raw)
    for finding in findings:
        top, *inside = finding.trail[:2] or ("",)
        if inside and isinstance(kept.get(top), dict):
            kept[top].pop(inside[0], None)
        elif isinstance(kept, dict):
            kept.pop(top, None)
    if isinstance(kept, dict) and any(finding.trail[:1] in _OF_KINDS for finding in findings):
        kept = {key: value for key, value in kept.items() if (key,) not in _OF_KINDS}  # one needs the other
    return validate(kept)[0] if isinstance(kept, dict) else None


def _names(raw: Any) -> list[str]:
    space = raw.get("space") if isinstance(raw, dict) else None
    return list(space) if isinstance(space, dict) else []
