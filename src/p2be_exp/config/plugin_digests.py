"""SHA-256 of plug-in files, which no commit of this package covers."""

from __future__ import annotations

import sys
from pathlib import Path

from p2be_exp.config.plugin_files import digest_of, files_of
from p2be_exp.registry import registered

_DIGESTS: dict[str, str] = {}
"""By module, of the file as it was imported."""


def keep_digest(module: str) -> None:
    """Record the digest of a module that has just been imported, if it has a file."""
    if file := file_of(module):
        _DIGESTS[module] = digest_of(file)


def forget_digest(module: str) -> None:
    """Forget a module."""
    _DIGESTS.pop(module, None)


def digests() -> dict[str, str]:
    """SHA-256 by module, for every loaded plug-in and every module that has registered an option.

    Each is the digest of the file as Python read it.
    """
    return dict(_DIGESTS)


def digests_of_attack(attack: str) -> dict[str, str]:
    """The part of :func:`digests` that defines an attack; empty for an attack of this package."""
    owner = registered().get(("attack", attack))
    return {owner: _DIGESTS[owner]} if owner in _DIGESTS else {}


def digest_now(module: str) -> str | None:
    """SHA-256 of the imported module, or of the file that would be imported; None if there is none."""
    if module not in _DIGESTS and module in sys.modules:
        keep_digest(module)
    if module in sys.modules:
        return _DIGESTS.get(module)
    files = files_of(module)
    return digest_of(files[-1]) if files else None


def file_of(module: str) -> Path | None:
    """The file of a loaded module; some modules name a relative file that does not exist (``torch.ops``)."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file and Path(file).is_absolute() and Path(file).is_file() else None
