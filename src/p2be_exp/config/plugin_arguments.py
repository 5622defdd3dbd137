"""The plug-ins that a command line or its environment names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import BooleanNode
from omegaconf.errors import ValidationError

from p2be_exp.config.folders import split_plugins
from p2be_exp.errors import BadInput

VARIABLE = "P2BE_PLUGINS"
"""Environment variable with the names of plug-ins, separated by commas: the default of the key ``plugins``."""

ALLOWED: set[str] = set()
"""Modules that the user has named: they may be imported for a run that needs them."""


def allow(names: Iterable[str]) -> None:
    """Allow modules to be imported for a run that needs them."""
    ALLOWED.update(names)


def requested(arguments: Sequence[str]) -> tuple[list[str], str]:
    """The modules named by a command line (``plugins=[...]``), or else by P2BE_PLUGINS, and which of the two it was.

    Raises:
        BadInput: the value is not a list of names.
    """
    if (given := _last(arguments, "plugins")) is None:
        return split_plugins(VARIABLE), VARIABLE
    names = _value(given)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInput(f"{given}: must be a list of modules, such as plugins=[NAME,NAME]")
    return [str(name) for name in names], given


def strict(arguments: Sequence[str]) -> bool:
    """Whether a command line refuses plug-ins whose file has changed (``strict_plugins=true``).

    Raises:
        BadInput: the value is neither true nor false.
    """
    if (given := _last(arguments, "strict_plugins")) is None:
        return False
    try:
        value = BooleanNode(_value(given), is_optional=False)._value()
    except ValidationError as error:
        raise BadInput(f"{given}: must be true or false") from error
    return bool(value)


def _last(arguments: Sequence[str], key: str) -> str | None:
    given = [argument for argument in arguments if argument.lstrip("+").startswith(f"{key}=")]
    return given[-1] if given else None


def _value(argument: str) -> Any:
    """The value of an override; None for text that is not an override."""
    try:
        return OverridesParser.create().parse_override(argument).value()
    except HydraException:
        return None
