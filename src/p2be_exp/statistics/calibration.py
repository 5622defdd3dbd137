"""Calibration of a classifier: the gap between its confidence and its accuracy."""

from __future__ import annotations

import numpy as np
import torch
from torchmetrics.functional.classification import binary_calibration_error

BINS = 15
"""Bins of equal width, as in Guo et al. 2017 and Hendrycks et al. 2020."""


def calibration_errors(confidence: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """Expected (ECE) and root-mean-square calibration error of a top-1 prediction.

    Args:
        confidence: ``(N,)``, the largest softmax probability of each image.
        wrong: ``(N,)`` bool.

    Returns:
        ``ece`` and ``rms_calibration_error``, in percent.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks"; Hendrycks et al. 2019, "Deep Anomaly Detection
    with Outlier Exposure", for the root mean square. Both by torchmetrics, with 15 bins of equal width.
    """
    # Top-1 calibration as a binary problem: is the prediction correct, with its confidence as the probability.
    correct = torch.from_numpy(~np.asarray(wrong, dtype=bool)).long()
    probability = torch.from_numpy(np.asarray(confidence, dtype=np.float32))
    ece, rms = (
        100 * float(binary_calibration_error(probability, correct, n_bins=BINS, norm=norm)) for norm in ("l1", "l2")
    )
    return {"ece": round(ece, 4), "rms_calibration_error": round(rms, 4)}
