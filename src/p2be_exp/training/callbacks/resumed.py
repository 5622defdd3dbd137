"""One line that says where a resumed training goes on."""

from __future__ import annotations

import pytorch_lightning as pl


class Resumed(pl.Callback):
    """Prints the epoch and the batch that come next, on the first rank; nothing where none is left to train."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero and not trainer.should_stop:
            batches = int(trainer.num_training_batches)
            epoch, batch = divmod(trainer.fit_loop.epoch_loop.total_batch_idx + 1, batches)
            print(resumed_line(epoch, trainer.max_epochs or 0, batch, batches), flush=True)


def resumed_line(epoch: int, epochs: int, batch: int, batches: int) -> str:
    """Where a training goes on.

    Args:
        epoch, batch: done so far; the batches of the epoch that has begun.
        epochs, batches: of the training; of an epoch.

    >>> resumed_line(2, 12, 5, 41), resumed_line(2, 12, 0, 41)
    ('resumed in epoch 3/12, at batch 6/41', 'resumed at epoch 3/12')
    """
    if batch:
        return f"resumed in epoch {epoch + 1}/{epochs}, at batch {batch + 1}/{batches}"
    return f"resumed at epoch {epoch + 1}/{epochs}"
