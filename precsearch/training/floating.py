"""The network of a trial in which nothing is ever quantized: what the quantized ones are held against."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from precsearch.allocation import Allocation
from precsearch.conversion import Conversion, describe_unquantized
from precsearch.data.batches import Batches
from precsearch.experiment import InnerSettings
from precsearch.training.computing import Computing, plainly
from precsearch.training.noise import Noise
from precsearch.training.stages import Stage


@dataclass(frozen=True)
class FloatNetwork:
    """A network left in float32.

    Attributes:
        model: as it was built.
        conversion: which layers it has, none of them quantized.
        plan: None, since no budget holds.
    """

    model: nn.Module
    conversion: Conversion
    plan: None = None

    def allocation(self) -> Allocation:
        """Every layer in float32."""
        return describe_unquantized(self.model, self.conversion)


class FloatStage(Stage):
    """Warm-up and search where there is nothing to search: as many steps on the same batches, all of them in float32.

    Args:
        network: what learns.
        settings: of the inner search.
        batches: an epoch of images.
        computing: how the model's forward is computed.
        noise: of the training; none where None.
    """

    def __init__(
        self,
        network: FloatNetwork,
        settings: InnerSettings,
        batches: Batches,
        computing: Computing = plainly,
        noise: Noise | None = None,
    ) -> None:
        optimizer, epochs = settings.optimizer, settings.epochs
        steps = (epochs.warmup + epochs.search) * len(batches)
        weights = list(network.model.parameters())
        super().__init__(network.model, weights, optimizer, optimizer.lr, steps, computing, noise)
        self.network = network
        self.batches = batches

    def warm_up(self) -> float:
        """One epoch -> mean loss."""
        return self.epoch(self.weight_step, self.batches, warm_up=True)

    def search(self) -> float:
        """One epoch -> mean loss."""
        return self.epoch(self.weight_step, self.batches)

    def told(self) -> dict[str, float]:
        """Nothing: there is no search to tell of."""
        return {}

    def allocation(self) -> Allocation:
        """Every layer in float32."""
        return self.network.allocation()

    def settle(self) -> Allocation:
        """Every layer in float32."""
        return self.network.allocation()

    def freeze(self) -> nn.Module:
        """The model as it is."""
        return self.model
