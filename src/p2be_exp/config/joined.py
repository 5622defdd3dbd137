"""The attacks that join a suite, ``attack.also``: other libraries' and plug-ins', each with its defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from p2be_exp.config.fields import Allowed
from p2be_exp.config.folders import conf_folders
from p2be_exp.config.foolbox_methods import class_of
from p2be_exp.config.schema import AttackChoice, AttackConfig, SuiteConfig
from p2be_exp.config.typed import typed_group
from p2be_exp.config.yaml_files import read_yaml
from p2be_exp.errors import BadInput
from p2be_exp.registry import OPTIONS, option, registered

_CHOOSES = {"autoattack": "version", "foolbox": "method", "torchattacks": "method"}
"""The key that the part behind the dot sets."""


def joined(attack: AttackChoice) -> list[AttackConfig]:
    """The groups of the attacks that join a suite, in their order; none of another attack.

    ``autoattack`` (or ``autoattack.rand``), ``foolbox.METHOD``, ``torchattacks.METHOD``, or the name of a plug-in's
    attack. Their radii are the suite's.

    Raises:
        BadInput: an unknown name or method, or one that is there twice.
    """
    if not isinstance(attack, SuiteConfig):
        return []
    found = [_group(each) for each in attack.also]
    if twice := [each for i, each in enumerate(attack.also) if found[i] in found[:i]]:
        raise BadInput(f"attack.also=[{','.join(attack.also)}]: {twice[0]} joins twice")
    return found


def check_installed(attack: AttackChoice) -> None:
    """Check that the libraries of an attack, and of those that join it, are installed; they are not imported.

    Raises:
        BadInput: one is not; names the extra.
    """
    wanted = {f"attack={attack.name}": attack.name}
    wanted |= {f"attack.also=[{each.name}]": each.name for each in joined(attack)}
    for key, name in wanted.items():
        library = option("attack", name).library
        if library and find_spec(library) is None:
            raise BadInput(f"{key}: needs {library}, which is not installed; pip install 'p2be-exp[attacks]'")


def _group(entry: str) -> AttackConfig:
    name, dot, method = entry.partition(".")
    plugins = sorted(each for group, each in registered() if group == "attack")
    if name not in _CHOOSES and (dot or name not in plugins):
        other = " or a plug-in's attack" + (f" ({', '.join(plugins)})" if plugins else "")
        raise BadInput(
            f"attack.also=[{entry}]: must be autoattack, foolbox.METHOD, torchattacks.METHOD{other}; "
            "this package's own are in the suite"
        )
    keys = _defaults(name)
    if dot or _CHOOSES.get(name) == "method":
        if why := _allowed(name).refusal(method):
            raise BadInput(f"attack.also=[{entry}]: {name}.{_CHOOSES[name].upper()} {why}")
        keys[_CHOOSES[name]] = class_of(method) if name == "foolbox" else method
    return typed_group("attack", {"attack": keys})


def _allowed(name: str) -> Allowed:
    """The versions or methods of a library."""
    fields = {each.name: each for each in dataclasses.fields(OPTIONS["attack"][name].keys())}
    return fields[_CHOOSES[name]].metadata["allowed"]


def _defaults(name: str) -> dict[str, Any]:
    """The values in the YAML file of an attack, which may be a plug-in's."""
    file = next(path for folder in conf_folders() if (path := folder / "attack" / f"{name}.yaml").is_file())
    content = read_yaml(file)
    assert isinstance(content, Mapping)  # checked when it was registered
    return {"name": name} | {key: value for key, value in content.items() if key != "defaults"}
