"""The YAML file of a plug-in's option: finding it, and checking it against the registered schema."""

from __future__ import annotations

from pathlib import Path

from omegaconf import MISSING, OmegaConf

from p2be_exp.config.folders import conf_folders
from p2be_exp.errors import BadInput
from p2be_exp.registry import OPTIONS


def check_yaml(group: str, name: str) -> None:
    """Check that an option has a YAML file that uses its schema and gives its name.

    Raises:
        BadInput: it is missing, cannot be read or does not match.
    """
    owner, file = OPTIONS[group][name].owner, f"conf/{group}/{name}.yaml"
    found = [path for folder in conf_folders() if (path := folder / group / f"{name}.yaml").is_file()]
    if not found:
        raise BadInput(f"plug-in {owner}: {group}={name} has no {file} beside its module")
    if why := _unfit(found[0], group, name):  # Hydra reads the first
        raise BadInput(f"plug-in {owner}: {file}: {why}")


def _unfit(file: Path, group: str, name: str) -> str | None:
    """Why a YAML file cannot be that of an option; None if it can."""
    try:
        content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except Exception as error:  # of YAML, of OmegaConf, of the file system
        return f"cannot be read ({type(error).__name__})"
    if not isinstance(content, dict):
        return "must be a mapping of keys to values"
    line, defaults = f"/schema/{group}/{name}@_here_", content.get("defaults")
    if not isinstance(defaults, list) or line not in defaults:
        return f"its defaults must have the line - {line}, which checks its keys and values"
    of_schema = getattr(OPTIONS[group][name].keys(), "name", MISSING)
    if (given := content.get("name", of_schema)) != name:
        return f"name: {given}; its name must be {name}"
    return None
