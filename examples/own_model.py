"""How many bits does each layer of your own network need? The search inside your own training loop.

Run it with `python examples/own_model.py`; it takes a few seconds. The three lines that make the loop search
are marked; the rest is what you have already, then what you do with the answer.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from nets import Pair, SmallCNN, digits
from torch import nn

import precsearch

SEARCH_EPOCHS = 10
FINETUNE_EPOCHS = 6


def train(model: nn.Module, optimizer: torch.optim.Optimizer, data: Pair, epochs: int, batch: int = 64) -> None:
    """Your own loop, unchanged."""
    inputs, targets = data
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(targets)).split(batch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[rows]), targets[rows]).backward()
            optimizer.step()


@torch.no_grad()
def accuracy(model: nn.Module, data: Pair) -> float:
    """Percent of right answers."""
    model.eval()
    return 100 * float((model(data[0]).argmax(1) == data[1]).float().mean())


def main(folder: Path) -> None:
    """Search, freeze, fine-tune, save, and load what was saved into a fresh network."""
    torch.set_num_threads(1)  # a network this small is fastest on one processor
    torch.manual_seed(0)
    training, testing = digits()
    model = SmallCNN()

    budget = precsearch.Budget("average_bits", 3.0)
    searchable = precsearch.SearchableModel(model, budget, example_input=training[0][:2])  # added line 1: wrap it
    optimizer = torch.optim.Adam(searchable.parameter_groups(lr=3e-3))  # added line 2: learn bits with the weights
    train(searchable, optimizer, training, SEARCH_EPOCHS)
    allocation = searchable.allocation()  # added line 3: the answer

    print("layer   weight bits  activation bits")
    for layer in allocation.layers:
        print(f"{layer.name:6}  {layer.bits('weight'):11}  {layer.bits('activation'):15}")
    use = allocation.budget
    print(f"{use.kind}: {use.achieved:.2f} of {use.limit:.2f} allowed; {allocation.cost.model_size:,} bytes")

    quantized = searchable.freeze()  # every layer keeps its bits from here on
    train(quantized, torch.optim.Adam(quantized.parameters(), lr=3e-3), training, FINETUNE_EPOCHS)
    print(f"fine-tuned: {accuracy(quantized, testing):.2f} % of the test images right")

    allocation.to_json(folder / "allocation.json")
    torch.save(quantized.state_dict(), folder / "weights.pt")

    fresh = precsearch.apply_allocation(SmallCNN(), precsearch.Allocation.from_json(folder / "allocation.json"))
    fresh.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    print(f"loaded:     {accuracy(fresh, testing):.2f} % of the test images right")
    if accuracy(fresh, testing) != accuracy(quantized, testing):
        sys.exit("the loaded network differs from the saved one")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
