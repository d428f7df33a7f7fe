"""Every export format by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

from precsearch.allocation import Allocation
from precsearch.errors import ConfigurationError
from precsearch.exports.dialects import DIALECTS
from precsearch.exports.report import WrittenText

if TYPE_CHECKING:
    from precsearch.exports.network.leave import NetworkFormat


@dataclass(frozen=True)
class AllocationFormat:
    """A format of the allocation alone, which is text.

    Attributes:
        what: it is, in a few words.
        write: the allocation in this format.
    """

    what: str
    write: Callable[[Allocation], WrittenText]


@dataclass(frozen=True)
class WholeFormat:
    """A format of the whole network: one file, which is run again before it is left.

    Attributes:
        what: it is, in a few words.
        home: ``module:class`` of the `NetworkFormat`, imported when it is asked for.
    """

    what: str
    home: str

    def load(self) -> NetworkFormat:
        """The format itself; torch is loaded."""
        module, _, name = self.home.partition(":")
        made: NetworkFormat = getattr(import_module(module), name)()
        return made


_NETWORK: Final = "precsearch.exports.network"
FORMATS: Final[dict[str, AllocationFormat | WholeFormat]] = {
    **{name: AllocationFormat(dialect.what, dialect.write) for name, dialect in DIALECTS.items()},
    "packed": WholeFormat("weights as packed integers, safetensors", f"{_NETWORK}.packed:PackedIntegers"),
    "state_dict": WholeFormat("float weights with the quantized values", f"{_NETWORK}.float_weights:FloatWeights"),
    "onnx": WholeFormat("ONNX with 2-, 4- and 8-bit integers, for onnxruntime", f"{_NETWORK}.onnx_qdq:OnnxQdq"),
    "hls4ml": WholeFormat("QONNX as hls4ml reads it, scales that are powers of two", f"{_NETWORK}.hls4ml:Hls4ml"),
    "qonnx": WholeFormat("ONNX with a quantization node for any bits, for FPGAs", f"{_NETWORK}.qonnx:Qonnx"),
}


def format_named(name: str) -> AllocationFormat | WholeFormat:
    """The format of that name.

    Raises:
        ConfigurationError: when there is none.
    """
    if name not in FORMATS:
        raise ConfigurationError(f"a known export format must be named, but got {name!r}; known: {', '.join(FORMATS)}")
    return FORMATS[name]
