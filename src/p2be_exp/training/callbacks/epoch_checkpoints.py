"""A checkpoint that stays, every few epochs: ``checkpoint_every``."""

from __future__ import annotations

import pytorch_lightning as pl

from p2be_exp.runs.run import Run


class EpochCheckpoints(pl.Callback):
    """Writes ``checkpoints/epoch_NNN.ckpt`` after every n-th epoch, with all that ``last.ckpt`` holds at that moment.

    It comes before ``last.ckpt`` is written, as every callback that is no checkpoint of Lightning's: a training that is
    killed between the two trains the epoch again and writes the same file again. The other way round it would be lost.

    Args:
        run: the folder.
        every: number of epochs.
    """

    def __init__(self, run: Run, every: int) -> None:
        self.run, self.every = run, every

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if epoch % self.every == 0:
            trainer.save_checkpoint(self.run.checkpoint(f"epoch_{epoch:03d}"))
