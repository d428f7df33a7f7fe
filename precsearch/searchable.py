"""An ordinary `nn.Module` made searchable, in place: parametrized weights, hooked inputs, no module replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from precsearch.allocation import Allocation, ModelIdentity
from precsearch.conversion import (
    Conversion,
    apply_allocation,
    describe_layers,
    install,
    quantizers_of,
    refuse_converted,
)
from precsearch.errors import BudgetError, ConfigurationError
from precsearch.layers import take_inventory
from precsearch.precision.budgets import Budget, cost_of
from precsearch.precision.distribution import entropy
from precsearch.precision.planning import make_plan
from precsearch.precision.samplers import SAMPLERS, Fixed, Sampler
from precsearch.quantization.base import Quantizer

__all__ = ["SearchableModel", "apply_allocation"]


class SearchableModel(nn.Module):
    """A model whose layers' bit-widths are drawn anew at every training forward, under a budget.

    In evaluation mode it computes with the allocation that the search would end with now. Three lines make a
    training loop search: wrap the model, give the optimizer `parameter_groups`, take `allocation` at the end.

    Args:
        model: any module with Linear or Conv layers; converted in place.
        budget: what every allocation keeps: one budget, or several, each of which holds on every draw.
        example_input: a batch as the model takes it, [B, ...]; run once, without gradients.
        bits: candidate bit-widths, ascending, 1 to 16.
        targets: what is quantized and searched: ``weight``, ``activation``.
        quantizer: grid of the weights, ``dorefa`` or ``symmetric``.
        scale: rule that sets the range of each bit-width, ``l2`` or ``max``.
        granularity: one weight scale a ``tensor`` or an output ``channel``.
        sampler: how allocations are drawn; see `precsearch.precision.samplers`.
        pin: layer name or pattern -> bits that are not searched, or ``float``; first and last layers are
            searched unless pinned.
        allocation: for the ``fixed`` sampler: an allocation, or bits, one a layer.
        temperature: of the relaxed sample; settable between steps.
        seed: of the draws.

    Raises:
        ModelError: when the model does not run on the example or has no layer to search.
        BudgetError: when no allocation keeps the budget, or the budget does not bind a searched target.
        ConfigurationError: when a name is unknown.

    Reference:
        Lacey, Taylor and Areibi 2018, for stochastic layer-wise precision; the quantizers and samplers name theirs.
    """

    def __init__(
        self,
        model: nn.Module,
        budget: Budget | Sequence[Budget],
        example_input: Tensor,
        *,
        bits: Sequence[int] = (2, 3, 4, 6, 8),
        targets: Sequence[str] = ("weight", "activation"),
        quantizer: str = "dorefa",
        scale: str = "l2",
        granularity: str = "tensor",
        sampler: str = "perturb-and-map",
        pin: Mapping[str, int | str] | None = None,
        allocation: Allocation | Sequence[int] | None = None,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if sampler not in SAMPLERS:
            raise ConfigurationError(f"sampler must be one of {', '.join(SAMPLERS)}, but got {sampler!r}")
        if (sampler == "fixed") != (allocation is not None):
            raise ConfigurationError(
                f"an allocation goes with the `fixed` sampler, and only with it, but got sampler {sampler!r}"
            )
        refuse_converted(model)
        inventory = take_inventory(model, example_input)
        self.budgets = (budget,) if isinstance(budget, Budget) else tuple(budget)
        self.temperature = temperature
        self.conversion = Conversion.make(
            inventory, bits, targets, quantizer, scale, granularity, pin or {}, allocation
        )
        self.plan = make_plan(self.budgets, self.conversion.choices(), self.conversion.bits, inventory.float_elements)
        self.generator = torch.Generator().manual_seed(seed)
        self.sampler = self._make_sampler(sampler, allocation)
        self.model = install(model, self.conversion)
        self._settled: Tensor | None = None

    def _make_sampler(self, name: str, allocation: Allocation | Sequence[int] | None) -> Sampler:
        problem = self.plan.problem
        if allocation is None:
            return SAMPLERS[name](problem, self.generator)
        candidates = self.conversion.candidates_of(allocation, problem)
        if not problem.keeps_budget(candidates):
            broken = {self.plan.constraints[c][0] for c in np.flatnonzero(problem.spent(candidates) > problem.limits)}
            told = " and ".join(f"{self.budgets[i].title} <= {self.budgets[i].limit}" for i in sorted(broken))
            raise BudgetError(
                f"the fixed allocation must keep the budget ({told}), but it costs more; "
                "raise the limit or lower its bits"
            )
        return Fixed(problem, self.generator, candidates)

    @property
    def quantizers(self) -> list[Quantizer]:
        """The searched quantizers, in the order of the problem's slots and their members."""
        return [quantizer for _, quantizer in self._searched()]

    def _searched(self) -> list[tuple[int, Quantizer]]:
        """Every searched quantizer, with the slot that sets it."""
        return [
            (s, quantizers_of(self.model.get_submodule(layer))[target])
            for s, slot in enumerate(self.plan.problem.slots)
            for layer, target in slot.members
        ]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own forward, at a drawn allocation (training) or the current best one (evaluation)."""
        if self.training:
            self.draw()
        else:
            self.settle()
        return self.model(*args, **kwargs)

    def draw(self) -> None:
        """Draw the allocation of the next forwards; called by every training forward.

        Raises:
            ConfigurationError: when the temperature is not positive.
        """
        if not self.temperature > 0:
            raise ConfigurationError(f"the temperature must be positive, but got {self.temperature}")
        self._settled = None
        drawn = self.sampler.draw(self.temperature)
        for s, quantizer in self._searched():
            quantizer.choose(int(drawn.candidates[s]), None if drawn.relaxed_SK is None else drawn.relaxed_SK[s])

    def settle(self) -> None:
        """Set every layer to the allocation that the search would end with now."""
        # Solving again is needed only after a step. Version counters do not tell: fused optimizers leave them alone.
        logits = torch.cat(
            [parameter.detach().flatten() for parameter in self.sampler.parameters()] or [torch.zeros(0)]
        )
        if self._settled is not None and torch.equal(self._settled, logits.cpu()):
            return
        candidates = self.sampler.solve()
        for s, quantizer in self._searched():
            quantizer.choose(int(candidates[s]))
        self._settled = logits.cpu()

    def quantize(self, on: bool) -> None:
        """Switch quantization on or off (warm-up); ranges are kept up to date either way."""
        for module in self.modules():
            if isinstance(module, Quantizer):
                module.enabled = on

    def parameter_groups(self, lr: float, logits_lr: float = 0.1, **settings: Any) -> list[dict[str, Any]]:
        """Groups for any torch optimizer: the weights with `lr` and `settings`, the logits with `logits_lr`."""
        weights = {"params": list(self.model.parameters()), "lr": lr, **settings}
        return [weights, *self.sampler.parameter_group(logits_lr)]

    def entropy(self) -> Tensor:
        """Mean entropy of the slots' candidates, in nats; differentiable."""
        return entropy(self.sampler.probabilities())

    def expected_cost(self) -> Tensor:
        """Mean over the constraints of the expected cost, in parts of the limit; differentiable."""
        cost = self.sampler.expected_cost()
        return cost.sum() / max(1, len(cost))

    def allocation(self) -> Allocation:
        """The allocation that the search would end with now; it keeps the budget.

        It is the exact maximum of the logits under the budget (for the samplers that have one a candidate), and
        leaves no budget unused where another bit would fit.
        """
        self.settle()
        layers = describe_layers(self.model, self.conversion)
        priced = self.conversion.priced(layers)
        elements = self.conversion.inventory.float_elements
        uses = self.plan.uses(priced)
        return Allocation(
            model=ModelIdentity(name=type(self.model).__name__, fingerprint=self.conversion.inventory.fingerprint),
            budget=uses[0],
            budgets=uses,
            layers=layers,
            cost=cost_of(priced, elements, self.plan.moments),
        )

    def freeze(self) -> nn.Module:
        """End the search: every layer keeps its bits of `allocation` for good.

        Returns:
            The model itself, quantized; it still trains (fine-tuning), with straight-through gradients. This
            wrapper must not be used afterwards.
        """
        self.settle()
        candidates = self.sampler.solve()
        for s, quantizer in self._searched():
            quantizer.fix(int(candidates[s]))
        return self.model

    def get_extra_state(self) -> Tensor:
        """State of the draws, so that a resumed search continues with the same ones."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the state of the draws."""
        self.generator.set_state(state.cpu())
        self._settled = None
