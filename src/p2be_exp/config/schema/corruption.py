"""Keys of ``corruption=``: the corrupted images that an evaluation measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from p2be_exp.config.fields import choice, number, path


@dataclass
class CorruptionConfig:
    """Base of every source of corrupted images, including ``none``."""

    name: str = MISSING

    @property
    def dir(self) -> str | None:
        """Folder of corrupted images named by the user."""
        return None

    @property
    def seed(self) -> int:
        """Seed of generated images."""
        return 0

    @property
    def frost_dir(self) -> str | None:
        """Folder of frost textures named by the user."""
        return None

    @property
    def crop(self) -> str:
        """How pictures of ImageNet-C are cropped to images."""
        return "center"

    @property
    def workers(self) -> int | None:
        """Number of threads that generate, or processes that decode, images; None for one per core."""
        return None


@dataclass
class NoCorruptionConfig(CorruptionConfig):
    name: str = "none"


@dataclass
class SomeCorruptionConfig(CorruptionConfig):
    """Base of every source except ``none``."""

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
