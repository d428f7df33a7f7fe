"""The parameters of a model that could be layers' weights, and what their modules' types say of them.

Nothing runs here: this is what is known of a model before, or without, an example.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from precsearch.errors import ModelError

_MATRIX = 2
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TORCH_KINDS = (
    nn.Linear, nn.modules.conv._ConvNd, nn.Bilinear, nn.Embedding, nn.EmbeddingBag, nn.MultiheadAttention, nn.RNNBase,
    nn.RNNCellBase,
)  # fmt: skip
# Attention reads queries, keys and values; the packed projection all three of them.
_ATTENTION_READS = {"in_proj_weight": (0, 1, 2), "q_proj_weight": (0,), "k_proj_weight": (1,), "v_proj_weight": (2,)}


@dataclass(frozen=True, eq=False)
class Weight:
    """A parameter of two dimensions or more.

    Attributes:
        layer: name of the layer that it would make.
        module_name: of the module that owns it.
        module: that module.
        parameter: its name there.
    """

    layer: str
    module_name: str
    module: nn.Module
    parameter: str

    @property
    def value(self) -> Tensor:
        """The weight that the module computes with."""
        return cast(Tensor, getattr(self.module, self.parameter))

    @property
    def stored(self) -> Tensor:
        """The parameter itself, without parametrizations; the same object where layers are tied."""
        if parametrize.is_parametrized(self.module, self.parameter):
            kept = cast(nn.ModuleDict, self.module.parametrizations)[self.parameter]
            return cast(Tensor, getattr(kept, "original", None) if hasattr(kept, "original") else kept.original0)
        return self.value

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight."""
        return tuple(self.value.shape)

    @property
    def of_torch(self) -> bool:
        """Whether the module is one of torch's own kinds, of which it is known what they read."""
        return isinstance(self.module, _TORCH_KINDS)

    @property
    def groups(self) -> int:
        """Groups of a transposed convolution, whose weight has its inputs first; 0 for every other module."""
        return self.module.groups if isinstance(self.module, _TRANSPOSED) else 0

    @property
    def channels(self) -> int:
        """Output channels: rows of the weight, wherever it has them."""
        shape = self.shape
        return shape[1] * self.groups if self.groups else shape[0]

    @property
    def reads(self) -> tuple[int, ...]:
        """Positions of the forward's arguments that the weight is multiplied with; () where it is none of them."""
        if isinstance(self.module, nn.MultiheadAttention):
            return _ATTENTION_READS.get(self.parameter, ())
        if isinstance(self.module, nn.Bilinear):
            return (0, 1)
        if isinstance(self.module, nn.RNNBase):
            return (0,) if self.parameter in {"weight_ih_l0", "weight_ih_l0_reverse"} else ()
        if isinstance(self.module, nn.RNNCellBase):
            return (0,) if self.parameter == "weight_ih" else ()
        return (0,)


def layer_type(module: nn.Module) -> str:
    """Class name of a layer; a parametrized one's class is made by torch, and its base is the layer's own."""
    return (type(module).__mro__[1] if parametrize.is_parametrized(module) else type(module)).__name__


def weights_of(model: nn.Module) -> dict[str, Weight]:
    """Every parameter of two dimensions or more, by the name of the layer that it would make.

    Tied ones are there once for each module that has them; a module that the model holds twice is there once.

    Raises:
        ModelError: when the model is itself a single layer, or a parameter has no shape yet.
    """
    found = {weight.layer: weight for name, module in model.named_modules() for weight in _weights(name, module)}
    if "weight" in found and found["weight"].module is model and type(model).__module__.startswith("torch.nn."):
        raise ModelError(
            f"a model that contains its layers must be given, but got a bare {type(model).__name__}; "
            "wrap it: nn.Sequential(layer)"
        )
    return found


def find_weight(model: nn.Module, layer: str) -> Weight | None:
    """The weight of the layer of that name, or None."""
    return weights_of(model).get(layer)


def _weights(name: str, module: nn.Module) -> Iterator[Weight]:
    if isinstance(module, parametrize.ParametrizationList):
        return
    names = list(module._parameters)
    if parametrize.is_parametrized(module):
        names += list(cast(nn.ModuleDict, module.parametrizations))
    for parameter in names:
        value = module._parameters[parameter] if parameter in module._parameters else _parametrized(module, parameter)
        if isinstance(value, UninitializedParameter):
            raise ModelError(
                f"every parameter must have a shape, but {name}.{parameter} is not initialized; "
                "run the model on one batch before it is made searchable"
            )
        if value is not None and value.dim() >= _MATRIX and value.is_floating_point():
            layer = name if parameter == "weight" and name else f"{name}.{parameter}".strip(".")
            yield Weight(layer, name, module, parameter)


def _parametrized(module: nn.Module, parameter: str) -> Tensor:
    """What a parametrized weight is made from, where that has its shape; computing it would cost."""
    kept = cast(nn.ModuleDict, module.parametrizations)[parameter]
    return cast(Tensor, kept.original if hasattr(kept, "original") else getattr(module, parameter))
