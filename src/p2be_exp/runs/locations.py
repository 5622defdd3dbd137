"""Where the data of a run is: not part of what the run is, and another place on another day or machine.

``config.yaml`` keeps what the user typed. ``run.json`` keeps the same with its absolute path, so that the run finds its
data from any folder. What is found there is checked by the digests of the data sets, wherever it is.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from p2be_exp.config.schema import Caltech101Config, DownloadableDatasetConfig, TrainConfig
from p2be_exp.system.paths import is_folder

VARIABLE = "P2BE_DATA_DIR"
"""Environment variable that ``data_dir`` is by default."""

KEYS = ("data_dir", "dataset.dir")
"""The keys that say where data is; they go with ``resume=`` and ``evaluate.py``."""


def locations(config: TrainConfig) -> dict[str, dict[str, str]]:
    """The places that a configuration names, by key: as they were ``given``, and as an absolute ``path``."""
    named = {key: value for key in KEYS if (value := _value(config, key)) is not None}
    return {key: {"given": value, "path": str(_expanded(value).absolute())} for key, value in named.items()}


def locate(config: TrainConfig, info: Mapping[str, Any], given: Collection[str] = ()) -> None:
    """Let a run's configuration name the places where its data is now.

    A place that the user gives now is taken; else that of the training, if it is still there; else what P2BE_DATA_DIR
    says; else what the user typed then, as seen from the current folder, if that is there. Nothing
    is downloaded to a place that the run names.

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
        place = _stored(info, key, value) or here
        if not is_folder(place) and named:
            place = Path(named)
        else:
            if not is_folder(place) and is_folder(here):
                place = here
            if isinstance(config.dataset, DownloadableDatasetConfig | Caltech101Config):
                config.dataset.download = False
        if place != here:
            _set(config, key, str(place))


def _stored(info: Mapping[str, Any], key: str, value: str) -> Path | None:
    """The place of the training; None in a run of an older version, or one whose ``config.yaml`` was edited since."""
    try:
        stored = info["locations"][key]
        return Path(stored["path"]) if stored["given"] == value else None
    except (KeyError, TypeError):
        return None


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such home folder: whoever reads the data says so
        return Path(path)


def _value(config: TrainConfig, key: str) -> str | None:
    group, _, name = key.rpartition(".")
    return getattr(getattr(config, group) if group else config, name)


def _set(config: TrainConfig, key: str, value: str) -> None:
    group, _, name = key.rpartition(".")
    setattr(getattr(config, group) if group else config, name, value)
