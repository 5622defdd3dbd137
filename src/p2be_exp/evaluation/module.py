"""Evaluation: the LightningModule that measures one model under a list of conditions."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from p2be_exp.attacks import Adversarial, Attack, AttackRandom
from p2be_exp.attacks.nearest import Nearest, NearestAttack
from p2be_exp.data import Batch, ImageDataModule
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.condition import CLEAN, Condition
from p2be_exp.evaluation.corrupted.images import CorruptedImages
from p2be_exp.evaluation.results import Results, Row

EXAMPLES = 8
"""Number of adversarial images that are kept for each attack."""


class EvaluationModule(pl.LightningModule):
    """Predictions of a model under each condition, and their rows.

    ``Trainer.test`` runs it over one loader per condition, in the order of ``conditions``. After a condition's last
    batch its images are gathered from all ranks, each exactly once, and its row is written, with the seconds since the
    previous row: they include the time to read or generate the images.

    Args:
        model: images in, logits out.
        conditions: what the loaders hold.
        results: where the rows go; None on every rank but the first.
        attacks: those of the conditions with an attack, by the condition's ID.
        seed: seed for the attacks.
        save_images: keep the adversarial images.
    """

    def __init__(
        self,
        model: nn.Module,
        conditions: list[Condition],
        results: Results | None,
        attacks: Mapping[str, Attack | NearestAttack] | None = None,
        seed: int = 0,
        save_images: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.conditions = conditions
        self.results = results
        self.attacks = attacks or {}
        self.seed = seed
        self.save_images = save_images
        self._seen: list[dict[str, Tensor]] = []
        self._pace = _Pace()
        self._fault: str | None = None
        self._start = 0.0

    def on_test_start(self) -> None:
        """Start the first condition's clock."""
        self._seen, self._fault, self._pace, self._start = [], None, _Pace(), time.perf_counter()

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Predict one batch, after attacking it where the condition is an attack; padding images are dropped."""
        self._fault = self._fault or batch.fault
        self._pace.begin(self.device)
        attack = self.attacks.get(self.conditions[dataloader_idx].id)
        images, found = (batch.images, {}) if attack is None else self._attacked(attack, batch)
        confidence, prediction = self.model(images).float().softmax(dim=1).max(dim=1)
        values = {"index": batch.indices, "label": batch.labels, "prediction": prediction, "confidence": confidence}
        # Four numbers an image stay on a GPU until the condition ends: fetching them would be a wait in every batch.
        kept = {name: value[: batch.count] for name, value in values.items()}
        self._seen.append(kept | {name: value[: batch.count].cpu() for name, value in found.items()})
        self._pace.end()
        if batch_idx + 1 == self.trainer.num_test_batches[dataloader_idx]:
            self._finish(self.conditions[dataloader_idx])

    def _attacked(self, attack: Attack | NearestAttack, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        random = AttackRandom(self.seed, batch.indices)
        adversarial = attack(self.model, batch.images, batch.labels, random)
        found = _found(adversarial)
        if self.save_images:
            found["adversarial"] = adversarial.images
        kept = sum(len(seen["example_index"]) for seen in self._seen)  # the first of this rank, for inspection
        found["examples"] = adversarial.images[: EXAMPLES - kept]
        found["example_index"] = batch.indices[: EXAMPLES - kept]
        return adversarial.images, found

    def _finish(self, condition: Condition) -> None:
        local = {name: torch.cat([seen[name] for seen in self._seen]).cpu() for name in self._seen[0]}
        gathered, faults = _gather(local, self._fault, self.trainer.world_size)
        if faults:
            raise BadInput(faults[0])
        if not len(gathered["index"]):
            raise BadInput(f"{condition.id}: none of its images can be read")
        now = time.perf_counter()
        seconds, self._seen, self._start = now - self._start, [], now
        if self.results is None:
            return
        examples = {name: gathered.pop(name) for name in ("examples", "example_index") if name in gathered}
        order = gathered["index"].argsort()
        images = {name: values[order].numpy() for name, values in gathered.items()}
        images["wrong"] = images["label"] != images["prediction"]
        if examples:
            images["examples"] = examples["examples"][examples["example_index"].argsort()[:EXAMPLES]].numpy()
        if condition.kind == "distance":
            # In another batch than the attack's a model may decide a point otherwise; both have to call it wrong.
            images["distance"] = np.where(images["wrong"], images["distance"], np.inf)
            images["wrong"] = np.isfinite(images["distance"])
            self.results.add_distance(condition, images, seconds)
            return
        self.results.add(Row.of(condition, len(order), int(images["wrong"].sum()), seconds), images)


def _found(adversarial: Adversarial | Nearest) -> dict[str, Tensor]:
    """What is kept of each image beside the images themselves."""
    zeros = {} if adversarial.zero_gradient is None else {"zero_gradient": adversarial.zero_gradient}
    if isinstance(adversarial, Nearest):
        return {"distance": adversarial.distance, **zeros}
    found = {"broken_at": adversarial.broken_at, **zeros}
    if adversarial.losses is not None:
        found["losses"] = adversarial.losses.T
    if adversarial.clamped is not None and adversarial.lost is not None:
        found |= {"clamped": adversarial.clamped, "lost": adversarial.lost}
    return found


class _Pace:
    """Keeps the host at most two batches ahead of a GPU, since the images of each wait in pinned memory till then."""

    def __init__(self) -> None:
        self._ends: deque[torch.cuda.Event] = deque()
        self._gpu = False

    def begin(self, device: torch.device) -> None:
        """Wait for the end of the batch before the last."""
        self._gpu = device.type == "cuda"
        while len(self._ends) > 1:
            self._ends.popleft().synchronize()

    def end(self) -> None:
        """Note where the work of this batch ends."""
        if self._gpu:
            self._ends.append(torch.cuda.Event())
            self._ends[-1].record()


def list_conditions(corrupted: CorruptedImages | None = None, attacks: Iterable[Condition] = ()) -> list[Condition]:
    """The conditions of an evaluation.

    Clean images first, then corruption by corruption with ascending severities, then the attacks in their order.
    """
    cells = corrupted.plan.cells if corrupted is not None else []
    return [
        CLEAN,
        *(Condition("corruption", name, severity=severity) for name, severity in cells),
        *attacks,
    ]


def attack_condition(attack: Attack, gradient: str | None = None) -> Condition:
    """The condition that an attack makes.

    Args:
        attack: of one radius.
        gradient: how its row names the gradient; None for the attack's own word.
    """
    gradient = attack.gradient if gradient is None else gradient
    return Condition("attack", attack.id, eps_levels=attack.eps_levels, gradient=gradient)


def distance_condition(attack: NearestAttack, gradient: str) -> Condition:
    """The condition that an attack without a radius makes.

    Args:
        attack: looks for the nearest wrong image.
        gradient: how its row names the gradient.
    """
    return Condition("distance", attack.id, gradient=gradient)


def condition_loader(
    condition: Condition, data: ImageDataModule, corrupted: CorruptedImages | None = None
) -> Iterable[Batch]:
    """The images of a condition, in batches.

    Raises:
        BadInput: the corrupted images are not those of the data set.
    """
    if corrupted is not None and condition.severity is not None:
        return corrupted.loader(condition.name, condition.severity, data)
    return data.test_dataloader()


def _gather(tensors: dict[str, Tensor], fault: str | None, world_size: int) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of all ranks, concatenated, and their faults."""
    shares: list[Any] = [(tensors, fault)]
    if world_size > 1:
        shares = [None] * world_size
        torch.distributed.all_gather_object(shares, (tensors, fault))
    faults = [fault for _, fault in shares if fault is not None]
    return {name: torch.cat([share[name] for share, _ in shares]) for name in tensors}, faults
