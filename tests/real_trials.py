"""Real trials on the bundled digits, small enough for a fraction of a second each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import precsearch
from precsearch.experiment import Experiment, with_overrides
from precsearch.experiment.loading import load_experiment_text
from precsearch.results import Progress, TrialResult
from precsearch.trial import run_trial

TINY = """
version: 1
name: tiny
data: {name: digits, train_limit: 192, batch_size: 64}
model: {name: mlp, hidden: [12, 10]}
inner:
  bits: [2, 3, 4, 8]
  epochs: {warmup: 1, search: 2, finetune: 2}
  optimizer: {name: adam, lr: 1e-2}
executor: {threads: 1}
"""


def experiment(*overrides: str) -> Experiment:
    return with_overrides(load_experiment_text(TINY), overrides)


class Interrupted(BaseException):
    """The process is gone: nothing in the code under test may catch it."""


class Recorder:
    """A session that keeps what it is told, and dies after one of `die_after` epochs."""

    def __init__(self, directory: Path, seed: int = 1, die_after: Sequence[int] = ()) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.seed = seed
        self.die_after = die_after
        self.told: list[Progress] = []
        self.resumed = self.resume() is not None

    def resume(self) -> Path | None:
        folder = self.directory / "checkpoint"
        return folder if folder.is_dir() else None

    def report(self, progress: Progress, checkpoint: Path | None) -> None:
        again = self.resumed and not self.told  # a resumed trial tells the checkpoint's epoch once more
        self.told.append(progress)
        if progress.step in self.die_after and not again:
            raise Interrupted


def train(directory: Path, *overrides: str, seed: int = 1) -> TrialResult:
    return run_trial(experiment(*overrides), Recorder(directory, seed))


def left(directory: Path, result: TrialResult) -> dict[str, Any]:
    """Everything a trial leaves behind but the time it took and the name of its directory."""
    found: dict[str, Any] = {name: (directory / name).read_bytes() for name in ("steps.jsonl", "weights.safetensors")}
    assert precsearch.Allocation.from_json(directory / "allocation.json") == result.allocation
    assert result.allocation.provenance["trial"] == directory.name
    allocation = result.allocation.with_context(result.metrics, {**result.allocation.provenance, "trial": None})
    return found | {"metrics": result.metrics, "allocation": allocation.to_json()}
