"""The jobs of a grid, each composed and checked, before any of them starts."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from p2be_exp.config import check_config, compose_config, to_plain
from p2be_exp.config.compose import plain_errors
from p2be_exp.errors import BadInput


@dataclass(frozen=True)
class Job:
    """One point of a grid.

    Attributes:
        folder: its name in the folder of the sweep.
        overrides: all of them.
        config: resolved and checked.
    """

    folder: str
    overrides: tuple[str, ...]
    config: dict[str, Any]


def plan_jobs(arguments: Sequence[str]) -> list[Job]:
    """The jobs in the order in which Hydra numbers them.

    Args:
        arguments: overrides, of which those with several values span the grid.

    Raises:
        BadInput: a job's configuration cannot be composed, or has a value that is not allowed.
    """
    values: dict[str, list[str]] = {}  # of a key that is given twice, the last one counts
    with plain_errors(arguments):
        for each in OverridesParser.create().parse_overrides(list(arguments)):
            if each.is_sweep_override() and (not each.is_discrete_sweep() or "glob(" in str(each.input_line)):
                raise BadInput(f"{each.input_line}: the values have to be listed, A,B,C, or be a range(...)")
            several = each.sweep_string_iterator() if each.is_sweep_override() else [each.get_value_element_as_str()]
            values[each.get_key_element()] = list(several)
    points = itertools.product(*([f"{key}={value}" for value in there] for key, there in values.items()))
    composed: dict[tuple[str, ...], dict[str, Any]] = {}
    return [_job(number, point, composed) for number, point in enumerate(points)]


def _job(number: int, overrides: Sequence[str], composed: dict[tuple[str, ...], dict[str, Any]]) -> Job:
    """One job; those that differ in the seed alone are composed once, since composing takes a tenth of a second."""
    kept = tuple(each for each in overrides if not each.startswith("hydra.sweep."))
    seed = next((each for each in kept if re.fullmatch(r"seed=\d+", each)), None)
    key = tuple(each for each in kept if each != seed)
    if key not in composed:
        composed[key] = to_plain(compose_config("train", kept))
    config = copy.deepcopy(composed[key])
    if seed is not None:
        config["seed"] = int(seed.removeprefix("seed="))
    check_config("train", config)
    subdir = next((each.split("=")[1] for each in overrides if each.startswith("hydra.sweep.subdir=")), str(number))
    return Job(subdir, tuple(overrides), config)


def labelled(jobs: Sequence[Job]) -> list[tuple[Job, str]]:
    """Every job with the overrides that tell it from the others, as text; nothing where it is the only one."""
    common = set.intersection(*(set(job.overrides) for job in jobs))
    return [(job, " ".join(each for each in job.overrides if each not in common)) for job in jobs]
