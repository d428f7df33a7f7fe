"""The two stages of one training: searching (with its warm-up), then fine-tuning what was found.

A stage knows one epoch; `trial.py` strings epochs together and checkpoints between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from precsearch.allocation import Allocation
from precsearch.data.batches import Batches
from precsearch.experiment import InnerSettings, OptimizerSettings
from precsearch.searchable import SearchableModel
from precsearch.training.computing import Computing, plainly
from precsearch.training.epochs import check_finite, forever, mean_loss
from precsearch.training.noise import Noise
from precsearch.training.optimizers import OPTIMIZERS, load_optimizer
from precsearch.training.schedules import temperature_at

_FINETUNE_SHARE = 1 / 3

REGULARIZERS: dict[str, Callable[[SearchableModel], Tensor]] = {
    "none": lambda searchable: torch.zeros(()),
    "entropy": lambda searchable: searchable.entropy(),
    "cost": lambda searchable: searchable.expected_cost(),
}


class Stage:
    """Weights, their optimizer and its cosine schedule over the whole stage.

    Args:
        model: what learns.
        weights: its parameters.
        settings: optimizer settings.
        lr: learning rate at the start.
        steps: optimizer steps of the whole stage.
        computing: how the model's forward is computed.
        noise: of the training; none where None.
    """

    def __init__(
        self,
        model: nn.Module,
        weights: list[nn.Parameter],
        settings: OptimizerSettings,
        lr: float,
        steps: int,
        computing: Computing = plainly,
        noise: Noise | None = None,
    ) -> None:
        self.model = model
        self.noise = noise or Noise()
        self.forward = computing(model)
        self.optimizer = OPTIMIZERS[settings.name](weights, settings, lr)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=max(1, steps))

    def epoch(self, step: Callable[[Tensor, Tensor], float], batches: Batches, warm_up: bool = False) -> float:
        """One epoch of steps in training mode, with the noise -> mean loss."""
        self.model.train()
        with self.noise.epoch(warm_up):
            return mean_loss(step, batches)

    def step(self, loss: Callable[[], Tensor]) -> float:
        """One step of the weights down the gradient of the loss that is computed.

        Raises:
            DivergedError: when the loss is no longer finite.
        """
        with self.noise.step():
            made = loss()
            value = check_finite("the training loss", float(made.detach()))
            torch.autograd.backward(made)
        self.optimizer.step()
        self.schedule.step()
        return value

    def weight_step(self, inputs: Tensor, targets: Tensor) -> float:
        """One step of the weights on one batch -> its loss."""
        self.zero_grad()
        return self.step(lambda: nn.functional.cross_entropy(self.forward(inputs), targets))

    def zero_grad(self) -> None:
        """Clear every gradient of the stage."""
        self.optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while the stage runs."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "noise": self.noise.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`, with the optimizer settings of this stage."""
        self.model.load_state_dict(state["model"])
        load_optimizer(self.optimizer, state["optimizer"])
        now = {"base_lrs": self.schedule.base_lrs, "_last_lr": [group["lr"] for group in self.optimizer.param_groups]}
        self.schedule.load_state_dict(state["schedule"] | now)
        self.noise.load_state_dict(state.get("noise", {}))


class SearchStage(Stage):
    """Warm-up and search.

    Args:
        searchable: the converted model.
        settings: of the inner search.
        batches: an epoch of the weights' images.
        held_out: batches for the logits alone, or None to learn both from the same.
        computing: how the model's forward is computed.
        noise: of the training; none where None.
    """

    def __init__(
        self,
        searchable: SearchableModel,
        settings: InnerSettings,
        batches: Batches,
        held_out: Batches | None,
        computing: Computing = plainly,
        noise: Noise | None = None,
    ) -> None:
        optimizer, epochs = settings.optimizer, settings.epochs
        steps = (epochs.warmup + epochs.search) * len(batches)
        weights = list(searchable.model.parameters())
        super().__init__(searchable, weights, optimizer, optimizer.lr, steps, computing, noise)
        self.searchable = searchable
        self.settings = settings
        self.batches = batches
        self.held_out = held_out
        self.search_steps = max(1, epochs.search * len(batches))
        self.searched = 0
        logits = searchable.sampler.parameter_group(settings.logits.lr)
        self.logits_optimizer = torch.optim.Adam(logits) if logits else None

    def warm_up(self) -> float:
        """One epoch in float32, while the ranges get to know the data -> mean loss."""
        self.searchable.quantize(False)
        return self.epoch(self.weight_step, self.batches, warm_up=True)

    def search(self) -> float:
        """One epoch of drawn allocations -> mean loss."""
        self.searchable.quantize(True)
        if self.held_out is None:
            return self.epoch(partial(self._search_step, held_out=None), self.batches)
        with closing(forever(self.held_out)) as held_out:
            return self.epoch(partial(self._search_step, held_out=held_out), self.batches)

    def told(self) -> dict[str, float]:
        """What is told of an epoch beside losses, accuracies and costs."""
        return {"entropy": float(self.searchable.entropy().detach()), "temperature": self.searchable.temperature}

    def allocation(self) -> Allocation:
        """What the search would end with now."""
        return self.searchable.allocation()

    def settle(self) -> Allocation:
        """What the search ends with, for good."""
        self.searchable.quantize(True)
        return self.searchable.allocation()

    def freeze(self) -> nn.Module:
        """The model at that allocation; the stage must not be used afterwards."""
        return self.searchable.freeze()

    def _search_step(self, inputs: Tensor, targets: Tensor, held_out: Iterator[tuple[Tensor, Tensor]] | None) -> float:
        progress = self.searched / self.search_steps
        self.searchable.temperature = temperature_at(self.settings.temperature, progress)
        self.searched += 1
        if self.logits_optimizer is None:
            return self.weight_step(inputs, targets)
        if held_out is None:
            self.zero_grad()
            value = self.step(lambda: self._loss(inputs, targets))
        else:
            value = self.weight_step(inputs, targets)
            self.zero_grad()
            loss = self._loss(*next(held_out))
            check_finite("the held-out loss", float(loss.detach()))
            torch.autograd.backward(loss)
        self.logits_optimizer.step()
        return value

    def _loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        regularization = self.settings.regularization
        # It grows from nothing: entropy would settle the first random preferences before the data has spoken.
        strength = regularization.strength * self.searched / self.search_steps
        loss = nn.functional.cross_entropy(self.forward(inputs), targets)
        loss = loss + self.searchable.sampler.penalty()
        return loss + strength * REGULARIZERS[regularization.kind](self.searchable)

    def zero_grad(self) -> None:
        """Clear the gradients of weights and logits."""
        super().zero_grad()
        if self.logits_optimizer is not None:
            self.logits_optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while the stage runs."""
        state = super().state_dict()
        logits = self.logits_optimizer.state_dict() if self.logits_optimizer is not None else None
        return {**state, "logits_optimizer": logits, "searched": self.searched}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        super().load_state_dict(state)
        if self.logits_optimizer is not None:
            load_optimizer(self.logits_optimizer, state["logits_optimizer"])
        self.searched = state["searched"]


class FinetuneStage(Stage):
    """Weights alone, at the allocation found.

    Args:
        model: frozen.
        settings: of the inner search.
        batches: an epoch of images.
        computing: how the model's forward is computed.
        noise: of the training; none where None.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: InnerSettings,
        batches: Batches,
        computing: Computing = plainly,
        noise: Noise | None = None,
    ) -> None:
        optimizer = settings.optimizer
        lr = optimizer.finetune_lr if optimizer.finetune_lr is not None else optimizer.lr * _FINETUNE_SHARE
        steps = settings.epochs.finetune * len(batches)
        # of a searchable model the logits as well, which get no gradient any more
        super().__init__(model, list(model.parameters()), optimizer, lr, steps, computing, noise)
        self.batches = batches

    def finetune(self) -> float:
        """One epoch -> mean loss."""
        return self.epoch(self.weight_step, self.batches)
