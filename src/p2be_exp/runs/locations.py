"""The location of a run's data: not part of the run's identity, and it may change over time and between machines.

``config.yaml`` keeps the path that the user typed. ``run.json`` keeps it with its absolute path too, so that the run
finds its data from any folder. The data is checked by the digests of the data sets, wherever it is.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from p2be_exp.config.schema import DownloadableDatasetConfig, DownloadablePicturesConfig, TrainConfig
from p2be_exp.system.paths import is_folder

VARIABLE = "P2BE_DATA_DIR"
"""Environment variable with the default of ``data_dir``."""

KEYS = ("data_dir", "dataset.dir")
"""The keys for the location of data; ``resume=`` and ``evaluate.py`` accept them."""


def locations(config: TrainConfig) -> dict[str, dict[str, str]]:
    """The locations in a configuration, by key: as ``given``, and as an absolute ``path``."""
    named = {key: value for key in KEYS if (value := _value(config, key)) is not None}
    return {key: {"given": value, "path": str(_expanded(value).absolute())} for key, value in named.items()}


def locate(config: TrainConfig, info: Mapping[str, Any], given: Collection[str] = ()) -> None:
    """Set the locations in a run's configuration to where its data is now.

    In order of precedence: a location that the user gives now; that of the training, if it still exists; P2BE_DATA_DIR;
    the path that the user typed for the training, relative to the current folder, if it exists. Nothing is downloaded
    to a location that the run names.

    Args:
        config: of the run; changed in place.
        info: the content of its ``run.json``.
        given: the keys that the user gives now.
    """
    for key in KEYS:
        value = _value(config, key)
        if key in given or value is None:
            continue
        here, named = _expanded(value).absolute(), os.environ.get(VARIABLE) if key == "data_dir" else None
        location = _stored(info, key, value) or here
        if not is_folder(location) and named:
            location = Path(named)
        else:
            if not is_folder(location) and is_folder(here):
                location = here
            if isinstance(config.dataset, DownloadableDatasetConfig | DownloadablePicturesConfig):
                config.dataset.download = False
        if location != here:
            _set(config, key, str(location))


def _stored(info: Mapping[str, Any], key: str, value: str) -> Path | None:
    """The location at training time; None for a run of an older version, or with an edited ``config.yaml``."""
    try:
        stored = info["locations"][key]
        return Path(stored["path"]) if stored["given"] == value else None
    except (KeyError, TypeError):
        return None


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such home folder: reported when the data is read
        return Path(path)


def _value(config: TrainConfig, key: str) -> str | None:
    group, _, name = key.rpartition(".")
    return getattr(getattr(config, group) if group else config, name)


def _set(config: TrainConfig, key: str, value: str) -> None:
    group, _, name = key.rpartition(".")
    setattr(getattr(config, group) if group else config, name, value)
