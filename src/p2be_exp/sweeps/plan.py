"""The jobs of a grid, each composed and checked, before any of them starts."""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ValueType

from p2be_exp.config import check_config, compose_config, to_plain
from p2be_exp.config.compose import plain_errors, told_with_file
from p2be_exp.config.folders import options_of
from p2be_exp.config.ranges import MOST_JOBS, check_ranges
from p2be_exp.config.schema import TrainConfig
from p2be_exp.config.typed import typed
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
    config: TrainConfig


def plan_jobs(arguments: Sequence[str]) -> list[Job]:
    """The jobs in the order in which Hydra numbers them.

    Args:
        arguments: overrides, of which those with several values span the grid.

    Raises:
        BadInput: a job's configuration cannot be composed, or has a value that is not allowed.
    """
    check_grid(arguments, globs=False)
    values: dict[str, list[str]] = {}  # of a key that is given twice, the last one counts
    with plain_errors(arguments):
        for each in OverridesParser.create().parse_overrides(list(arguments)):
            several = each.sweep_string_iterator() if each.is_sweep_override() else [each.get_value_element_as_str()]
            values[each.get_key_element()] = list(several)
    points = itertools.product(*([f"{key}={value}" for value in there] for key, there in values.items()))
    composed: dict[tuple[str, ...], dict[str, Any]] = {}
    return [_job(number, point, composed) for number, point in enumerate(points)]


def check_first(arguments: Sequence[str]) -> None:
    """Check that the first point of a grid can be composed: what is wrong with it is mostly wrong with all of them.

    Hydra would find out too, once it has written into the sweep's folder.

    Args:
        arguments: overrides, checked by :func:`check_grid`.

    Raises:
        BadInput: an unknown key or option, or a value of the wrong type.
    """
    first: list[str] = []
    for each in OverridesParser.create().parse_overrides(list(arguments)):
        if each.value_type == ValueType.GLOB_CHOICE_SWEEP:
            continue
        value = next(iter(each.sweep_string_iterator())) if each.is_sweep_override() else None
        line = each.input_line or ""
        first.append(line if value is None else f"{line.partition('=')[0]}={value}")
    compose_config("train", first)


def check_grid(arguments: Sequence[str], globs: bool = True) -> None:
    """Check that overrides span a grid, of :data:`~p2be_exp.config.ranges.MOST_JOBS` jobs at most; none is listed.

    Args:
        arguments: overrides.
        globs: whether ``glob(...)`` may stand for options of a group.

    Raises:
        BadInput: names the override, or the number of jobs.
    """
    counts: dict[str, int] = {}  # of a key that is given twice, the last one counts
    for argument in arguments:
        check_ranges(argument)
    with plain_errors(arguments):
        for each in OverridesParser.create().parse_overrides(list(arguments)):
            globbed = each.value_type == ValueType.GLOB_CHOICE_SWEEP
            if each.is_sweep_override() and (not each.is_discrete_sweep() or (globbed and not globs)):
                raise BadInput(f"{each.input_line}: the values have to be listed, A,B,C, or be a range(...)")
            if globbed and not options_of(each.key_or_group):
                raise BadInput(
                    f"{each.input_line}: glob(...) stands for options of a group; the values have to be listed"
                )
            several = each.is_sweep_override() and not globbed
            counts[each.get_key_element()] = sum(1 for _ in each.sweep_iterator()) if several else 1
    if (jobs := math.prod(counts.values())) > MOST_JOBS:
        raise BadInput(f"{' '.join(arguments)}: {jobs:,} jobs; allowed are up to {MOST_JOBS:,}")


def _job(number: int, overrides: Sequence[str], composed: dict[tuple[str, ...], dict[str, Any]]) -> Job:
    """One job; those that differ in the seed alone are composed once, since composing takes a tenth of a second."""
    kept = tuple(each for each in overrides if not each.startswith("hydra.sweep."))
    seed = next((each for each in kept if re.fullmatch(r"seed=\d+", each)), None)
    key = tuple(each for each in kept if each != seed)
    with told_with_file(kept):
        if key not in composed:
            composed[key] = to_plain(compose_config("train", kept))
        config = copy.deepcopy(composed[key])
        if seed is not None:
            config["seed"] = int(seed.removeprefix("seed="))
        built = typed(config)
        check_config("train", built)
    subdir = next((each.split("=")[1] for each in overrides if each.startswith("hydra.sweep.subdir=")), str(number))
    return Job(subdir, tuple(overrides), built)


def labelled(jobs: Sequence[Job]) -> list[tuple[Job, str]]:
    """Every job with the overrides that tell it from the others, as text; nothing where it is the only one."""
    common = set.intersection(*(set(job.overrides) for job in jobs))
    return [(job, " ".join(each for each in job.overrides if each not in common)) for job in jobs]
