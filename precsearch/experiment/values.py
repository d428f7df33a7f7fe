"""An experiment with some of its values set by dotted path, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from precsearch.errors import ConfigurationError
from precsearch.experiment.base import Settings
from precsearch.experiment.document import Experiment
from precsearch.experiment.images import DATA_KEYS, NoKeys
from precsearch.experiment.places import Finding, Trail
from precsearch.experiment.schema import locate, nearest, set_at
from precsearch.experiment.task import DataSettings
from precsearch.experiment.wording import block_findings, validate
from precsearch.experiment.yaml12 import scalar

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
