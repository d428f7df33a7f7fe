"""From a plain model to a quantized one: what to quantize, and putting the quantizers in."""

from precsearch.conversion.install import (
    apply_allocation,
    describe_layers,
    install,
    quantizers_of,
    refuse_converted,
    reread,
)
from precsearch.conversion.plan import Conversion

__all__ = [
    "Conversion",
    "apply_allocation",
    "describe_layers",
    "install",
    "quantizers_of",
    "refuse_converted",
    "reread",
]
