"""What rounding each layer is likely to cost, told from the float network alone: the baselines a search must beat.

Legend: S slots, K candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from precsearch.allocation import Allocation
from precsearch.conversion import describe
from precsearch.errors import ConfigurationError, ModelError
from precsearch.precision.exact import solve_exactly
from precsearch.precision.limits import Limit
from precsearch.precision.problem import Floats
from precsearch.quantization.base import Quantizer
from precsearch.searchable import SearchableModel

LossFunction = Callable[[Tensor, Tensor], Tensor]
# Of a tensor and the loss, what is known of its curvature or slope -> the cost of an error of the tensor's shape.
Price = Callable[[Tensor], Tensor]
Batch = tuple[Tensor, Tensor]


def _gradient(loss: Tensor, tensors: list[Tensor], generator: torch.Generator) -> list[Price]:
    """First order: the sum over elements of ``|dL/dx * error|``.

    Reference:
        Molchanov et al. 2017 (arXiv:1611.06440), section 2.2: the change of the loss by a first-order Taylor
        expansion, there of pruning an activation, here of rounding, and absolute for each element.
    """

    def price(slope: Tensor) -> Price:
        return lambda error: (slope * error).abs().sum()

    return [price(slope) for slope in torch.autograd.grad(loss, tensors, materialize_grads=True)]


def _hessian(loss: Tensor, tensors: list[Tensor], generator: torch.Generator) -> list[Price]:
    """Second order: ``1/2 * (trace of the Hessian / elements) * |error|^2``, of one random direction a batch.

    Reference:
        Dong et al. 2020 (HAWQ-V2, arXiv:1911.03852): mean trace times squared error, traces by Hutchinson's
        estimator. Its factor 1/2, that of the Taylor expansion, changes no ranking.
    """

    def price(trace: Tensor, elements: int) -> Price:
        return lambda error: trace / elements * error.square().sum() / 2

    return [
        price(trace, tensor.numel()) for trace, tensor in zip(traces(loss, tensors, generator), tensors, strict=True)
    ]


SENSITIVITIES: dict[str, Callable[[Tensor, list[Tensor], torch.Generator], list[Price]]] = {
    "gradient": _gradient,
    "hessian": _hessian,
}


def traces(loss: Tensor, tensors: list[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Hutchinson's estimate, from one direction of random signs, of each tensor's own block of the Hessian's trace.

    Args:
        loss: [], a function of the tensors that can be differentiated twice.
        tensors: of any shape.
        generator: of the signs; on the CPU.

    Returns:
        A trace for each tensor, []; unbiased, also where one tensor is computed from another.
    """
    slopes = torch.autograd.grad(loss, tensors, create_graph=True, materialize_grads=True)
    signs = [(torch.randint(2, t.shape, generator=generator) * 2 - 1).to(t) for t in tensors]
    inner = torch.stack([(slope * sign).sum() for slope, sign in zip(slopes, signs, strict=True)]).sum()
    if not inner.requires_grad:  # a loss without curvature
        return [torch.zeros((), device=t.device) for t in tensors]
    curved = torch.autograd.grad(inner, tensors, materialize_grads=True)
    return [(each * sign).sum() for each, sign in zip(curved, signs, strict=True)]


def sensitivity_scores(
    searchable: SearchableModel,
    batches: Iterable[Batch],
    method: str,
    loss: LossFunction = nn.functional.cross_entropy,
    seed: int = 0,
) -> Floats:
    """What each candidate of each slot is expected to add to the loss, from the float network, in evaluation mode.

    Args:
        searchable: warmed up or calibrated: its ranges are known. Its modes and gradients are left as they were.
        batches: (inputs, targets); each counts alike.
        method: ``gradient`` or ``hessian``.
        loss: of outputs and targets, the mean over a batch.
        seed: of the random directions.

    Returns:
        [S, K], nan where a slot has no such candidate; 0 for gradients, which do not change the loss.

    Raises:
        ConfigurationError: when the method is unknown or there are no batches.
        ModelError: when a range is not known.
    """
    if method not in SENSITIVITIES:
        raise ConfigurationError(f"method must be one of {', '.join(SENSITIVITIES)}, but got {method!r}")
    problem, generator = searchable.plan.problem, torch.Generator().manual_seed(seed)
    slots = [[quantizer for quantizer in own if quantizer.teaches] for own in searchable.dials.quantizers]
    quantizers = list(dict.fromkeys(q for own in slots for q in own))
    if not all(quantizer.known for quantizer in quantizers):
        raise ModelError("sensitivities need ranges; warm up, or call `precsearch.calibrate(model, batch)` first")
    count, sums = 0, {quantizer: np.zeros(len(quantizer.bits)) for quantizer in quantizers}
    for inputs, targets in batches:
        count += 1
        for quantizer, costs in _of_batch(searchable, quantizers, inputs, targets, loss, method, generator):
            sums[quantizer] += costs
    if not count:
        raise ConfigurationError("sensitivities need at least one batch, but got none")
    scores = np.where(problem.candidates, 0.0, np.nan)
    for s, own in enumerate(slots):
        for quantizer in own:
            scores[s, [problem.bits.index(bits) for bits in quantizer.bits]] += sums[quantizer] / count
    return scores


def sensitivity_allocation(
    searchable: SearchableModel,
    batches: Iterable[Batch],
    method: str,
    limit: Limit | None = None,
    loss: LossFunction = nn.functional.cross_entropy,
    seed: int = 0,
) -> Allocation:
    """The allocation of least total sensitivity under the budgets; train it with the sampler ``fixed``.

    Args:
        searchable: after its warm-up; the search goes on as if nothing had been asked.
        batches: (inputs, targets); each counts alike.
        method: ``gradient`` or ``hessian``.
        limit: within the range of the budget that has one; the searchable model's own where None.
        loss: of outputs and targets, the mean over a batch.
        seed: of the random directions.

    Returns:
        Exactly the least sum of scores, slack filled; it keeps every budget.

    Raises:
        BudgetError: when the limit is outside the range, or there is no range.
        ConfigurationError, ModelError: as `sensitivity_scores`.
    """
    costs_SK = sensitivity_scores(searchable, batches, method, loss, seed)
    answers, plan, dials = searchable.answers, searchable.plan, searchable.dials
    before = [(quantizer, quantizer.bits.index(quantizer.chosen_bits)) for quantizer in searchable.quantizers]
    with answers.at(limit):
        problem = plan.problem if plan.ranged is None else plan.ranged.at(answers.limit)
        dials.set(solve_exactly(problem.mask(-np.nan_to_num(costs_SK)), problem))
        allocation = describe(searchable.model, searchable.conversion, answers, plan.moments)
    for quantizer, candidate in before:
        quantizer.choose(candidate)
    return allocation


def _of_batch(
    searchable: SearchableModel,
    quantizers: list[Quantizer],
    inputs: Tensor,
    targets: Tensor,
    loss: LossFunction,
    method: str,
    generator: torch.Generator,
) -> list[tuple[Quantizer, Floats]]:
    """The costs of every quantizer's candidates, once for each time that it ran."""
    tapped: list[tuple[Quantizer, Tensor]] = []

    def tap(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        assert isinstance(module, Quantizer)
        tapped.append((module, output if output.requires_grad else output.detach().requires_grad_()))
        return tapped[-1][1]

    handles = [quantizer.register_forward_hook(tap) for quantizer in quantizers]
    enabled, training = [quantizer.enabled for quantizer in quantizers], searchable.training
    searchable.model.eval()
    try:
        for quantizer in quantizers:
            quantizer.enabled = False
        value = loss(searchable.model(inputs), targets)
        prices = SENSITIVITIES[method](value, [tensor for _, tensor in tapped], generator)
    finally:
        for handle in handles:
            handle.remove()
        for quantizer, on in zip(quantizers, enabled, strict=True):
            quantizer.enabled = on
        searchable.model.train(training)
    return [
        (quantizer, _price_all(quantizer, tensor, price))
        for (quantizer, tensor), price in zip(tapped, prices, strict=True)
    ]


@torch.no_grad()
def _price_all(quantizer: Quantizer, tensor: Tensor, price: Price) -> Floats:
    """[K] what the rounding errors of the candidates cost."""
    before, enabled = quantizer.bits.index(quantizer.chosen_bits), quantizer.enabled
    quantizer.enabled = True
    costs = []
    for candidate in range(len(quantizer.bits)):
        quantizer.choose(candidate)
        costs.append(float(price(quantizer.forward(tensor) - tensor)))
    quantizer.choose(before)
    quantizer.enabled = enabled
    return np.array(costs)
