"""The run in a folder that a user named, checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from p2be_exp.config.checks import check_config
from p2be_exp.config.plugin_files import is_module_name
from p2be_exp.config.plugins import load_former_of, load_plugins_of
from p2be_exp.errors import BadInput
from p2be_exp.system.paths import user_path

if TYPE_CHECKING:
    pass

from p2be_exp.runs.run import FORMAT_VERSION, Run


def find_run(path: str | Path, key: str = "run") -> Run:
    """The run in a folder.

    Args:
        path: the folder.
        key: the option under which the user gave it, for the message.

    Raises:
        BadInput: there is no such folder, it is no run of a format that this version reads, or it needs a plug-in that
            was not allowed, is missing, or is another file than the one it was made with.
    """
    run = Run(user_path(key, path))
    try:
        if not run.path.is_dir():
            raise BadInput(f"{key}={path}: no such folder")
        missing = [file.name for file in (run.config_file, run.run_file) if not file.is_file()]
    except OSError as error:  # somebody else's
        raise BadInput(f"{key}={path}: cannot be read ({error.strerror})") from error
    if missing:
        raise BadInput(f"{key}={path}: not a run folder ({' and '.join(missing)} missing)")
    try:
        info, config = run.info(), run.config()
        version, recorded = info["format_version"], dict(info.get("plugins", {}))
    except OSError as error:
        raise BadInput(f"{key}={path}: {Path(error.filename).name} cannot be read ({error.strerror})") from error
    except Exception as error:
        why = f" ({error})" if type(error) is ValueError else ""
        raise BadInput(f"{key}={path}: config.yaml or run.json is damaged{why}") from error
    if version != FORMAT_VERSION:
        raise BadInput(f"{key}={path}: run format {version}, this version reads {FORMAT_VERSION}")
    if isinstance(config, dict) and isinstance(config.get("plugins"), list):
        if not all(isinstance(name, str) and is_module_name(name) for name in config["plugins"]):
            raise BadInput(f"{key}={path}: config.yaml is damaged (plugins: {config['plugins']})")
        load_plugins_of(config, recorded, f"{key}={path}")
        load_former_of(config, f"{key}={path}")
    try:
        check_config("train", config)
    except Exception as error:  # half a file may be valid YAML
        raise BadInput(f"{key}={path}: config.yaml is damaged, or of another version ({error})") from error
    return run
