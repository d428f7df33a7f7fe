"""What a study's journal shows to people, as optuna-dashboard reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_trials import Watcher, open_study
from real_trials import experiment

from precsearch.allocation import Allocation
from precsearch.results import RunDirectory
from precsearch.study.driver import run_study


@pytest.mark.parametrize("targets", ["[weight, activation]", "[weight]"])
def test_the_journal_has_the_bits_of_each_trial(tmp_path: Path, targets: str) -> None:
    directory = RunDirectory(tmp_path / "run")
    document = experiment("study.n_trials=2", "study.baselines=[]", f"inner.targets={targets}")
    run_study(document, directory, Watcher())
    trials = open_study(directory).trials
    assert len(trials) == 2
    for trial in trials:
        layers = Allocation.from_json(directory.trial(trial.number) / "allocation.json").layers
        shown = [layer.partition(" ") for layer in trial.user_attrs["bits"].split(", ")]
        bits = {name: [int(number) for number in numbers.split("/")] for name, _, numbers in shown}
        assert bits == {layer.name: [precision.bits for precision in layer.targets.values()] for layer in layers}
