"""Calibration errors against a plain loop over bins and torchmetrics' multiclass form."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from p2be_exp.statistics.calibration import calibration_errors


def by_loop(confidence, wrong, bins=15):
    """ECE and RMS calibration error in percent, from their definitions."""
    total, ece, square = len(confidence), 0.0, 0.0
    for number in range(bins):
        inside = [i for i in range(total) if min(int(float(confidence[i]) * bins), bins - 1) == number]
        if inside:
            accuracy = sum(not wrong[i] for i in inside) / len(inside)
            gap = sum(float(confidence[i]) for i in inside) / len(inside) - accuracy
            ece += len(inside) / total * abs(gap)
            square += len(inside) / total * gap**2
    return {"ece": 100 * ece, "rms_calibration_error": 100 * square**0.5}


@pytest.fixture
def predictions():
    generator = torch.Generator().manual_seed(3)
    probabilities = (3 * torch.randn(400, 10, generator=generator)).softmax(1)
    return probabilities, torch.randint(10, (400,), generator=generator)


def test_they_equal_a_plain_loop(predictions):
    probabilities, labels = predictions
    confidence, prediction = (values.numpy() for values in probabilities.max(1))
    wrong = prediction != labels.numpy()
    assert calibration_errors(confidence, wrong) == pytest.approx(by_loop(confidence, wrong), abs=1e-3)


def test_they_are_the_multiclass_errors_of_torchmetrics(predictions):
    probabilities, labels = predictions
    confidence, prediction = (values.numpy() for values in probabilities.max(1))
    errors = calibration_errors(confidence, prediction != labels.numpy())
    for name, norm in (("ece", "l1"), ("rms_calibration_error", "l2")):
        expected = 100 * float(multiclass_calibration_error(probabilities, labels, 10, n_bins=15, norm=norm))
        assert errors[name] == pytest.approx(expected, abs=1e-4)


def test_certain_and_always_right_is_0_and_always_wrong_is_100():
    certain = np.ones(20, dtype=np.float32)
    assert calibration_errors(certain, np.zeros(20, bool)) == {"ece": 0, "rms_calibration_error": 0}
    assert calibration_errors(certain, np.ones(20, bool)) == {"ece": 100, "rms_calibration_error": 100}
