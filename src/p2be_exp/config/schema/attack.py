"""Keys of ``attack=``: the attacks that an evaluation measures, and the one that a regime trains against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from p2be_exp.config.fields import choice, number, path
from p2be_exp.config.foolbox_methods import IN_BALL, NEAREST, SHORT, class_of


@dataclass
class AttackChoice:
    """Base of every option of the group, including ``none``."""

    name: str = MISSING

    @property
    def radii(self) -> list[int]:
        """Radii in levels."""
        return []

    @property
    def save_images(self) -> bool:
        """Whether adversarial images are saved with the results."""
        return False

    @property
    def source(self) -> str | None:
        """Run to transfer from."""
        return None

    @property
    def gradient(self) -> str | None:
        """Surrogate gradient chosen by the user."""
        return None

    @property
    def finds_nearest(self) -> bool:
        """Whether it looks for the nearest wrong image at any distance, and so has no radius."""
        return False


@dataclass
class NoAttackConfig(AttackChoice):
    name: str = "none"


@dataclass
class AttackConfig(AttackChoice):
    """Base of every attack; an attack's own schema is derived from it."""

    name: str = MISSING
    eps_levels: Any = MISSING  # a whole number of levels, or a list of these
    save_images: bool = MISSING

    @property
    def radii(self) -> list[int]:
        """Radii in levels."""
        return list(self.eps_levels) if isinstance(self.eps_levels, list) else [self.eps_levels]


@dataclass
class LSPGAConfig(AttackConfig):
    steps: int = number(1)
    xi: float = number(above=0)
    delta: float = number(above=0)
    anneal: str = choice("soften", "sharpen")
    step_rule: str = choice("sign", "raw")
    init: str = choice("normal", "zero")
    loss: str = choice("ce", "margin")
    restarts: int = number(1, 1000)


@dataclass
class PGDConfig(AttackConfig):
    gradient: str = choice("secant", "smooth", "interpolate")
    loss: str = choice("ce", "margin", "kl", "mix")
    steps: int = number(1)
    start: str = choice("image", "near", "uniform")
    adaptive: bool = MISSING
    step_size: float = number(above=0)
    climb: str = choice("logits", "outputs")
    restarts: int = number(1, 1000)


@dataclass
class RandomInBallConfig(AttackConfig):
    restarts: int = number(1, 1000)


@dataclass
class SquareConfig(AttackConfig):
    queries: int = number(1)
    restarts: int = number(1, 1000)


@dataclass
class TransferConfig(AttackConfig):
    source: str | None = path()
    steps: int = number(1)
    restarts: int = number(1, 1000)


@dataclass
class SuiteConfig(AttackConfig):
    steps: int = number(1)
    restarts: int = number(1, 1000)
    queries: int = number(1)
    source: str | None = path()
    also: list[str] = MISSING  # names of other attacks, see config.joined


@dataclass
class AutoAttackConfig(AttackConfig):
    version: str = choice("standard", "rand")
    gradient: str = choice("secant", "smooth", "interpolate")


@dataclass
class FoolboxConfig(AttackConfig):
    method: str = choice(*IN_BALL, *NEAREST, *SHORT)
    gradient: str = choice("secant", "smooth", "interpolate")
    steps: int | None = number(1)
    restarts: int = number(1, 1000)
    params: Any = MISSING  # null, or a dictionary

    @property
    def finds_nearest(self) -> bool:
        """See :class:`AttackChoice`."""
        return class_of(self.method) in NEAREST


@dataclass
class TorchattacksConfig(AttackConfig):
    method: str = choice(
        *("FGSM", "BIM", "RFGSM", "PGD", "EOTPGD", "FFGSM", "TPGD", "MIFGSM", "UPGD", "APGD", "APGDT", "DIFGSM"),
        *("TIFGSM", "Jitter", "NIFGSM", "SINIFGSM", "VMIFGSM", "VNIFGSM", "FAB", "Square"),
    )
    gradient: str = choice("secant", "smooth", "interpolate")
    steps: int | None = number(1)
    restarts: int = number(1, 1000)
    params: Any = MISSING  # null, or a dictionary
