"""An ordinary `nn.Module` made searchable, in place: parametrized weights, hooked inputs, no module replaced."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from precsearch.allocation import Allocation
from precsearch.conversion import (
    Conversion,
    Grids,
    Wishes,
    apply_allocation,
    calibrate,
    describe,
    install,
    refuse_converted,
)
from precsearch.conversion.dials import Dials
from precsearch.errors import ConfigurationError, PrecsearchWarning, StaysFloatWarning
from precsearch.layers import Example, take_inventory
from precsearch.precision.answers import Answers
from precsearch.precision.budgets import Budget
from precsearch.precision.diagnosis import Diagnosis
from precsearch.precision.distribution import entropy
from precsearch.precision.limits import Limit
from precsearch.precision.planning import make_plan
from precsearch.precision.samplers import check_sampler, make_sampler
from precsearch.quantization.base import Quantizer
from precsearch.quantization.whole_model import begin_forward, on_forward, quantizers_in

__all__ = ["SearchableModel", "apply_allocation", "calibrate"]


class SearchableModel(nn.Module):
    """A model whose layers' bit-widths are drawn anew at every training forward, under a budget.

    In evaluation mode it computes with the allocation that the search would end with now. Three lines make a
    training loop search: wrap the model, give the optimizer `parameter_groups`, take `allocation` at the end.

    Args:
        model: any module whose forward multiplies, convolves or looks up weights; converted in place.
        budget: what every allocation keeps: one budget, or several, each of which holds on every draw.
        example_input: a batch as the model takes it: a tensor [B, ...], a tuple of the forward's arguments, or a
            mapping of them by name; run once, without gradients.
        bits: candidate bit-widths, ascending, 1 to 16.
        targets: what is quantized and searched: ``weight``, ``activation`` (what a layer reads), ``gradient`` (what
            comes back to what it returns, while training).
        quantizer: grid of the weights, ``dorefa`` or ``symmetric``.
        scale: rule that sets the range of each bit-width, ``l2``, ``max`` or ``power-of-two``.
        granularity: one weight scale a ``tensor`` or an output ``channel``.
        sampler: how allocations are drawn; see `precsearch.precision.samplers`.
        preferences: what the search learns of each layer, ``free``, ``sensitivity`` or ``convex`` (see
            `precsearch.precision.preferences`); what suits the budget where None.
        pin: layers -> bits that are not searched, or ``float``, or either by target. Layers are named by name, by
            pattern (``block*.conv1``), or by type (``type:Embedding``); first and last layers are searched unless
            pinned.
        candidates: layers -> bit-widths that they may get instead of `bits`, or those by target.
        groups: name -> layers that have one bit-width: a list of names and patterns, or
            ``{"layers": [...], "targets": [...]}``. Tied weights always have one.
        share: tensors that several layers read and that get one bit-width: ``residual`` (joined by sums),
            ``shared_input``.
        allocation: for the ``fixed`` sampler: an allocation, or bits, one a layer.
        temperature: of the relaxed sample; settable between steps.
        seed: of the draws.
        kernels: how quantizing is computed: ``eager`` in plain operations, ``compiled`` in one pass each way, or
            ``auto``: compiled for large tensors where there is a compiler.

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
        example_input: Example,
        *,
        bits: Sequence[int] = (2, 3, 4, 6, 8),
        targets: Sequence[str] = ("weight", "activation"),
        quantizer: str = "dorefa",
        scale: str = "l2",
        granularity: str = "tensor",
        sampler: str = "perturb-and-map",
        preferences: str | None = None,
        pin: Mapping[str, Any] | None = None,
        candidates: Mapping[str, Any] | None = None,
        groups: Mapping[str, Any] | None = None,
        share: Sequence[str] = (),
        allocation: Allocation | Sequence[int] | None = None,
        temperature: float = 1.0,
        seed: int = 0,
        kernels: str = "auto",
    ) -> None:
        super().__init__()
        check_sampler(sampler, allocation is not None)
        refuse_converted(model)
        inventory = take_inventory(model, example_input)
        self.budgets = (budget,) if isinstance(budget, Budget) else tuple(budget)
        self.temperature = temperature
        wishes = Wishes(bits, targets, pin or {}, candidates or {}, groups or {}, share)
        self.conversion = Conversion.make(inventory, wishes, Grids(quantizer, scale, granularity), allocation)
        choices, elements = self.conversion.choices(), inventory.float_elements
        self.plan = make_plan(self.budgets, choices, self.conversion.bits, elements, inventory.moments)
        self.generator = torch.Generator().manual_seed(seed)
        fixed = None if allocation is None else self.conversion.candidates_of(allocation, self.plan.problem)
        self.sampler = make_sampler(sampler, self.plan, self.generator, preferences, fixed)
        self.answers = Answers(self.plan, self.sampler)
        self.model = install(model, self.conversion, kernels)
        self.dials = Dials(self.model, self.plan.problem)
        self._quantizers = quantizers_in(self.model)
        self._settled: Tensor | None = None
        self._drawn_from = self.generator.get_state()
        self._looked = False
        self._searching = True
        self._diagnosis = Diagnosis(self.plan.problem, list(self.sampler.parameters()))
        for message in self.conversion.untold():
            warnings.warn(message, StaysFloatWarning, stacklevel=2)
        for message in self.plan.untold() if allocation is None else ():  # one that is given needs no budget to bind
            warnings.warn(message, PrecsearchWarning, stacklevel=2)

    @property
    def limit(self) -> Limit:
        """What evaluation and `allocation` keep; settable within the range of a budget that has one."""
        return self.answers.limit

    @limit.setter
    def limit(self, limit: Limit) -> None:
        self.answers.ask(limit)

    @property
    def quantizers(self) -> list[Quantizer]:
        """The searched quantizers, in the order of the problem's slots."""
        return [quantizer for slot in self.dials.quantizers for quantizer in slot]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own forward, at a drawn allocation (training) or the current best one (evaluation)."""
        if not self.training:
            self.settle()
        elif self.draw():
            return self._look(*args, **kwargs)
        return self.model(*args, **kwargs)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _look(self, *args: Any, **kwargs: Any) -> Any:
        """A forward that looks at the data; one in eight, and no use to compile."""
        return self.model(*args, **kwargs)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def draw(self) -> bool:
        """Draw the allocation of the next forwards; called by every training forward.

        Returns:
            Whether the next forward looks at the data to renew ranges.

        Raises:
            ConfigurationError: when the temperature is not positive.
        """
        if not self.temperature > 0:
            raise ConfigurationError(f"the temperature must be positive, but got {self.temperature}")
        self._settled = None
        again = torch._C._current_graph_task_id() != -1
        if again:  # activation checkpointing computes a forward again, in the backward pass: as it was
            self.generator.set_state(self._drawn_from)
        else:
            self._looked = begin_forward(self._quantizers)
        self._drawn_from = self.generator.get_state()
        drawn = self.sampler.draw(self.temperature)
        self.dials.set(drawn.candidates, drawn.relaxed_SK, self._looked)
        if self._searching and not (again or self.sampler.held):
            self._diagnosis.watch(drawn.candidates, drawn.relaxed_SK)
        return self._looked

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def settle(self) -> None:
        """Set every layer to the allocation that the search would end with now."""
        state = self.answers.state()
        if self._settled is None or not torch.equal(self._settled, state):
            self.dials.set(self.answers.solve())
            self._settled = state

    def quantize(self, on: bool) -> None:
        """Switch quantization on or off (warm-up); ranges are kept up to date either way."""
        self._searching = on
        for quantizer in self._quantizers:
            quantizer.enabled = on

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

    def allocation(self, limit: Limit | None = None) -> Allocation:
        """The allocation that the search would end with now; it keeps the budget.

        It is the exact maximum of the scores under the budget (for the samplers that have one a candidate), and
        leaves no budget unused where another bit would fit. A higher limit gives a layer fewer bits only where the
        total score is higher for it.

        Args:
            limit: within the range of the budget that has one; `SearchableModel.limit` where None.

        Raises:
            BudgetError: when no budget has a range, or the limit is outside.
        """
        with self.answers.at(limit):
            self.settle()
            return describe(self.model, self.conversion, self.answers, self.plan.moments)

    def freeze(self) -> nn.Module:
        """End the search: every layer keeps its bits of `allocation` for good.

        Returns:
            The model itself, quantized; it still trains (fine-tuning), with straight-through gradients. This
            wrapper must not be used afterwards.
        """
        self.settle()
        self.dials.fix(self.answers.solve())
        self.model.register_forward_pre_hook(on_forward)
        return self.model

    def get_extra_state(self) -> Tensor:
        """State of the draws, so that a resumed search continues with the same ones."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the state of the draws."""
        self.generator.set_state(state.cpu())
        self._settled = None
