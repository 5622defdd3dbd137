"""The files of an evaluation as they are read back: a crash, an editor or a stranger may have changed them."""

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

from p2be_exp.system.foreign_files import open_file, read_text
from p2be_exp.system.forms import read_json

MOST_IMAGES = 10_000_000
"""Images behind one row of results at most; the largest test set in use has 50,000."""

_BY_IMAGE = ("index", "label", "prediction", "confidence", "wrong", "zero_gradient")
"""Arrays with one value an image."""

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
    lines = [_parsed(line) for line in csv.DictReader(io.StringIO(read_text(file), newline=""))]
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
    if ((images["confidence"] < 0) | (images["confidence"] > 1 + 1e-3)).any():  # NaN is what a diverged network gives
        raise ValueError("a confidence that is no probability")
    if int(images["wrong"].sum()) != n_wrong:
        raise ValueError("as many are wrong as the row does not count")
    zeros = images.get("zero_gradient")
    if zeros is not None and (zeros.shape != (n,) or zeros.dtype.kind != "f"):
        raise ValueError(f"zero_gradient is {zeros.dtype} {zeros.shape}")


@contextmanager
def open_arrays(file: Path) -> Iterator[NpzFile]:
    """The arrays behind a row of results, each read when it is asked for; nothing is executed.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no ``.npz``, or an array with one value an image is larger than :data:`MOST_IMAGES` make it:
            a compressed array of nothing can be a thousand times its file. Other errors where it is damaged.
    """
    with open_file(file) as stream:
        arrays = np.load(stream, allow_pickle=False)
        if not isinstance(arrays, NpzFile):
            raise ValueError("no .npz")
        with arrays:
            assert arrays.zip is not None  # until it is closed
            for record in arrays.zip.infolist():
                by_image = record.filename.removesuffix(".npy") in _BY_IMAGE
                if by_image and record.file_size > 8 * MOST_IMAGES + 1000:  # its header besides
                    raise ValueError(f"{record.filename} has {record.file_size:,} bytes")
            yield arrays
