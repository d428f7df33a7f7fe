"""The multipliers at which a tilted distribution spends the limits in expectation.

The distribution is ``p(choice) ~ exp(sum of (score - multiplier . price))`` over all choices; with the hub's
candidate given a star's leaves are independent, so its sums are exact. The multipliers minimize the convex dual
``log Z(m) + sum(m)``; its gradient is ``1 - expected price``, its Hessian the covariance of the prices.

Legend: S slots, K candidates, H candidates of a slot's hub, C constraints that can be broken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from precsearch.precision.problem import Floats, Problem

_STEPS = 100
_NEWTON_STEPS = 60
_MILD = 8.0  # spread of the scores of one slot, over the temperature, that Newton's steps cope with
_COOLING = 4.0
_AHEAD = 0.7  # a step that leaves more of the excess than this was slow
_CLOSE = 1e-9


@dataclass(frozen=True)
class Moments:
    """Of the prices under a tilted distribution.

    Attributes:
        log_z: logarithm of the normalizer.
        mean: [C] expected price, in parts of the limits.
        covariance: [C, C].
    """

    log_z: float
    mean: Floats
    covariance: Floats


def moments(scores_SK: Floats, multiplier_C: Floats, problem: Problem) -> Moments:
    """Mean and covariance of the prices at these multipliers.

    Args:
        scores_SK: over the temperature; -inf where there is no candidate.
        multiplier_C: any sign.
        problem: `Problem.tight`.
    """
    price = problem.price
    tilted = scores_SK[:, None, :] - (multiplier_C @ price.reshape(len(price), -1)).reshape(price.shape[1:])
    own = price[:, :, 0, :]
    root, leaves = tilted[:, 0], problem.leaves
    covariance = np.zeros((len(multiplier_C),) * 2)
    if len(leaves):
        hubs, of_leaves = problem.hub[leaves], price[:, leaves]
        top = tilted[leaves].max(2, keepdims=True)
        p = np.exp(tilted[leaves] - top)
        z = p.sum(2, keepdims=True)
        p /= z
        mean_CLH = (p * of_leaves).sum(3)
        root, own = root.copy(), own.copy()
        problem.to_hubs(root, (np.log(z) + top)[:, :, 0])
        problem.to_hubs(own, mean_CLH, axis=1)
    roots = problem.center == np.arange(len(root))
    root, own = root[roots], own[:, roots]
    top = root.max(1, keepdims=True)
    p_root = np.exp(root - top)
    z_root = p_root.sum(1, keepdims=True)
    p_root /= z_root
    mean_CS = (p_root * own).sum(2)
    covariance += np.einsum("csk,dsk->cd", p_root * own, own) - mean_CS @ mean_CS.T
    if len(leaves):
        place = np.cumsum(roots) - 1
        weight = p_root[place[hubs]]
        covariance += np.einsum("clhk,dlhk->cd", p * weight[:, :, None] * of_leaves, of_leaves)
        covariance -= np.einsum("clh,dlh->cd", mean_CLH * weight, mean_CLH)
    return Moments(float((np.log(z_root) + top).sum()), mean_CS.sum(1), covariance)


def free_of_sign(problem: Problem) -> Floats:
    """[C] the least that each multiplier may be: anything where no other budget shares the slots, else 0.

    A single budget is spent in expectation, even where the scores alone would spend less; of several budgets on the
    same slots, some can only be kept.
    """
    alone = (problem.group[:, None] == problem.group).sum(1) == 1
    return np.where(alone, -np.inf, 0.0)


def find_multipliers(scores_SK: Floats, problem: Problem) -> Floats:
    """[C] the multipliers at which every limit is kept, and spent where its multiplier is not 0, in expectation.

    Args:
        scores_SK: over the temperature; -inf where there is no candidate.
        problem: `Problem.tight`.
    """
    return solve_dual(scores_SK, problem)[0]


def solve_dual(scores_SK: Floats, problem: Problem) -> tuple[Floats, Floats]:
    """The multipliers of `find_multipliers`, [C], and the covariance of the prices there, [C, C]."""
    if problem.separable:
        found, variance = _roots(scores_SK, problem)
        return found, np.diag(variance)
    found = _from_hot(scores_SK, problem)
    return found, moments(scores_SK, found, problem).covariance


def _roots(scores_SK: Floats, problem: Problem) -> tuple[Floats, Floats]:
    """Solve ``expected price = 1`` for every constraint at once -> multipliers and the prices' variances, [C] each.

    Newton steps where they get ahead; where the cost is flat or leaps (many layers, low temperatures) a root is
    first enclosed by ever wider steps, then halved in on.
    """
    count, room = len(problem.limits), problem.limits / problem.scale
    low, high = np.full(count, -np.inf), np.full(count, np.inf)
    current, before = np.zeros(count), np.full(count, np.inf)
    for _ in range(_STEPS):
        mean, variance = _each_alone(scores_SK, current, problem)
        excess = mean - room
        sought = np.abs(excess) >= _CLOSE
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
    return current, variance


def _each_alone(scores_SK: Floats, multiplier_C: Floats, problem: Problem) -> tuple[Floats, Floats]:
    """Mean and variance of the prices of a separable problem -> [C], [C]; quick where no slot has a hub."""
    if len(problem.leaves):
        now = moments(scores_SK, multiplier_C, problem)
        return now.mean, now.covariance.diagonal()
    price = problem.own_price[:, 0]
    tilted = scores_SK - multiplier_C[problem.owner, None] * price
    p = np.exp(tilted - tilted.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p *= price
    mean = p.sum(1)
    variance = (p * price).sum(1) - mean**2
    return mean @ problem.owned, variance @ problem.owned


def _from_hot(scores_SK: Floats, problem: Problem) -> Floats:
    """Solve at a temperature that Newton's steps can cope with, then ever colder, each from the one before.

    Cold distributions are settled nearly everywhere, and their dual is nearly a polyhedron.
    """
    least = free_of_sign(problem)
    lowest_S = np.where(problem.candidates, scores_SK, np.inf).min(1)
    spread = float((scores_SK.max(1) - lowest_S).max())
    heat = _COOLING ** max(0, math.ceil(math.log(max(spread, 1e-300) / _MILD, _COOLING)))
    current = np.zeros(len(problem.limits))
    while True:
        current = _projected_newton(scores_SK / heat, problem, least, current)
        if heat <= 1:
            return current
        heat /= _COOLING
        current = current * _COOLING


def _projected_newton(scores_SK: Floats, problem: Problem, least: Floats, start: Floats) -> Floats:
    """Minimize the dual over ``multiplier >= least`` (Bertsekas 1982), with backtracking."""
    current, room = start, problem.limits / problem.scale
    now = moments(scores_SK, current, problem)
    for _ in range(_NEWTON_STEPS):
        gradient = room - now.mean
        free = (current > least) | (gradient < 0)
        if np.abs(gradient[free]).max(initial=0) < _CLOSE:
            break
        step = np.zeros_like(current)
        inside = now.covariance[np.ix_(free, free)]
        ridge = (1e-12 * inside.trace() + 1e-12) * np.eye(len(inside))
        step[free] = np.linalg.lstsq(inside + ridge, -gradient[free], rcond=None)[0]
        # Where the distribution is nearly settled its covariance says little: no step goes far beyond the last point.
        step *= min(1.0, float((10 * np.abs(current).max() + 100) / np.maximum(np.abs(step).max(), 1e-300)))
        tried, then = _backtrack(scores_SK, problem, least, current, step, now)
        if np.array_equal(tried, current):
            break
        current, now = tried, then
    return current


def _backtrack(
    scores_SK: Floats, problem: Problem, least: Floats, current: Floats, step: Floats, now: Moments
) -> tuple[Floats, Moments]:
    """The first of ever smaller steps that lowers the dual enough (Armijo); `current` where none does."""
    room = problem.limits / problem.scale
    value, gradient = now.log_z + room @ current, room - now.mean
    for _ in range(40):
        tried = np.maximum(current + step, least)
        then = moments(scores_SK, tried, problem)
        if then.log_z + room @ tried <= value + 1e-4 * gradient @ (tried - current):
            return tried, then
        step = step / 2
    return current, now
