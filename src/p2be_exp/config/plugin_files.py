"""The files of modules, found and compared before anything is imported, since importing executes code."""

from __future__ import annotations

import hashlib
import importlib.machinery
import sys
from pathlib import Path


def is_module_name(text: str) -> bool:
    """Whether a text is a dotted module name, as in an import statement."""
    return all(part.isidentifier() for part in text.split("."))


def is_part(module: str, name: str) -> bool:
    """Whether a module has a name, or is inside the package of that name."""
    return module == name or module.startswith(f"{name}.")


def digest_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def files_of(name: str) -> list[Path]:
    """The files that importing a module would run, the module's own last; nothing is imported.

    Returns:
        Empty if there is no such module, or it is a folder without a file of its own.
    """
    search: list[str] | None = None
    files: list[Path] = []
    parts = name.split(".")
    for depth, part in enumerate(parts, 1):
        spec = _spec(".".join(parts[:depth]), search)
        if spec is None:
            return []
        if spec.origin is None or spec.loader is None:  # a namespace package: every folder of that name is part of it
            search = [str(Path(folder) / part) for folder in search or sys.path if (Path(folder) / part).is_dir()]
            continue
        files.append(Path(spec.origin))
        search = list(spec.submodule_search_locations or ())
    return files if spec is not None and spec.origin is not None and spec.loader is not None else []


def _spec(name: str, search: list[str] | None) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, search)
        except (AttributeError, KeyError):  # a finder of the old kind; a namespace package inside another
            spec = None
            if search and any((Path(folder) / name.rpartition(".")[2]).is_dir() for folder in search):
                spec = importlib.machinery.ModuleSpec(name, None)
        if spec is not None:
            return spec
    return None
