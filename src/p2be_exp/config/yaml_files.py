"""YAML files written by users, experiments and sweeps, read so that errors name the file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader  # the loader of Hydra, which rejects duplicate keys
from yaml import YAMLError

from p2be_exp.errors import BadInput
from p2be_exp.system.installation import data_folder


def read_yaml(file: Path) -> Any:
    """The content of a YAML file, with interpolations unresolved.

    Raises:
        BadInput: names the file, and the line if known: it cannot be read, is not YAML, or has a duplicate key.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=get_yaml_loader())
        return OmegaConf.to_container(OmegaConf.create(content), resolve=False) if _is_container(content) else content
    except YAMLError as error:
        raise BadInput(yaml_line(error, file)) from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{shown(file)}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise BadInput(f"{shown(file)}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # OmegaConf's own, about keys and interpolations
        raise BadInput(f"{shown(file)}: {_first_line(error)}") from error


def yaml_line(error: YAMLError, file: Path | None = None) -> str:
    """One line about a YAML error: file, line and problem.

    Args:
        error: as raised by PyYAML or OmegaConf.
        file: the file that was read; None for the one named in the error.
    """
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or _first_line(error)
    if "'\\t'" in problem:
        problem = "a tab; YAML is indented with spaces"
    elif "could not determine a constructor" in problem:
        problem = "a tag (!) that is not plain YAML"
    named = file or (None if mark is None else Path(mark.name))
    where = [] if named is None else [shown(named)]
    if mark is not None:
        where.append(f"line {mark.line + 1}")
    return ": ".join([", ".join(where), problem] if where else [problem])


def _is_container(content: Any) -> bool:
    return isinstance(content, dict | list)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def shown(file: Path) -> str:
    """A file for messages: relative to ``conf/`` or ``sweeps/`` if it is the project's own, else unchanged."""
    for name in ("conf", "sweeps"):
        if file.is_relative_to(folder := data_folder(name)):
            return str(Path(name) / file.relative_to(folder))
    return str(file)
