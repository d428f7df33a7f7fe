"""torchvision where its compiled operators cannot load.

The package index's torchvision wheel beside a CPU build of torch finds no CUDA libraries, so its extension
does not load; and then ``import torchvision`` fails, because it describes two operators that do not exist.
Nothing here needs them (they are for object detection): declaring them is enough for data sets and models.
"""

from __future__ import annotations

import importlib
import re
import sys
import threading
import warnings
from types import ModuleType
from typing import Any

from precsearch.errors import DataError

# What torchvision/_meta_registrations.py describes without asking whether the extension is there.
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared: list[Any] = []  # a torch Library takes its operators along when it is collected
_lock = threading.Lock()


def is_missing_operator(problem: BaseException) -> bool:
    """Whether `problem` is what importing torchvision raises where its compiled operators did not load."""
    return isinstance(problem, RuntimeError) and bool(
        re.search(r"operator torchvision::\w+ does not exist", str(problem))
    )


def import_torchvision() -> ModuleType:
    """Import torchvision, with or without its compiled operators.

    Returns:
        The module; ``datasets``, ``models`` and ``transforms`` work, detection operators may not.

    Raises:
        DataError: torchvision is not installed, or cannot be imported for another reason.
    """
    with _lock:
        try:
            return _attempt()
        except Exception as problem:
            if not is_missing_operator(problem):
                raise _failed(problem) from problem
        _declare_operators()
        try:
            return _attempt()
        except Exception as problem:
            raise _failed(problem) from problem


def _attempt() -> ModuleType:
    if "torchvision" not in sys.modules:
        # A failed import leaves submodules behind that the next attempt would find, half made.
        for name in [name for name in sys.modules if name.startswith("torchvision.")]:
            del sys.modules[name]
    with warnings.catch_warnings():
        # some releases warn of the missing extension at every import; ours are told nothing new by it
        warnings.filterwarnings("ignore", message=r"Failed to load .*extension")
        return importlib.import_module("torchvision")


def _declare_operators() -> None:
    import torch

    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    _declared.append(library)


def _failed(problem: Exception) -> DataError:
    return DataError(
        f"torchvision cannot be imported ({type(problem).__name__}: {problem}); install the torchvision that "
        "belongs to this torch (https://pytorch.org/get-started/locally), or run without it: "
        "`precsearch run search_spaces/digits.yaml`"
    )
