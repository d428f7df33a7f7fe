"""Noise of training other than that of drawn bits: what their effect is held against."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

from precsearch.conversion import quantizers_of
from precsearch.errors import ConfigurationError
from precsearch.layers import weights_of
from precsearch.quantization.base import Quantizer
from precsearch.quantization.whole_model import begin_forward
from precsearch.searchable import SearchableModel


class Noise:
    """None at all, and what every kind has."""

    @contextmanager
    def epoch(self, warm_up: bool = False) -> Iterator[None]:
        """A context in which an epoch trains; outside of it there is no noise.

        Args:
            warm_up: whether nothing is quantized in it.
        """
        yield

    @contextmanager
    def step(self) -> Iterator[None]:
        """A context for forward and backward of one step, within `epoch`."""
        yield

    def state_dict(self) -> dict[str, Any]:
        """What changes from step to step, beside torch's global generator."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""


class Dropout(Noise):
    """Drops inputs of every layer's module but the first, before they are quantized.

    Args:
        model: whose layers are meant.
        layers: their names.
        first: of them, the layer that runs first: it reads the data itself.
        rate: probability that an input is dropped; what is left is scaled by 1 / (1 - rate).

    Reference:
        Srivastava et al. 2014, section 4.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], first: str, rate: float) -> None:
        weights = weights_of(model)
        self.rate = rate
        self.reads: dict[nn.Module, set[int]] = {}
        for layer in layers:
            module = weights[layer].module
            if module is not weights[first].module and weights[layer].reads:
                self.reads.setdefault(module, set()).update(weights[layer].reads)

    @contextmanager
    def epoch(self, warm_up: bool = False) -> Iterator[None]:
        """Hooks before the layers' forwards, before those that quantize."""
        with ExitStack() as hooks:
            for module in self.reads:
                handle = module.register_forward_pre_hook(self._drop, prepend=True, with_kwargs=True)
                hooks.callback(handle.remove)
            yield

    def _drop(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not module.training:
            return None
        done: list[tuple[Any, Any]] = []  # attention tells by identity whether query, key and value are one tensor
        reads = self.reads[module]
        given = tuple(self._dropped(done, value) if i in reads else value for i, value in enumerate(args))
        if not kwargs:
            return given, kwargs
        names = list(inspect.signature(module.forward).parameters)
        by_name = {names[i] for i in reads if i < len(names)}
        named = {key: self._dropped(done, value) if key in by_name else value for key, value in kwargs.items()}
        return given, named

    def _dropped(self, done: list[tuple[Any, Any]], value: Any) -> Any:
        for before, after in done:
            if before is value:
                return after
        data = value.data if isinstance(value, PackedSequence) else value
        if not isinstance(data, Tensor) or not data.is_floating_point():
            return value  # such as the indices of an embedding
        dropped = nn.functional.dropout(data, self.rate)
        done.append((value, value._replace(data=dropped) if isinstance(value, PackedSequence) else dropped))
        return done[-1][1]


class WeightNoise(Noise):
    """Gaussian noise on every weight, of the power that its layer's rounding error has in a draw under the budget.

    Each step draws an allocation from the precision distribution as a search begins with it, rounds the float weights
    to it, and adds noise of the errors' root mean square, one for each layer. The gradient at the noisy weights goes
    straight through to the float ones.

    Args:
        model: in float32; its weights get the noise.
        shadow: the same network made searchable under the budget; its own weights play no part.
    """

    def __init__(self, model: nn.Module, shadow: SearchableModel) -> None:
        self.shadow = shadow
        self.on = True
        shadow.sampler.hold()
        own, theirs = weights_of(model), weights_of(shadow.model)
        self.pairs: list[tuple[Tensor, Quantizer]] = []
        seen: set[int] = set()  # tied weights are one parameter
        for name, weight in theirs.items():
            quantizers, stored = quantizers_of(weight).get("weight", []), own[name].stored
            if not quantizers or id(stored) in seen:
                continue
            if parametrize.is_parametrized(own[name].module, own[name].parameter):
                raise ConfigurationError(
                    f"`inner.noise.kind: weight` needs weights that are parameters, but that of {name!r} is made from "
                    "others by a parametrization; pin it to `float`, or take another kind of noise"
                )
            seen.add(id(stored))
            self.pairs += [(stored, quantizer) for quantizer in quantizers]

    @contextmanager
    def epoch(self, warm_up: bool = False) -> Iterator[None]:
        """No noise in the warm-up, where nothing would be rounded either."""
        self.on = not warm_up
        yield

    @contextmanager
    def step(self) -> Iterator[None]:
        """The weights with noise; after it as they were, to the bit."""
        if not self.on:
            yield
            return
        before = [(weight, weight.detach().clone()) for weight, _ in self.pairs]
        with torch.no_grad():
            for weight, noise in self.draw():
                weight.add_(noise)
        try:
            yield
        finally:
            with torch.no_grad():
                for weight, kept in before:
                    weight.copy_(kept)

    @torch.no_grad()
    def draw(self) -> list[tuple[Tensor, Tensor]]:
        """Each weight and its noise of one step, of the weight's shape."""
        begin_forward([quantizer for _, quantizer in self.pairs])
        self.shadow.dials.set(self.shadow.sampler.draw(self.shadow.temperature).candidates)
        made = []
        for weight, quantizer in self.pairs:
            power = (quantizer(weight) - weight).square().mean()
            normal = torch.randn(weight.shape, generator=self.shadow.generator).to(weight)
            made.append((weight, power.sqrt() * normal))
        return made

    def state_dict(self) -> dict[str, Any]:
        """The generator of draws and noise, and the ranges."""
        return {
            "generator": self.shadow.generator.get_state(),
            "quantizers": [quantizer.state_dict() for _, quantizer in self.pairs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.shadow.generator.set_state(state["generator"])
        for (_, quantizer), saved in zip(self.pairs, state["quantizers"], strict=True):
            quantizer.load_state_dict(saved)
