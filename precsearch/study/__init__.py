"""Many trials: the outer search. `driver.run_study` is the door; optuna loads when it opens."""
