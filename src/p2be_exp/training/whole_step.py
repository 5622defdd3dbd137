"""Views, forward pass, loss, backward pass and both optimizers of a batch behind one call, on buffers that stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from p2be_exp.data import Batch
from p2be_exp.optim import CombinedOptimizer
from p2be_exp.regimes import When
from p2be_exp.system.gpu_batch_norm import in_captured_step

if TYPE_CHECKING:
    from p2be_exp.training.module import TrainingModule


class WholeStep:
    """A training step of one loss, whose inputs are tensors in fixed places, so that it can be captured.

    What a batch differs in is copied into buffers: images, labels, image numbers, the epoch, the batch's scale and, on
    a GPU, the learning rates. On a CPU these stay Python's numbers, in whose precision PyTorch's optimizers there
    compute. The seed is the training's, and the number of images that of the first batch.

    Args:
        module: what is trained.
        optimizer: its own.
        forward_context: makes the context of the forward pass (autocast).
        batch: the first, in whose shape the others are; its images are all this rank's own.

    Attributes:
        epoch, scale, rates: buffers; of learning rates on a GPU alone, by the names of their groups.
        loss: of the last batch, scaled.
        terms: the loss and its terms in the last batch, detached; the next batch overwrites them.
        sums: of these and of the error in percent, each times the number of images, in float64; likewise.
    """

    def __init__(
        self,
        module: TrainingModule,
        optimizer: CombinedOptimizer,
        forward_context: Callable[[], AbstractContextManager[Any]],
        batch: Batch,
    ) -> None:
        self.module, self.optimizer, self.forward_context = module, optimizer, forward_context
        device = batch.labels.device
        self.epoch = torch.zeros((), dtype=torch.int64, device=device)
        self.scale = torch.ones((), device=device)
        buffers = (torch.empty_like(each) for each in batch[:3])
        # As the scale is a number elsewhere; only its products are asked for.
        self._batch = batch._replace(**dict(zip(batch._fields, buffers, strict=False)), scale=self.scale)  # type: ignore[arg-type]
        names = [group["name"] for group in optimizer.param_groups] if device.type != "cpu" else []
        self.rates = {name: torch.zeros((), device=device) for name in names}
        self.loss = torch.zeros(())
        self.terms: dict[str, Tensor] = {}
        self.sums: dict[str, Tensor] = {}

    @property
    def batch_buffers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Images, labels and image numbers."""
        return self._batch[:3]

    @property
    def device(self) -> torch.device:
        """Of the buffers."""
        return self.scale.device

    @property
    def images(self) -> int:
        """In a batch."""
        return len(self._batch.labels)

    def serves(self, batch: Batch) -> bool:
        """Whether a batch fits the buffers, with images of this rank's own alone: not so an odd last one."""
        return batch.count == self.images and all(
            theirs.shape == ours.shape and theirs.device == ours.device
            for theirs, ours in zip(batch[:3], self._batch[:3], strict=True)
        )

    def fill(self, batch: Batch, epoch: int) -> None:
        """Copy what the next step is of into the buffers, without a wait."""
        for buffer, value in zip(self._batch[:3], batch[:3], strict=True):
            buffer.copy_(value, non_blocking=True)
        self.epoch.fill_(epoch)
        self.scale.fill_(batch.scale)
        for group in self.optimizer.param_groups:
            if group["name"] in self.rates:
                self.rates[group["name"]].fill_(group["lr"])

    def run(self, capturing: bool = False) -> None:
        """The step on what the buffers hold.

        Args:
            capturing: whether a CUDA graph is captured.

        Raises:
            RuntimeError: the regime yields more than one loss.
        """
        module, batch = self.module, self._batch
        self.optimizer.zero_grad()
        with in_captured_step(), self.forward_context():
            terms, loss, result = next(module.losses_of(batch, When(self.epoch, 0)))
            if result.more or result.count is not None:
                raise RuntimeError(f"regime={module.regime.name}: its steps are not of one loss over the whole batch")
            self.loss = loss * batch.scale
            self.terms = {"loss": loss.detach(), **{name: term.detach() for name, term in terms.items()}}
            means = {**self.terms, "error": module.error_of(result, batch)}
            self.sums = {name: mean.double() * self.images for name, mean in means.items()}
        self.loss.backward()
        module.regime.after_backward()
        self.loss = self.loss.detach()
        with self._rates_in_place(capturing):
            self.optimizer.step()

    @contextmanager
    def _rates_in_place(self, capturing: bool) -> Iterator[None]:
        """The optimizers read the buffers of learning rates; what schedules, rows and checkpoints see stays numbers."""
        groups = [group for group in self.optimizer.param_groups if group["name"] in self.rates]
        keys = ["lr", "capturable"]
        before = [{key: group[key] for key in keys if key in group} for group in groups]
        try:
            for group in groups:
                group["lr"] = self.rates[group["name"]]
                if "capturable" in group:  # fused steps are; without a capture PyTorch warns of the word
                    group["capturable"] = capturing
            yield
        finally:
            for group, values in zip(groups, before, strict=True):
                group.update(values)
