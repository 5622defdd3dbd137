"""What ``config.json`` of a shared network says: the run without the places, names and programs of its machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from p2be_exp.config.parts import GROUPS
from p2be_exp.config.schema import CSVLoggerConfig, TrainConfig
from p2be_exp.config.typed import plain, typed_group
from p2be_exp.runs.run import Run
from p2be_exp.runs.shared import FORMAT_VERSION, LIBRARY

_FACTS = (
    *("format_version", "created", "git_commit", "versions", "plugins", "seed"),
    *("dataset", "classes", "parameters", "trained_on"),
)
"""Keys of ``run.json`` that go along; not among them: command, platform, folders, an experiment of W&B."""


def shared_config(run: Run, checkpoint: Mapping[str, Any], which: str, size: int, sha256: str) -> dict[str, Any]:
    """The content of ``config.json``.

    Args:
        run: an opened run.
        checkpoint: of :func:`~p2be_exp.runs.load.load_checkpoint`.
        which: its name, ``last`` or ``best``.
        size: of the weights' file, in bytes.
        sha256: of the same.
    """
    info = run.info()
    return {
        "library_name": LIBRARY,
        "format_version": FORMAT_VERSION,
        "configuration": without_places(run.config()),
        "run": {key: info[key] for key in _FACTS if key in info},
        "weights": {
            "checkpoint": which,
            "step": checkpoint["global_step"],
            "classes": checkpoint["hyper_parameters"]["num_classes"],
            "bytes": size,
            "sha256": sha256,
        },
    }


def without_places(config: TrainConfig) -> dict[str, Any]:
    """A configuration as plain dictionaries, in which a path is its last name alone and results go to csv files.

    It describes the same network; that a table was another run's, or that there were weights to start from, can still
    be seen.
    """
    kept = dataclasses.replace(config, logger={"csv": CSVLoggerConfig()})
    found: dict[str, Any] = _without_places(kept)
    for role in config.model.roles:
        found["model"][role] = role  # both runs may have had the same name
    if config.model.roles:
        parts = config.model.parts.items()
        found["model"]["parts"] = {role: _groups_without_places(nodes) for role, nodes in parts}
    return found


def _groups_without_places(nodes: Mapping[str, Any]) -> dict[str, Any]:
    return {group: _without_places(typed_group(group, nodes)) for group in GROUPS}


def _without_places(node: Any) -> Any:
    if not dataclasses.is_dataclass(node):
        return plain(node)
    found = {}
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        is_path = field.metadata.get("path") and value is not None
        found[field.name] = Path(value).name if is_path else _without_places(value)
    return found
