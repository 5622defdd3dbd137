"""Counting errors on a loader outside of Lightning's loops."""

from __future__ import annotations

import torch

from p2be_exp.data.loader import EpochLoader
from p2be_exp.training.meter import EpochMeter
from p2be_exp.training.module import TrainingModule


@torch.no_grad()
def count_error(module: TrainingModule, loader: EpochLoader) -> float:
    """Error in percent over all images of a loader and all ranks; every rank must call it.

    It is the error of the state that a checkpoint holds: afterwards every rank has rank 0's buffers. The module's mode
    is restored.
    """
    _share_buffers(module)
    meter, training = EpochMeter(), module.training
    module.eval()
    for batch in loader:
        wrong = module.model(batch.images).argmax(dim=1) != batch.labels
        meter.add({"error": 100 * wrong.double().mean()}, batch.count)
    module.train(training)
    return meter.means()["error"]


def _share_buffers(module: torch.nn.Module) -> None:
    """Give every rank the buffers of rank 0, as DDP does before the next step, so the training does not change.

    Batch norms that are not synchronised have seen each rank's own share in the last step.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, src=0)
