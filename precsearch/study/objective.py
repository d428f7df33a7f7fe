"""An experiment as the objective of an Optuna study that somebody else made and owns.

Its sampler, pruner, storage and attributes are not touched. A study of precsearch's own (`driver.py`) also
resumes half-trained trials, prunes within budget bands and trains baselines; here that is the owner's business.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from optuna import TrialPruned
from optuna.trial import BaseTrial

from precsearch.allocation import Allocation
from precsearch.errors import ConfigurationError, DivergedError, RunDirectoryError, TrialStopped
from precsearch.experiment import Experiment, apply_point
from precsearch.experiment.loading import search_given
from precsearch.results import Progress, Session, TrialResult
from precsearch.study.executors.base import Outcome, RunTrial
from precsearch.study.feasibility import ONE_POINT
from precsearch.study.hosted import HostedTrial, attached_allocation
from precsearch.study.outcomes import judge, judged_metrics
from precsearch.study.seeds import trial_seed

if TYPE_CHECKING:
    from optuna.artifacts._protocol import ArtifactStore

_TRIAL_BLOCKS: Final = ("data", "model", "inner")  # what a trial may differ in from another
# A training draws from the one random state that torch has in a process: two at once would disturb each other.
_TURN: Final = Lock()


class OptunaObjective:
    """``study.optimize(OptunaObjective("search_spaces/mnist.yaml"), n_trials=20)`` in a study of your own.

    Each call suggests the experiment's `space`, trains one trial and returns the value of its objective, or a
    tuple of several. A single objective that is measured at every epoch is reported at every epoch, and the
    study's pruner asked. Constraints are set on the trial. Of `study:` only `objectives`, `constraints` and
    `seed` count, of `executor:` only `threads`; the rest is up to the study.

    The trial gets user attributes: ``precsearch:metrics`` (everything measured), ``precsearch:allocation``
    (JSON format 1), ``precsearch:bits`` (weight/activation bits, for people), ``precsearch:seed``, and
    ``precsearch:fail_reason`` where it failed. It fails, its values NaN, when the training diverges or this
    point of the space cannot be trained.

    What a trial measures follows from its parameters and its number alone. With ``n_jobs`` above 1 the
    trainings of a process take turns, so it wins nothing: start several processes on one storage, or use
    ``precsearch run``. A `FixedTrial` or a `FrozenTrial` (``study.best_trial``) is trained as well; it has no
    study whose directions could be checked, and takes no artifacts.

    Args:
        experiment: the search space, or the YAML file that has it.
        prefix: put before the name of every parameter, to keep them apart from yours.
        directory: keeps weights.safetensors, allocation.json, evaluation.json and steps.jsonl of each trial, in a
            folder named by its number, such as ``0007``; one that exists is an error. Nothing is kept where None.
        artifact_store: of Optuna; allocation.json is uploaded there, for optuna-dashboard.
        run_trial: trains one trial; `precsearch.trial.run_trial` where None.
        overrides: `PATH=VALUE` texts, as ``--set`` gives them.

    Raises:
        ConfigurationError: when the search space cannot be read; lists everything that is wrong.
    """

    def __init__(
        self,
        experiment: Experiment | str | Path,
        *,
        prefix: str = "",
        directory: str | Path | None = None,
        artifact_store: ArtifactStore | None = None,
        run_trial: RunTrial | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        self.experiment = search_given(experiment, overrides, "OptunaObjective")
        self.prefix = prefix
        self.directory = Path(directory) if directory is not None else None
        self._artifact_store = artifact_store
        self._run_trial = run_trial or _run_trial

    def __call__(self, trial: BaseTrial, values: Mapping[str, Any] | None = None) -> float | tuple[float, ...]:
        """Train one trial.

        Args:
            trial: of Optuna.
            values: dotted path -> value that you chose yourself, such as ``{"model.width": 16}``.

        Returns:
            One value, or a tuple of one for each objective; NaN where the trial failed.

        Raises:
            optuna.TrialPruned: when the study's pruner says so.
            PrecsearchError: what every other trial would raise as well; it ends ``study.optimize``.
        """
        study = self.experiment.study
        hosted = HostedTrial(trial, self.prefix)
        hosted.check_directions(self.experiment)
        base = self._with(values or {})
        hosted.note_seed(trial_seed(study.seed, trial.number))
        try:
            outcome = self._outcome(hosted, base, one_of_many=bool(base.space or values))
            state, reason, metrics = judge(outcome, judged_metrics(study))
        except Exception as error:
            hosted.note_failure(f"{type(error).__name__}: {error}")
            raise
        if state == "pruned":
            raise TrialPruned(reason)
        if outcome.result is None or state == "failed":
            hosted.note_failure(reason or "no result")
            told = (math.nan,) * len(study.objectives)  # infinity would count, and be the best or worst for ever
        else:
            hosted.attach(study, metrics, outcome.result.allocation)
            told = tuple(metrics[objective.metric] for objective in study.objectives)
        return told[0] if len(told) == 1 else told

    def suggest(self, trial: BaseTrial, values: Mapping[str, Any] | None = None) -> Experiment:
        """The experiment of one trial, for a training of your own; nothing is trained or told.

        Args:
            trial: asked for a point of the experiment's `space`.
            values: dotted path -> value that you chose yourself.

        Raises:
            ConfigurationError: when the point is not valid, or `values` have what cannot be set.
        """
        base = self._with(values or {})
        return apply_point(base, HostedTrial(trial, self.prefix).suggest(base.space))

    @staticmethod
    def allocation(trial: BaseTrial) -> Allocation:
        """The allocation that a trial found, such as that of ``study.best_trial``.

        Raises:
            AllocationError: when it has none: it failed, was pruned, or is of another objective.
        """
        return attached_allocation(trial)

    def _with(self, values: Mapping[str, Any]) -> Experiment:
        for path in values:
            searched = next((each for each in self.experiment.space if f"{path}.".startswith(f"{each}.")), None)
            if searched is not None:
                raise ConfigurationError(
                    f"values: a path that is not searched must be given, but got {path!r}, and `space` has "
                    f"{searched!r}; drop one of the two"
                )
            if path.partition(".")[0] not in _TRIAL_BLOCKS:
                raise ConfigurationError(
                    f"values: a path of {', '.join(_TRIAL_BLOCKS)} must be given, but got {path!r}; "
                    "what holds for every trial goes into `overrides`"
                )
        return apply_point(self.experiment, values) if values else self.experiment

    def _outcome(self, hosted: HostedTrial, base: Experiment, one_of_many: bool) -> Outcome:
        """Suggest and train.

        Args:
            hosted: asked for a point, told of every epoch.
            base: the experiment but for what its `space` searches.
            one_of_many: whether another trial may have another point, and so not fail as this one does.
        """
        point = hosted.suggest(base.space)
        try:
            experiment = apply_point(base, point)
        except ConfigurationError as error:  # `base` is valid: it is this point that is not
            return Outcome(error=error)
        with _folder(self.directory, hosted.number) as folder:
            session = _Session(hosted, self.experiment, folder)
            try:
                with _TURN:
                    result = self._run_trial(experiment, session)
            except TrialStopped as stop:
                return Outcome(stopped=str(stop))
            except DivergedError as error:
                return Outcome(error=error)
            except ONE_POINT as error:
                if not one_of_many:
                    raise
                return Outcome(error=error)
            if self._artifact_store is not None:
                hosted.upload(self._artifact_store, folder / "allocation.json")
        return Outcome(result=result)


class _Session:
    """The `Session` of one training in somebody else's study."""

    def __init__(self, hosted: HostedTrial, experiment: Experiment, directory: Path) -> None:
        self.seed = trial_seed(experiment.study.seed, hosted.number)
        self.directory = directory
        self._hosted = hosted
        self._metrics = [objective.metric for objective in experiment.study.objectives]

    def resume(self) -> Path | None:
        return None  # a checkpoint that lies there would be another study's

    def report(self, progress: Progress, checkpoint: Path | None) -> None:
        if len(self._metrics) == 1:  # of several objectives Optuna takes no reports
            self._hosted.report(progress, self._metrics[0])


@contextmanager
def _folder(directory: Path | None, number: int) -> Iterator[Path]:
    """A new folder for one trial; named by its number in any case, since the allocation notes the name."""
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="precsearch-") as temporary:
            folder = Path(temporary) / f"{number:04d}"
            folder.mkdir()
            yield folder
        return
    folder = directory / f"{number:04d}"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise RunDirectoryError(
            f"a trial must have a new folder, but {folder} exists: another study's, or this trial was trained "
            "before; give each study a `directory` of its own, or remove the folder"
        ) from None
    except OSError as error:
        raise RunDirectoryError(f"cannot make {folder}: {error.strerror or error}; give another `directory`") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # for a resume, and nothing is resumed here
        with suppress(OSError):
            folder.rmdir()  # where nothing came of it


def _run_trial(experiment: Experiment, session: Session) -> TrialResult:
    from precsearch.trial import run_trial  # loads torch: not before something is trained

    return run_trial(experiment, session)
