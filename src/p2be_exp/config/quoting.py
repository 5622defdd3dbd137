"""Reading arbitrary text from a command line (writing: :mod:`p2be_exp.system.command_line`)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from p2be_exp.config.ranges import check_ranges
from p2be_exp.system.command_line import as_override, typed

_PATHS = (
    *("data_dir", "dataset_dir", "dir", "folder", "frost_dir", "out"),
    *("resume", "run", "source", "table_from", "weights"),
)
"""The last part of the keys whose value is a path."""
_NAMES = ("name", "task_name")
"""Keys whose value becomes the name of a folder."""


def text_of(argument: str, override: Override) -> str:
    """The value of KEY=VALUE as text, without Hydra's quotes and escapes; other values as typed."""
    value = None if override.is_sweep_override() else override.value()
    text = str(value) if isinstance(value, str) else argument.partition("=")[2]
    live = re.search(r"(?<!\\)(?:\\\\)*\$\{", text)
    return text if live else re.sub(r"(\\*)\\\$\{", lambda found: found[1][::2] + "${", text)


def read_arguments(arguments: Sequence[str]) -> list[str]:
    """A command's arguments, with quotes around the paths and names that Hydra's grammar would not read as text.

    Users rarely quote paths for a grammar: ``run=runs/a (1)``, ``out=~/läuft``. In a grid a comma still separates
    values.
    """
    grid = any(each.split("=")[0] in ("-m", "--multirun", "sweeps", "dry_run") for each in arguments)
    return [_with_quotes(each, grid) for each in arguments]


def hint(argument: str) -> str:
    """How to type a KEY=VALUE that Hydra cannot read, as text; empty if that does not help."""
    key, given, value = argument.partition("=")
    if not given or not re.fullmatch(r"[+~]{0,2}[\w./@-]+", key) or not value:
        return ""
    return f"; as text: {typed(as_override(key, value))}"


def _with_quotes(argument: str, grid: bool) -> str:
    key, given, value = argument.partition("=")
    if not given or not value or value[0] in "'\"" or not (key in _NAMES or key.rpartition(".")[2] in _PATHS):
        return argument
    check_ranges(argument)
    try:
        override = OverridesParser.create().parse_override(argument)
    except (HydraException, RecursionError):
        return as_override(key, value)
    if override.is_sweep_override():
        return argument if grid else as_override(key, value)
    return argument if override.value() is None or isinstance(override.value(), str) else as_override(key, value)
