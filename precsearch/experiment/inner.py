"""`inner:`, the differentiable search inside one training run."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from precsearch.allocation import Target
from precsearch.experiment.base import Settings
from precsearch.experiment.layerwise import Bits, LayerwiseSettings, ascending
from precsearch.experiment.limited import BudgetSettings, FurtherBudgetSettings, show_range

_DRAW_TO_THE_END: Final = ("perturb-and-map", "multinomial")
BitsList = Annotated[tuple[Bits, ...], Field(strict=False)]  # a YAML list becomes a tuple; its entries stay strict


# Unions say which member was meant, so that a wrong value is told once and in that member's words.
def _text_or_other(value: object) -> str:
    return "text" if isinstance(value, str) else "other"


BitsFile = Annotated[Annotated[str, Tag("text")] | Annotated[BitsList, Tag("other")], Discriminator(_text_or_other)]


class TemperatureSettings(Settings):
    """`inner.temperature:` of the relaxed sample, from the first to the last search step."""

    start: float = Field(default=2.0, gt=0)
    end: float = Field(default=0.2, gt=0)
    schedule: Literal["constant", "linear", "exponential", "cosine"] = "exponential"


class RegularizationSettings(Settings):
    """`inner.regularization:` what is added to the loss while searching.

    Attributes:
        kind: ``entropy`` of the precision distribution, ``cost`` (expected cost over its limit), or ``none``.
        strength: its factor.
    """

    kind: Literal["none", "entropy", "cost"] = "entropy"
    strength: float = Field(default=0.01, ge=0)


class EpochSettings(Settings):
    """`inner.epochs:` of each phase."""

    warmup: int = Field(default=1, ge=0)
    search: int = Field(default=6, ge=0)
    finetune: int = Field(default=3, ge=0)


class NoiseSettings(Settings):
    """`inner.noise:` other noise in training than that of drawn bits, to hold their effect against.

    Attributes:
        kind: ``dropout`` drops inputs of every layer but the first in every training step; ``weight``, with the sampler
            ``float``, gives each weight Gaussian noise of the power that rounding has there in a draw under the budget,
            in every step of search and fine-tune; ``none`` does nothing. No evaluation has noise.
        rate: probability that ``dropout`` drops an input.
    """

    kind: Literal["none", "dropout", "weight"] = "none"
    rate: float = Field(default=0.1, ge=0, lt=1)


class OptimizerSettings(Settings):
    """`inner.optimizer:` of the weights; cosine schedule to zero in every phase group.

    Attributes:
        name: ``adam`` or ``sgd``.
        lr: learning rate while warming up and searching.
        finetune_lr: learning rate of the fine-tune; a third of `lr` where None.
        momentum: of ``sgd``.
        weight_decay: L2 penalty on the weights.
    """

    name: Literal["adam", "sgd"] = "adam"
    lr: float = Field(default=1e-3, gt=0)
    finetune_lr: float | None = Field(default=None, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)


class LogitSettings(Settings):
    """`inner.logits:` how the precision distribution learns.

    Attributes:
        lr: how far a logit of typical gradient moves in a step (Adam, on gradients of even size).
        update: ``joint`` with the weights on the same batches, or ``alternate`` on a held-out part.
        holdout: fraction of the training split that ``alternate`` holds out.
        form: what is learned of each layer: ``free`` (a logit for each candidate), ``sensitivity`` (one number), or
            ``convex`` (a table that rises ever more slowly with the bits); where None, ``free``, or ``sensitivity``
            when the budget has a range. For the samplers with a logit for each candidate.
    """

    lr: float = Field(default=0.1, gt=0)
    update: Literal["joint", "alternate"] = "joint"
    holdout: float = Field(default=0.3, gt=0, lt=1)
    form: Literal["free", "sensitivity", "convex"] | None = None


class InnerSettings(LayerwiseSettings):
    """`inner:` the differentiable search inside one training run.

    Attributes:
        targets: what is quantized and searched.
        bits: candidate bit-widths, ascending.
        quantizer: grid of the weights.
        scale: rule that sets the range for each bit-width; ``power-of-two`` lets every step be one, as hls4ml needs.
        granularity: one weight scale a tensor, or one an output channel.
        sampler: how allocations are drawn; ``float`` quantizes nothing, ever, and keeps no budget.
        stochastic: whether allocations are drawn to the end: in the fine-tune too, where the probabilities stay as they
            are. The network is then measured frozen, as always, and as the mean over `evaluate.draws` draws.
        allocation: for the ``fixed`` sampler: a path to an allocation's JSON, that JSON itself, or bits, one a layer.
        budget: what every allocation keeps.
        budgets: name -> a further budget, which every allocation keeps as well.
    """

    targets: tuple[Target, ...] = Field(default=("weight", "activation"), min_length=1, strict=False)
    bits: tuple[Bits, ...] = Field(default=(2, 3, 4, 6, 8), min_length=1, strict=False)
    quantizer: Literal["dorefa", "symmetric"] = "dorefa"
    scale: Literal["l2", "max", "power-of-two"] = "l2"
    granularity: Literal["tensor", "channel"] = "tensor"
    sampler: Literal["perturb-and-map", "multinomial", "gumbel-softmax", "fixed", "uniform", "random", "float"] = (
        "perturb-and-map"
    )
    stochastic: bool = False
    allocation: BitsFile | None = None
    budget: BudgetSettings = BudgetSettings()
    budgets: dict[str, FurtherBudgetSettings] = Field(default={})
    temperature: TemperatureSettings = TemperatureSettings()
    regularization: RegularizationSettings = RegularizationSettings()
    epochs: EpochSettings = EpochSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    logits: LogitSettings = LogitSettings()
    noise: NoiseSettings = NoiseSettings()

    @field_validator("targets")
    @classmethod
    def _distinct(cls, value: tuple[Target, ...]) -> tuple[Target, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"each target once must hold, but got {list(value)}")
        return value

    @field_validator("bits")
    @classmethod
    def _ascending(cls, value: tuple[Bits, ...]) -> tuple[Bits, ...]:
        return ascending(value)

    @field_validator("budgets")
    @classmethod
    def _names_without_dots(cls, value: dict[str, FurtherBudgetSettings]) -> dict[str, FurtherBudgetSettings]:
        for name in value:
            if not name or "." in name:
                raise ValueError(f"names without dots must hold, so that `space` can name them, but got {name!r}")
        return value

    @model_validator(mode="after")
    def _range_has_a_sampler(self) -> InnerSettings:
        if self.budget.range is not None and self.sampler == "gumbel-softmax":
            raise ValueError("`budget.range` needs a sampler whose draws keep it, but gumbel-softmax draws without it")
        if self.logits.form not in (None, "free") and self.sampler == "multinomial":
            raise ValueError(f"`logits.form: {self.logits.form}` is not for multinomial, which has one logit a layer")
        return self

    @model_validator(mode="after")
    def _drawn_to_the_end(self) -> InnerSettings:
        if self.stochastic and self.sampler not in _DRAW_TO_THE_END:
            why = "whose draws may break the budget" if self.sampler == "gumbel-softmax" else "which draws nothing"
            raise ValueError(
                f"`stochastic: true` needs a sampler that draws under the budget ({' or '.join(_DRAW_TO_THE_END)}), "
                f"but got {self.sampler!r}, {why}; leave `stochastic` out, or take one of those"
            )
        if self.stochastic and self.budget.range is not None:
            raise ValueError(
                "`stochastic: true` draws under one limit to the end, but `budget.range` is "
                f"{show_range(self.budget.range)}; give a `limit` alone, or leave `stochastic` out"
            )
        return self

    @model_validator(mode="after")
    def _noise_of_the_weights(self) -> InnerSettings:
        if self.noise.kind == "weight" and (self.sampler != "float" or "weight" not in self.targets):
            raise ValueError(
                "`noise.kind: weight` stands in for the rounding of weights: `sampler: float` and `weight` among the "
                f"targets must hold, but got sampler {self.sampler!r} and targets {list(self.targets)}"
            )
        return self

    @model_validator(mode="after")
    def _fixed_has_allocation(self) -> InnerSettings:
        if (self.sampler == "fixed") != (self.allocation is not None):
            raise ValueError(
                "`allocation` goes with `sampler: fixed`, and only with it; "
                f"got sampler {self.sampler!r} and allocation {self.allocation!r}"
            )
        return self

    def settled(self, sampler: str, allocation: str | None = None) -> dict[str, Any]:
        """Dotted path -> value of the same experiment with a sampler that learns nothing, as baselines have them.

        What only goes with this experiment's own sampler is left out: drawing to the end, noise for float weights.
        """
        noise = {"inner.noise.kind": "none"} if self.noise.kind == "weight" and sampler != "float" else {}
        return {"inner.sampler": sampler, "inner.allocation": allocation, "inner.stochastic": False, **noise}
