"""Transfer: images that fool one model, given to another, whose gradients play no part."""

from __future__ import annotations

from torch import Tensor, nn

from p2be_exp.attacks.attack import Attack, Kind, Search, Work, attacked
from p2be_exp.attacks.random import AttackRandom


class Transfer(Attack):
    """The images that an attack makes on a source model.

    The target is evaluated only after each search; restarts differ in their random numbers. Zero gradients are counted
    in the source; its losses are not kept.

    Args:
        eps_levels: radius of the ball in levels.
        source: the model that the images are made on, on the device of the images; or the name of a part of the
            attacked model, which then is the source.
        source_name: name of the source, for ``id``.
        inner: the attack on the source, of the same radius; a :class:`~p2be_exp.attacks.pgd.PGD` continues after the
            source is wrong (``stop_when_wrong=False``), as an image that hardly fools the source seldom fools another.
        restarts: searches on the source.

    Raises:
        ValueError: an inner attack of another radius, or one that stops where the source is wrong.

    Source: Papernot et al. 2016, "Transferability in machine learning".
    """

    def __init__(
        self, eps_levels: int, source: nn.Module | str, source_name: str, inner: Attack, restarts: int
    ) -> None:
        super().__init__(eps_levels, restarts)
        if inner.eps_levels != eps_levels:
            raise ValueError(f"transfer: eps_levels={eps_levels}, but {inner.eps_levels} in the inner attack")
        if inner.stop_when_wrong:
            raise ValueError(
                "transfer: the inner attack must continue where the source is wrong: stop_when_wrong=False"
            )
        self.source, self.inner = source, inner
        self.id, self.gradient = f"transfer_{source_name}", inner.gradient

    def source_in(self, model: nn.Module) -> nn.Module:
        """The source of an attack on a model, of which it may be a part."""
        return getattr(model, self.source) if isinstance(self.source, str) else self.source

    @property
    def kind(self) -> Kind:
        """Its gradients are another model's."""
        return "transfer"

    @property
    def work(self) -> Work:
        """Its gradients and queries are the source's; the target is asked once after each search."""
        searches = self.restarts
        return Work(searches * self.inner.steps, searches * (self.inner.queries + 1))

    @property
    def effort(self) -> int:
        """Of a search on the source."""
        return self.inner.effort

    def scaled(self, factor: float) -> Attack | None:
        """See :meth:`Attack.scaled`: another effort on the source."""
        if (inner := self.inner.scaled(factor)) is None:
            return None
        return Transfer(self.eps_levels, self.source, self.id.removeprefix("transfer_"), inner, self.restarts)

    def search(
        self, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom, restart: int = 0
    ) -> Search:
        """One search of the inner attack on the source; the target is not asked."""
        source = self.source_in(model)
        with attacked(source):
            return self.inner.search(source, images, labels, random, restart)
