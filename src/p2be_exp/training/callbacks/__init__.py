"""What happens around the training steps: rows, checkpoints, progress, stopping."""

from p2be_exp.training.callbacks.captured_steps import CapturedSteps
from p2be_exp.training.callbacks.checkpoints import AtomicCheckpointIO, checkpoint_callbacks
from p2be_exp.training.callbacks.early_stop import EarlyStop
from p2be_exp.training.callbacks.epoch_checkpoints import EpochCheckpoints
from p2be_exp.training.callbacks.epoch_rows import EpochRows
from p2be_exp.training.callbacks.phase_rows import PhaseRows
from p2be_exp.training.callbacks.profile import Profile
from p2be_exp.training.callbacks.progress import Progress
from p2be_exp.training.callbacks.resumed import Resumed
from p2be_exp.training.callbacks.sign_of_life import EpochsDone, heartbeat
from p2be_exp.training.callbacks.step_log import StepLog
from p2be_exp.training.callbacks.stop import StopOnSignal
from p2be_exp.training.callbacks.thread_advice import ThreadAdvice

__all__ = [
    "AtomicCheckpointIO",
    "CapturedSteps",
    "EarlyStop",
    "EpochCheckpoints",
    "EpochRows",
    "EpochsDone",
    "PhaseRows",
    "Profile",
    "Progress",
    "Resumed",
    "StepLog",
    "StopOnSignal",
    "ThreadAdvice",
    "checkpoint_callbacks",
    "heartbeat",
]
