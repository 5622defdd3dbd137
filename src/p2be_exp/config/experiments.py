"""Experiment files, ``conf/experiment/NAME.yaml``: checking their structure and finding the origin of a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2be_exp.config.folders import conf_folders
from p2be_exp.config.schema import GROUP_SCHEMAS, SEVERAL, TrainConfig
from p2be_exp.config.several import check_choice
from p2be_exp.config.yaml_files import read_yaml, shown
from p2be_exp.errors import BadInput
from p2be_exp.system.suggestions import did_you_mean

_HEADER = "# @package _global_"


def experiment_files(names: Sequence[str]) -> list[Path]:
    """The files of experiments, the package's before those of plug-ins; a name without a file is left out."""
    folders = [folder / "experiment" for folder in conf_folders()]
    found = [next((file for folder in folders if (file := folder / f"{name}.yaml").exists()), None) for name in names]
    return [file for file in found if file is not None]


def check_experiment(file: Path) -> None:
    """Check the structure of an experiment file: Hydra's own errors name neither the file nor the key.

    Raises:
        BadInput: names the file, the key and its value.
    """
    content, where = read_yaml(file), shown(file)
    if not isinstance(content, dict) or not content:
        raise BadInput(f"{where}: must be a mapping of keys to values")
    if _HEADER not in file.read_text(encoding="utf-8").splitlines()[:5]:
        raise BadInput(f"{where}: its first line must be {_HEADER}, so that its keys are those of the command")
    known = TrainConfig.__dataclass_fields__
    for key, value in content.items():
        if key == "defaults":
            _check_defaults(where, value)
        elif key not in known and key != "hydra":
            raise BadInput(f"{where}: {key}={value}: unknown key{did_you_mean(str(key), known)}")
        elif key in GROUP_SCHEMAS and not isinstance(value, Mapping):
            line = f"- override /{key}: NAME"
            raise BadInput(f"{where}: {key}={value}: must be a section of keys; choose an option with {line}")


def _check_defaults(where: str, value: Any) -> None:
    if not isinstance(value, list):
        raise BadInput(f"{where}: defaults={value}: must be a list")
    for each in value:
        fits = isinstance(each, str) or (isinstance(each, dict) and all(isinstance(key, str) for key in each))
        if not fits:
            raise BadInput(f"{where}: defaults: {each}: must be a line such as - override /encoding: rgb")
        for key, option in each.items() if isinstance(each, dict) else ():
            group = key.removeprefix("override ").strip().lstrip("/").partition("@")[0]
            if group in SEVERAL:
                check_choice(f"{where}: defaults: {key}: {option}", group, option)
            elif group in GROUP_SCHEMAS and not isinstance(option, str):
                raise BadInput(f"{where}: defaults: {key}: {option}: must be the name of one option")


def _chosen_in(content: Any) -> set[str]:
    """The groups for which an experiment chooses an option."""
    lines = content.get("defaults", []) if isinstance(content, dict) else []
    keys = [key for each in lines if isinstance(each, dict) for key in each]
    return {key.removeprefix("override ").strip().lstrip("/") for key in keys}


def file_with(names: Sequence[str], key: str) -> str:
    """The last experiment file that sets a key, as the prefix ``FILE: `` of a message; empty if there is none."""
    for file in reversed(experiment_files(names)):
        content: Any = read_yaml(file)
        node = content
        for part in key.split("."):
            node = node.get(part, _MISSING) if isinstance(node, dict) else _MISSING
        if node is not _MISSING or key in _chosen_in(content):
            return f"{shown(file)}: "
    return ""


_MISSING = object()
