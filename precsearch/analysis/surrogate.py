"""A random forest from searched parameters to a metric: how much it knows, what it rests on, what it predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from precsearch.results import TrialRecord
from precsearch.space import CategoricalDimension, Dimension

Floats = NDArray[np.float64]

_FOLDS: Final = 5
_TREES: Final = 50
_REPEATS: Final = 5
_POINTS: Final = 11  # of a dependence on a number


@dataclass(frozen=True)
class Dependence:
    """What the surrogate predicts along one parameter, all else as in the trials that searched it.

    Attributes:
        param: its dotted path.
        values: ascending, within what was tried; the choices that were tried where it is categorical.
        predicted: the metric at each, mean over trials, in its own unit.
        scale: ``linear``, ``log`` or ``choices``.
    """

    param: str
    values: tuple[Any, ...]
    predicted: tuple[float, ...]
    scale: str


@dataclass(frozen=True)
class Surrogate:
    """What the forest knows of one metric.

    Attributes:
        r2: of predictions for trials that it has not seen: 1 at best, 0 where it knows no more than their mean.
        drops: path -> how much of that R2 goes when the parameter's values are shuffled.
        dependences: path -> what the forest of all trials predicts along it.
    """

    r2: float
    drops: dict[str, float]
    dependences: dict[str, Dependence]


def searched(record: TrialRecord, path: str, dimension: Dimension) -> bool:
    """Whether a trial searched the dimension at `path`: a conditional one is absent where its condition fails."""
    return path in record.params and dimension.contains(record.params[path])


def fit_surrogate(
    records: Sequence[TrialRecord], space: dict[str, Dimension], values: Floats, seed: int = 0
) -> Surrogate:
    """Learn the metric of each trial from its parameters.

    Args:
        records: at least as many trials as there are folds (5).
        space: path -> dimension, each searched by at least one of them.
        values: [records] the metric; not all equal.
        seed: of folds, forests and shuffles.
    """
    columns = np.column_stack([_column(records, path, dimension) for path, dimension in space.items()])
    r2, drops = _cross_validated(columns, values, seed)
    forest = _forest(seed).fit(_filled(columns), values)
    return Surrogate(
        r2=r2,
        drops=dict(zip(space, drops, strict=True)),
        dependences={
            path: _dependence(forest, columns, at, path, dimension)
            for at, (path, dimension) in enumerate(space.items())
        },
    )


def _cross_validated(columns: Floats, values: Floats, seed: int) -> tuple[float, list[float]]:
    """R2 over all folds, and by column how much of it goes when that is shuffled within the fold left out."""
    from sklearn.model_selection import KFold

    filled, generator = _filled(columns), np.random.default_rng(seed)
    errors, shuffled = 0.0, np.zeros(columns.shape[1])
    for seen, unseen in KFold(_FOLDS, shuffle=True, random_state=seed).split(filled):
        forest = _forest(seed).fit(filled[seen], values[seen])
        held, truth = filled[unseen], values[unseen]
        errors += float(((forest.predict(held) - truth) ** 2).sum())
        count = columns.shape[1]
        # in one go: a forest takes as long to begin as to predict
        mixed = [_with(held, at, generator.permutation(held[:, at])) for at in range(count) for _ in range(_REPEATS)]
        wrong = (forest.predict(np.concatenate(mixed)) - np.tile(truth, count * _REPEATS)) ** 2
        shuffled += wrong.reshape(count, -1).sum(1) / _REPEATS
    spread = float(((values - values.mean()) ** 2).sum())
    return 1 - errors / spread, ((shuffled - errors) / spread).tolist()


def _dependence(forest: Any, columns: Floats, at: int, path: str, dimension: Dimension) -> Dependence:
    """Mean predictions for the trials that searched the dimension, its value replaced by each of a grid."""
    own = columns[np.isfinite(columns[:, at])]
    rows, tried = _filled(columns)[np.isfinite(columns[:, at])], np.unique(own[:, at])
    if isinstance(dimension, CategoricalDimension):
        scale, shown = "choices", tuple(dimension.choices[int(index)] for index in tried)
    else:
        if len(tried) > _POINTS:
            tried = np.linspace(tried[0], tried[-1], _POINTS)
        scale = "log" if dimension.log else "linear"
        shown = tuple((10**tried if dimension.log else tried).tolist())
    stacked = np.concatenate([_with(rows, at, np.full(len(rows), value)) for value in tried])
    predicted = forest.predict(stacked).reshape(len(tried), len(rows)).mean(axis=1)
    return Dependence(path, shown, tuple(predicted.tolist()), scale)


def _forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(n_estimators=_TREES, random_state=seed)


def _column(records: Sequence[TrialRecord], path: str, dimension: Dimension) -> Floats:
    """Values as numbers: logarithms where the dimension has them, indices of choices; NaN where not searched."""
    return np.array(
        [_number(record.params[path], dimension) if searched(record, path, dimension) else np.nan for record in records]
    )


def _number(value: Any, dimension: Dimension) -> float:
    if isinstance(dimension, CategoricalDimension):
        # True is no 1 here, as in Optuna
        same = [choice == value and isinstance(choice, bool) == isinstance(value, bool) for choice in dimension.choices]
        return float(same.index(True))
    return float(np.log10(value)) if dimension.log else float(value)


def _filled(columns: Floats) -> Floats:
    """With values that were not searched far below all others: one split of a tree tells them apart."""
    low, high = np.nanmin(columns, axis=0), np.nanmax(columns, axis=0)
    return np.where(np.isfinite(columns), columns, low - (high - low) - 1)


def _with(rows: Floats, at: int, column: Floats) -> Floats:
    changed = rows.copy()
    changed[:, at] = column
    return changed
