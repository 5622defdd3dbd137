"""Where the data of a run is: not part of what the run is, and another place on another day or machine.

``config.yaml`` keeps what the user typed. ``run.json`` keeps the same as absolute paths, so that the run finds its data
from any folder. What is found there is checked by the digests of the data sets, wherever it is.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

VARIABLE = "P2BE_DATA_DIR"
"""Environment variable that ``data_dir`` is by default."""

KEYS = ("data_dir", "dataset.dir")
"""The keys that say where data is; they go with ``resume=`` and ``evaluate.py``."""


def absolute_locations(config: Mapping[str, Any]) -> dict[str, str]:
    """The places that a configuration names, as absolute paths, by key."""
    return {key: str(_expanded(value).absolute()) for key in KEYS if (value := _value(config, key)) is not None}


def locate(config: dict[str, Any], info: Mapping[str, Any], given: Collection[str] = ()) -> None:
    """Let a run's configuration name the places where its data is now.

    A place that the user gives now is taken; else that of the training, if it is still there; else what P2BE_DATA_DIR
    says; else that of the training for the message alone: nothing is downloaded to a place that a stored run names.

    Args:
        config: of the run; changed in place.
        info: the content of its ``run.json``.
        given: the keys that the user gives now.
    """
    stored = info.get("locations")
    for key in KEYS:
        value = _value(config, key)
        if key in given or value is None:
            continue
        place = stored.get(key) if isinstance(stored, Mapping) else None
        if not isinstance(place, str):  # a run of an older version: what the user typed, as seen from here
            place = str(_expanded(value).absolute())
        if not Path(place).is_dir():
            if key == "data_dir" and os.environ.get(VARIABLE):
                place = os.environ[VARIABLE]
            elif config["dataset"].get("download"):
                config["dataset"]["download"] = False
        if _expanded(value).absolute() != Path(place):
            _set(config, key, place)


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such home folder: whoever reads the data says so
        return Path(path)


def _value(config: Mapping[str, Any], key: str) -> str | None:
    group, _, name = key.rpartition(".")
    node = config[group] if group else config
    return node.get(name)


def _set(config: dict[str, Any], key: str, value: str) -> None:
    group, _, name = key.rpartition(".")
    node = config[group] if group else config
    node[name] = value
