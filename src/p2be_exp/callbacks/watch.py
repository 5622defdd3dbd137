"""Counting errors on a loader outside of Lightning's loops."""

from __future__ import annotations

import torch

from p2be_exp.data import ResidentLoader
from p2be_exp.meter import EpochMeter
from p2be_exp.training import TrainingModule


@torch.no_grad()
def count_error(module: TrainingModule, loader: ResidentLoader) -> float:
    """Error in percent over all images of a loader and all ranks; the module's mode is as before afterwards."""
    meter, training = EpochMeter(), module.training
    module.eval()
    for batch in loader:
        wrong = module.model(batch.images).argmax(dim=1) != batch.labels
        meter.add({"error": 100 * wrong.double().mean()}, batch.count)
    module.train(training)
    return meter.means()["error"]
