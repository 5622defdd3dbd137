"""The defaults of an option, for objects that are built without a composed configuration."""

from __future__ import annotations

from typing import Any

from p2be_exp.config.folders import CONF_DIR
from p2be_exp.config.yaml_files import read_yaml


def defaults_of(group: str, name: str) -> dict[str, Any]:
    """The keys of an option of this package with the values of its YAML file; interpolations are not resolved.

    >>> defaults_of("encoding", "onehot")
    {'name': 'onehot', 'M': 64}
    """
    content = read_yaml(CONF_DIR / group / f"{name}.yaml")
    return {key: value for key, value in content.items() if key != "defaults"}
