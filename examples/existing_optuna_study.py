"""Bit-widths searched inside an Optuna study that you have already, beside parameters of your own.

Run it with `python examples/existing_optuna_study.py`; it takes about 20 seconds. Your study keeps its sampler,
pruner and storage; the lines that bring the search in are marked. Run again, it goes on with the same study.
"""

from __future__ import annotations

import sys
from pathlib import Path

import optuna

import precsearch

SPACE = Path(__file__).parent.parent / "search_spaces" / "digits.yaml"
TRIALS = 8


def main(folder: Path) -> None:
    """Search with one objective and one constraint, and say what was found and where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="digits",
        storage=f"sqlite:///{folder / 'study.db'}",
        load_if_exists=True,
        direction="maximize",
        # no seed: with one, a study that goes on would draw its first points again
        sampler=optuna.samplers.TPESampler(n_startup_trials=4),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=4),
    )

    search = precsearch.OptunaObjective(  # added: what to train; `overrides` change the YAML
        SPACE,
        prefix="bits.",
        directory=folder / "trials",
        overrides=[
            "study.objectives=[{metric: validation_accuracy, direction: maximize}]",
            "study.constraints=[{metric: bitops, max: 90000}]",
            "inner.epochs={warmup: 1, search: 5, finetune: 2}",
        ],
    )

    def objective(trial: optuna.Trial) -> float | tuple[float, ...]:
        width = trial.suggest_int("width", 32, 64, step=16)  # a parameter of your own
        return search(trial, {"model.hidden": [width, 48, 32]})  # added: suggests, trains, reports, returns the value

    # a point known to keep the constraint, tried first: names are the prefix and the YAML's dotted paths
    study.enqueue_trial({"width": 32, "bits.inner.budget.limit": 2.5}, skip_if_exists=True)
    study.optimize(objective, n_trials=TRIALS)

    states = [trial.state.name.lower() for trial in study.trials]
    print(", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))))
    best = study.best_trial  # among those that keep the constraint
    allocation = search.allocation(best)  # added: the answer
    print(f"best: trial {best.number}, {100 * study.best_value:.2f} % of the validation images right")
    for name, value in best.params.items():
        print(f"  {name}: {value:.4g}")
    print(f"  weight/activation bits: {best.user_attrs['precsearch:bits']}")
    print(f"  {allocation.cost.bitops:,} BitOPs, {allocation.cost.model_size:,} bytes")
    print(f"its allocation and weights: {folder / 'trials' / f'{best.number:04d}'}")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["runs/existing-optuna-study"]))
