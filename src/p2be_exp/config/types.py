"""Whether a value has the type that a schema declares: OmegaConf checks compositions, but not stored files."""

from __future__ import annotations

import functools
import types
import typing
from typing import Any

_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def unfit(value: Any, schema: type, key: str) -> str | None:
    """Why a value does not have the type of a schema's key; None if it has, or if the schema declares none.

    A whole number is accepted as a number; strings are not converted.
    """
    return _unfit(value, _types(schema).get(key, Any))


@functools.cache
def _types(schema: type) -> dict[str, Any]:
    return typing.get_type_hints(schema)


def _unfit(value: Any, expected: Any) -> str | None:
    origin = typing.get_origin(expected)
    if origin in (types.UnionType, typing.Union):
        reasons = [_unfit(value, each) for each in typing.get_args(expected) if each is not types.NoneType]
        optional = types.NoneType in typing.get_args(expected)
        return None if (value is None and optional) or None in reasons else reasons[0]
    if origin is list:
        if not isinstance(value, list):
            return "must be a list"
        return next((why for each in value if (why := _unfit(each, *typing.get_args(expected)))), None)
    if expected not in _NAMES:
        return None
    if value is None:
        return "a value is required"
    if expected is float and isinstance(value, int):
        fits = not isinstance(value, bool)
    else:
        fits = isinstance(value, expected) and not (expected is int and isinstance(value, bool))
    return None if fits else f"must be {_NAMES[expected]}"
