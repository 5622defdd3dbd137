"""Encodings of pixel levels as tables of 256 codes."""

from __future__ import annotations

from typing import Any

from p2be_exp.encodings.buckets import OneHot, Thermometer
from p2be_exp.encodings.p2be import P2BE
from p2be_exp.encodings.rgb import RGB
from p2be_exp.encodings.table import LEVELS, TableEncoding, encode

__all__ = [
    "LEVELS",
    "P2BE",
    "RGB",
    "OneHot",
    "TableEncoding",
    "Thermometer",
    "build_encoding",
    "encode",
    "list_encodings",
]

_ENCODINGS: dict[str, type[TableEncoding]] = {cls.name: cls for cls in (RGB, OneHot, Thermometer, P2BE)}


def list_encodings() -> list[str]:
    """Names of the encodings that there are."""
    return sorted(_ENCODINGS)


def build_encoding(config: dict[str, Any]) -> TableEncoding:
    """The encoding that a configuration's ``encoding`` group describes.

    A P2BE table that comes from another run is built fixed; its values are the caller's to load.
    """
    name = config["name"]
    if name == "rgb":
        return RGB()
    if name == "p2be":
        return P2BE(
            M=config["M"],
            smoothness=config["smoothness"],
            init=config["init"],
            slope_at_zero=config["slope_at_zero"],
            fixed=config["table_from"] is not None,
        )
    return _ENCODINGS[name](M=config["M"])
