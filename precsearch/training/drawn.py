"""The fine-tune of a network that is drawn to the end: weights alone, at allocations that are still drawn."""

from __future__ import annotations

import copy

from torch import nn

from precsearch.data.batches import Batches
from precsearch.experiment import InnerSettings
from precsearch.searchable import SearchableModel
from precsearch.training.computing import Computing, plainly
from precsearch.training.noise import Noise
from precsearch.training.recalibration import recalibrate
from precsearch.training.schedules import temperature_at
from precsearch.training.stages import FinetuneStage


class DrawnStage(FinetuneStage):
    """As many steps as any fine-tune, on the same batches with the same learning rates; each draws an allocation.

    The probabilities stay as the search left them, so no step carries a gradient to them. In evaluation mode the
    network has the most likely allocation.

    Args:
        model: after its search.
        settings: of the inner search.
        batches: an epoch of images.
        computing: how the model's forward is computed.
        noise: of the training; none where None.

    Reference:
        Lacey, Taylor and Areibi 2018, for stochastic precision as a way to train.
    """

    def __init__(
        self,
        model: SearchableModel,
        settings: InnerSettings,
        batches: Batches,
        computing: Computing = plainly,
        noise: Noise | None = None,
    ) -> None:
        model.sampler.hold()
        model.quantize(True)
        model.temperature = temperature_at(settings.temperature, 1.0)
        super().__init__(model, settings, batches, computing, noise)
        self.searchable = model

    def part(self) -> tuple[nn.Module, SearchableModel]:
        """End it -> the network frozen at the most likely allocation, and a copy that is still drawn.

        Statistics and ranges of each are taken anew, those of the second over draws. The stage must not be used
        afterwards.
        """
        drawn = copy.deepcopy(self.searchable)
        recalibrate(drawn.train(), self.batches)
        frozen = self.searchable.freeze()
        recalibrate(frozen, self.batches)
        return frozen, drawn.train()
