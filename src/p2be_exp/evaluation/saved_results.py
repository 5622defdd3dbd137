"""Reads the files of an evaluation back: a crash, an editor or another person may have changed them."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from p2be_exp.config.older import fill_in_attack
from p2be_exp.system.foreign_files import open_file, read_text
from p2be_exp.system.forms import read_json

MOST_IMAGES = 10_000_000
"""Maximum number of images behind one row of results; the largest test set in use has 50,000."""

MOVED = ("clamped", "lost")
"""Whether an image of an attack had to be moved into the ball, and whether that cost the attack its success."""

_BY_IMAGE = ("index", "label", "prediction", "confidence", "wrong", "zero_gradient", "broken_at", "distance", *MOVED)
"""Arrays with one value per image."""

_INTEGERS = ("severity", "eps_levels", "n", "n_wrong")
_FLOATS = ("error", "ci_low", "ci_high", "seconds")


def read_settings(file: Path) -> dict[str, Any]:
    """The settings in a ``results.json``, with the keys of their attack that are newer.

    Raises:
        OSError: it cannot be read.
        ValueError, KeyError, TypeError: it is damaged.
    """
    settings = read_json(file)["settings"]
    if not isinstance(settings, dict):
        raise TypeError(f"settings: {settings}")
    fill_in_attack(settings.get("attack"))
    return settings


def read_lines(file: Path) -> dict[str, dict[str, Any]]:
    """The rows of a ``results.csv`` by their condition, with numbers parsed; empty where there is no file.

    Raises:
        OSError: it cannot be read.
        ValueError, KeyError, TypeError, csv.Error: it is damaged: wrong columns, impossible counts, a condition that
            appears twice, an error that does not match its counts.
    """
    if not os.path.lexists(file):
        return {}
    lines = [_parsed(line) for line in csv.DictReader(io.StringIO(read_text(file), newline=""))]
    found = {line["condition"]: line for line in lines}
    if len(found) < len(lines):
        raise ValueError("a condition appears twice")
    return found


def _parsed(line: dict[str, str]) -> dict[str, Any]:
    if None in line or None in line.values():
        raise ValueError("a row with the wrong number of columns")
    values: dict[str, Any] = dict(line)
    values |= {key: int(line[key]) if line[key] else None for key in _INTEGERS}
    values |= {key: float(line[key]) for key in _FLOATS}
    if not 0 <= values["n_wrong"] <= values["n"] or values["n"] == 0:
        raise ValueError(f"{values['n_wrong']} wrong of {values['n']}")
    if not math.isclose(values["error"], 100 * values["n_wrong"] / values["n"], abs_tol=1e-3):  # has four decimals
        raise ValueError(f"{values['n_wrong']} wrong of {values['n']} is not {values['error']} %")
    return values


def check_arrays(images: Mapping[str, np.ndarray], n: int, n_wrong: int) -> None:
    """Check that the arrays behind a row match it.

    Args:
        images: ``index``, ``label``, ``prediction``, ``confidence``, ``wrong``, each ``(n,)``; more for an attack.
        n: the row's number of images.
        n_wrong: the row's number of wrong images.

    Raises:
        KeyError: an array is missing.
        ValueError: an array has the wrong length or type, or the number of wrong images differs.
    """
    kinds = {"index": "iu", "label": "iu", "prediction": "iu", "confidence": "f", "wrong": "b"}
    for name, kind in kinds.items():
        array = images[name]
        if array.shape != (n,) or array.dtype.kind not in kind:
            raise ValueError(f"{name} is {array.dtype} {array.shape}")
    if ((images["confidence"] < 0) | (images["confidence"] > 1 + 1e-3)).any():  # NaN is from a diverged network
        raise ValueError("a confidence outside [0, 1]")
    if int(images["wrong"].sum()) != n_wrong:
        raise ValueError("the number of wrong images is not the row's")
    for name in ("zero_gradient", "broken_at"):
        optional = images.get(name)
        if optional is not None and (optional.shape != (n,) or optional.dtype.kind != "f"):
            raise ValueError(f"{name} is {optional.dtype} {optional.shape}")
    for name in MOVED:
        moved = images.get(name)
        if moved is not None and (moved.shape != (n,) or moved.dtype.kind != "b"):
            raise ValueError(f"{name} is {moved.dtype} {moved.shape}")


@contextmanager
def open_arrays(file: Path) -> Iterator[NpzFile]:
    """The arrays behind a row of results, each read on access; no code is executed.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not an ``.npz``, or an array with one value per image is larger than :data:`MOST_IMAGES`
            allow: a compressed array can expand to a thousand times its file. Other errors where it is damaged.
    """
    with open_file(file) as stream:
        arrays = np.load(stream, allow_pickle=False)
        if not isinstance(arrays, NpzFile):
            raise ValueError("not an .npz file")
        with arrays:
            assert arrays.zip is not None  # until it is closed
            for record in arrays.zip.infolist():
                by_image = record.filename.removesuffix(".npy") in _BY_IMAGE
                if by_image and record.file_size > 8 * MOST_IMAGES + 1000:  # plus its header
                    raise ValueError(f"{record.filename} has {record.file_size:,} bytes")
            yield arrays
