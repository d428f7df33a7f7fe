"""Trials of the user's own model and data, and trials that nature stops: no number, no room on the disk."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest
import torch
from real_trials import Recorder, experiment, left, train

import precsearch
from precsearch.data import load_data
from precsearch.data.dataset import Split
from precsearch.errors import ConfigurationError, DataError, DivergedError, ModelError, RunDirectoryError
from precsearch.evaluation.accuracy import Measured
from precsearch.trial import inspect_trial, run_trial

OWN = '''
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.head = nn.Linear(width * 4, classes)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        return self.head(torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))

def net(classes, width=4):
    return Net(width, classes)

def wrong(classes):
    return nn.Linear(3, classes)

def broken(classes):
    raise ValueError("no weights here")

def stripes(count=96):
    """Drawn from torch's global generator, as a careless function does."""
    def split(count):
        labels = torch.arange(count) % 2
        images = torch.rand(count, 1, 6, 6)
        images[labels == 1] += 1
        return images, labels
    return split(count), split(40), split(40)
'''
OWN_DATA = ("data={name: NAME:stripes, batch_size: 16}", "model={name: NAME:net, width: 5}")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    name = "own_" + str(abs(hash(request.node.name)))
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_own_model_and_data(own: str, tmp_path: Path) -> None:
    given = [each.replace("NAME", own) for each in OWN_DATA]
    result = train(tmp_path / "t", *given, "inner.epochs={warmup: 2, search: 3, finetune: 2}")
    assert result.metrics["test_accuracy"] > 0.9
    assert list(result.allocation.bits()) == ["conv", "head"] and result.allocation.model.name == "Net"
    assert precsearch.Allocation.from_json(tmp_path / "t" / "allocation.json") == result.allocation


def test_data_that_is_drawn_is_the_same_whichever_trial_loads_it(own: str, tmp_path: Path) -> None:
    """A resumed study loads the data at a later trial, with another seed, than the one that ran through."""
    given = [each.replace("NAME", own) for each in OWN_DATA]
    before = torch.random.get_rng_state()
    inspect_trial(experiment(*given))
    assert torch.equal(torch.random.get_rng_state(), before)
    first = left(tmp_path / "a", train(tmp_path / "a", *given, seed=1))
    load_data(experiment("data.train_limit=33").data)  # something else
    loader = sys.modules["precsearch.data"]._load
    loader.cache_clear()
    train(tmp_path / "b", *given, seed=2)
    assert left(tmp_path / "c", train(tmp_path / "c", *given, seed=1)) == first
    loader.cache_clear()
    assert left(tmp_path / "d", train(tmp_path / "d", *given, seed=1)) == first


@pytest.mark.parametrize(
    ("overrides", "error", "says"),
    [
        (["model={name: NAME:wrong}"], ModelError, "Linear"),
        (["model={name: NAME:broken}"], ModelError, "ValueError: no weights here"),
        (["model={name: NAME:net, widht: 3}"], ModelError, "nearest: 'width'"),
        (["model={name: NAME:nothing}"], ConfigurationError, "has no 'nothing'"),
        (["model={name: nowhere_at_all:net}"], ConfigurationError, "No module named 'nowhere_at_all'"),
        (["data={name: NAME:net, classes: 3}"], DataError, "pair"),
    ],
)
def test_own_code_that_does_not_do(
    own: str, tmp_path: Path, overrides: list[str], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        inspect_trial(experiment(*(each.replace("NAME", own) for each in overrides)))
    assert [path.name for path in tmp_path.glob("*") if path.suffix != ".py" and path.name != "__pycache__"] == []


@pytest.mark.parametrize(("split", "says"), [(288, "the validation loss became nan"), (360, "test_loss became nan")])
def test_a_measured_loss_that_is_no_number_ends_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: int, says: str
) -> None:
    def measured(model: torch.nn.Module, data: Split) -> Measured:
        return Measured(float("nan") if len(data) == split else 1.0, 0.1)

    monkeypatch.setattr("precsearch.trial.measure", measured)
    monkeypatch.setattr("precsearch.evaluation.metrics.measure", measured)
    assert split in inspect_trial(experiment()).images.values()
    with pytest.raises(DivergedError, match=says):
        run_trial(experiment(), Recorder(tmp_path))
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize(("most", "file"), [(300, "steps.jsonl"), (3_000, "state.pt"), (10_000, "weights.safetensors")])
def test_a_disk_without_room_is_said_so_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, file: str
) -> None:
    """Files may not grow beyond `most` bytes, which is too little for `file`."""
    if file == "weights.safetensors":  # a checkpoint is larger: leave it out
        monkeypatch.setattr("precsearch.trial.save_checkpoint", lambda directory, state: directory)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        with pytest.raises(
            RunDirectoryError, match=rf"cannot write {tmp_path}.*{file}: File too large; check"
        ) as caught:
            train(tmp_path, "model.hidden=[64]", "inner.optimizer.name=sgd")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.name == file or path.suffix == ".tmp"]
