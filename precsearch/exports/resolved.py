"""The experiment that one training trained: the run's own, at that trial's point or for that arm."""

from __future__ import annotations

from precsearch.errors import RunDirectoryError
from precsearch.experiment import Experiment, load_experiment
from precsearch.experiment.loading import apply_point
from precsearch.exports.choice import Choice
from precsearch.records import TrainingRecord


def experiment_of_choice(choice: Choice) -> Experiment:
    """What the chosen training trained.

    Raises:
        RunDirectoryError: when its record was not copied.
    """
    experiment = load_experiment(choice.run.experiment)
    if choice.record is None:
        raise RunDirectoryError(
            f"a network is exported from the folder of its training, but {choice.folder} has no result.json; "
            "copy the run directory whole"
        )
    if isinstance(choice.record, TrainingRecord):
        from precsearch.study.arms.look import read_layers
        from precsearch.study.arms.plan import arm_experiment, plan_arms

        plan, label = plan_arms(experiment, read_layers(choice.run)), choice.record.label
        arm = next((training.arm for training in plan.trainings if training.arm.label == label), None)
        if arm is None:
            raise RunDirectoryError(
                f"an arm of the experiment must have the training's name, but none of {choice.run.experiment} is "
                f"{label!r}; was layers.json copied too?"
            )
        return arm_experiment(experiment, {}, arm, choice.record.params)
    return apply_point(experiment, choice.record.params)
