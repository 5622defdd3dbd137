"""Experiment files, ``conf/experiment/NAME.yaml``: their form, and which of them a value comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2be_exp.config.folders import conf_folders
from p2be_exp.config.schema import GROUP_SCHEMAS, TrainConfig
from p2be_exp.config.yaml_files import read_yaml, shown
from p2be_exp.errors import BadInput
from p2be_exp.system.suggestions import did_you_mean

_HEADER = "# @package _global_"


def experiment_files(names: Sequence[str]) -> list[Path]:
    """The files of experiments, those of the package before those of plug-ins; a name without a file is left out."""
    folders = [folder / "experiment" for folder in conf_folders()]
    found = [next((file for folder in folders if (file := folder / f"{name}.yaml").exists()), None) for name in names]
    return [file for file in found if file is not None]


def check_experiment(file: Path) -> None:
    """Check the form of an experiment's file: what Hydra would say of it names neither the file nor the key.

    Raises:
        BadInput: names the file, the key and its value.
    """
    content, where = read_yaml(file), shown(file)
    if not isinstance(content, dict) or not content:
        raise BadInput(f"{where}: not a list of keys and values")
    if _HEADER not in file.read_text(encoding="utf-8").splitlines()[:5]:
        raise BadInput(f"{where}: its first line has to be {_HEADER}, so that its keys are those of the command")
    known = TrainConfig.__dataclass_fields__
    for key, value in content.items():
        if key == "defaults":
            _check_defaults(where, value)
        elif key not in known and key != "hydra":
            raise BadInput(f"{where}: {key}={value}: unknown key{did_you_mean(str(key), known)}")
        elif key in GROUP_SCHEMAS and not isinstance(value, Mapping):
            line = f"- override /{key}: NAME"
            raise BadInput(f"{where}: {key}={value}: a section of keys is needed; an option is chosen by {line}")


def _check_defaults(where: str, value: Any) -> None:
    if not isinstance(value, list):
        raise BadInput(f"{where}: defaults={value}: a list is needed")
    for each in value:
        fits = isinstance(each, str) or (isinstance(each, dict) and all(isinstance(key, str) for key in each))
        if not fits:
            raise BadInput(f"{where}: defaults: {each}: allowed are lines such as - override /encoding: rgb")
        for key, option in each.items() if isinstance(each, dict) else ():
            group = key.removeprefix("override ").strip().lstrip("/").partition("@")[0]
            if group in GROUP_SCHEMAS and not isinstance(option, str):
                raise BadInput(f"{where}: defaults: {key}: {option}: one is chosen by its name")


def _chosen_in(content: Any) -> set[str]:
    """The groups whose option an experiment chooses."""
    lines = content.get("defaults", []) if isinstance(content, dict) else []
    keys = [key for each in lines if isinstance(each, dict) for key in each]
    return {key.removeprefix("override ").strip().lstrip("/") for key in keys}


def file_with(names: Sequence[str], key: str) -> str:
    """The last of some experiments' files that sets a key, as a beginning ``FILE: `` of a message; empty for none."""
    for file in reversed(experiment_files(names)):
        content: Any = read_yaml(file)
        node = content
        for part in key.split("."):
            node = node.get(part, _NOWHERE) if isinstance(node, dict) else _NOWHERE
        if node is not _NOWHERE or key in _chosen_in(content):
            return f"{shown(file)}: "
    return ""


_NOWHERE = object()
