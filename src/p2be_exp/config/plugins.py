"""Plug-ins: modules outside this package that register encodings, backbones, regimes and attacks of their own.

A plug-in is named by its module in ``plugins=[...]`` or in the environment variable P2BE_PLUGINS. It is imported before
the configuration is composed. ``config.yaml`` keeps the names, so that later readers of the run know what it needs
(:mod:`p2be_exp.config.plugin_trust`).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from p2be_exp.config.folders import PLUGIN_FOLDERS
from p2be_exp.config.plugin_arguments import ALLOWED, requested
from p2be_exp.config.plugin_digests import digests, file_of, forget_digest, keep_digest
from p2be_exp.config.plugin_files import files_of, is_part
from p2be_exp.config.plugin_yaml import check_yaml
from p2be_exp.errors import BadInput
from p2be_exp.registry import OPTIONS, registered
from p2be_exp.system.foreign import in_run_folder

WHERE_LOOKED = "the current folder and the installed packages"
"""Where Python looks for plug-ins, for messages."""

_LOADING: list[str] = []
"""The plug-ins being imported at the moment, each by the one before it."""


def load_plugins(names: Iterable[str], where: str = "plugins") -> None:
    """Import plug-ins, installed or from the current folder, and find options in the ``conf/`` folders beside them.

    Args:
        names: of modules; those already loaded are skipped.
        where: the key or run that names them, for messages.

    Raises:
        BadInput: one cannot be imported, or registers an option whose YAML file is missing or does not match.
    """
    for name in names:
        if name not in PLUGIN_FOLDERS:
            _load(name, where)


def load_requested(arguments: Sequence[str]) -> None:
    """Load the plug-ins named by a command line (``plugins=[...]``), or else by P2BE_PLUGINS.

    Raises:
        BadInput: see :func:`load_plugins`; or the value is not a list of names.
    """
    load_plugins(*requested(arguments))


def loading() -> str:
    """The plug-in being imported at the moment; the started program if there is none."""
    return _LOADING[-1] if _LOADING else "__main__"


def look_here() -> None:
    """Let Python find plug-ins in the current folder, unless it is part of a run, which may be untrusted.

    It is searched last, so that a file in it hides no installed module.
    """
    here = Path.cwd()
    if str(here) not in sys.path and not in_run_folder(here / "plugin.py"):
        sys.path.append(str(here))


def forget(name: str) -> None:
    """Remove everything that a plug-in has registered, so that it can be loaded again."""
    for (group, option), owner in registered().items():
        if is_part(owner, name):
            del OPTIONS[group][option]
    PLUGIN_FOLDERS.pop(name, None)
    ALLOWED.discard(name)
    for module in [each for each in {*digests(), *sys.modules} if is_part(each, name)]:
        forget_digest(module)
        sys.modules.pop(module, None)


def _load(name: str, where: str) -> None:
    look_here()
    if (inside := next((file for file in files_of(name) if in_run_folder(file)), None)) and name not in sys.modules:
        raise BadInput(f"{where}: plug-in {name} is {inside}, inside a run folder; nothing there is imported")
    before = registered()
    _LOADING.append(name)
    try:
        importlib.import_module(name)
        file = file_of(name)
        folder = file.resolve().parent / "conf" if file else None
        PLUGIN_FOLDERS[name] = folder if folder is not None and folder.is_dir() else None
        keep_digest(name)
        for (group, option), owner in registered().items():
            if (group, option) not in before or is_part(owner, name):
                check_yaml(group, option)
    except BadInput as error:
        forget(name)
        raise BadInput(f"{where}: {error}") from error
    except BaseException as error:
        forget(name)
        if not isinstance(error, Exception | SystemExit):
            raise
        why = str(error).strip().splitlines()
        raise BadInput(
            f"{where}: plug-in {name} cannot be imported ({type(error).__name__}{f': {why[0]}' if why else ''}); "
            f"searched {WHERE_LOOKED}"
        ) from error
    finally:
        _LOADING.pop()
