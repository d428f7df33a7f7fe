"""precsearch inside a Ray Tune tuner that is yours already: your scheduler, your resources, your storage.

Two lines are precsearch's: the trainable and its search space. Run it from anywhere:
`python examples/existing_tuner_asha.py`.
"""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray warns of a default to come without it

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

import precsearch
from precsearch.experiment import bundled
from precsearch.study.trainable import allocation_of

SPACE = bundled("digits")  # or the path of a YAML file of your own
EPOCHS = 14


def main() -> None:
    """Tune eight trials, stop the weak ones early, and print the bits of the best."""
    tuner = tune.Tuner(
        precsearch.tune_trainable(SPACE),
        param_space=precsearch.tune_space(SPACE) | {"inner.optimizer.lr": tune.loguniform(1e-3, 3e-2)},
        tune_config=tune.TuneConfig(
            metric="validation_accuracy",
            mode="max",
            num_samples=8,
            # Two epochs of warm-up train in float32: nobody is judged by them.
            scheduler=ASHAScheduler(grace_period=4, max_t=EPOCHS, reduction_factor=2),
            reuse_actors=True,  # a trial takes less time than starting a process for it
        ),
        run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(prefix="tune-"), verbose=0),
    )
    results = tuner.fit()
    ended = [result for result in results if result.metrics["step"] == result.metrics["steps"]]
    best = max(ended, key=lambda result: result.metrics["validation_accuracy"])
    allocation = allocation_of(best)

    print(f"{len(results)} trials, {len(ended)} of them to the end")
    print(f"validation accuracy: {100 * best.metrics['validation_accuracy']:.1f} %")
    print(f"budget: {allocation.budget.achieved:.2f} of {allocation.budget.limit} bits on average")
    print(f"{'layer':8s} weight activation")
    for layer in allocation.layers:
        print(f"{layer.name:8s} {layer.bits('weight'):6d} {layer.bits('activation'):10d}")


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    main()
    ray.shutdown()
