"""The optimizers of the weights, by name, and how they go on from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from precsearch.experiment import OptimizerSettings

OPTIMIZERS: dict[str, Callable[[Any, OptimizerSettings, float], torch.optim.Optimizer]] = {
    "adam": lambda params, s, lr: torch.optim.Adam(params, lr=lr, weight_decay=s.weight_decay),
    "sgd": lambda params, s, lr: torch.optim.SGD(
        params, lr=lr, momentum=s.momentum, weight_decay=s.weight_decay, nesterov=s.momentum > 0
    ),
}


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load moments and the place in the schedule; the settings stay, as the experiment may have been changed."""
    groups = optimizer.state_dict()["param_groups"]
    for own, saved in zip(groups, state["param_groups"], strict=True):
        if "initial_lr" in own:  # the share of it that the schedule has come down to; exact where nothing changed
            own["lr"] = saved["lr"] * (own["initial_lr"] / saved["initial_lr"])
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
