"""Calibration against torchmetrics and scikit-learn, and by hand where they have no say."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss
from torch import nn

from precsearch.data.dataset import Split
from precsearch.evaluation.calibration import BINS, calibration, measure_calibration
from precsearch.torchvision_import import import_torchvision

import_torchvision()  # which torchmetrics loads, and which is not always built for the torch that is there
from torchmetrics.functional.classification import multiclass_calibration_error  # noqa: E402


def answers(count, classes, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(classes, (count,), generator=generator)


@given(count=st.integers(1, 400), classes=st.integers(2, 12), scale=st.floats(0.01, 5), seed=st.integers(0, 2**31))
def test_figures_equal_those_of_torchmetrics_and_scikit_learn(count, classes, scale, seed):
    logits, targets = answers(count, classes, scale, seed)
    found = calibration(logits, targets)
    probabilities = logits.softmax(1).numpy()
    labels = list(range(classes))
    assert found.nll == pytest.approx(log_loss(targets, probabilities, labels=labels), abs=1e-6)
    brier = brier_score_loss(targets, probabilities, labels=labels, scale_by_half=False)
    assert found.brier == pytest.approx(brier, abs=1e-6)
    edges = np.linspace(0, 1, BINS + 1)
    if np.abs(probabilities.max(1)[:, None] - edges).min() > 1e-12:  # on an edge, which torchmetrics closes below
        theirs = multiclass_calibration_error(logits.softmax(1), targets, classes, n_bins=BINS)
        assert found.ece == pytest.approx(float(theirs), abs=1e-6 + 1e-8 * count)  # they sum in float32


@given(count=st.integers(1, 400), scale=st.floats(0, 30), seed=st.integers(0, 2**31))
def test_the_bins_part_the_images(count, scale, seed):
    logits, targets = answers(count, 4, scale, seed)
    found = calibration(logits, targets)
    assert sum(each.count for each in found.bins) == count
    assert len(found.bins) == BINS == 15  # torchmetrics' own number
    for each in found.bins:
        assert each.count == 0 or each.low - 1e-12 <= each.confidence <= each.high + 1e-12
    right = sum(each.count * each.accuracy for each in found.bins)
    assert right == pytest.approx(int((logits.argmax(1) == targets).sum()))


def test_a_case_by_hand():
    """Confidences 0.9 (right), 0.9 (wrong) and 1 (right): one bin half right at 0.9, one whole at 1."""
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.0, 1.0]], dtype=torch.float64)
    found = calibration(probabilities.log(), torch.tensor([0, 1, 1]))
    assert found.nll == pytest.approx(-(np.log(0.9) + np.log(0.1)) / 3)
    assert found.brier == pytest.approx((0.02 + 1.62 + 0) / 3)
    assert found.ece == pytest.approx(2 / 3 * 0.4)
    assert [(each.count, each.accuracy) for each in found.bins[-2:]] == [(2, 0.5), (1, 1)]
    assert [each.confidence for each in found.bins[-2:]] == pytest.approx([0.9, 1])


def test_a_split_is_read_whole_and_the_mode_restored():
    logits, targets = answers(1234, 5, 2.0, 0)
    model = nn.Sequential(nn.Dropout(0.5), nn.Identity()).train()
    found = measure_calibration(model, Split(logits.float(), targets))
    assert found == calibration(logits.float(), targets)
    assert model.training
