"""Plug-ins of a run that somebody else may have made: code that the run names is not yet code that the reader trusts.

A module that a run names is imported where the reader has named it too, and never out of a run folder. A file that has
changed since the run was made is told with both digests; ``strict_plugins=true`` refuses it before it is imported.
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
"""Whether the command that is running refuses changed plug-ins."""


def allow_requested(arguments: Sequence[str]) -> None:
    """Note what a command line says of the runs that it will read, before any is.

    ``plugins=[...]``, or else P2BE_PLUGINS, names plug-ins that they may need; ``strict_plugins=true`` refuses those
    whose file has changed. Nothing is imported yet.

    Raises:
        BadInput: a value is no list of names, or neither true nor false.
    """
    allow(requested(arguments)[0])
    _STRICT[0] = strict(arguments)
    start_over()


def load_plugins_of(
    config: Mapping[str, Any], recorded: Mapping[str, str], where: str, refuse: bool | None = None
) -> None:
    """Load the plug-ins of a run.

    Args:
        config: of the run; it need not have been checked.
        recorded: what :func:`~p2be_exp.config.plugin_digests.digests` gave when the run was made.
        where: the key and run, for the message.
        refuse: whether to refuse one that has changed; None for what the command line says.

    Raises:
        BadInput: one was not named by the reader, is not found, is inside a run folder or cannot be imported; or it has
            changed since the run was made, and ``refuse``.
    """
    names = config["plugins"]
    known = {*PLUGIN_FOLDERS, *sys.modules, *ALLOWED, *split_plugins(VARIABLE)}
    if strange := [name for name in names if name not in known]:
        listed = ",".join(strange)
        raise BadInput(
            f"{where}: needs the plug-in{'s' * (len(strange) > 1)} {', '.join(strange)}, code that the run names and "
            f"you have not; if you trust it, plugins=[{listed}] (or {VARIABLE}={listed}) allows it"
        )
    for name in names:
        look_here()
        if name not in sys.modules and not files_of(name):
            raise BadInput(f"{where}: its plug-in {name} is not found; it is looked for {WHERE_LOOKED}")
    parts = [module for module in recorded if any(is_part(module, name) for name in names) and digest_now(module)]
    _compare([*names, *parts], recorded, where, refuse)  # before anything is imported
    load_plugins(names, where)
    owners = {owner for option, owner in registered().items() if option in _chosen(config)} - {"__main__"}
    moved_out = set(FORMER.values()) - set(recorded)  # since the run was made: there is no file to compare with
    _compare(sorted(owners - moved_out), recorded, where, refuse)
    _load_former(config, where)


def _load_former(config: Mapping[str, Any], where: str) -> None:
    """Load the plug-ins that have options of a run which were part of the package when it was made."""
    for group, name in former_options(config):
        module = FORMER[group, name]
        if name in OPTIONS[group]:
            continue
        if module not in {*sys.modules, *ALLOWED, *split_plugins(VARIABLE)}:
            raise BadInput(f"{where}: {where_now(group, name)}")
        load_plugins([module], where)


def _compare(modules: Iterable[str], recorded: Mapping[str, str], where: str, refuse: bool | None) -> None:
    """Tell, or refuse, modules that are not as they were when a run was made."""
    for module in dict.fromkeys(modules):
        then, now = recorded.get(module), digest_now(module)
        if then == now:
            continue
        change = (
            f"plugins=[{module}]: its file has changed since {where} was made: "
            f"SHA-256 {_short(then)} then, {_short(now)} now"
        )
        if _STRICT[0] if refuse is None else refuse:
            raise BadInput(
                f"{change}; strict_plugins=true refuses that (put the file back as it was, or leave the key out)"
            )
        warn(change)


def _short(digest: str | None) -> str:
    return "(none)" if digest is None else digest[:12]


def _chosen(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Group and name of the options that a run has chosen among those that a plug-in may add to."""
    nodes = [(group, config.get(group)) for group in BASES]
    nodes += [("attack", node.get("attack")) for group, node in nodes if group == "regime" and isinstance(node, dict)]
    return [(group, str(node.get("name"))) for group, node in nodes if isinstance(node, dict)]
