"""Writing arbitrary text on a command line, quoted for Hydra's grammar and then for the shell."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException


def typed(*arguments: str, **paths: str | Path) -> str:
    """The shell command with these arguments, followed by KEY=PATH for each of the paths.

    >>> typed("python", "train.py", resume="logs/a (1)")
    'python train.py \\'resume="logs/a (1)"\\''
    """
    here = {key: f"./{path}" if str(path).startswith("~") else path for key, path in paths.items()}  # not a home folder
    return shlex.join([*arguments, *(as_override(key, path) for key, path in here.items())])


def as_override(key: str, value: str | Path) -> str:
    """KEY=VALUE that Hydra reads as exactly this text; a path with a literal leading ``~`` is prefixed with ``./``.

    >>> as_override("resume", "logs/run"), as_override("resume", "a, b"), as_override("out", "1e3")
    ('resume=logs/run', 'resume="a, b"', 'out="1e3"')
    """
    own = isinstance(value, Path) and str(value).startswith("~")  # otherwise it would mean the home folder
    return f"{key}={quoted(f'./{value}' if own else value)}"


def quoted(value: str | Path) -> str:
    """The value of an override that Hydra reads as exactly this text, quoted if necessary."""
    text = str(value)
    if "${" not in text and _reads_as(text):
        return text
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # otherwise OmegaConf reads an interpolation
    quote = "'" if '"' in text and "'" not in text else '"'
    # Hydra reads only backslashes before a quote as escapes.
    escaped = re.sub(rf"(\\*){quote}", rf"\1\1\\{quote}", text)
    before_the_end = escaped[len(escaped.rstrip("\\")) :]
    return f"{quote}{escaped}{before_the_end}{quote}"


def _reads_as(text: str) -> bool:
    """Whether Hydra reads an unquoted value as exactly this text."""
    try:
        override = OverridesParser.create().parse_override(f"key={text}")
    except (HydraException, RecursionError):
        return False
    return not override.is_sweep_override() and isinstance(override.value(), str) and override.value() == text
