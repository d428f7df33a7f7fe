"""The allocation in the words of other tools, written and read back: one file a dialect."""

from __future__ import annotations

from typing import Final

from precsearch.errors import ConfigurationError
from precsearch.exports.dialects.base import Dialect
from precsearch.exports.dialects.brevitas import Brevitas
from precsearch.exports.dialects.hawq import Hawq
from precsearch.exports.dialects.modelopt import ModelOpt
from precsearch.exports.dialects.native import Native
from precsearch.exports.dialects.nncf import Nncf
from precsearch.exports.dialects.plinio import Plinio
from precsearch.exports.dialects.torchao import TorchAO

DIALECTS: Final[dict[str, Dialect]] = {
    "json": Native(),
    "brevitas": Brevitas(),
    "modelopt": ModelOpt(),
    "torchao": TorchAO(),
    "nncf": Nncf(),
    "plinio": Plinio(),
    "hawq": Hawq(),
}


def dialect_named(name: str) -> Dialect:
    """The dialect of that name.

    Raises:
        ConfigurationError: when there is none.
    """
    if name not in DIALECTS:
        raise ConfigurationError(
            f"a format that can be read must be named, but got {name!r}; known: {', '.join(DIALECTS)}"
        )
    return DIALECTS[name]
