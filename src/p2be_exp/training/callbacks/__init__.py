"""What happens around the training steps: rows, checkpoints, progress, stopping."""

from p2be_exp.training.callbacks.checkpoints import AtomicCheckpointIO, checkpoint_callbacks
from p2be_exp.training.callbacks.epoch_rows import EpochRows
from p2be_exp.evaluation.progress import EvaluationProgress
from p2be_exp.training.callbacks.progress import Progress
from p2be_exp.training.callbacks.sign_of_life import EpochsDone, heartbeat
from p2be_exp.training.callbacks.stop import StopOnSignal, StopSignals
from p2be_exp.training.callbacks.thread_advice import ThreadAdvice

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
