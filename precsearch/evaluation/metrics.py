"""Every metric of a trained network and its allocation."""

from __future__ import annotations

from torch import nn

from precsearch.allocation import TABLED, Allocation
from precsearch.data.dataset import DataSet
from precsearch.evaluation.accuracy import Measured, measure


def evaluate(model: nn.Module, data: DataSet, allocation: Allocation) -> dict[str, float]:
    """Every metric of a finished trial; the test split is read here, once, and never by an objective."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    measured: dict[str, Measured] = {name: measure(model, split) for name, split in splits.items()}
    metrics = {f"{name}_loss": m.loss for name, m in measured.items()}
    metrics |= {f"{name}_accuracy": m.accuracy for name, m in measured.items()}
    metrics["generalization_gap"] = measured["train"].accuracy - measured["validation"].accuracy
    return metrics | costs(allocation)


def costs(allocation: Allocation) -> dict[str, float]:
    """What an allocation costs: mean bits of each target and of the targets together, model size, BitOPs, memory.

    Latency and energy as well, of the first budget of that kind on the whole network, or else of the first.
    """
    tabled: dict[str, float] = {}
    for use in sorted(allocation.budgets, key=lambda use: use.layers is not None):
        if use.kind in TABLED and not isinstance(use.achieved, dict):
            tabled.setdefault(use.kind, use.achieved)
    memory = allocation.cost.activation_memory
    by_target = {f"average_bits_{target}": bits for target, bits in allocation.cost.average_bits.items()}
    return {
        **by_target,
        "average_bits": sum(by_target.values()) / max(1, len(by_target)),
        "model_size": float(allocation.cost.model_size),
        "bitops": float(allocation.cost.bitops),
        **({} if memory is None else {"activation_memory": float(memory)}),
        **tabled,
    }


def bits_by_layer(allocation: Allocation) -> dict[str, dict[str, int]]:
    """Layer -> target -> bit-width, for what is quantized."""
    return {
        layer.name: {t: p.bits for t, p in layer.targets.items() if p.bits is not None} for layer in allocation.layers
    }
