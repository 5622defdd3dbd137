"""The nineteen corruptions of CIFAR-C and ImageNet-C: made for any images, stored, read and applied on the fly."""

from __future__ import annotations

from typing import Any

from p2be_exp.corruptions.names import ALL, CATEGORIES, EXTRA, SEVERITIES, TEST

__all__ = ["ALL", "CATEGORIES", "EXTRA", "SEVERITIES", "TEST", "Textures", "corrupt", "find_textures"]


def __getattr__(name: str) -> Any:
    # The names alone are enough to check a configuration; compiled loops and image libraries take a second to import.
    if name == "corrupt":
        from p2be_exp.corruptions.apply import corrupt

        return corrupt
    if name in ("Textures", "find_textures"):
        from p2be_exp.corruptions import textures

        return getattr(textures, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
