"""Training: the LightningModule that turns a regime's loss into steps of two optimizers."""

from __future__ import annotations

import math
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from p2be_exp.backbones.dropout import DropoutRandom, dropout_from
from p2be_exp.config.schema import TrainConfig
from p2be_exp.config.typed import plain
from p2be_exp.data import Batch
from p2be_exp.encodings import P2BE
from p2be_exp.encodings.smoothness import neighbour_cosines
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.model import build_model
from p2be_exp.optim import build_optimizer, build_schedule, clip_gradients
from p2be_exp.regimes import build_regime
from p2be_exp.training.meter import EpochMeter


class TrainingModule(pl.LightningModule):
    """One model under one regime.

    The loss of a batch is the regime's weighted terms plus lambda times the smoothness of the table. Both optimizers
    step as one (:class:`~p2be_exp.optim.CombinedOptimizer`), so Lightning's automatic optimization does the rest.

    Args:
        config: a run's resolved configuration, plain dictionaries.
        num_classes: number of classes.
        batches_per_epoch: global batches in an epoch, for the length of the schedules.

    Attributes:
        model: the classifier that is trained.
        train_meter: means over the epoch so far: each loss term, the loss, the error (in percent).
        last_terms: the loss and its terms in the last step, on this rank.
        val_error: error on the validation split in percent after the last epoch; None without one.
    """

    initial_bits: Tensor

    def __init__(self, config: TrainConfig, num_classes: int, batches_per_epoch: int) -> None:
        super().__init__()
        # A dataclass in a checkpoint could not be loaded with weights_only=True.
        self.save_hyperparameters(
            {"config": plain(config), "num_classes": num_classes, "batches_per_epoch": batches_per_epoch}
        )
        self.config = config
        self.batches_per_epoch = batches_per_epoch
        self.model = build_model(config, num_classes).to(memory_format=torch.channels_last)
        self.regime = build_regime(config.regime, config.seed, config.dataset.augmentation)
        self.lambda_smooth = config.encoding.lambda_smooth
        self.train_meter = EpochMeter(f"{config.dataset.name}/train")
        self.last_terms: dict[str, Tensor] = {}
        self.val_error: float | None = None
        self._val_meter = EpochMeter(f"{config.dataset.name}/train, held out")
        self._saved_sums: dict[str, Any] | None = None
        if (encoding := _table_of_bits(self.model)) is not None:
            self.register_buffer("initial_bits", encoding.table().detach().bool())

    # -- steps -----------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of this rank's share, scaled so that the mean over ranks is that of the global batch.

        With images that cannot be read all of it is smaller, see :class:`~p2be_exp.data.Batch`.
        """
        terms, loss, logits = self.loss_terms(batch, self.current_epoch)
        error = 100 * (logits.argmax(dim=1) != batch.labels).double().mean()
        self.last_terms = {"loss": loss.detach(), **{name: term.detach() for name, term in terms.items()}}
        self.train_meter.add({**self.last_terms, "error": error}, batch.count)
        return loss * batch.scale

    def loss_terms(self, batch: Batch, epoch: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Every loss term by name before its weight, their weighted sum, and the logits of the clean view."""
        with dropout_from(self.model, DropoutRandom(self.config.seed, epoch, batch.indices)):
            result = self.regime.loss(self.model, batch, epoch)
        terms, weights = dict(result.terms), dict(result.weights)
        smoothness = self.model.smoothness()
        if smoothness is not None:
            terms["smoothness"], weights["smoothness"] = smoothness, self.lambda_smooth
        loss = sum(weights.get(name, 1.0) * term for name, term in terms.items())
        return terms, cast("Tensor", loss), result.logits

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count the errors on the validation split."""
        wrong = self.model(batch.images).argmax(dim=1) != batch.labels
        self._val_meter.add({"error": 100 * wrong.double().mean()}, batch.count)

    def on_validation_epoch_end(self) -> None:
        """Publish ``val/error`` for the best checkpoint and the epoch's row."""
        self.val_error = self._val_meter.means()["error"]
        self.log("val/error", self.val_error, sync_dist=True)  # equal on all ranks already
        self._val_meter.reset()

    # -- optimization ----------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> dict[str, Any]:
        """The combined optimizer, and its schedule by steps."""
        optim = self.config.optim
        optimizer = build_optimizer(*self.model.learned(), optim)
        # Not trainer.estimated_stepping_batches: that would set up the loader before a resumed one's place is known.
        steps_per_epoch = math.ceil(self.batches_per_epoch / optim.accumulate)
        schedule = build_schedule(optimizer, optim, self.config.epochs, steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_after_backward(self) -> None:
        """The regime may have something to put back before gradients are clipped and applied."""
        self.regime.after_backward()

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the network's gradient and the table's each by its own norm."""
        if gradient_clip_val is not None:
            clip_gradients(optimizer, gradient_clip_val)

    # -- what to look at -------------------------------------------------------------------------------------------

    def learning_rates(self) -> dict[str, float]:
        """The learning rate of the next step, by group."""
        return {group["name"]: group["lr"] for group in self.trainer.optimizers[0].param_groups}

    @torch.no_grad()
    def table_statistics(self) -> dict[str, float]:
        """Percent of bits that changed since initialisation, and mean cosine of neighbouring latent rows."""
        encoding = _table_of_bits(self.model)
        if encoding is None:
            return {}
        changed: Tensor = encoding.table().bool() != self.initial_bits
        return {
            "bits_changed": 100 * changed.double().mean().item(),
            "neighbour_cosine": neighbour_cosines(encoding.weight).mean().item(),
        }

    # -- resume ----------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the sums of an epoch that is not over, so that its row is exact after a resume."""
        checkpoint["train_meter"] = self.train_meter.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the sums up again, once the device is known."""
        self._saved_sums = checkpoint["train_meter"]

    def on_train_start(self) -> None:
        """Load the saved sums."""
        if self._saved_sums is not None:
            self.train_meter.load_state_dict(self._saved_sums, self.device, self.global_rank)
            self._saved_sums = None


def _table_of_bits(model: Classifier) -> P2BE | None:
    """The table whose bits are looked at along the training; None where the model has none, or several."""
    tables = [encoding for encoding in model.encodings if isinstance(encoding, P2BE)]
    return tables[0] if len(tables) == 1 else None
