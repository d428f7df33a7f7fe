"""Watching the first steps of a search for what users ask about later: bits that never move, or moved too soon."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from precsearch.errors import PrecsearchWarning
from precsearch.precision.problem import Ints, Problem, Slot

STEPS: Final = 50
"""Searched draws after which the verdict is given, once."""
_EARLY: Final = 8  # draws that differ where there is a choice
_SETTLED: Final = 24  # draws by which no search has seen enough to make always the same one


class Diagnosis:
    """Looks on for the first `STEPS` draws of a search, and then warns of what is wrong.

    Nothing waits for an accelerator until the verdict.

    Args:
        problem: whose slots are drawn.
        parameters: of the sampler; what it learns.
    """

    def __init__(self, problem: Problem, parameters: Sequence[Tensor]) -> None:
        self._problem = problem
        self._parameters = list(parameters)
        self._before = [parameter.detach().clone() for parameter in self._parameters]
        self._draws: list[bytes] = []
        self._felt: Tensor | None = None

    def watch(self, candidates: Ints, relaxed_SK: Tensor | None) -> None:
        """A draw of the search was made; `relaxed_SK` will carry the gradient to the logits."""
        if len(self._draws) > STEPS:
            return
        if len(self._draws) == STEPS:
            self._judge()
        self._draws.append(candidates.tobytes())
        if relaxed_SK is not None and relaxed_SK.requires_grad:
            relaxed_SK.register_hook(self._feel)  # type: ignore[no-untyped-call]

    def _feel(self, gradient_SK: Tensor) -> None:
        felt_S = gradient_SK.detach().abs().sum(1)
        self._felt = felt_S if self._felt is None else self._felt + felt_S

    def _judge(self) -> None:
        learned = [slot for slot in self._problem.slots if any(target != "gradient" for _, target in slot.members)]
        if not self._parameters or not learned:
            return  # of gradients' bits the loss knows nothing
        moved = any(not torch.equal(a, b) for a, b in zip(self._parameters, self._before, strict=True))
        if self._felt is None:
            _warn(
                f"no gradient came back to the logits in {STEPS} draws, so no bits are learned; compute the loss from "
                "what the searchable model returns, with gradients on, and call backward on it"
            )
        elif not moved:
            _warn(
                f"the logits did not move in {STEPS} draws, so no bits are learned; give the optimizer "
                "`searchable.parameter_groups(lr)`, which has them, and see that their learning rate is not 0"
            )
        else:
            self._judge_slots(self._felt, learned)
        early, late = self._draws[:_EARLY], self._draws[_EARLY:_SETTLED]
        if len(set(early)) > 1 and len(set(late)) == 1:
            _warn(
                f"each of the draws {_EARLY + 1} to {_SETTLED} was the same allocation: the search settled before it "
                "had seen much; lower the learning rate of the logits (`logits_lr`, in YAML `inner.logits.lr`)"
            )

    def _judge_slots(self, felt_S: Tensor, learned: Sequence[Slot]) -> None:
        dead = [
            slot.name
            for slot, felt in zip(self._problem.slots, felt_S.tolist(), strict=True)
            if felt == 0 and slot in learned
        ]
        if dead:
            _warn(
                f"the loss had no gradient for the bits of {', '.join(dead)} in {STEPS} draws, so these are not "
                "learned; does what the layer returns reach the loss? If not, pin it"
            )


def _warn(message: str) -> None:
    warnings.warn(message, PrecsearchWarning, stacklevel=5)
