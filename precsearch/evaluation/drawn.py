"""A network that is drawn to the end, measured as the mean over draws, and as its single draws."""

from __future__ import annotations

import torch
from torch import nn

from precsearch.data.batches import Batches
from precsearch.data.dataset import BaseSplit, DataSet
from precsearch.evaluation.accuracy import Measured
from precsearch.evaluation.alone import Candidates
from precsearch.evaluation.victims import MeanOverDraws, evaluating, mean_of
from precsearch.evaluation.whole import SplitName, evaluate_network
from precsearch.experiment import EvaluateSettings
from precsearch.measured import Evaluation
from precsearch.searchable import SearchableModel

_BATCH = 1000


def evaluate_drawn(
    searchable: SearchableModel,
    data: DataSet,
    settings: EvaluateSettings,
    split: SplitName,
    seed: int,
    candidates: Candidates | None = None,
) -> tuple[Evaluation, dict[str, float]]:
    """Everything that is measured of a network whose allocations are drawn -> its evaluation, and its metrics.

    The metrics have the names of those of a settled network with ``drawn_`` before them, and are of the mean
    probability over draws. ``drawn_{split}_accuracy_single`` and ``drawn_{split}_loss_single`` are the means of what
    each draw has by itself.

    Args:
        searchable: its statistics and ranges taken over draws; left as it was.
        data: what it was trained on; the test split is read here, once.
        settings: what to measure, and of how many draws.
        split: that `settings` are measured on.
        seed: of the draws, which are the same for all of it, and of every other random choice.
        candidates: bit-widths of each layer and target, for `alone`.
    """
    searchable.train()
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    metrics: dict[str, float] = {}
    with evaluating(searchable, settings.draws, seed) as mean:
        assert isinstance(mean, MeanOverDraws)
        for name, each in splits.items():
            together, single = measure_draws(mean, each)
            metrics[f"{name}_loss"], metrics[f"{name}_accuracy"] = together.loss, together.accuracy
            metrics[f"{name}_loss_single"], metrics[f"{name}_accuracy_single"] = single.loss, single.accuracy
    metrics["generalization_gap"] = metrics["train_accuracy"] - metrics["validation_accuracy"]
    evaluation = evaluate_network(searchable, data, settings, split, seed, candidates)
    return evaluation, {f"drawn_{name}": value for name, value in (metrics | evaluation.metrics()).items()}


@torch.no_grad()
def measure_draws(mean: MeanOverDraws, split: BaseSplit) -> tuple[Measured, Measured]:
    """Loss and accuracy of the mean probability over draws, and the means of those of single draws."""
    count = len(mean.drawn)
    loss, right, loss_single, right_single = 0.0, 0, 0.0, 0
    for inputs, targets in Batches(split, _BATCH):
        logs = [network(inputs).log_softmax(1) for network in mean.each()]
        together = mean_of(logs)
        loss += float(nn.functional.nll_loss(together, targets, reduction="sum"))
        right += int((together.argmax(1) == targets).sum())
        loss_single += sum(float(nn.functional.nll_loss(each, targets, reduction="sum")) for each in logs)
        right_single += sum(int((each.argmax(1) == targets).sum()) for each in logs)
    size = len(split)
    return Measured(loss / size, right / size), Measured(loss_single / size / count, right_single / size / count)
