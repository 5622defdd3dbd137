"""LS-PGA: gradient ascent on the logits of a choice among the codes of the levels inside the ball."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.attacks.attack import Attack, Search
from p2be_exp.attacks.gradient import gradient_of
from p2be_exp.attacks.margin import margins
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.attacks.window import Window
from p2be_exp.errors import BadInput
from p2be_exp.models.precision import at_least_float32

if TYPE_CHECKING:
    from p2be_exp.models.classifier import Classifier

Anneal = Literal["soften", "sharpen"]
StepRule = Literal["sign", "raw"]
Init = Literal["normal", "zero"]
Loss = Literal["ce", "margin"]

# Pixels that are attacked together. On a CPU a few images at a time need less memory, and are faster than many, whose
# tensors the system hands out page by page at every step.
_PIXELS_CPU = 16 * 1024
_PIXELS = 2048 * 1024
_DRAWS = 1 << 22  # made at a time: they come in float64, and on a GPU through many temporaries


@dataclass(frozen=True)
class Step:
    """The state after one step.

    Attributes:
        u: ``(B, H, W, 3, size)``, logits of the choices, minus infinity at closed places; every step changes the same
            tensor.
        losses: ``(B,)``, cross-entropy of the relaxed codes that the gradient was taken at, so before the step.
        zero_gradient: ``(B,)``, share of an image's values whose gradient was exactly 0 at every place.
    """

    u: Tensor
    losses: Tensor
    zero_gradient: Tensor


class LSPGA(Attack):
    """Logit-space projected gradient ascent (Buckman et al. 2018), as for P2BE (Kishida & Nakayama 2022).

    Every value of an image has a logit u for each of its choices (:class:`~p2be_exp.attacks.window.Window`). The
    network sees the mixture of their codes by softmax(u / T), in each of its readers by the same shares; u climbs the
    cross-entropy of the true label (untargeted), or the margin. At the end the choice with the largest u is made. What
    the reference implementations do with 256 levels is done here with the choices alone, and gives the same u.

    Args:
        eps_levels: radius of the ball in levels.
        steps: number of gradients, at least 1.
        xi: size of a step in u.
        delta: annealing rate.
        anneal: the temperatures T at the gradients. ``soften``: 1, 1, delta, delta ** 2, ..., as in P2BE's code;
            ``sharpen``: 1, 1 / delta, 1 / delta ** 2, ..., as in Buckman's.
        step_rule: ``sign`` adds xi times the gradient's sign; ``raw`` adds xi times the gradient of each image's own
            loss, so that a step does not depend on the batch (a mean over the batch would divide it by the batch's
            size).
        init: ``normal`` draws u from N(0, 1), anywhere in the ball; ``zero`` starts from equal shares.
        restarts: see :class:`Attack`; with ``zero`` each is the same.
        loss: ``ce``, as published; ``margin``, the highest wrong logit minus the right one, which does not saturate
            where the model is very sure.

    Attributes:
        id: ``lspga``, then what differs from the usual form: ``_margin``, ``_raw``, ``_sharpen``, ``_zero``, ``_xi``
            and its value where it is not 1.

    Raises:
        BadInput: no step, or an option without that value.

    A value with a single choice (eps_levels 0; many values of an encoding with wide buckets) has nothing to choose: its
    gradient is 0, and it counts in ``zero_gradient``.
    """

    gradient = "relaxed"
    climbs = True
    capturable = True

    def __init__(
        self,
        eps_levels: int,
        steps: int,
        xi: float,
        delta: float,
        anneal: Anneal,
        step_rule: StepRule,
        init: Init,
        restarts: int,
        loss: Loss = "ce",
    ) -> None:
        super().__init__(eps_levels, restarts)
        if steps < 1:
            raise BadInput(f"steps={steps}: must be 1 or more")
        for name, value, allowed in (
            ("anneal", anneal, Anneal),
            ("step_rule", step_rule, StepRule),
            ("init", init, Init),
            ("loss", loss, Loss),
        ):
            if value not in get_args(allowed):
                raise BadInput(f"{name}={value}: must be one of {', '.join(get_args(allowed))}")
        self.trace = self.steps = steps
        self.xi, self.delta = xi, delta
        self.anneal, self.step_rule, self.init, self.loss = anneal, step_rule, init, loss
        named = ("margin", "raw", "sharpen", "zero")
        unusual = [option for option in (loss, step_rule, anneal, init) if option in named]
        self.id = "_".join(["lspga", *unusual, *([f"xi{xi:g}"] if xi != 1 else [])])

    def scaled(self, factor: float) -> Attack | None:
        """See :meth:`Attack.scaled`. More restarts: more steps would end at another temperature."""
        return self._with("restarts", self.restarts * factor) or super().scaled(factor)

    def search(
        self, model: Classifier, images: Tensor, labels: Tensor, random: AttackRandom, restart: int = 0
    ) -> Search:
        """See :meth:`Attack.search`. The images are taken a few at a time; no image sees another."""
        size = images_at_once(images.device.type, images.shape[2:].numel())
        parts = []
        for start in range(0, max(len(images), 1), size):
            places = torch.arange(start, min(start + size, len(images)), device=images.device)
            parts.append(self._search(model, images[places], labels[places], random.select(places), restart))
        return Search(
            torch.cat([part.images for part in parts]),
            torch.cat([part.zero_gradient for part in parts if part.zero_gradient is not None]),
            torch.cat([part.losses for part in parts if part.losses is not None], dim=1),
        )

    def _search(self, model: Classifier, images: Tensor, labels: Tensor, random: AttackRandom, restart: int) -> Search:
        window = Window(model.encodings, images, self.eps_levels)
        dtype = model.encodings[0].table().dtype
        steps = list(self.climb(model, window, labels, self.start(window, random, restart, dtype)))
        return Search(
            window.realise(steps[-1].u.argmax(dim=-1)),
            torch.stack([step.zero_gradient for step in steps]).mean(dim=0),
            torch.stack([step.losses for step in steps]),
        )

    def start(self, window: Window, random: AttackRandom, restart: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """The first u, ``(B, H, W, 3, size)``.

        An image's normal draws are laid out in this order, row by row: one for every column, colour and place, place
        fastest; those of closed places are drawn and not used. Place 0 is the lowest level or bucket of the window.
        """
        u = torch.zeros(window.open.shape, dtype=dtype, device=window.open.device)
        if self.init == "normal":
            draws = u[0].numel() if len(u) else 0
            size = max(1, _DRAWS // max(draws, 1))
            for first in range(0, len(u), size):
                part = u[first : first + size]
                places = torch.arange(first, first + len(part), device=u.device)
                part.copy_(random.select(places).normal(restart, draws).view(part.shape))
        return u.masked_fill_(~window.open, -torch.inf)

    def climb(self, model: Classifier, window: Window, labels: Tensor, u: Tensor) -> Iterator[Step]:
        """The state after each step from u, which is changed in place."""
        rows = [window.rows(reader.encoding.table().detach()) for reader in model.readers]
        for number in range(self.steps):
            yield self.step(model, window, rows, labels, u, self.temperature(number))

    def step(
        self, model: Classifier, window: Window, rows: Sequence[Tensor], labels: Tensor, u: Tensor, temperature: float
    ) -> Step:
        """One step of u, in place: the seam at which a search may be captured, or compiled.

        Shapes hang on nothing that was computed, nothing is read back from a device, and nothing is copied to it.

        Args:
            model: see :meth:`search`.
            window: of the images.
            rows: of each reader, see :meth:`~p2be_exp.attacks.window.Window.rows`.
            labels: int64 ``(B,)``.
            u: see :class:`Step`; changed.
            temperature: T at this gradient.
        """
        shares = torch.softmax(u / temperature, dim=-1).requires_grad_()
        of_readers = zip(model.readers, rows, strict=True)
        climbed = model.climbed(*[reader.of_codes(window.mix(shares, its)) for reader, its in of_readers])
        losses = F.cross_entropy(climbed, labels, reduction="none")
        goal = margins(at_least_float32(climbed), labels) if self.loss == "margin" else losses
        (slopes,) = gradient_of(goal.sum(), [shares])
        zero_gradient = ascend(u, slopes, shares.detach(), temperature, self.step_rule, self.xi)
        return Step(u, losses.detach(), zero_gradient)

    def temperature(self, number: int) -> float:
        """T at gradient ``number``, from 0."""
        return self.delta ** (max(number - 1, 0) if self.anneal == "soften" else -number)


def images_at_once(device: str, pixels: int) -> int:
    """How many images a search takes at a time.

    Args:
        device: type of it.
        pixels: of an image.
    """
    return max(1, (_PIXELS_CPU if device == "cpu" else _PIXELS) // pixels)


def ascend(u: Tensor, slopes: Tensor, shares: Tensor, temperature: float, rule: StepRule, xi: float) -> Tensor:
    """One step of u, in place.

    Args:
        u: ``(B, H, W, 3, size)``, changed.
        slopes: the gradient with respect to the shares, in their shape.
        shares: softmax of ``u / temperature``.
        temperature: T.
        rule, xi: see :class:`LSPGA`.

    Returns:
        ``(B,)``, share of an image's values whose gradient was exactly 0 at every place.
    """
    gradient = gradient_of_softmax(slopes, shares).div_(temperature)
    # A product with ones counts the places that are not 0 several times faster than a reduction of bools does.
    moving = (gradient != 0).to(u.dtype) @ u.new_ones(u.shape[-1])
    zero_gradient = (moving == 0).flatten(1).to(u.dtype).mean(dim=1)
    u.add_(gradient.sign_() if rule == "sign" else gradient, alpha=xi)
    return zero_gradient


def gradient_of_softmax(slopes: Tensor, shares: Tensor) -> Tensor:
    """Gradient with respect to the logits, from that with respect to their softmax over the last dimension.

    Slopes are taken relative to the first place, so that places with equal rows have a gradient of exactly 0.
    """
    slopes = slopes - slopes[..., :1]
    return slopes.sub_((slopes * shares).sum(dim=-1, keepdim=True)).mul_(shares)
