"""Lightning's Trainer from the ``trainer`` group: devices, processes, precision."""

from __future__ import annotations

import logging
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from pytorch_lightning.strategies import Strategy
from pytorch_lightning.utilities import rank_zero_only

from p2be_exp.errors import BadInput
from p2be_exp.system.deterministic import compute_deterministically
from p2be_exp.system.devices import NO_BF16, NO_GPU
from p2be_exp.system.process_state import LIGHTNING_LOGGERS
from p2be_exp.system.ranks import check_launcher, is_lightning_rank, launcher, processes_here, rank, start_own_processes
from p2be_exp.system.strategy import Processes, take_no_signals
from p2be_exp.system.threads import usable_cpus
from p2be_exp.system.together import start_of

if TYPE_CHECKING:
    from p2be_exp.config.schema import TrainerConfig

FEW_PROCESSES = 4
"""Number of processes that may be tried on a machine with fewer CPUs."""


def check_devices(config: TrainerConfig) -> None:
    """Check that this machine has the devices and processes that a ``trainer`` group requests.

    Raises:
        BadInput: there are too few GPUs, or far fewer CPUs than processes; the CPU does not support bf16; a launcher
            started a different number of processes.
    """
    check_launcher(config)
    if config.accelerator == "gpu" and not torch.cuda.is_available():
        raise BadInput(f"trainer={config.name}: {NO_GPU}")
    if on_gpu(config) and (here := processes_here(config)) > config.devices:
        raise BadInput(f"trainer.devices={config.devices}: {here} processes were started on this machine")
    if on_gpu(config) and config.devices > torch.cuda.device_count():
        raise BadInput(f"trainer.devices={config.devices}: there are {torch.cuda.device_count()} GPUs")
    cpus = usable_cpus()
    if not on_gpu(config) and launcher(config) == "lightning" and config.devices > max(FEW_PROCESSES, cpus):
        most = max(FEW_PROCESSES, cpus)
        raise BadInput(
            f"trainer.devices={config.devices}: too many processes for {cpus} CPUs; must be between 1 and {most}"
        )
    if config.precision == "bf16" and not on_gpu(config) and not cpu_computes_bf16():
        raise BadInput(f"trainer.precision=bf16: {NO_BF16}")


def cpu_computes_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware, by oneDNN's own test and, on x86, its instructions.

    On x86, oneDNN's test accepts any AVX-512, on which it emulates bf16 more slowly than it computes in float32.
    """
    if not torch.backends.mkldnn.is_available():  # a build without oneDNN
        return False
    instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.ops.mkldnn._is_mkldnn_bf16_supported() and (
        instructions or platform.machine() not in ("x86_64", "AMD64")
    )


def on_gpu(config: TrainerConfig) -> bool:
    """Whether a ``trainer`` group uses GPUs on this machine."""
    return config.accelerator != "cpu" and torch.cuda.is_available()


def precision_of(config: TrainerConfig) -> str:
    """Lightning's name of the training precision: ``auto`` is bf16 on GPUs and float32 on CPUs."""
    precision = "bf16" if config.precision == "auto" and on_gpu(config) else config.precision
    return "bf16-mixed" if precision == "bf16" else "32-true"


def evaluation_precision(config: TrainerConfig) -> str:
    """Lightning's name of the evaluation precision: float32 unless bf16 is requested explicitly."""
    return "bf16-mixed" if config.precision == "bf16" else "32-true"


def set_arithmetic(config: TrainerConfig, tf32: bool) -> None:
    """Choose how a GPU computes what is in float32, in this process; nothing on a CPU.

    PyTorch's own default is TF32 in convolutions and float32 in products of matrices.

    Args:
        config: the ``trainer`` group.
        tf32: whether float32 may be TF32, in both.
    """
    if on_gpu(config):
        torch.backends.cudnn.benchmark = True  # as in the reference code; image sizes never change
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        if config.deterministic:
            compute_deterministically()


def build_trainer(config: TrainerConfig, *, tf32: bool | None = None, **settings: Any) -> pl.Trainer:
    """A Trainer for a ``trainer`` group.

    Args:
        config: the group.
        tf32: see :func:`set_arithmetic`; None: beside bf16 alone, so that float32 means float32.
        settings: further arguments of ``pl.Trainer``; they take precedence, except ``plugins``, which are added.
    """
    quiet_lightning()
    gpu = on_gpu(config)
    lowered = settings.get("precision", precision_of(config)) != "32-true"
    set_arithmetic(config, lowered if tf32 is None else tf32)
    plugins = [*settings.pop("plugins", []), cluster_environment(config)]
    defaults = {
        "accelerator": "gpu" if gpu else "cpu",
        "devices": config.devices,
        "num_nodes": config.num_nodes,
        "strategy": _strategy(config),
        "precision": precision_of(config),
        # PyTorch synchronises batch norms on GPUs only.
        "sync_batchnorm": config.sync_batchnorm and gpu and config.strategy == "ddp",
        "use_distributed_sampler": False,  # the loaders share batches among ranks themselves
        "num_sanity_val_steps": 0,
        "enable_model_summary": False,
        "inference_mode": False,  # attacks need gradients
        "logger": False,
    }
    with _without_trainer_variables():
        trainer = pl.Trainer(**{**defaults, **settings, "plugins": plugins})
    take_no_signals(trainer)
    return trainer


@contextmanager
def _without_trainer_variables() -> Iterator[None]:
    """Hide ``PL_TRAINER_...``, from which Lightning reads arguments: only the configuration defines a run."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PL_TRAINER_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _strategy(config: TrainerConfig) -> str | Strategy:
    if config.strategy != "ddp":
        return "auto"
    backend = None if on_gpu(config) else "gloo"
    return Processes(config.timeout, start_of(config), process_group_backend=backend)


# -- Lightning's view of the processes --------------------------------------------------------------------------------


class _OwnProcesses(LightningEnvironment):
    """Processes started by the first one; leftover environment variables are ignored.

    Args:
        started: whether this process is a rank that was started; otherwise it is the first process.
    """

    creates_processes_externally = False  # instead of reading the environment

    def __init__(self, started: bool) -> None:
        super().__init__()
        self.creates_processes_externally = self._started = started

    @property
    def main_port(self) -> int:
        """The port of the store, as set by the launcher."""
        return int(os.environ["MASTER_PORT"])

    def local_rank(self) -> int:
        return super().local_rank() if self._started else 0

    def node_rank(self) -> int:
        return super().node_rank() if self._started else 0


class _SlurmTasks(SLURMEnvironment):
    """The tasks of an srun; :func:`~p2be_exp.system.ranks.check_launcher` has counted them."""

    @staticmethod
    def _validate_srun_variables() -> None:
        """Skip Lightning's own check, which refuses ``--ntasks`` without ``--ntasks-per-node``."""

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Skip Lightning's own check, which compares with the job's request, not with this process's job step."""


def cluster_environment(config: TrainerConfig) -> ClusterEnvironment:
    """The launcher of a ``trainer`` group's ranks, for Lightning, which would otherwise guess from the environment."""
    started = launcher(config)
    if started == "torchrun":
        return TorchElasticEnvironment()
    if started == "slurm":
        # Without Lightning's requeueing: resume= cannot read its checkpoint, and its command is not ours.
        return _SlurmTasks(auto_requeue=False)
    if started == "lightning":
        start_own_processes()
    return _OwnProcesses(started=started is not None and is_lightning_rank())


def tell_lightning_rank(config: TrainerConfig) -> None:
    """Set the rank of Lightning and its loggers, which guess it from the environment at import."""
    rank_zero_only.rank = rank(config)  # type: ignore[attr-defined]


def quiet_lightning() -> None:
    """Drop Lightning's banners and the warnings that do not apply here."""
    for name in LIGHTNING_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (
        r"Total length of `\w+` across ranks is zero",  # the paper's recipe has no validation split
        r".*isinstance\(treespec, LeafSpec\).*",  # Lightning's own use of PyTorch
        r"You are using `torch.load` with `weights_only=False`",
        r"Checkpoint directory .* exists and is not empty",  # resuming writes there intentionally
        r"The `srun` command is available",
        r"Found \d+ module\(s\) in eval mode at the start of training",  # the parts of a mixture stay in it
        r"The number of training batches .* is smaller than the logging interval",  # this package logs its own rows
    ):
        warnings.filterwarnings("ignore", message=message)
