"""Texts of any characters on a command line: written for Hydra's grammar, then for the shell, and read back."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from p2be_exp.config.ranges import check_ranges

_PATHS = (
    *("data_dir", "dataset_dir", "dir", "folder", "frost_dir", "out"),
    *("resume", "run", "source", "table_from", "weights"),
)
"""The last part of the keys whose value is a path."""
_NAMES = ("name", "task_name")
"""Keys whose value becomes the name of a folder."""


def typed(*arguments: str, **paths: str | Path) -> str:
    """What a person types into a shell to give these arguments, and after them KEY=PATH for each of the paths.

    >>> typed("python", "train.py", resume="logs/a (1)")
    'python train.py \\'resume="logs/a (1)"\\''
    """
    here = {key: f"./{path}" if str(path).startswith("~") else path for key, path in paths.items()}  # no home folder
    return shlex.join([*arguments, *(as_override(key, path) for key, path in here.items())])


def as_override(key: str, value: str | Path) -> str:
    """KEY=VALUE that Hydra reads as exactly this text; a path that begins with a ``~`` of its own begins with ``./``.

    >>> as_override("resume", "logs/run"), as_override("resume", "a, b"), as_override("out", "1e3")
    ('resume=logs/run', 'resume="a, b"', 'out="1e3"')
    """
    own = isinstance(value, Path) and str(value).startswith("~")  # else it would be the home folder
    return f"{key}={quoted(f'./{value}' if own else value)}"


def quoted(value: str | Path) -> str:
    """The value of an override that Hydra reads as exactly this text, in quotes where it needs them."""
    text = str(value)
    if "${" not in text and _reads_as(text):
        return text
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # or OmegaConf takes it for an interpolation
    quote = "'" if '"' in text and "'" not in text else '"'
    # Of backslashes Hydra reads those before a quote alone as escapes.
    escaped = re.sub(rf"(\\*){quote}", rf"\1\1\\{quote}", text)
    before_the_end = escaped[len(escaped.rstrip("\\")) :]
    return f"{quote}{escaped}{before_the_end}{quote}"


def text_of(argument: str, override: Override) -> str:
    """The value of KEY=VALUE as text, without Hydra's quotes and escapes; what is no text as it was typed."""
    value = None if override.is_sweep_override() else override.value()
    text = str(value) if isinstance(value, str) else argument.partition("=")[2]
    live = re.search(r"(?<!\\)(?:\\\\)*\$\{", text)
    return text if live else re.sub(r"(\\*)\\\$\{", lambda found: found[1][::2] + "${", text)


def read_arguments(arguments: Sequence[str]) -> list[str]:
    """A command's arguments, with quotes around the paths and names that Hydra's grammar would not read as texts.

    A path of the file system rarely comes with the quotes of a grammar: ``run=runs/a (1)``, ``out=~/läuft``. In a grid
    a comma stays what it is there.
    """
    grid = any(each.split("=")[0] in ("-m", "--multirun", "sweeps", "dry_run") for each in arguments)
    return [_with_quotes(each, grid) for each in arguments]


def hint(argument: str) -> str:
    """How KEY=VALUE that Hydra does not read would be typed as a text; empty where that is of no help."""
    key, given, value = argument.partition("=")
    if not given or not re.fullmatch(r"[+~]{0,2}[\w./@-]+", key) or not value:
        return ""
    return f"; as a text: {typed(as_override(key, value))}"


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


def _reads_as(text: str) -> bool:
    """Whether Hydra reads a value without quotes as the text that it is."""
    try:
        override = OverridesParser.create().parse_override(f"key={text}")
    except (HydraException, RecursionError):
        return False
    return not override.is_sweep_override() and isinstance(override.value(), str) and override.value() == text
