"""Which integers hold each weight and input of a network in an ONNX file, and how.

ONNX knows integers of 2, 4, 8 and 16 bits whose value is ``code * scale``. Grids whose codes lie halfway between whole
numbers (DoReFa's weights, and every weight of 1 bit) need more: as odd numbers, ``(2 code) * (scale / 2)``, they take
one bit more, which costs nothing where the integers have it to spare; of 2, 4, 8 and 16 bits they do not, and half a
step is added instead.

Inputs take 8 bits at least. onnxruntime 1.32 moves QuantizeLinear in front of a MaxPool, which takes no fewer, and
then refuses the graph that it made itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from precsearch.errors import ExportError
from precsearch.exports.network.containers import SIZES, Container, smallest
from precsearch.exports.network.integers import InputRange, Integers, input_ranges, weights_in_integers
from precsearch.exports.network.network import Network
from precsearch.exports.report import Kept

_BYTE: Final = 8
_OLDEST: Final = 18  # opset that torch's exporter writes at least


class Form(Enum):
    """How integers stand for levels."""

    WHOLE = "code * step"
    ODD = "(2 code + 1) * (step / 2)"
    HALF = "code * step + step / 2"


@dataclass(frozen=True)
class Held:
    """How one tensor is held.

    Attributes:
        container: its integers.
        form: what they stand for.
        why: they take more bits than were searched; None where they do not.
    """

    container: Container
    form: Form
    why: str | None = None


@dataclass(frozen=True)
class Holdings:
    """How a network is held.

    Attributes:
        weights: by layer.
        inputs: by layer and position of the argument.
    """

    weights: dict[str, Held]
    inputs: dict[tuple[str, int], Held]

    @property
    def opset(self) -> int:
        """The oldest version of ONNX's operators that has all of its integers."""
        return max([_OLDEST, *(held.container.opset for held in [*self.weights.values(), *self.inputs.values()])])

    def kept(self, network: Network) -> tuple[Kept, ...]:
        """Every target that was searched, as it is held."""
        inputs = {layer: held for (layer, _), held in self.inputs.items()}
        found = []
        for layer in network.allocation.layers:
            for target, precision in layer.targets.items():
                if target == "gradient":
                    continue
                held = (self.weights if target == "weight" else inputs).get(layer.name)
                found.append(
                    Kept(
                        layer=layer.name,
                        target=target,
                        bits=precision.bits,
                        held_as="FLOAT32" if held is None else held.container.name,
                        why=None if held is None else held.why,
                    )
                )
        return tuple(found)


def hold(network: Network) -> Holdings:
    """Choose the integers of a network.

    Raises:
        ExportError: when the installed onnxruntime runs none that are large enough, for any layer.
    """
    weights = {name: hold_weight(each) for name, each in weights_in_integers(network.model).items()}
    inputs = {(each.layer, each.position): hold_input(each) for each in input_ranges(network.model)}
    refused = [f"the weight of {layer}" for layer, held in weights.items() if held is None]
    refused += [f"the input of {layer}" for (layer, _), held in inputs.items() if held is None]
    if refused:
        raise ExportError(
            f"the installed onnxruntime runs no integers that are large enough for {', '.join(refused)}; "
            "update it (pip install -U onnxruntime), or search with fewer bits"
        )
    return Holdings(
        {layer: held for layer, held in weights.items() if held is not None},
        {place: held for place, held in inputs.items() if held is not None},
    )


def hold_weight(integers: Integers) -> Held | None:
    """How a weight is held; None where no integers are large enough."""
    container = smallest(integers.bits, signed=True)
    if container is None:
        return None
    form = Form.WHOLE
    if integers.grid.offset:
        form = Form.ODD if container.bits > integers.bits else Form.HALF
    return Held(container, form, _why(integers.bits, container))


def hold_input(given: InputRange) -> Held | None:
    """How what a layer reads is held; None where no integers are large enough."""
    container = smallest(max(given.bits, _BYTE), given.grid.signed)
    if container is None:
        return None
    form = Form.HALF if given.grid.offset else Form.WHOLE
    pooled = "onnxruntime pools 8 bits or more; it costs no bytes of the file"
    return Held(container, form, pooled if given.bits < _BYTE else _why(given.bits, container))


def _why(bits: int, container: Container) -> str | None:
    if container.bits == bits:
        return None
    if bits in SIZES:
        return f"the installed onnxruntime does not run integers of {bits} bits"
    return f"ONNX has integers of {', '.join(map(str, SIZES[:-1]))} and {SIZES[-1]} bits"
