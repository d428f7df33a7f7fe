"""The precision distribution of a problem: probabilities that meet the budgets in expectation.

Legend: S slots, K candidates, H candidates of a slot's hub, L leaves, C constraints; suffixes say the shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from precsearch.precision.dual import free_of_sign, solve_dual
from precsearch.precision.problem import Floats, Problem

_SMALLEST_VARIANCE = 1e-8


class PriceTable(nn.Module):
    """A problem's tables as buffers, so that they follow the model to its device.

    Args:
        problem: the knapsack.
    """

    absent_SK: Tensor
    price_CSHK: Tensor
    leaves_L: Tensor
    hubs_L: Tensor
    roots_R: Tensor

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem
        roots = np.flatnonzero(problem.hub == len(problem.slots))
        # The tables are derived from the model and the budget; the state dict does not repeat them.
        self.register_buffer("absent_SK", torch.from_numpy(~problem.candidates), persistent=False)
        self.register_buffer("price_CSHK", torch.from_numpy(problem.price).float(), persistent=False)
        self.register_buffer("leaves_L", torch.from_numpy(problem.leaves), persistent=False)
        self.register_buffer("hubs_L", torch.from_numpy(problem.hub[problem.leaves]), persistent=False)
        self.register_buffer("roots_R", torch.from_numpy(roots), persistent=False)

    def scores(self, logits_SK: Tensor) -> Tensor:
        """Logits, -inf where a slot has no such candidate."""
        return logits_SK.masked_fill(self.absent_SK, -torch.inf)

    def joint(self, tilted_SHK: Tensor) -> Tensor:
        """Probabilities of (hub's candidate, own candidate), [S, H, K]; slots without a hub have only ``h = 0``."""
        if not len(self.leaves_L):
            return torch.softmax(tilted_SHK, dim=2)
        of_leaves = tilted_SHK.index_select(0, self.leaves_L)
        root_SK = tilted_SHK[:, 0].index_add(0, self.hubs_L, torch.logsumexp(of_leaves, dim=2))
        p_SK = torch.softmax(root_SK, dim=1)
        of_leaves = torch.softmax(of_leaves, dim=2) * p_SK.index_select(0, self.hubs_L).unsqueeze(2)
        p_RK = p_SK.index_select(0, self.roots_R).unsqueeze(1)
        of_roots = torch.cat([p_RK, p_RK.new_zeros(len(p_RK), tilted_SHK.shape[1] - 1, tilted_SHK.shape[2])], dim=1)
        joint = torch.zeros_like(tilted_SHK).index_copy(0, self.leaves_L, of_leaves)
        return joint.index_copy(0, self.roots_R, of_roots)

    def untilted(self, scores_SK: Tensor) -> Tensor:
        """[S, H, K] probabilities whose marginals are the softmax of the scores."""
        return self.joint(scores_SK.unsqueeze(1).expand(-1, self.price_CSHK.shape[2], -1))

    def expected_cost(self, joint_SHK: Tensor) -> Tensor:
        """[S, H, K] probabilities -> [C] expected cost, as parts of the limits."""
        return (joint_SHK * self.price_CSHK).sum((1, 2, 3))

    def tilt(self, scores_SK: Tensor, temperature: float, problem: Problem | None = None) -> Tensor:
        """Probabilities tilted by ``multiplier * price`` so that they keep the limits in expectation.

        A budget that shares its slots with no other is spent in expectation; of several on the same slots, those
        that bind are. A constraint that even the dearest allocation keeps does not tilt. The multipliers are found
        without gradients; one differentiable Newton step from the solution then carries their implicit derivative.

        Args:
            scores_SK: -inf where there is no candidate.
            temperature: positive.
            problem: the same under other limits (`Problem.with_limits`); the table's own where None.

        Returns:
            [S, H, K] probabilities of (hub's candidate, own candidate); [S, K] when summed over H.
        """
        scaled_SK = scores_SK / temperature
        problem = self.problem if problem is None else problem
        found_C, inverse_CC = self._solve(scaled_SK.detach().double().cpu().numpy(), problem)
        room_C = torch.from_numpy(problem.limits / problem.scale).to(scaled_SK)
        multiplier_C = torch.from_numpy(found_C).to(scaled_SK)
        spent_C = self.expected_cost(self._tilted(scaled_SK, multiplier_C))
        newton_C = torch.from_numpy(inverse_CC).to(scaled_SK) @ (spent_C - room_C)
        # At the solution the Newton step is nearly zero; it is there for its derivative.
        return self._tilted(scaled_SK, multiplier_C + (newton_C - newton_C.detach()))

    def _tilted(self, scaled_SK: Tensor, multiplier_C: Tensor) -> Tensor:
        return self.joint(scaled_SK.unsqueeze(1) - (multiplier_C[:, None, None, None] * self.price_CSHK).sum(0))

    def _solve(self, scaled_SK: Floats, problem: Problem) -> tuple[Floats, Floats]:
        """[C] multipliers, and the inverse covariance of the prices of those that move, [C, C]."""
        tight, count = problem.tight, len(problem.limits)
        multiplier, inverse = np.zeros(count), np.zeros((count, count))
        if len(tight.limits):
            found, covariance = solve_dual(scaled_SK, tight)
            moving = (found > free_of_sign(tight)) & (covariance.diagonal() > _SMALLEST_VARIANCE)
            at = np.flatnonzero(problem.binding)
            multiplier[at] = found
            own = at[moving]
            if tight.separable:
                inverse[own, own] = 1 / covariance.diagonal()[moving]
            else:
                inside = covariance[np.ix_(moving, moving)]
                inverse[np.ix_(own, own)] = np.linalg.pinv(inside, rcond=1e-9, hermitian=True)
        return multiplier, inverse


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
