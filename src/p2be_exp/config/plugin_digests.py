"""SHA-256 of the files of plug-ins: no commit of this package covers them."""

from __future__ import annotations

import sys
from pathlib import Path

from p2be_exp.config.plugin_files import digest_of, files_of
from p2be_exp.registry import registered

_DIGESTS: dict[str, str] = {}
"""By module, as the file was when it was imported."""


def keep_digest(module: str) -> None:
    """Note the digest of a module that has just been imported; nothing where it has no file."""
    if file := file_of(module):
        _DIGESTS[module] = digest_of(file)


def forget_digest(module: str) -> None:
    """Forget a module."""
    _DIGESTS.pop(module, None)


def digests() -> dict[str, str]:
    """SHA-256 by module: of every plug-in that is loaded, and of every module that has registered an option.

    Each is of the file as it was when Python read it.
    """
    return dict(_DIGESTS)


def digests_of_attack(attack: str) -> dict[str, str]:
    """The part of :func:`digests` that decides what an attack does; empty for one of this package."""
    owner = registered().get(("attack", attack))
    return {owner: _DIGESTS[owner]} if owner in _DIGESTS else {}


def digest_now(module: str) -> str | None:
    """SHA-256 of the module that is imported, or of the file that would be; None where there is none."""
    if module not in _DIGESTS and module in sys.modules:
        keep_digest(module)
    if module in sys.modules:
        return _DIGESTS.get(module)
    files = files_of(module)
    return digest_of(files[-1]) if files else None


def file_of(module: str) -> Path | None:
    """The file of a module that is loaded; some name one, as seen from nowhere, that there is not (``torch.ops``)."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file and Path(file).is_absolute() and Path(file).is_file() else None
