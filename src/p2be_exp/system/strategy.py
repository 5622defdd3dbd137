"""Lightning's DDP with failures handled as in one process: this package starts, joins and ends the processes."""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers.launcher import _Launcher
from pytorch_lightning.trainer.connectors.signal_connector import _SignalConnector

from p2be_exp.system.launch import children
from p2be_exp.system.rendezvous import join, meet, open_store
from p2be_exp.system.together import current_peers, leave_reason

_STORES: list[torch.distributed.TCPStore] = []
"""Stores that this process keeps open for the other ranks of its job."""


class Processes(DDPStrategy):
    """DDP whose processes are started by :class:`Launcher`, with waits that are reported and can be interrupted.

    Args:
        timeout: seconds to wait for the others to join.
        start: identifies this start of the job among others that use the same store.
        settings: of Lightning's strategy.
    """

    def __init__(self, timeout: float, start: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._patience, self._start = timeout, start

    def _configure_launcher(self) -> None:
        self._launcher = Launcher(self)

    def setup_distributed(self) -> None:
        """Meet the other ranks, once for all trainers of a process."""
        self.set_world_ranks()
        if not torch.distributed.is_initialized():
            environment = self.cluster_environment
            assert environment is not None  # the trainer was given one
            keeps = _STORES[-1] if _STORES else None
            rank, size, timeout = self.global_rank, self.world_size, self._patience
            address, port = environment.main_address, environment.main_port
            store = meet(rank, size, address, port, timeout, keeps=keeps, start=self._start, peers=current_peers())
            backend = self._get_process_group_backend()
            join(store, backend, rank, size, timeout, self.root_device)
            if backend == "nccl":
                atexit.register(_leave_group)
        super().setup_distributed()

    def on_exception(self, exception: BaseException) -> None:
        """Record the reason before the teardown, which on a GPU may wait for the other ranks."""
        leave_reason(exception)
        super().on_exception(exception)


class Launcher(_Launcher):
    """Starts the processes of this machine, unless a launcher has.

    Unlike Lightning's, it has no thread that kills all of them when one has failed: they end by themselves, each with
    the reason (see :mod:`~p2be_exp.system.together`).
    """

    def __init__(self, strategy: Processes) -> None:
        self._strategy = strategy

    @property
    def is_interactive_compatible(self) -> bool:
        """Whether a notebook can use it: no, since it runs the script again."""
        return False

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        """Start the other processes, then call a function."""
        environment = self._strategy.cluster_environment
        assert environment is not None  # the trainer was given one
        environment.validate_settings(num_devices=self._strategy.num_processes, num_nodes=self._strategy.num_nodes)
        if not environment.creates_processes_externally:
            _STORES[:] = [open_store()]
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_STORES[-1].port), "NODE_RANK": "0"}
            os.environ |= {"LOCAL_RANK": "0", "WORLD_SIZE": str(self._strategy.num_processes)}
            children.start(self._strategy.num_processes)
        return function(*args, **kwargs)

    def kill(self, signum: int) -> None:
        """Do nothing: the other processes end by themselves."""


class NoSignals(_SignalConnector):
    """Leaves the signals to :class:`~p2be_exp.system.stop_signals.StopSignals`.

    Lightning's own SIGTERM handler communicates with the other ranks, which may be in any state.
    """

    def register_signal_handlers(self) -> None:
        """Register nothing."""
        self.received_sigterm = False


def take_no_signals(trainer: pl.Trainer) -> None:
    """Keep a trainer from installing signal handlers."""
    trainer._signal_connector = NoSignals(trainer)


def _leave_group() -> None:
    with contextlib.suppress(Exception):
        torch.distributed.destroy_process_group()
