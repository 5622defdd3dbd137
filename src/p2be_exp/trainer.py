"""Lightning's Trainer from the ``trainer`` group: devices, processes, precision."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy, Strategy

from p2be_exp.errors import BadInput


def check_devices(config: dict[str, Any]) -> None:
    """Check that this machine has the devices that a ``trainer`` group asks for.

    Raises:
        BadInput: there are not as many GPUs, or no GPU.
    """
    if config["accelerator"] == "gpu" and not torch.cuda.is_available():
        raise BadInput(f"trainer={config['name']}: no GPU was found; allowed here is trainer=cpu or trainer=auto")
    if on_gpu(config) and config["devices"] > torch.cuda.device_count():
        raise BadInput(f"trainer.devices={config['devices']}: there are {torch.cuda.device_count()} GPUs")
    if config["precision"] == "bf16" and not on_gpu(config):
        raise BadInput("trainer.precision=bf16: allowed on a GPU; on a CPU it is auto or 32")


def on_gpu(config: dict[str, Any]) -> bool:
    """Whether a ``trainer`` group means GPUs on this machine."""
    return config["accelerator"] != "cpu" and torch.cuda.is_available()


def precision_of(config: dict[str, Any]) -> str:
    """Lightning's name of the precision to train in: bf16 on GPUs unless 32 is asked for."""
    return "bf16-mixed" if on_gpu(config) and config["precision"] != "32" else "32-true"


def evaluation_precision(config: dict[str, Any]) -> str:
    """Lightning's name of the precision to evaluate in: float32 unless bf16 is asked for by name."""
    return "bf16-mixed" if on_gpu(config) and config["precision"] == "bf16" else "32-true"


def build_trainer(config: dict[str, Any], **settings: Any) -> pl.Trainer:
    """A Trainer for a ``trainer`` group.

    Args:
        config: the group.
        settings: further arguments of ``pl.Trainer``; they win.
    """
    quiet_lightning()
    gpu = on_gpu(config)
    if gpu:
        torch.backends.cudnn.benchmark = True  # as the reference; image sizes never change
        exact = settings.get("precision", precision_of(config)) == "32-true"
        torch.set_float32_matmul_precision("highest" if exact else "high")
        torch.backends.cudnn.allow_tf32 = not exact  # float32 means float32, in training and in every evaluation
    defaults = {
        "accelerator": "gpu" if gpu else "cpu",
        "devices": config["devices"],
        "num_nodes": config["num_nodes"],
        "strategy": _strategy(config),
        "precision": precision_of(config),
        # PyTorch synchronises batch norms on GPUs only.
        "sync_batchnorm": config["sync_batchnorm"] and gpu and config["strategy"] == "ddp",
        "use_distributed_sampler": False,  # the loaders share batches among ranks themselves
        "num_sanity_val_steps": 0,
        "enable_model_summary": False,
        "inference_mode": False,  # attacks need gradients
        "logger": False,
    }
    return pl.Trainer(**{**defaults, **settings})


def _strategy(config: dict[str, Any]) -> str | Strategy:
    if config["strategy"] != "ddp":
        return "auto"
    return DDPStrategy(process_group_backend=None if on_gpu(config) else "gloo")


def quiet_lightning() -> None:
    """Drop Lightning's banners and the warnings that do not apply here."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (
        r"Total length of `\w+` across ranks is zero",  # no validation split is the paper's recipe
        r".*isinstance\(treespec, LeafSpec\).*",  # Lightning's own use of PyTorch
        r"You are using `torch.load` with `weights_only=False`",
        r"Checkpoint directory .* exists and is not empty",  # resuming is meant to write there
        r"The `srun` command is available",
        r"The number of training batches .* is smaller than the logging interval",  # the rows are ours
    ):
        warnings.filterwarnings("ignore", message=message)
