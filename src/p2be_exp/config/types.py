"""Whether a value is of the type that a schema gives its key: OmegaConf asks while composing, a stored file nobody."""

from __future__ import annotations

import functools
import types
import typing
from typing import Any

_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def unfit(value: Any, schema: type, key: str) -> str | None:
    """Why a value cannot be that of a schema's key; None where it can, or where the schema does not say.

    A whole number is a number; nothing is taken for something else by its text.
    """
    return _unfit(value, _types(schema).get(key, Any))


@functools.cache
def _types(schema: type) -> dict[str, Any]:
    return typing.get_type_hints(schema)


def _unfit(value: Any, wanted: Any) -> str | None:
    origin = typing.get_origin(wanted)
    if origin in (types.UnionType, typing.Union):
        reasons = [_unfit(value, each) for each in typing.get_args(wanted) if each is not types.NoneType]
        optional = types.NoneType in typing.get_args(wanted)
        return None if (value is None and optional) or None in reasons else reasons[0]
    if origin is list:
        if not isinstance(value, list):
            return "not a list"
        return next((why for each in value if (why := _unfit(each, *typing.get_args(wanted)))), None)
    if wanted not in _NAMES:
        return None
    if value is None:
        return "a value is needed"
    if wanted is float and isinstance(value, int):
        fits = not isinstance(value, bool)
    else:
        fits = isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))
    return None if fits else f"not {_NAMES[wanted]}"
