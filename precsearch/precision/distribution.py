"""The precision distribution of a problem: option probabilities that meet the budget in expectation.

Legend: S slots, K candidates, U units, O options of a unit, C constraints; suffixes say the shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from precsearch.precision.problem import Floats, Problem

_STEPS = 100
_AHEAD = 0.7  # a step that leaves more of the excess than this was slow
_CLOSE = 1e-9


class OptionTable(nn.Module):
    """A problem's tables as buffers, so that they follow the model to its device.

    Args:
        problem: the knapsack.
    """

    index_UOP: Tensor
    invalid_UO: Tensor
    price_UO: Tensor
    constraint_U: Tensor

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem
        candidates = len(problem.bits)
        index = problem.unit_slots[:, None, :] * candidates + problem.option_candidates[None]
        # Prices are in parts of the limit: one scale for every kind of budget.
        self.price = np.where(
            problem.valid, problem.cost / np.maximum(problem.limits, 1e-300)[problem.constraint, None], 0
        )
        dearest = problem.spent(problem.dearest())
        self.binding = dearest > problem.limits
        # The tables are derived from the model and the budget; the state dict does not repeat them.
        self.register_buffer("index_UOP", torch.from_numpy(index), persistent=False)
        self.register_buffer("invalid_UO", torch.from_numpy(~problem.valid), persistent=False)
        self.register_buffer("price_UO", torch.from_numpy(self.price).float(), persistent=False)
        self.register_buffer("constraint_U", torch.from_numpy(problem.constraint), persistent=False)

    def scores(self, logits_SK: Tensor) -> Tensor:
        """Logits of each slot's candidates -> [U, O] their sums over each option's slots, -inf where invalid."""
        padded = torch.cat([logits_SK.flatten(), logits_SK.new_zeros(logits_SK.shape[1])])
        return padded[self.index_UOP].sum(2).masked_fill(self.invalid_UO, -torch.inf)

    def marginals(self, probabilities_UO: Tensor) -> Tensor:
        """Option probabilities -> [S, K] probabilities of each slot's candidates."""
        candidates = len(self.problem.bits)
        flat = probabilities_UO.new_zeros((len(self.problem.slots) + 1) * candidates)
        spread = probabilities_UO.unsqueeze(2).expand(self.index_UOP.shape)
        flat = flat.index_add(0, self.index_UOP.flatten(), spread.flatten())
        return flat.view(-1, candidates)[:-1]

    def expected_cost(self, probabilities_UO: Tensor) -> Tensor:
        """Option probabilities -> [C] expected cost, as parts of the limits."""
        spent_U = (probabilities_UO * self.price_UO).sum(1)
        return spent_U.new_zeros(len(self.problem.limits)).index_add(0, self.constraint_U, spent_U)

    def tilt(self, scores_UO: Tensor, temperature: float) -> Tensor:
        """Probabilities ``softmax((scores - multiplier * price) / temperature)`` that spend the limit in expectation.

        The multiplier is found without gradients; one differentiable Newton step from the solution then carries
        its implicit derivative. A constraint that even the dearest allocation keeps does not tilt.

        Args:
            scores_UO: [U, O].
            temperature: positive.

        Returns:
            [U, O] probabilities, rows sum to one.
        """
        scaled = scores_UO / temperature
        found_C = self._multipliers(scaled.detach().double().cpu().numpy())
        multiplier_C = torch.from_numpy(found_C).to(scaled)
        start = torch.softmax(scaled - multiplier_C[self.constraint_U, None] * self.price_UO, dim=1)
        spent_C = self.expected_cost(start)
        with torch.no_grad():
            variance_C = self._variance(start)
        binding_C = torch.from_numpy(self.binding).to(scaled.device) & (variance_C > 1e-8)  # noqa: PLR2004
        newton_C = torch.where(binding_C, (spent_C - 1) / variance_C.clamp_min(1e-8), torch.zeros_like(spent_C))
        # At the solution the Newton step is nearly zero; it is there for its derivative.
        newton_C = newton_C - newton_C.detach()
        tilted_C = multiplier_C + newton_C
        return torch.softmax(scaled - tilted_C[self.constraint_U, None] * self.price_UO, dim=1)

    def _variance(self, probabilities_UO: Tensor) -> Tensor:
        mean_U = (probabilities_UO * self.price_UO).sum(1)
        variance_U = (probabilities_UO * self.price_UO.square()).sum(1) - mean_U.square()
        return variance_U.new_zeros(len(self.problem.limits)).index_add(0, self.constraint_U, variance_U)

    def _multipliers(self, scaled_UO: Floats) -> Floats:
        """Solve ``expected cost = limit`` for all constraints at once -> [C].

        Newton steps where they get ahead; where the cost is flat or leaps (many layers, low temperatures) a root is
        first enclosed by ever wider steps, then halved in on.
        """
        problem = self.problem
        count = len(problem.limits)
        low, high = np.full(count, -np.inf), np.full(count, np.inf)
        current, before = np.zeros(count), np.full(count, np.inf)
        for _ in range(_STEPS):
            excess, variance = self._excess(scaled_UO, current)
            sought = self.binding & (np.abs(excess) >= _CLOSE)
            if not sought.any():
                break
            low, high = np.where(excess > 0, current, low), np.where(excess > 0, high, current)
            wide = 3 * np.abs(current) + 1
            near, far = np.where(np.isinf(low), current - wide, low), np.where(np.isinf(high), current + wide, high)
            outward = np.where(excess > 0, far, near)
            halved = np.where(np.isinf(high - low), outward, (near + far) / 2)
            newton = current + excess / np.maximum(variance, 1e-300)
            ahead = (newton > near) & (newton < far) & (np.abs(excess) < _AHEAD * before)
            current, before = np.where(sought, np.where(ahead, newton, halved), current), np.abs(excess)
        return np.where(self.binding, current, 0.0)

    def _excess(self, scaled_UO: Floats, multiplier_C: Floats) -> tuple[Floats, Floats]:
        """Expected cost beyond the limit and its variance, in parts of the limit -> [C], [C]."""
        constraint, count = self.problem.constraint, len(multiplier_C)
        tilted = scaled_UO - multiplier_C[constraint, None] * self.price
        p = np.exp(tilted - tilted.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        mean = (p * self.price).sum(1)
        variance = (p * self.price**2).sum(1) - mean**2
        of_constraint = np.eye(count)[constraint]
        return mean @ of_constraint - 1, variance @ of_constraint


def entropy(probabilities_SK: Tensor) -> Tensor:
    """Mean entropy of the slots' candidates, in nats, []."""
    # The derivative of entr is infinite at 0, where a budget leaves a candidate no room.
    entropy_SK: Tensor = torch.special.entr(probabilities_SK.clamp_min(1e-12))
    return entropy_SK.sum(1).mean()


def gumbel(shape: Any, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise, float32 on the CPU."""
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    noise: Tensor = -(-uniform.clamp(1e-12, 1 - 1e-12).log()).log()
    return noise.float()
