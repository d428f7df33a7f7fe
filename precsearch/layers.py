"""Which layers a model has: names, weights, inputs, MACs. One forward pass of an example, nothing traced."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from precsearch.errors import ModelError, PrecsearchWarning

# Modules whose weight takes part in a matrix product or convolution that takes the module's first input.
LAYER_TYPES: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_MATRIX = 2


@dataclass(frozen=True)
class Layer:
    """One layer whose precision can be searched.

    Attributes:
        name: dotted module name.
        type: class name of the module.
        shape: of the weight; its first entry counts the output channels.
        inputs: elements of the layer's input for one sample.
        macs: multiply-accumulates for one sample.
        signed_input: whether the example made a negative input.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    inputs: int
    macs: int
    signed_input: bool

    @property
    def numel(self) -> int:
        """Weight elements."""
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Inventory:
    """The layers of a model, and what is not one of them.

    Attributes:
        layers: in the order of the model's modules.
        left_float: module name -> reason why it stays in float32.
        float_elements: elements of every parameter and float buffer that is no layer's weight.
        fingerprint: of layer names, types and weight shapes.
    """

    layers: tuple[Layer, ...]
    left_float: dict[str, str]
    float_elements: int
    fingerprint: str


@dataclass
class _Seen:
    inputs: int = 0
    signed: bool = False
    shapes: list[tuple[int, ...]] = field(default_factory=list)


def fingerprint(layers: list[tuple[str, str, tuple[int, ...]]]) -> str:
    """First 16 hex digits of the SHA-256 over names, types and weight shapes."""
    text = ";".join(f"{name}:{kind}:{'x'.join(map(str, shape))}" for name, kind, shape in layers)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def layer_type(module: nn.Module) -> str:
    """Class name of a layer; a parametrized one's class is made by torch, and its base is the layer's own."""
    return (type(module).__mro__[1] if parametrize.is_parametrized(module) else type(module)).__name__


def weight_shape(module: nn.Module) -> tuple[int, ...]:
    """Shape of a layer's weight."""
    weight = module.weight
    if not isinstance(weight, Tensor):
        raise ModelError(f"a weight tensor must be there, but {type(module).__name__}.weight is {weight!r}")
    return tuple(weight.shape)


def candidates(model: nn.Module) -> dict[str, nn.Module]:
    """Modules that can be layers, by name, in the model's order."""
    if isinstance(model, LAYER_TYPES):
        raise ModelError(
            f"a model that contains its layers must be given, but got a bare {type(model).__name__}; "
            "wrap it: nn.Sequential(layer)"
        )
    return {name: module for name, module in model.named_modules() if isinstance(module, LAYER_TYPES)}


def take_inventory(model: nn.Module, example_input: Tensor) -> Inventory:
    """Look at `model` while it runs once on `example_input`, in evaluation mode and without gradients.

    Args:
        model: any module; it is left as it was.
        example_input: a batch as the model takes it, [B, ...].

    Raises:
        ModelError: when the model does not run on the example, has no layer, or shares a weight between layers.
    """
    found = candidates(model)
    _refuse_shared_weights(found)
    seen, macs = _run_once(model, found, example_input)
    batch = max(1, example_input.shape[0])
    left_float = _uncovered(model)
    layers = []
    for name, module in found.items():
        if name not in seen:
            left_float[name] = "its forward was never called with the example input"
            continue
        layers.append(
            Layer(
                name=name,
                type=layer_type(module),
                shape=weight_shape(module),
                inputs=seen[name].inputs // batch,
                macs=macs.get(name, 0) // batch,
                signed_input=seen[name].signed,
            )
        )
    if not layers:
        raise ModelError(
            f"at least one Linear or Conv layer must be there, but {type(model).__name__} has none that "
            "its forward calls"
        )
    for name, reason in left_float.items():
        warnings.warn(f"{name} stays in float32: {reason}", PrecsearchWarning, stacklevel=3)
    return Inventory(
        layers=tuple(layers),
        left_float=left_float,
        float_elements=_float_elements(model, layers, found),
        fingerprint=fingerprint([(layer.name, layer.type, layer.shape) for layer in layers]),
    )


def _run_once(
    model: nn.Module, found: dict[str, nn.Module], example_input: Tensor
) -> tuple[dict[str, _Seen], dict[str, int]]:
    seen: dict[str, _Seen] = {}

    def look(name: str, x: Tensor) -> None:
        record = seen.setdefault(name, _Seen())
        record.inputs += x.numel()
        record.signed |= bool(x.numel() and x.amin() < 0)

    def hook(name: str) -> torch.utils.hooks.RemovableHandle:
        return found[name].register_forward_pre_hook(
            lambda _, args, kwargs: look(name, args[0] if args else next(iter(kwargs.values()))),
            with_kwargs=True,
        )

    handles = [hook(name) for name in found]
    training = {module: module.training for module in model.modules()}
    counter = FlopCounterMode(display=False)
    try:
        model.eval()
        with torch.no_grad(), counter:
            model(example_input)
    except Exception as error:
        raise ModelError(
            f"the model must run on the example input of shape {tuple(example_input.shape)}, "
            f"but {type(model).__name__} raised {type(error).__name__}: {error}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in training.items():
            module.training = mode
    root = type(model).__name__
    flops = counter.get_flop_counts()
    # A multiply-accumulate is two floating-point operations.
    return seen, {name: sum(flops.get(f"{root}.{name}", {}).values()) // 2 for name in seen}


def _refuse_shared_weights(found: dict[str, nn.Module]) -> None:
    owners: dict[int, str] = {}
    for name, module in found.items():
        first = owners.setdefault(id(module.weight), name)
        if first != name:
            raise ModelError(
                f"every layer must own its weight, but {first!r} and {name!r} share one; give one of them its own copy"
            )


def _uncovered(model: nn.Module) -> dict[str, str]:
    """Modules that own a weight matrix which is no layer's."""
    reasons: dict[str, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, (*LAYER_TYPES, parametrize.ParametrizationList)):
            continue
        large = [key for key, value in module.named_parameters(recurse=False) if value.dim() >= _MATRIX]
        if large:
            reasons[name] = f"{type(module).__name__} ({', '.join(large)}) is not a Linear or Conv layer"
    return reasons


def _float_elements(model: nn.Module, layers: list[Layer], found: dict[str, nn.Module]) -> int:
    """Elements of every parameter and float buffer that is no layer's weight."""
    # A weight that another module uses as well (a tied embedding) is stored in float32 for that one.
    elsewhere = {
        id(parameter)
        for module in model.modules()
        if not isinstance(module, LAYER_TYPES)
        for parameter in module.parameters(recurse=False)
    }
    weights = sum(layer.numel for layer in layers if id(found[layer.name].weight) not in elsewhere)
    buffers = (buffer for buffer in model.buffers() if buffer.is_floating_point())
    return sum(p.numel() for p in model.parameters()) + sum(buffer.numel() for buffer in buffers) - weights
