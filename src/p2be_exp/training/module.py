"""Training: the LightningModule that turns a regime's loss into steps of two optimizers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Optimizer

from p2be_exp.backbones.dropout import DropoutRandom, dropout_from
from p2be_exp.config.schema import TrainConfig
from p2be_exp.config.typed import plain
from p2be_exp.data import Batch
from p2be_exp.encodings import P2BE
from p2be_exp.encodings.smoothness import neighbour_cosines
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.mixed import MixtureClassifier
from p2be_exp.models.model import build_model
from p2be_exp.optim import WeightAverage, build_optimizer, build_schedule, clip_gradients
from p2be_exp.regimes import RegimeLoss, When, build_regime
from p2be_exp.system.collectives import sum_over_ranks, world_size
from p2be_exp.training.captured_step import EagerTwin
from p2be_exp.training.meter import EpochMeter

StepLoss: TypeAlias = tuple[dict[str, Tensor], Tensor, RegimeLoss]
"""Every loss term by name before its weight, their weighted sum, and what the regime yielded."""


class TrainingModule(pl.LightningModule):
    """One model under one regime.

    The loss of a batch is the regime's weighted terms plus lambda times the smoothness of the table. Both optimizers
    step as one (:class:`~p2be_exp.optim.CombinedOptimizer`), so Lightning's automatic optimization does the rest. A
    regime may have several losses of one batch: each is one optimizer step, clipped by itself, before the next is
    computed; schedules and step numbers count batches.

    Args:
        config: a run's resolved configuration, plain dictionaries.
        num_classes: number of classes.
        batches_per_epoch: global batches in an epoch, for the length of the schedules.

    Attributes:
        model: the classifier that is trained.
        train_meter: means over the epoch so far: each loss term, the loss, the error (in percent).
        last_terms: the loss and its terms in the last batch, on this rank.
        last_counts: how many of this rank's images each of them is the mean of.
        val_error: error on the validation split in percent after the last epoch; None without one.
        whole_steps: takes batches whole, from views to optimizers, those that it serves; None: none are.
        average: of the weights after each batch that was stepped on; None: none is kept.
    """

    initial_bits: Tensor

    def __init__(self, config: TrainConfig, num_classes: int, batches_per_epoch: int) -> None:
        super().__init__()
        # A dataclass in a checkpoint could not be loaded with weights_only=True.
        self.save_hyperparameters(
            {"config": plain(config), "num_classes": num_classes, "batches_per_epoch": batches_per_epoch},
            logger=False,  # loggers are opened with the configuration, or get it with the results
        )
        self.config = config
        self.batches_per_epoch = batches_per_epoch
        self.model = build_model(config, num_classes).to(memory_format=torch.channels_last)
        self.regime = build_regime(config.regime, config.seed, config.dataset.augmentation)
        self.lambda_smooth = config.encoding.lambda_smooth
        self.train_meter = EpochMeter(f"{config.dataset.name}/train")
        self.last_terms: dict[str, Tensor] = {}
        self.last_counts: dict[str, int] = {}
        self.val_error: float | None = None
        self._val_meter = EpochMeter(f"{config.dataset.name}/train, held out")
        self._saved_sums: dict[str, Any] | None = None
        self.whole_steps: EagerTwin | None = None
        self.average = _average_of(self.model, config) if config.optim.averages else None
        self._losses: Iterator[StepLoss] | None = None  # of the present batch, while another step follows
        self._present: Batch | None = None
        self._taken = False  # the present batch has been trained on as a whole: its loss alone is asked for
        if (encoding := _table_of_bits(self.model)) is not None:
            self.register_buffer("initial_bits", encoding.table().detach().bool())

    # -- steps -----------------------------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Begin the batch with its first loss."""
        self._losses, self._present = None, batch

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The next loss of this rank's share, scaled so that the mean over ranks is that of the global batch.

        With images that cannot be read all of it is smaller, see :class:`~p2be_exp.data.Batch`.
        """
        if self._taken:
            return self._take_notes(batch)
        first = self._losses is None
        if self._losses is None:
            step = self.current_epoch * self.batches_per_epoch + batch_idx
            self._losses = self.losses_of(batch, When(self.current_epoch, step))
            self.last_terms, self.last_counts = {}, {}
        terms, loss, result = next(self._losses)
        if not result.more:
            self._losses = None
        count, scale = self._share(result, batch)
        found = {name: term.detach() for name, term in terms.items()}
        if first:
            found = {"loss": loss.detach(), **found}
        self.train_meter.add(found, count)
        if first:
            self.train_meter.add({"error": self.error_of(result, batch)}, batch.count)
        self.last_terms |= found
        self.last_counts |= dict.fromkeys(found, count)
        return loss * scale

    def _take_notes(self, batch: Batch) -> Tensor:
        """Of a batch that was trained on as a whole: count its numbers in, and give its loss."""
        assert self.whole_steps is not None and self.whole_steps.step is not None  # noqa: PT018
        step = self.whole_steps.step
        self.train_meter.add_sums(step.sums, batch.count)
        self.last_terms, self.last_counts = dict(step.terms), dict.fromkeys(step.terms, batch.count)
        return step.loss

    @staticmethod
    def error_of(result: RegimeLoss, batch: Batch) -> Tensor:
        """The training error in percent, float64."""
        return 100 * (result.logits.argmax(dim=1) != batch.labels).double().mean()

    def loss_terms(self, batch: Batch, epoch: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Of the first step on a batch: every term before its weight, their weighted sum, the clean view's logits."""
        terms, loss, result = next(self.losses_of(batch, When(epoch, epoch * self.batches_per_epoch)))
        return terms, loss, result.logits

    def losses_of(self, batch: Batch, when: When) -> Iterator[StepLoss]:
        """The losses of a batch, each computed on demand, since the weights change between them."""
        random = DropoutRandom(self.config.seed, when.epoch, batch.indices)
        steps = self.regime.steps(self.model, batch, when)
        used: set[str] = set()
        more = True
        while more:
            with dropout_from(self.model, random, continued=bool(used)):
                result = next(steps, None)
            result = self._checked(result, used)
            terms, weights = dict(result.terms), dict(result.weights)
            smoothness = None if used else self.model.smoothness()  # once per batch
            if smoothness is not None:
                terms["smoothness"], weights["smoothness"] = smoothness, self.lambda_smooth
            loss = sum(weights.get(name, 1.0) * term for name, term in terms.items())
            used |= {"loss", "error", *terms}
            more = result.more
            yield terms, cast("Tensor", loss), result

    def _checked(self, result: RegimeLoss | None, used: set[str]) -> RegimeLoss:
        """What a regime has yielded, unless it breaks the rules of :meth:`~p2be_exp.regimes.Regime.steps`."""
        regime = type(self.regime).__name__
        if result is None:
            raise RuntimeError(f"{regime}.steps ended without another loss")
        if result.more and not self.regime.several_steps:
            raise RuntimeError(f"{regime}.steps yields a loss with more=True: the class must set several_steps = True")
        if used and (twice := sorted(used & result.terms.keys())):
            raise RuntimeError(
                f"{regime}.steps yields {', '.join(twice)} twice: each step's terms need their own names"
            )
        return result

    def _share(self, result: RegimeLoss, batch: Batch) -> tuple[int, float]:
        """How many of this rank's images a loss is the mean of, and its factor in the mean over ranks."""
        ranks = world_size()
        if result.count is None and (ranks == 1 or not self.regime.several_steps):
            return batch.count, batch.scale
        count = batch.count if result.count is None else result.count
        if ranks == 1:  # nothing to ask other ranks for, and no wait for the device
            return count, 1.0 if count else 0.0
        together = torch.tensor([count, result.more], dtype=torch.float64, device=batch.labels.device)
        images, going_on = sum_over_ranks(together).tolist()
        if going_on not in (0, ranks):  # one rank would wait for the others forever
            raise RuntimeError(f"{type(self.regime).__name__}.steps: more must be equal on all ranks")
        if result.count is None:
            return batch.count, batch.scale
        return count, count * ranks / images if images else 0.0

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
        # Not trainer.estimated_stepping_batches: it would set up the loader before a resumed one knows where it starts.
        steps_per_epoch = math.ceil(self.batches_per_epoch / optim.accumulate)
        schedule = build_schedule(optimizer, optim, self.config.epochs, steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step once for each loss of the batch: the closure computes the next one and its gradients.

        A batch that is taken whole has been stepped on when Lightning asks for its loss, which it needs. The average of
        the weights is taken afterwards, outside of a CUDA graph, whose weights stay in their places.
        """
        self._step_on_batch(epoch, batch_idx, optimizer, optimizer_closure)
        if self.average is not None and epoch >= self.config.optim.ema_from:
            self.average.update()

    def _step_on_batch(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None,
    ) -> None:
        if self.whole_steps is not None and self._present is not None and optimizer_closure is not None:
            self._taken = self.whole_steps.take(self._present, epoch)
        if self._taken and optimizer_closure is not None:
            try:
                optimizer_closure()
            finally:
                self._taken = False
            return
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        while self._losses is not None:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """The gradients of a loss; those of a batch that was taken whole have been used already."""
        if not self._taken:
            super().backward(loss, *args, **kwargs)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Likewise."""
        if not self._taken:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

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

    # -- statistics -------------------------------------------------------------------------------------------------

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
        """Save the sums of an unfinished epoch, so that its row is exact after a resume, and the average (``ema``)."""
        checkpoint["train_meter"] = self.train_meter.state_dict()
        if self.average is not None and self.average.count:
            checkpoint["ema"] = self.average.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the saved sums until the device is known; go on with the saved average."""
        self._saved_sums = checkpoint["train_meter"]
        if self.average is not None and "ema" in checkpoint:
            self.average.load_state_dict(checkpoint["ema"])

    def on_train_start(self) -> None:
        """Load the saved sums."""
        if self._saved_sums is not None:
            self.train_meter.load_state_dict(self._saved_sums, self.device, self.global_rank)
            self._saved_sums = None


def _average_of(model: Classifier, config: TrainConfig) -> WeightAverage:
    """Of all parameters that learn, by the names that they have in a checkpoint."""
    learning = {f"model.{name}": each for name, each in model.named_parameters() if each.requires_grad}
    return WeightAverage(learning, config.optim.ema_decay)


def _table_of_bits(model: Classifier) -> P2BE | None:
    """The table whose bits are looked at along the training; None where the model has none, or several, or parts."""
    if isinstance(model, MixtureClassifier):
        return None
    tables = [encoding for encoding in model.encodings if isinstance(encoding, P2BE)]
    return tables[0] if len(tables) == 1 else None
