"""Watching one forward pass, operation by operation: which weights enter which products, and at what cost.

Nothing is traced: the model runs as it is, with whatever control flow it has, and the operations are looked at.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from precsearch.layers.example import tensors_in
from precsearch.layers.streams import Streams
from precsearch.layers.weights import Weight

_aten = torch.ops.aten
# Products that the flop counter has no formula for; their cost counts as nothing.
_LOOKUPS = {_aten.embedding, _aten._embedding_bag, _aten._embedding_bag_forward_only}
_PRODUCTS = {_aten._trilinear}


@dataclass
class WeightUse:
    """What one parameter did in the pass.

    Attributes:
        macs: multiply-accumulates of the products it took part in.
        inputs: elements that it was multiplied with.
        products: how many products and lookups it took part in.
        factors: what it was multiplied with, as values of the pass's streams; None for what is not followed.
        others: names of the other operations that read it.
    """

    macs: int = 0
    inputs: int = 0
    products: int = 0
    factors: set[int | None] = field(default_factory=set)
    others: set[str] = field(default_factory=set)


@dataclass
class ModuleCall:
    """Inputs and outputs of a module, all its calls together.

    Attributes:
        outputs: elements of what it returned.
        signed: whether an argument had a negative element.
        reads_floats: whether the first argument is a float tensor.
        arguments: the first argument of each call, as a value of the pass's streams.
    """

    outputs: int = 0
    signed: bool = False
    reads_floats: bool = True
    arguments: set[int | None] = field(default_factory=set)


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches the operations of a forward pass.

    Args:
        weights: to watch, by layer; within `plain_operations`, so that each keeps its value during the pass.
        inputs: what the model is given; tensors made from it are followed.
    """

    def __init__(self, weights: Mapping[str, Weight], inputs: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = weights
        self.uses = {name: WeightUse() for name in weights}
        self.streams = Streams(inputs)
        self.active: list[int] = []  # the modules that run now and own weights, innermost last
        owners: dict[tuple[int, int], list[str]] = {}
        for name, weight in weights.items():
            start = weight.value.data_ptr()
            owners.setdefault((start, start + _bytes(weight.value)), []).append(name)
        self._spans = sorted(owners.items())
        self._starts = [start for (start, _), _ in self._spans]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = list(tensors_in((args, kwargs)))
        known = [name for tensor in given if (name := self._weight_of(tensor))]
        if known:
            self._use(func._overloadpacket, known, given, args, kwargs, out)
        self.streams.follow(func._overloadpacket, args, given, out)
        return out

    def _weight_of(self, tensor: Tensor) -> str | None:
        """The parameter that `tensor` is, or is a view of."""
        if not tensor.is_floating_point() or not tensor.numel():
            return None
        place = bisect_right(self._starts, tensor.data_ptr()) - 1
        if place < 0 or tensor.data_ptr() >= self._spans[place][0][1]:
            return None
        tied = self._spans[place][1]  # of tied ones, the module's that runs
        return next((name for name in tied if id(self.weights[name].module) in self.active), tied[0])

    def _use(self, packet: Any, known: list[str], given: list[Tensor], args: Any, kwargs: Any, out: Any) -> None:
        use = self.uses[known[-1]]  # where both factors are parameters, the second is the weight
        others = [tensor for tensor in given if tensor.dim() > 1 and self._weight_of(tensor) is None]
        if packet in flop_registry or packet in _PRODUCTS:
            if packet in flop_registry:
                use.macs += int(flop_registry[packet](*args, **kwargs, out_val=out)) // 2
            use.inputs += sum(tensor.numel() for tensor in others)
            use.products += 1
            use.factors |= {self.streams.value_of(tensor) for tensor in others}
        elif packet in _LOOKUPS:
            use.products += 1
        elif not _is_view(given, out):
            for name in known:
                self.uses[name].others.add(str(packet).removeprefix("aten."))


def _is_view(given: list[Tensor], out: Any) -> bool:
    outputs = list(tensors_in(out))
    pointers = {tensor.untyped_storage().data_ptr() for tensor in given}
    return bool(outputs) and all(tensor.untyped_storage().data_ptr() in pointers for tensor in outputs)


def _bytes(value: Tensor) -> int:
    return max(1, value.numel() * value.element_size())


class Calls:
    """Watches the calls of the modules that own weights.

    Args:
        watch: of the operations; is told which module runs and reads what.
    """

    def __init__(self, watch: Watch) -> None:
        self.seen: dict[int, ModuleCall] = {}
        self._watch = watch

    def __enter__(self) -> Calls:
        modules = {id(weight.module): weight.module for weight in self._watch.weights.values()}
        self._handles = [
            handle
            for module in modules.values()
            for handle in (
                module.register_forward_pre_hook(self._before, with_kwargs=True),
                module.register_forward_hook(self._after),
            )
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def of(self, module: nn.Module) -> ModuleCall | None:
        """What was seen of a module; None where it was never called."""
        return self.seen.get(id(module))

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._watch.active.append(id(module))
        call = self.seen.setdefault(id(module), ModuleCall())
        read = next(tensors_in(args[0] if args else next(iter(kwargs.values()), None)), None)
        if read is not None and not read.is_floating_point():
            read = None
        self._watch.streams.layer_begins(id(module), read)
        if read is None:
            call.reads_floats = False
            return
        call.arguments.add(self._watch.streams.value_of(read))
        floats = (tensor for tensor in tensors_in((args, kwargs)) if tensor.is_floating_point() and tensor.numel())
        call.signed |= any(bool(tensor.amin() < 0) for tensor in floats)

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._watch.active.remove(id(module))
        first = next(tensors_in(output), None)
        self.seen[id(module)].outputs += first.numel() if first is not None else 0
