"""Keys of ``corruption=``: the corrupted images that an evaluation measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from p2be_exp.config.fields import choice, number, path


@dataclass
class CorruptionConfig:
    """What every source of corrupted images has, none included."""

    name: str = MISSING

    @property
    def dir(self) -> str | None:
        """The folder of the images that the user has named."""
        return None

    @property
    def seed(self) -> int:
        """Of images that are made here."""
        return 0

    @property
    def frost_dir(self) -> str | None:
        """The folder of frost's textures that the user has named."""
        return None

    @property
    def crop(self) -> str:
        """How the pictures of ImageNet-C become images."""
        return "center"

    @property
    def workers(self) -> int | None:
        """Threads that make or processes that decode images; None: one a core."""
        return None


@dataclass
class NoCorruptionConfig(CorruptionConfig):
    name: str = "none"


@dataclass
class SomeCorruptionConfig(CorruptionConfig):
    """What every source has that has images."""

    names: Any = MISSING
    severities: list[int] = number(1, 5)


@dataclass
class CifarCConfig(SomeCorruptionConfig):
    dir: str | None = path()


@dataclass
class OwnConfig(SomeCorruptionConfig):
    dir: str | None = path()


@dataclass
class ImageNetCConfig(SomeCorruptionConfig):
    dir: str | None = path()
    crop: str = choice("center", "resize")
    workers: int | None = number(0)


@dataclass
class GeneratedConfig(SomeCorruptionConfig):
    dir: str | None = path()
    seed: int = number(0, 2**32 - 1)
    frost_dir: str | None = path()
    workers: int | None = number(1)


@dataclass
class AutoCorruptionConfig(SomeCorruptionConfig):
    seed: int = number(0, 2**32 - 1)
    frost_dir: str | None = path()
    crop: str = choice("center", "resize")
    workers: int | None = number(1)
