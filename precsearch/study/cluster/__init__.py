"""What the Ray executor is made of; `wire` and `worker` also run on the nodes, so they import no optuna."""
