"""This process as part of a job: signals, devices, threads, and ending together with the other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from p2be_exp.system.deterministic import fix_workspace
from p2be_exp.system.ownership import owned
from p2be_exp.system.process_state import kept_process_state
from p2be_exp.system.ranks import rank
from p2be_exp.system.stop_signals import StopSignals
from p2be_exp.system.threads import set_threads
from p2be_exp.system.together import together
from p2be_exp.system.trainer import check_devices, on_gpu, tell_lightning_rank
from p2be_exp.system.watch import Watch

if TYPE_CHECKING:
    from p2be_exp.config.schema import TrainerConfig


@contextmanager
def job_process(
    trainer: TrainerConfig,
    folder: Path,
    key: str,
    stopped: Callable[[Watch], AbstractContextManager[None]] | None = None,
) -> Iterator[StopSignals]:
    """The process set-up and clean-up that trainings and evaluations share.

    The folder's lock is held from before anything is read until the end (see :mod:`p2be_exp.system.ownership`); the
    state of the process is restored.

    Args:
        trainer: the group.
        folder: the folder that the job writes to.
        key: the option that names it, for messages.
        stopped: entered once signals are handled, with this process's watch; it sees how the ranks end.

    Raises:
        BadInput: another process owns the folder, or this machine lacks a device; or see
            :func:`~p2be_exp.system.deterministic.fix_workspace`.
    """
    with kept_process_state(), StopSignals() as signals:
        seen = nullcontext() if stopped is None else stopped(signals.watch)
        owner = owned(folder, key) if rank(trainer) == 0 else nullcontext()
        with seen, owner, together(trainer, folder, key, signals.watch):
            check_devices(trainer)
            if on_gpu(trainer) and trainer.deterministic:
                fix_workspace()  # before anything starts CUDA
            tell_lightning_rank(trainer)
            set_threads(trainer)
            yield signals
