"""Projected gradient ascent over levels, with a surrogate gradient and step sizes that adapt to each image."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.attacks.attack import Attack, Search
from p2be_exp.attacks.ball import bounds
from p2be_exp.attacks.divergence import kl_divergence
from p2be_exp.attacks.gate_objective import gate_objective
from p2be_exp.attacks.gradient import level_gradient_of
from p2be_exp.attacks.margin import margins
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.attacks.random_in_ball import uniform_levels
from p2be_exp.errors import BadInput
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.precision import at_least_float32
from p2be_exp.models.surrogate import Surrogate, slopes

if TYPE_CHECKING:
    from p2be_exp.models.adaptive_mixed import AdaptiveMixedClassifier

Loss = Literal["ce", "margin", "kl", "mix"]
Start = Literal["image", "near", "uniform"]
Climb = Literal["logits", "outputs"]

_GATE_SHARE = 0.5  # of the objective ``mix``
_ENOUGH = 0.75  # share of the moves between two checkpoints that have to raise the loss
_FIRST_GAP, _GAP_SHRINKS, _LAST_GAP = 22, 3, 6  # of the checkpoints, in percent of the steps


class PGD(Attack):
    """Sign steps along a surrogate gradient, inside the ball, in the manner of APGD.

    The point that moves is real-valued; the model is asked at its nearest levels. Restart 0 starts as ``start`` says,
    every other at levels uniform in the ball, or near the image where ``start`` is ``near``.

    A move goes to ``x + momentum * (z - x) + (1 - momentum) * (x - x_before)``, kept inside the ball, where
    ``z = clip(x + step * sign(gradient))``; the first move to ``z``. At the checkpoints an image's step is halved, and
    its search goes on from its best point without its last move, where fewer than 75 % of the moves since the last
    checkpoint raised the loss, or where the step was not halved at the last one and the best loss is still the same.
    The checkpoints are those of :func:`checkpoints`.

    Args:
        eps_levels: radius of the ball in levels.
        gradient: the surrogate (:mod:`p2be_exp.models.surrogate`); ``secant`` has the ball's radius, or 1 if that is 0.
        loss: ``ce``, the cross-entropy; ``margin``, the highest wrong logit minus the right one, which does not
            saturate where the model is very sure; ``kl``, the divergence ``KL(p(image) || p(point))``, which needs no
            label. At the image itself it is 0 and its gradient rounding noise, so it needs another start; ``mix``, of a
            model with a gate, half the cross-entropy and half of what turns the image over to the accurate part
            (:func:`~p2be_exp.attacks.gate_objective.gate_objective`).
        steps: moves of a restart, 1 or more.
        restarts: see :class:`~p2be_exp.attacks.attack.Attack`.
        momentum: APGD's alpha, above 0 to 1: the share of the new step; 1 forgets the last move.
        step_size: the first step, in radii.
        start: ``image``, the image itself, which needs no random number; ``near``, each value a random -1, 0 or 1 level
            away; ``uniform``, levels uniform in the ball.
        adaptive: False takes steps of one size without momentum and returns the last point (Madry et al. 2018), which
            is what TRADES and MART train against.
        climb: what the loss is of. ``logits``, what leads to the model's outputs where these hide the way, as behind a
            tanh (:meth:`~p2be_exp.models.classifier.Classifier.answers`); ``outputs``, the outputs themselves, as an
            attack does that knows nothing of it. Of most models both are the same.
        width: of ``smooth``, in levels.
        stop_when_wrong: the first wrong point of an image is its result and ends its search: what an evaluation needs.
            False returns each image's point of highest loss, for training and for transfer.

    Raises:
        BadInput: an option out of range.

    Source: Croce & Hein 2020, "Reliable evaluation of adversarial robustness", Algorithm 1; the surrogate gradient is
    Athalye et al.'s BPDA (2018).
    """

    def __init__(
        self,
        eps_levels: int,
        gradient: Surrogate,
        loss: Loss,
        steps: int,
        restarts: int,
        momentum: float = 0.75,
        step_size: float = 2.0,
        start: Start = "image",
        adaptive: bool = True,
        climb: Climb = "logits",
        width: float = 8.0,
        stop_when_wrong: bool = True,
    ) -> None:
        super().__init__(eps_levels, restarts)
        _check("gradient", gradient, gradient in get_args(Surrogate), f"one of {', '.join(get_args(Surrogate))}")
        _check("loss", loss, loss in get_args(Loss), f"one of {', '.join(get_args(Loss))}")
        _check("steps", steps, steps >= 1, "1 or more")
        _check("momentum", momentum, 0 < momentum <= 1, "above 0 and at most 1")
        _check("step_size", step_size, step_size > 0, "above 0")
        _check("start", start, start in get_args(Start), " | ".join(get_args(Start)))
        _check("climb", climb, climb in get_args(Climb), " | ".join(get_args(Climb)))
        _check("start", start, loss != "kl" or start != "image", "near | uniform, which loss=kl needs")
        # A divergence grows on either side of an image, and it is wrong on one of them; a planted network has no gate.
        self.climbs = loss not in ("kl", "mix")
        self.trace = steps
        self.gradient: Surrogate = gradient
        self.loss, self.steps, self.momentum, self.step_size = loss, steps, momentum, step_size
        self.start: Start = start
        self.climb: Climb = climb
        self.climbs_outputs = climb == "outputs"
        self.adaptive, self.width, self.stop_when_wrong = adaptive, width, stop_when_wrong
        self.id = self.family

    @property
    def capturable(self) -> bool:  # type: ignore[override]
        """As it searches in training: images that leave it would be counted by the host."""
        return not self.stop_when_wrong

    @property
    def family(self) -> str:
        """The same for another number of steps and restarts."""
        start = "" if self.start == "image" else f"_{self.start}"
        climb = "" if self.climb == "logits" else f"_{self.climb}"
        return f"pgd_{self.loss}_{self.gradient}{start}{'' if self.adaptive else '_fixed'}{climb}"

    def search(
        self, model: Classifier, images: Tensor, labels: Tensor, random: AttackRandom, restart: int = 0
    ) -> Search:
        """One search. ``losses`` has the cross-entropy after each move; of an image that left, its last."""
        asked = self.ask(model, images, labels, random)
        halving = checkpoints(self.steps) if self.adaptive else {}
        climb = self._start(images, labels, random, restart)
        found = images.clone()
        losses = torch.zeros(self.steps, len(images), device=images.device)
        zeros, gradients = torch.zeros(2, len(images), device=images.device)
        found_at = torch.full((len(images),), float(self.steps), device=images.device)
        for done in range(self.steps + 1):
            if not len(climb.place):
                break
            answer = asked(_levels(climb.x), climb.labels, climb.place, with_gradient=done < self.steps)
            climb.learn(answer)
            losses[max(done - 1, 0) :, climb.place] = answer.cross_entropy.float()
            if done < self.steps:
                assert answer.gradient is not None
                zeros[climb.place] += (answer.gradient == 0).flatten(1).float().mean(1)
                gradients[climb.place] += 1
            if self.stop_when_wrong and answer.wrong.any():
                found[climb.place[answer.wrong]] = _levels(climb.x[answer.wrong])
                found_at[climb.place[answer.wrong]] = done
                climb = climb.select(~answer.wrong)
            if done in halving:
                climb.halve_where_stuck(done - halving[done])
            if done < self.steps:
                climb.move(self.momentum if done and self.adaptive else 1.0)
        found[climb.place] = _levels(climb.best if self.adaptive else climb.x)
        return Search(found, zeros / gradients, losses, found_at)

    def ask(self, model: Classifier, images: Tensor, labels: Tensor, random: AttackRandom) -> Asked:
        """What answers for the model in a search."""
        return Asked(model, self, images)

    def radii(self, images: Tensor, random: AttackRandom) -> Tensor | int:
        """The radius of the ball in levels: of all images, or of each, int16 ``(B, 1, 1, 1)``."""
        return self.eps_levels

    def _start(self, images: Tensor, labels: Tensor, random: AttackRandom, restart: int) -> _Climb:
        radius = self.radii(images, random)
        if self.start == "near":
            start = uniform_levels(images, min(self.eps_levels, 1), random, restart)
        elif self.start == "uniform" or restart:
            start = uniform_levels(images, radius, random, restart)
        else:
            start = images
        low, high = bounds(images, radius)
        step = self.step_size * (radius if isinstance(radius, int) else radius.flatten())
        return _Climb.at(start.float(), low.float(), high.float(), labels, step)


def checkpoints(steps: int) -> dict[int, int]:
    """Numbers of moves after which steps may be halved, each with the one before it (the first with 0).

    They are at 22, 41, 57, 70, 80, 87, 93 and 99 % of the steps, rounded up: gaps that shrink by 3 % to no less than
    6 % (Croce & Hein 2020, section 3.1).

    >>> checkpoints(10)
    {3: 0, 5: 3, 6: 5, 7: 6, 8: 7, 9: 8, 10: 9}
    """
    moves, percent, gap = [0], 0, _FIRST_GAP
    while percent + gap <= 100:
        percent, gap = percent + gap, max(gap - _GAP_SHRINKS, _LAST_GAP)
        moves.append(-(-percent * steps // 100))
    moves = sorted(set(moves))
    return dict(zip(moves[1:], moves, strict=False))


@dataclass(frozen=True)
class _Answer:
    """What the model says of a point: all ``(B,)``, but for the gradient of the attack's loss, ``(B, 3, H, W)``."""

    loss: Tensor
    cross_entropy: Tensor
    wrong: Tensor
    gradient: Tensor | None


class Asked:
    """The model, asked for loss and gradient at levels; its tables and their slopes are those of the start."""

    def __init__(self, model: Classifier, attack: PGD, images: Tensor) -> None:
        self.model, self.readers, self.loss = model, model.readers, attack.loss
        self.climbs_outputs = attack.climbs_outputs
        self.tables = [reader.encoding.table().detach() for reader in self.readers]
        radius = max(attack.eps_levels, 1)
        self.slopes = [slopes(reader.encoding, attack.gradient, radius, attack.width) for reader in self.readers]
        self.clean: Tensor | None = None
        if self.loss == "kl":
            with torch.no_grad():
                self.clean = self._answers(self._features(images))[1]

    def __call__(self, levels: Tensor, labels: Tensor, place: Tensor, with_gradient: bool) -> _Answer:
        with torch.set_grad_enabled(with_gradient):
            # The graph starts behind the readers: their weights need no gradient, and their own way back is shorter.
            features = [each.detach().requires_grad_(with_gradient) for each in self._features(levels)]
            logits, climbed, gamma = self._answers(features)
            climbed = at_least_float32(climbed)
            cross_entropy = F.cross_entropy(climbed, labels, reduction="none")
            loss = cross_entropy
            if self.clean is not None:
                loss = kl_divergence(self.clean[place], climbed)
            elif self.loss == "margin":
                loss = margins(climbed, labels)
            elif gamma is not None:
                loss = self.objective(climbed, gamma, labels, place)
        gradient = None
        if with_gradient:
            gradient = level_gradient_of(loss.sum(), self.readers, features, levels, self.slopes)
        return _Answer(loss.detach(), cross_entropy.detach(), logits.argmax(1) != labels, gradient)

    def _answers(self, features: list[Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
        """The logits, what is climbed, and a gate's gamma where it is climbed, too."""
        if self.loss != "mix":
            outputs, climbed = self.model.answers(*features)
            return outputs, outputs if self.climbs_outputs else climbed, None
        output, gamma = cast("AdaptiveMixedClassifier", self.model).gated(*features)
        return output, output, gamma

    def objective(self, output: Tensor, gamma: Tensor, labels: Tensor, place: Tensor) -> Tensor:
        """``mix`` of each image, ``(B,)``; ``place`` is where they are in the batch of the search."""
        return gate_objective(output, gamma, labels, _GATE_SHARE)

    def _features(self, levels: Tensor) -> list[Tensor]:
        of_readers = zip(self.readers, self.tables, strict=True)
        return [reader.of_levels(levels, table) for reader, table in of_readers]


@dataclass
class _Climb:
    """The images that are still searched: every tensor's first dimension is theirs.

    Attributes:
        place: where in the batch.
        labels, low, high: of the images; lowest and highest allowed level of every value.
        x, before, best: the point, the one before the last move, the one of the highest loss so far.
        gradient, best_gradient: at the point and at the best.
        step: in levels.
        loss, best_loss: at the point and at the best.
        raised: number of moves since the last checkpoint that raised the loss.
        rose: whether the best loss rose since the last checkpoint.
        kept: whether the step stayed as it was at the last checkpoint; before the first it did.
    """

    place: Tensor
    labels: Tensor
    low: Tensor
    high: Tensor
    x: Tensor
    before: Tensor
    best: Tensor
    gradient: Tensor
    best_gradient: Tensor
    step: Tensor
    loss: Tensor
    best_loss: Tensor
    raised: Tensor
    rose: Tensor
    kept: Tensor

    @classmethod
    def at(cls, start: Tensor, low: Tensor, high: Tensor, labels: Tensor, step: float | Tensor) -> _Climb:
        zeros = torch.zeros(len(start), device=start.device)
        return cls(
            place=torch.arange(len(start), device=start.device),
            labels=labels,
            low=low,
            high=high,
            x=start,
            before=start,
            best=start,
            gradient=torch.zeros_like(start),
            best_gradient=torch.zeros_like(start),
            step=zeros + step,
            loss=zeros + math.inf,  # so that the first point raises nothing
            best_loss=zeros - math.inf,
            raised=zeros,
            rose=zeros.bool(),
            kept=~zeros.bool(),
        )

    def select(self, which: Tensor) -> _Climb:
        return _Climb(**{field.name: getattr(self, field.name)[which] for field in dataclasses.fields(self)})

    def learn(self, answer: _Answer) -> None:
        """Take in what the model says of the point."""
        self.raised = self.raised + (answer.loss > self.loss)
        better = answer.loss > self.best_loss
        self.rose = self.rose | (better & (self.best_loss > -math.inf))
        self.loss, self.best_loss = answer.loss, torch.where(better, answer.loss, self.best_loss)
        self.best = torch.where(_wide(better), self.x, self.best)
        if answer.gradient is not None:
            self.gradient = answer.gradient
            self.best_gradient = torch.where(_wide(better), answer.gradient, self.best_gradient)

    def halve_where_stuck(self, moves: int) -> None:
        """A checkpoint, ``moves`` after the last one."""
        stuck = (self.raised < _ENOUGH * moves) | (self.kept & ~self.rose)
        self.step = torch.where(stuck, self.step / 2, self.step)
        self.loss = torch.where(stuck, self.best_loss, self.loss)
        self.x, self.before = (torch.where(_wide(stuck), self.best, point) for point in (self.x, self.before))
        self.gradient = torch.where(_wide(stuck), self.best_gradient, self.gradient)
        self.raised, self.rose, self.kept = torch.zeros_like(self.raised), torch.zeros_like(self.rose), ~stuck

    def move(self, momentum: float) -> None:
        ahead = self._inside(self.x + _wide(self.step) * self.gradient.sign())
        moved = self.x + momentum * (ahead - self.x) + (1 - momentum) * (self.x - self.before)
        self.x, self.before = self._inside(moved), self.x

    def _inside(self, point: Tensor) -> Tensor:
        return torch.maximum(torch.minimum(point, self.high), self.low)


def _levels(point: Tensor) -> Tensor:
    """The nearest levels; the bounds are levels, so that a point inside the ball has them inside."""
    return point.round().to(torch.uint8)


def _wide(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _check(option: str, value: object, good: bool, allowed: str) -> None:
    if not good:
        raise BadInput(f"pgd: {option}={value}: must be {allowed}")
