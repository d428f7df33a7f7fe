"""Losses of a short search, stored: what makes the step faster must not change its numbers.

python -m tests.test_golden     # stores them anew; say in the commit what changed them, and why
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import precsearch

STORED = Path(__file__).parent / "data" / "golden_losses.json"
STEPS = 20
ELSEWHERE = 1e-2  # relative; sums in another order flip roundings: 3e-3 without vector instructions


def net() -> nn.Module:
    """A small LeNet: two convolutions, two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 16),
        nn.ReLU(),
        nn.Linear(16, 4),
    )


def losses() -> list[float]:
    """Of `STEPS` steps of the inner loop: warm-up for four, then search; one image batch and seed throughout."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums are split among threads
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model, inputs, labels = net(), torch.rand(64, 1, 14, 14), torch.arange(64) % 4
            for quarter in range(4):  # what tells the classes
                inputs[quarter::4, :, 7 * (quarter // 2) :, 7 * (quarter % 2) :] += 1
        budget = precsearch.Budget("average_bits", 3.0)
        searchable = precsearch.SearchableModel(
            model,
            budget,
            inputs,
            targets=["weight", "activation"],
            quantizer="dorefa",
            sampler="perturb-and-map",
            kernels="eager",
        )
        optimizer = torch.optim.SGD(searchable.parameter_groups(lr=0.1, momentum=0.9))
        found = []
        for step in range(STEPS):
            searchable.quantize(step >= 4)
            optimizer.zero_grad()
            loss = functional.cross_entropy(searchable(inputs), labels)
            (loss + 0.01 * searchable.entropy()).backward()
            optimizer.step()
            found.append(loss.item())
        return found
    finally:
        torch.set_num_threads(threads)


def here() -> dict[str, str]:
    """What decides the last digits."""
    return {
        "torch": torch.__version__,
        "machine": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def test_the_inner_loop_reproduces_its_losses() -> None:
    stored: dict[str, Any] = json.loads(STORED.read_text())
    found = losses()
    if stored["where"] == here():
        assert found == stored["losses"]
    else:
        assert found == pytest.approx(stored["losses"], rel=ELSEWHERE)


if __name__ == "__main__":
    STORED.write_text(json.dumps({"where": here(), "losses": losses()}, indent=2) + "\n")
