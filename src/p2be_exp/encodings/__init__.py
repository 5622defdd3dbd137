"""Encodings of pixel levels as tables of 256 codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2be_exp.encodings.buckets import OneHot, Thermometer
from p2be_exp.encodings.p2be import P2BE
from p2be_exp.encodings.rgb import RGB
from p2be_exp.encodings.table import LEVELS, TableEncoding, encode
from p2be_exp.registry import bucketed_encodings, built, option

if TYPE_CHECKING:
    from p2be_exp.config.schema import EncodingConfig

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


def list_encodings() -> list[str]:
    """Names of the available encodings."""
    return built("encoding")


def build_encoding(config: EncodingConfig) -> TableEncoding:
    """The encoding that a configuration's ``encoding`` group describes.

    A P2BE table that comes from another run is built fixed; the caller loads its values.
    """
    # lambda_smooth belongs to the loss, see TrainingModule.
    settings = {key: value for key, value in vars(config).items() if key not in ("name", "lambda_smooth")}
    return option("encoding", config.name).build(**settings)
