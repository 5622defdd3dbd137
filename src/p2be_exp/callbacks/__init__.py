"""What happens around the training steps: rows, checkpoints, progress, stopping."""

from p2be_exp.callbacks.checkpoints import AtomicCheckpointIO, checkpoint_callbacks
from p2be_exp.callbacks.epoch_rows import EpochRows
from p2be_exp.callbacks.heartbeat import Heartbeat
from p2be_exp.callbacks.progress import Progress
from p2be_exp.callbacks.stop import StopOnSignal, StopSignals

__all__ = [
    "AtomicCheckpointIO",
    "EpochRows",
    "Heartbeat",
    "Progress",
    "StopOnSignal",
    "StopSignals",
    "checkpoint_callbacks",
]
