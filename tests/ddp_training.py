"""Two processes train one searchable model with DistributedDataParallel; run by test_stacks.py.

Arguments: rank, a file for the meeting, an output folder, steps, the step at which a state is saved, and optionally
a state to continue from.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from precsearch import Budget, SearchableModel


def main(rank: int, meeting: str, folder: Path, steps: int, save_at: int, resume: str = "") -> None:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 16), nn.Linear(16, 5)
    )
    searchable = SearchableModel(model, Budget("layer_bits", 4.0), torch.rand(2, 1, 8, 8), bits=[2, 3, 4, 6, 8], seed=3)
    network = DistributedDataParallel(searchable)
    optimizer = torch.optim.Adam(searchable.parameter_groups(lr=1e-2))
    first = 0
    if resume:
        state = torch.load(resume, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    draws = []
    for step in range(first, steps):
        data = torch.Generator().manual_seed(100 * step + rank)
        inputs, targets = torch.rand(16, 1, 8, 8, generator=data), torch.randint(0, 5, (16,), generator=data)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), targets).backward()
        draws.append([quantizer.chosen_bits for quantizer in searchable.quantizers])
        optimizer.step()
        if step + 1 == save_at and rank == 0:  # both ranks have the same
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, folder / "state.pt")
    found = {
        "draws": draws,
        "logits": searchable.sampler.logits.tolist(),
        "allocation": searchable.allocation().bits(),
        "weights": float(sum(p.detach().double().sum() for p in searchable.model.parameters())),
    }
    (folder / f"rank{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()
    # Not by returning: torch 2.13 frees the reducer's process group with Python's lock held, and waits there for a
    # thread of gloo's that may be waiting for this lock.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    warnings.simplefilter("error")
    own, meet, out, count, at, *state_file = sys.argv[1:]
    main(int(own), meet, Path(out), int(count), int(at), *state_file)
