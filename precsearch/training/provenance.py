"""Where a trial's allocations come from."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

from precsearch.experiment import Experiment
from precsearch.results import Session


def origin(experiment: Experiment, session: Session) -> dict[str, Any]:
    """Versions, study, trial and seed."""
    return {
        "precsearch": version("precsearch"),
        "torch": torch.__version__,
        "study": experiment.name,
        "trial": session.directory.name,
        "seed": session.seed,
    }
