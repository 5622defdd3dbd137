"""What happens around the training steps: rows, checkpoints, progress, stopping."""

from p2be_exp.callbacks.checkpoints import AtomicCheckpointIO, checkpoint_callbacks
from p2be_exp.callbacks.epoch_rows import EpochRows
from p2be_exp.callbacks.evaluation_progress import EvaluationProgress
from p2be_exp.callbacks.progress import Progress
from p2be_exp.callbacks.sign_of_life import EpochsDone, heartbeat
from p2be_exp.callbacks.stop import StopOnSignal, StopSignals
from p2be_exp.callbacks.thread_advice import ThreadAdvice

__all__ = [
    "AtomicCheckpointIO",
    "EpochRows",
    "EpochsDone",
    "EvaluationProgress",
    "Progress",
    "StopOnSignal",
    "StopSignals",
    "ThreadAdvice",
    "checkpoint_callbacks",
    "heartbeat",
]
