"""Encodings of pixel levels as tables of 256 codes."""

from __future__ import annotations

from collections.abc import Callable
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
    "bucketed_encodings",
    "build_encoding",
    "encode",
    "list_encodings",
]


def _p2be(table_from: str | None, **settings: Any) -> P2BE:
    return P2BE(fixed=table_from is not None, **settings)


_ENCODINGS: dict[str, Callable[..., TableEncoding]] = {
    "rgb": RGB,
    "onehot": OneHot,
    "thermometer": Thermometer,
    "p2be": _p2be,
}


def list_encodings() -> list[str]:
    """Names of the encodings that there are."""
    return sorted(_ENCODINGS)


def bucketed_encodings() -> list[str]:
    """Names of the encodings whose levels share rows in buckets."""
    plain = TableEncoding.buckets
    return [name for name, made in _ENCODINGS.items() if getattr(made, "buckets", plain) is not plain]


def build_encoding(config: dict[str, Any]) -> TableEncoding:
    """The encoding that a configuration's ``encoding`` group describes.

    A P2BE table that comes from another run is built fixed; its values are the caller's to load.
    """
    # lambda_smooth is the loss's, see TrainingModule.
    settings = {key: value for key, value in config.items() if key not in ("name", "lambda_smooth")}
    return _ENCODINGS[config["name"]](**settings)
