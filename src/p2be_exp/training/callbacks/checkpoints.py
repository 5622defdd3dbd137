"""Checkpoints: the last epoch's always, the best epoch's where there is a validation split."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint

from p2be_exp.errors import BadInput
from p2be_exp.runs.run import Run
from p2be_exp.system.atomic import write_bytes
from p2be_exp.system.saved_file import Damaged, read_saved


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file and renames it; reads one with valid checksums, and executes nothing.

    Lightning itself writes by way of the system's folder for temporary files, which may be small.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint, whole or not at all."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_bytes(Path(path), buffer.getbuffer())

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        """Read a checkpoint onto the CPU; always tensors, numbers, strings and containers only.

        Raises:
            BadInput: it cannot be read, or is damaged.
        """
        try:
            checkpoint = read_saved(Path(path))
            if missing := [key for key, kind in _OF_A_TRAINING.items() if not isinstance(checkpoint.get(key), kind)]:
                raise Damaged(f"{missing[0]} is not what a training keeps")
            return checkpoint
        except Damaged as error:
            raise BadInput(f"{path} is damaged ({error})") from error
        except OSError as error:
            raise BadInput(f"{path} cannot be read ({error.strerror})") from error


_OF_A_TRAINING = {
    **{"pytorch-lightning_version": str, "epoch": int, "global_step": int, "state_dict": dict},
    **{"loops": dict, "callbacks": dict, "optimizer_states": list, "lr_schedulers": list},
}
"""The parts that a resume needs, with their types; without the loops it would start over with trained weights."""

_NAMES = ("best.ckpt", "last.ckpt")


class _Checkpoint(ModelCheckpoint):
    """Finds its files and the best score again after the run folder has been moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:  # Lightning removes former best files: never anything but a checkpoint
            name = Path(path).name
            return str(Path(self.dirpath or "", name if name in _NAMES else f"{self.filename}.ckpt"))

        moved = {key: here(value) if key.endswith("_path") and value else value for key, value in state_dict.items()}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**moved, "dirpath": self.dirpath, "best_k_models": best})


def checkpoint_callbacks(run: Run, has_validation: bool) -> list[ModelCheckpoint]:
    """``last.ckpt`` after every epoch; ``best.ckpt`` by the validation error, never by the test set's."""
    folder = run.checkpoint().parent
    common: dict[str, Any] = {"dirpath": folder, "save_on_train_epoch_end": True, "enable_version_counter": False}
    callbacks: list[ModelCheckpoint] = []
    if has_validation:
        callbacks.append(_Checkpoint(filename="best", monitor="val/error", mode="min", **common))
    callbacks.append(_Checkpoint(filename="last", **common))
    return callbacks
