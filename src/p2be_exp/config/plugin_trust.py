"""Plug-ins of a run from an untrusted source: code that a run names is not necessarily code that the user trusts.

A module that a run names is imported only if the user has named it too, and never from a run folder. If its file has
changed since the run was made, a warning gives both digests; ``strict_plugins=true`` refuses it before it is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from p2be_exp.config.folders import PLUGIN_FOLDERS, split_plugins
from p2be_exp.config.former import FORMER, former_options, where_now
from p2be_exp.config.plugin_arguments import ALLOWED, VARIABLE, allow, requested, strict
from p2be_exp.config.plugin_digests import digest_now
from p2be_exp.config.plugin_files import files_of, is_part
from p2be_exp.config.plugin_warnings import start_over, warn
from p2be_exp.config.plugins import WHERE_LOOKED, load_plugins, look_here
from p2be_exp.errors import BadInput
from p2be_exp.registry import BASES, OPTIONS, registered

_STRICT = [False]
"""Whether the current command refuses changed plug-ins."""


def allow_requested(arguments: Sequence[str]) -> None:
    """Record what a command line allows for the runs that it reads, before it reads them.

    ``plugins=[...]``, or else P2BE_PLUGINS, names plug-ins that they may need; ``strict_plugins=true`` refuses those
    whose file has changed. Nothing is imported yet.

    Raises:
        BadInput: a value is not a list of names, or neither true nor false.
    """
    allow(requested(arguments)[0])
    _STRICT[0] = strict(arguments)
    start_over()


def load_plugins_of(
    config: Mapping[str, Any], recorded: Mapping[str, str], where: str, refuse: bool | None = None
) -> None:
    """Load the plug-ins of a run.

    Args:
        config: of the run; it may be unchecked.
        recorded: the result of :func:`~p2be_exp.config.plugin_digests.digests` when the run was made.
        where: the key and run, for the message.
        refuse: whether to refuse changed plug-ins; None to follow the command line.

    Raises:
        BadInput: a plug-in was not named by the user, is not found, is inside a run folder or cannot be imported; or it
            has changed since the run was made, with ``refuse``.
    """
    names = config["plugins"]
    known = {*PLUGIN_FOLDERS, *sys.modules, *ALLOWED, *split_plugins(VARIABLE)}
    if unknown := [name for name in names if name not in known]:
        listed = ",".join(unknown)
        raise BadInput(
            f"{where}: needs the plug-in{'s' * (len(unknown) > 1)} {', '.join(unknown)}, code that the run names and "
            f"you do not; if you trust it, plugins=[{listed}] (or {VARIABLE}={listed}) allows it"
        )
    for name in names:
        look_here()
        if name not in sys.modules and not files_of(name):
            raise BadInput(f"{where}: its plug-in {name} was not found; searched {WHERE_LOOKED}")
    parts = [module for module in recorded if any(is_part(module, name) for name in names) and digest_now(module)]
    _compare([*names, *parts], recorded, where, refuse)  # before anything is imported
    load_plugins(names, where)
    owners = {owner for option, owner in registered().items() if option in _chosen(config)} - {"__main__"}
    moved_out = set(FORMER.values()) - set(recorded)  # since the run was made: there was no file to compare with
    _compare(sorted(owners - moved_out), recorded, where, refuse)
    _load_former(config, where)


def _load_former(config: Mapping[str, Any], where: str) -> None:
    """Load the plug-ins for a run's options that were part of the package when the run was made."""
    for group, name in former_options(config):
        module = FORMER[group, name]
        if name in OPTIONS[group]:
            continue
        if module not in {*sys.modules, *ALLOWED, *split_plugins(VARIABLE)}:
            raise BadInput(f"{where}: {where_now(group, name)}")
        load_plugins([module], where)


def _compare(modules: Iterable[str], recorded: Mapping[str, str], where: str, refuse: bool | None) -> None:
    """Warn of, or refuse, modules that have changed since a run was made."""
    for module in dict.fromkeys(modules):
        then, now = recorded.get(module), digest_now(module)
        if then == now:
            continue
        change = (
            f"plugins=[{module}]: its file has changed since {where} was made: "
            f"SHA-256 {_short(then)} then, {_short(now)} now"
        )
        if _STRICT[0] if refuse is None else refuse:
            raise BadInput(f"{change}; strict_plugins=true refuses this (restore the file, or leave out the key)")
        warn(change)


def _short(digest: str | None) -> str:
    return "(none)" if digest is None else digest[:12]


def _chosen(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Group and name of a run's options, in the groups that plug-ins may add to."""
    nodes = [(group, config.get(group)) for group in BASES]
    nodes += [("attack", node.get("attack")) for group, node in nodes if group == "regime" and isinstance(node, dict)]
    return [(group, str(node.get("name"))) for group, node in nodes if isinstance(node, dict)]
