"""The options that several commands have."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from precsearch import commands
from precsearch.errors import ConfigurationError

if TYPE_CHECKING:
    from precsearch.experiment import Experiment


def number(flag: str, text: str, kind: type[int] | type[float] = int, least: int = 0) -> Any:
    """An option whose error names what was given, as Typer's own does not."""

    def parse(given: str) -> float:
        with contextlib.suppress(ValueError):
            if least <= kind(given) < float("inf"):
                return kind(given)
        noun = "a whole number" if kind is int else "a number"
        raise typer.BadParameter(f"{noun} of at least {least} must be given, but got {given!r}")

    return typer.Option(flag, parser=parse, metavar="N", help=text)


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run directory; may be a copy.")]
Space = Annotated[
    Path | None, typer.Argument(metavar="SPACE.yaml", help="The experiment; digits.yaml, built in, if left out.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=V", help="Override one setting; may be repeated.")
]
Trials = Annotated[int | None, number("--trials", "Trials in all (study.n_trials).", least=1)]
Training = Annotated[str | None, typer.Option(metavar="NAME", help="A training of arms, such as 0003-uniform-02.")]
Runner = Annotated[str | None, typer.Option("--executor", help="Who runs the trials: inprocess or ray.")]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster: local, auto, HOST:PORT or ray://HOST:PORT.  [default: local]")
]


def changes(trials: int | None, executor: str | None, address: str | None) -> list[str]:
    """What `--trials`, `--executor` and `--address` override, as `--set` gives it.

    Raises:
        ConfigurationError: when they do not go together.
    """
    if address is not None and executor == "inprocess":
        raise ConfigurationError("--address is for `--executor ray`, but got `--executor inprocess`; drop one of them")
    name = "ray" if address is not None and executor is None else executor  # nobody else takes an address
    given = {"study.n_trials": trials, "executor.name": name, "executor.address": address}
    return [f"{path}={json.dumps(value)}" for path, value in given.items() if value is not None]


def of_kind(experiment: Experiment, trials: int | None = None) -> ModuleType:
    """Whose commands are for an experiment of this kind.

    Raises:
        ConfigurationError: when `--trials` is given for one that has none.
    """
    if experiment.kind == "search":
        return commands
    if trials is not None:
        raise ConfigurationError(
            f"--trials is for searches, but this is of kind {experiment.kind}; --set {experiment.kind}.seeds=N says "
            "how many seeds every arm has"
        )
    from precsearch import arms

    return arms
