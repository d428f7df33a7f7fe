"""The searched dimensions in Ray Tune's words, and a config of Tune's as a point of the experiment.

Ray is imported where it is used: who does not use it need not have it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from precsearch.errors import ConfigurationError, PrecsearchError
from precsearch.experiment import Experiment, apply_point
from precsearch.experiment.loading import search_given
from precsearch.experiment.schema import all_paths, locate, nearest
from precsearch.space import CategoricalDimension, Dimension, FloatDimension, IntDimension

SEED: Final = "seed"
_TRIAL_BLOCKS: Final = ("data", "model", "inner")  # what a trial may differ in from another
_NARROW: Final = 1 + 1e-9  # below this ratio Tune's log and exp may step over an end of the range


def tune_space(experiment: Experiment | str | Path, *, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The `space` of an experiment as Ray Tune's `param_space`.

    Tune has no conditions: a dimension with `when` is drawn for every trial, and `tune_trainable` leaves it out
    where its condition does not hold. Every domain can be converted by Tune's `OptunaSearch`.

    Args:
        experiment: the search space, or the YAML file that has it.
        overrides: `PATH=VALUE` texts, as ``--set`` gives them.

    Returns:
        Dotted path -> domain; add, drop and replace entries as you like.

    Raises:
        ConfigurationError: when the search space cannot be read; lists everything that is wrong.
    """
    tune = ray_tune("tune_space")
    return {path: _domain(tune, path, each) for path, each in document_of(experiment, overrides).space.items()}


def document_of(experiment: Experiment | str | Path, overrides: Sequence[str]) -> Experiment:
    """The experiment that a user gave as such or as a file."""
    return search_given(experiment, overrides, "Ray Tune")


def ray_tune(who: str) -> ModuleType:
    """The module `ray.tune`.

    Raises:
        PrecsearchError: when it cannot be imported.
    """
    try:
        from ray import tune
    except ImportError as error:
        raise PrecsearchError(f"`{who}` needs Ray Tune, but {error}; pip install 'ray[tune]'") from error
    return tune


def point_of(document: Experiment, config: Mapping[str, Any], home: Path) -> Experiment:
    """The experiment of one Tune trial.

    Args:
        document: of all trials.
        config: dotted path -> value, of `document.space` or any other of `data`, `model` and `inner`; `seed` is
            not looked at.
        home: folder that relative paths start from.

    Raises:
        ConfigurationError: when a key is none of ours, or a value is not allowed there.
    """
    chosen: dict[str, Any] = {}
    for path, value in config.items():
        if path != SEED:
            _check_path(path)
            chosen[path] = value.item() if type(value).__module__ == "numpy" and not value.shape else value
    # As `precsearch.space.suggest` does; what the tuner does not search has the experiment's own value.
    decided: dict[str, Any] = {}
    for path, dimension in document.space.items():
        if path not in chosen:
            decided[path] = _own(document, path)
        elif dimension.holds(decided):
            decided[path] = chosen[path]
        else:
            del chosen[path]
    return at_home(apply_point(document, chosen), home)


def at_home(experiment: Experiment, home: Path) -> Experiment:
    """The experiment with absolute paths: Tune trains in a folder of its own."""
    inner = experiment.inner
    if isinstance(inner.allocation, str) and not inner.allocation.lstrip().startswith("{"):
        inner = inner.model_copy(update={"allocation": str(home / Path(inner.allocation).expanduser())})
    evaluate = experiment.evaluate
    if evaluate.corrupted is not None:
        evaluate = evaluate.model_copy(update={"corrupted": str(home / Path(evaluate.corrupted).expanduser())})
    data, model = experiment.data.at_home(home), experiment.model.at_home(home)
    return experiment.model_copy(update={"data": data, "model": model, "inner": inner, "evaluate": evaluate})


def seed_in(config: Mapping[str, Any]) -> int | None:
    """The seed that the user put into the config, None where there is none.

    Raises:
        ConfigurationError: when it is not a seed.
    """
    seed = config.get(SEED)
    if seed is None:
        return None
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed < 2**32:
        raise ConfigurationError(f"`{SEED}` in the config must be a whole number from 0 to 2**32 - 1, but got {seed!r}")
    return int(seed)


def _domain(tune: ModuleType, path: str, dimension: Dimension) -> Any:
    if isinstance(dimension, CategoricalDimension):
        return tune.choice(list(dimension.choices))
    if isinstance(dimension, IntDimension):
        return _int_domain(tune, path, dimension)
    return _float_domain(tune, path, dimension)


def _int_domain(tune: ModuleType, path: str, dimension: IntDimension) -> Any:
    low, high, step = dimension.low, dimension.high, dimension.step or 1
    if dimension.log:
        return tune.lograndint(low, high + 1)
    if step == 1:  # for which alone Tune's `qrandint` leaves out the upper end
        return tune.randint(low, high + 1)
    return tune.qrandint(low, high, step) if low % step == 0 else tune.choice(dimension.grid(path))


def _float_domain(tune: ModuleType, path: str, dimension: FloatDimension) -> Any:
    low, high, step = dimension.low, dimension.high, dimension.step
    if step is None:
        return tune.loguniform(low, high) if dimension.log and high / low > _NARROW else tune.uniform(low, high)
    # Tune rounds to multiples of the step, and Optuna counts steps from `low` in decimals: both must end at `high`.
    first, last = round(low / step) * step, round(high / step) * step
    fits = dimension.contains(first) and dimension.contains(last) and math.isclose(first, low, abs_tol=1e-8 * step)
    whole = (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)) == 0
    if fits and whole:
        return tune.quniform(low, high, step)
    return tune.choice([min(value, high) for value in dimension.grid(path)])


def _check_path(path: str) -> None:
    where = "the config of a trainable of precsearch"
    try:
        trail = locate(path)
    except LookupError as error:
        raise ConfigurationError(f"{where}: {error.args[0]}") from None
    if trail[0] not in _TRIAL_BLOCKS:
        ours = [known for known in all_paths() if known.partition(".")[0] in _TRIAL_BLOCKS]
        raise ConfigurationError(
            f"{where}: a path of {', '.join(_TRIAL_BLOCKS)}, or `{SEED}`, must be given, but got {path!r}"
            f"{nearest(path, ours) or '; what holds for every trial goes into `overrides`'}"
        )


def _own(document: Experiment, path: str) -> Any:
    value: Any = document.model_dump()
    for part in locate(path):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
