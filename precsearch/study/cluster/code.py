"""The code that nodes need and may lack: precsearch itself, and the modules of the user's model and data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import precsearch
from precsearch.experiment import Experiment
from precsearch.imports import is_import_path, load_object
from precsearch.space import CategoricalDimension
from precsearch.study.cluster.probe import describe_node
from precsearch.study.cluster.quiet import ENVIRONMENT

_PATHS = ("model.name", "data.name")


def runtime_env(experiment: Experiment, lacking: Callable[[str], list[str]]) -> dict[str, Any]:
    """What Ray has to bring to the nodes; empty where they have all.

    Args:
        experiment: names the user's modules.
        lacking: digest of precsearch's source -> nodes that have another or none.

    Raises:
        ConfigurationError: when a module named in the experiment cannot be imported here.
    """
    digest = describe_node(())["precsearch"]
    code = [str(path) for path in own_modules(experiment)]
    if lacking(digest):
        code.append(str(own_package()))
    environment: dict[str, Any] = {"py_modules": code} if code else {}
    if experiment.executor.address.startswith("ray://"):  # Tune itself runs on the head node
        environment["env_vars"] = ENVIRONMENT
    return environment


def own_package() -> Path:
    """The folder of this precsearch."""
    return Path(precsearch.__file__).parent


def own_modules(experiment: Experiment) -> list[Path]:
    """The user's modules that trials import: files, and folders of packages.

    A model's module and whatever it imported from beside itself; nothing that pip installed.

    Raises:
        ConfigurationError: when a module named in the experiment cannot be imported here.
    """
    folders = set()
    for name in _names(experiment):
        if is_import_path(name):
            load_object(name)
            top = sys.modules[name.partition(":")[0].partition(".")[0]]
            folders |= {place.parent for place in [_place(top)] if place is not None}
    found = {_place(module) for name, module in list(sys.modules.items()) if "." not in name and name != "__main__"}
    return sorted(place for place in found if place is not None and place.parent in folders)


def _names(experiment: Experiment) -> Iterator[str]:
    yield from (experiment.model.name, experiment.data.name)
    for path in _PATHS:
        dimension = experiment.space.get(path)
        if isinstance(dimension, CategoricalDimension):
            yield from (str(choice) for choice in dimension.choices)


def _place(module: Any) -> Path | None:
    """The file or package folder of a top-level module; None for what Python or pip brought."""
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    path = Path(file).absolute()
    if path.is_relative_to(own_package()) or {"site-packages", "dist-packages"} & set(path.parts):
        return None
    if path.is_relative_to(sys.base_prefix) and not path.is_relative_to(Path.cwd()):
        return None
    return path.parent if path.name == "__init__.py" else path
