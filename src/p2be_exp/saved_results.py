"""The files of an evaluation as they are read back: a crash, an editor or a stranger may have changed them."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from p2be_exp.forms import read_json

_WHOLE = ("severity", "eps_levels", "n", "n_wrong")
_REAL = ("error", "ci_low", "ci_high", "seconds")


def read_settings(file: Path) -> dict[str, Any]:
    """The settings in a ``results.json``.

    Raises:
        OSError: it cannot be read.
        ValueError, KeyError, TypeError: it is damaged.
    """
    settings = read_json(file)["settings"]
    if not isinstance(settings, dict):
        raise TypeError(f"settings: {settings}")
    return settings


def read_lines(file: Path) -> dict[str, dict[str, Any]]:
    """The rows of a ``results.csv`` by their condition, with numbers as numbers; none where there is no file.

    Raises:
        OSError: it cannot be read.
        ValueError, KeyError, TypeError, csv.Error: it is damaged: a row with other columns or counts than can be, a
            condition twice, an error that is not that of its counts.
    """
    if not os.path.lexists(file):
        return {}
    with file.open(newline="", encoding="utf-8") as text:
        lines = [_parsed(line) for line in csv.DictReader(text)]
    found = {line["condition"]: line for line in lines}
    if len(found) < len(lines):
        raise ValueError("a condition twice")
    return found


def _parsed(line: dict[str, str]) -> dict[str, Any]:
    if None in line or None in line.values():
        raise ValueError("a row of another length")
    values: dict[str, Any] = dict(line)
    values |= {key: int(line[key]) if line[key] else None for key in _WHOLE}
    values |= {key: float(line[key]) for key in _REAL}
    if not 0 <= values["n_wrong"] <= values["n"] or values["n"] == 0:
        raise ValueError(f"{values['n_wrong']} wrong of {values['n']}")
    if not math.isclose(values["error"], 100 * values["n_wrong"] / values["n"], abs_tol=1e-3):  # written to four places
        raise ValueError(f"{values['n_wrong']} wrong of {values['n']} are not {values['error']} %")
    return values


def check_arrays(images: Mapping[str, np.ndarray], n: int, n_wrong: int) -> None:
    """Check that the arrays behind a row are of its images.

    Args:
        images: ``index``, ``label``, ``prediction``, ``confidence``, ``wrong``, each ``(n,)``; of an attack more.
        n: images of the row.
        n_wrong: those that it counts as wrong.

    Raises:
        KeyError: an array is missing.
        ValueError: one is of another length or type, or other images are wrong.
    """
    kinds = {"index": "iu", "label": "iu", "prediction": "iu", "confidence": "f", "wrong": "b"}
    for name, kind in kinds.items():
        array = images[name]
        if array.shape != (n,) or array.dtype.kind not in kind:
            raise ValueError(f"{name} is {array.dtype} {array.shape}")
    if not ((images["confidence"] >= 0) & (images["confidence"] <= 1 + 1e-3)).all():
        raise ValueError("a confidence that is no probability")
    if int(images["wrong"].sum()) != n_wrong:
        raise ValueError("as many are wrong as the row does not count")
    zeros = images.get("zero_gradient")
    if zeros is not None and (zeros.shape != (n,) or zeros.dtype.kind != "f"):
        raise ValueError(f"zero_gradient is {zeros.dtype} {zeros.shape}")
