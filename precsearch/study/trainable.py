"""A trial as a trainable for Ray Tune: in a tuner, with a scheduler and a searcher, that somebody else owns.

Ray is imported where it is used: who does not use it need not have it.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from precsearch.allocation import Allocation
from precsearch.errors import AllocationError, ConfigurationError
from precsearch.experiment import Experiment
from precsearch.imports import is_import_path
from precsearch.results import SELECTABLE_METRICS, Progress, TrialResult
from precsearch.study.seeds import derive_seed, trial_seed
from precsearch.study.tune_space import at_home, document_of, point_of, ray_tune, seed_in

if TYPE_CHECKING:
    from ray.tune import Result

_LEFT = ("allocation.json", "evaluation.json", "drawn.json", "weights.safetensors")


def tune_trainable(
    experiment: Experiment | str | Path, *, overrides: Sequence[str] = ()
) -> Callable[[dict[str, Any]], None]:
    """``tune.Tuner(tune_trainable(FILE), param_space=tune_space(FILE))`` in a tuner of your own.

    Each trial of Tune's trains one trial of ours. Its config has dotted paths of `data`, `model` and `inner`,
    those of the experiment's `space` or any other; a conditional dimension is left out where its `when` does
    not hold. The experiment is read here and travels with the function; relative paths mean those here.

    It reports once an epoch, as `training_iteration`: `phase`, `epoch`, `step`, `steps`, and every metric that
    can be selected on, the same keys every time; NaN stands for what is not measured then (`train_accuracy`,
    `generalization_gap` and what `evaluate:` measures before the end). The last report has the metrics of the
    finished network, as `precsearch run` gives them; `test_*` are in its allocation only. Every report has a
    checkpoint; the last one also holds allocation.json, evaluation.json and weights.safetensors, see `allocation_of`.

    A trial continues from its checkpoint after a failure, to the bit; or from another trial's, which is how
    population-based training exploits: then learning rates, momentum, weight decay, regularization, temperature
    and the budget's limit may have changed and take effect, and everything else must be the same.

    The seed is `seed` of the config where given, else it derives from `study.seed` and the trial's number in
    Tune's own generator (the seed that trial has in ``precsearch run``) or, with a searcher, its random id. A
    trial that continues from a checkpoint keeps the checkpoint's.

    Args:
        experiment: the search space, or the YAML file that has it; of `executor:` only `threads` counts.
        overrides: `PATH=VALUE` texts, as ``--set`` gives them.

    Returns:
        A function trainable. It raises `DivergedError` when the training diverges, so that trial errs alone.

    Raises:
        ConfigurationError: when the search space cannot be read; lists everything that is wrong.
    """
    ray_tune("tune_trainable")
    home = Path.cwd()
    document = at_home(document_of(experiment, overrides), home)

    def precsearch_trial(config: dict[str, Any]) -> None:
        _train(document, home, config)

    return precsearch_trial


def allocation_of(result: Result) -> Allocation:
    """The allocation that a trial of `tune_trainable` found.

    Raises:
        AllocationError: when it has none: it failed, or was stopped before its end.
    """
    if result.checkpoint is not None:
        with result.checkpoint.as_directory() as folder:
            path = Path(folder) / _LEFT[0]
            if path.is_file():
                return Allocation.from_json(path)
    metrics = result.metrics or {}
    stand = f"after epoch {metrics['step']} of {metrics['steps']}" if "steps" in metrics else "before its first epoch"
    raise AllocationError(
        f"only a trial that ran to its end has an allocation, but {Path(result.path).name} ended {stand}; "
        "choose among the results whose metrics have `step` equal to `steps`"
    )


def _train(document: Experiment, home: Path, config: Mapping[str, Any]) -> None:
    from precsearch.trial import run_trial

    tune = ray_tune("tune_trainable")
    point = point_of(document, config, home)
    if any(map(is_import_path, (point.data.name, point.model.name))) and str(home) not in sys.path:
        sys.path.insert(0, str(home))  # where `precsearch run` would find them; Tune has changed the directory
    context = tune.get_context()
    seed = seed_in(config)
    with tempfile.TemporaryDirectory(prefix="precsearch-") as temporary:
        directory = Path(temporary) / context.get_trial_name()  # the allocation notes the name
        directory.mkdir()
        session = _Session(tune, directory, _seed(point, context.get_trial_id()) if seed is None else seed)
        session.finish(run_trial(point, session))


def _seed(point: Experiment, trial_id: str) -> int:
    number = trial_id.rpartition("_")[2] if "_" in trial_id else ""
    if number.isdecimal():
        return trial_seed(point.study.seed, int(number))
    return derive_seed(point.study.seed, 0, f"tune trial {trial_id}")


class _Session:
    """The `Session` of one Tune trial."""

    def __init__(self, tune: ModuleType, directory: Path, seed: int) -> None:
        self.directory = directory
        self.seed = seed
        self._tune = tune
        self._resumed = self._fetch()
        self._last: Progress | None = None

    def _fetch(self) -> bool:
        """Copy Tune's checkpoint here, be it this trial's or another's, and take its seed."""
        from precsearch.training.checkpoint import FOLDER, load_checkpoint

        checkpoint = self._tune.get_checkpoint()
        if checkpoint is None:
            return False
        folder = self.directory / FOLDER
        with checkpoint.as_directory() as stored:
            shutil.copytree(stored, folder, ignore=shutil.ignore_patterns(*_LEFT))
        self.seed = load_checkpoint(folder)["seed"]
        return True

    def resume(self) -> Path | None:
        from precsearch.training.checkpoint import FOLDER

        return self.directory / FOLDER if self._resumed else None

    def report(self, progress: Progress, checkpoint: Path | None) -> None:
        again = self._resumed and self._last is None  # Tune has had it: a report and its checkpoint travel as one
        self._last = progress
        # The last epoch waits for the evaluation: schedulers that stop at it would stop the trial before that.
        if progress.step < progress.steps and not again:
            self._tell(progress, progress.metrics, checkpoint)

    def finish(self, result: TrialResult) -> None:
        """Report the last epoch, with what the finished trial measured and left."""
        from precsearch.training.checkpoint import FOLDER

        if self._last is None:
            raise ConfigurationError(
                "a trial of Tune's reports once an epoch, so at least one must hold, but all of `inner.epochs` are 0; "
                "measure trained weights as they are with `precsearch run`"
            )
        folder = self.directory / FOLDER
        for name in _LEFT:
            if (self.directory / name).is_file():
                shutil.copy(self.directory / name, folder / name)
        self._tell(self._last, result.metrics, folder, ended=True)

    def _tell(self, progress: Progress, metrics: Mapping[str, float], folder: Path | None, ended: bool = False) -> None:
        told: dict[str, Any] = progress.model_dump(include={"phase", "epoch", "step", "steps"})
        told |= {name: metrics.get(name, math.nan) for name in SELECTABLE_METRICS}
        if ended:  # else a scheduler may pause the trial here, or have others clone its end, and wait for it for ever
            told["done"] = True
        self._tune.report(told, checkpoint=self._tune.Checkpoint.from_directory(str(folder)) if folder else None)
