"""What was trained, from the ``config.yaml`` of a run: a line beside the name of an entry, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from p2be_exp.report.measured import EVALUATIONS
from p2be_exp.system.foreign_files import read_text


@dataclass(frozen=True)
class Trained:
    """Encoding, backbone and regime of a run, by their names."""

    encoding: str
    backbone: str
    regime: str

    def __str__(self) -> str:
        return f"{self.encoding}, {self.backbone}, {self.regime}"


def read_trained(folder: Path) -> Trained | None:
    """What the configuration of the run says; None where there is none, or none that can be read.

    Args:
        folder: where the results are: the run's, or one of its evaluations.
    """
    run = folder.parent.parent if folder.parent.name == EVALUATIONS else folder
    try:
        config = yaml.safe_load(read_text(run / "config.yaml"))
        encoding, backbone, regime = (_name(config[group]) for group in ("encoding", "backbone", "regime"))
        return Trained(encoding, _network(config.get("model")) or backbone, regime)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError):
        return None


def _network(model: Any) -> str | None:
    """The published network that a configuration names in the place of a backbone; None for another model."""
    if not isinstance(model, dict) or model.get("name") != "published":
        return None
    return _name({"name": model["network"]})


def _name(group: Any) -> str:
    name = group["name"]
    if not isinstance(name, str) or not name.isprintable() or len(name) > 100:
        raise ValueError("not the name of an option")
    return name
