"""The shape of the network searched together with its bits, in real trials."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from real_trials import train

from precsearch.allocation import Allocation
from precsearch.cli import main

SPACE = """
version: 1
name: widths
data: {name: digits, train_limit: 192, batch_size: 64}
model: {name: NAME}
inner:
  epochs: {warmup: 1, search: 1, finetune: 1}
  optimizer: {lr: 1e-2}
study:
  n_trials: 2
  baselines: []
  enqueue:
    - {model.width: 0.5, inner.budget.limit: 2.5, inner.bits: "2,4"}
    - {model.width: 1.5, inner.budget.limit: 4.0, inner.bits: "3,5,8"}
space:
  model.width: {type: float, low: 0.5, high: 2}
  inner.budget.limit: {type: float, low: 2.5, high: 6, step: 0.5}
  inner.bits: {type: categorical, choices: ["2,4", "3,5,8"]}
executor: {name: inprocess, threads: 1}
"""


@pytest.mark.parametrize("name", ["mlp", "resnet20, depth: 8"])
def test_width_budget_and_bits_are_searched_together(tmp_path: Path, name: str) -> None:
    (tmp_path / "space.yaml").write_text(SPACE.replace("NAME", name))
    with pytest.raises(SystemExit) as ended:
        main(["run", str(tmp_path / "space.yaml"), "--output", str(tmp_path / "run"), "--json"])
    assert ended.value.code == 0
    found = [Allocation.from_json(tmp_path / "run" / "trials" / f"000{n}" / "allocation.json") for n in range(2)]
    for allocation, allowed, limit in zip(found, ({2, 4}, {3, 5, 8}), (2.5, 4.0), strict=True):
        bits = {layer.bits(target) for layer in allocation.layers for target in ("weight", "activation")}
        assert bits <= allowed
        assert all(spent <= limit for spent in allocation.cost.average_bits.values())
    narrow, wide = ([layer.numel for layer in allocation.layers] for allocation in found)
    assert len(narrow) == len(wide) and all(a < b for a, b in zip(narrow, wide, strict=True))
    assert json.loads((tmp_path / "run" / "trials" / "0001" / "result.json").read_text())


def test_vgg_small_trains(tmp_path: Path) -> None:
    result = train(tmp_path, "model={name: vgg_small, width: 0.1, depth: 4}", "inner.epochs.search=4")
    assert result.metrics["train_accuracy"] > 0.5


COLOURS = '''
import torch

def stripes():
    """Two classes that differ in brightness, 3 channels."""
    def split(count):
        labels = torch.arange(count) % 2
        images = torch.rand(count, 3, 24, 24)
        images[labels == 1] += 1
        return images, labels
    return split(64), split(20), split(20)
'''


@pytest.mark.parametrize(
    "name", [pytest.param("googlenet", marks=pytest.mark.slow), "mobilenet_v3_small, width_mult: 0.5"]
)
def test_a_model_of_torchvision_s_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "own_colours.py").write_text(COLOURS)
    monkeypatch.syspath_prepend(tmp_path)
    result = train(
        tmp_path / "trial",
        "data={name: own_colours:stripes, batch_size: 32}",
        f"model={{name: {name}}}",
        "inner.epochs={warmup: 1, search: 1, finetune: 0}",
        "inner.budget.limit=6",
    )
    assert all(spent <= 6 for spent in result.allocation.cost.average_bits.values())
    assert not any(layer.name.startswith("aux") for layer in result.allocation.layers)
