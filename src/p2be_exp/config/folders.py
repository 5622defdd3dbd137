"""The folders of configuration files: ``conf/``, and the ``conf/`` folders of plug-ins."""

from __future__ import annotations

import os
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from p2be_exp.data.picture_sizes import resized_for
from p2be_exp.system.installation import data_folder

CONF_DIR = data_folder("conf")
"""The folder of the package's own configuration files."""

PLUGIN_FOLDERS: dict[str, Path | None] = {}
"""The ``conf/`` folder of every loaded plug-in; None if it has none."""


def conf_folders() -> list[Path]:
    """The folders searched for an option; the package's own comes first."""
    found = [CONF_DIR, *(folder for folder in PLUGIN_FOLDERS.values() if folder is not None)]
    return list(dict.fromkeys(found))


def options_of(group: str) -> list[str]:
    """Options of a configuration group, from its files."""
    return sorted({path.stem for folder in conf_folders() for path in (folder / group).glob("*.yaml")})


def split_plugins(variable: str) -> list[str]:
    """The module names in an environment variable, separated by commas."""
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


class PluginSearchPath(SearchPathPlugin):
    """Adds the plug-ins' folders to Hydra's search path, after the package's own, however Hydra is started."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folders."""
        for folder in conf_folders()[1:]:
            search_path.append(provider="p2be_exp plug-in", path=f"file://{folder}")


Plugins.instance().register(PluginSearchPath)
OmegaConf.register_new_resolver("plugins_from", split_plugins, replace=True)
OmegaConf.register_new_resolver("resized_for", resized_for, replace=True)
