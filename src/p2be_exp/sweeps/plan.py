"""The jobs of a grid, each composed and checked before any of them starts."""

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
from p2be_exp.config.compose import naming_experiment, plain_errors
from p2be_exp.config.folders import options_of
from p2be_exp.config.parts import check_given
from p2be_exp.config.ranges import MOST_JOBS, check_ranges
from p2be_exp.config.schema import TrainConfig
from p2be_exp.config.typed import typed
from p2be_exp.errors import BadInput

JOB_NUMBER = "${hydra.job.num}"
"""In the name of a job's folder, its number in its grid."""


@dataclass(frozen=True)
class Job:
    """One point of a grid.

    Attributes:
        folder: its name in the folder of the sweep.
        overrides: all overrides of the job.
        config: its resolved and checked configuration.
    """

    folder: str
    overrides: tuple[str, ...]
    config: TrainConfig


def plan_jobs(arguments: Sequence[str]) -> list[Job]:
    """The jobs in the order in which Hydra numbers them.

    Args:
        arguments: overrides; those with several values span the grid.

    Raises:
        BadInput: a job's configuration cannot be composed, or has an invalid value.
    """
    check_grid(arguments, globs=False)
    values: dict[str, list[str]] = {}  # if a key is given twice, the last one counts
    with plain_errors(arguments):
        for each in OverridesParser.create().parse_overrides(list(arguments)):
            several = each.sweep_string_iterator() if each.is_sweep_override() else [each.get_value_element_as_str()]
            values[each.get_key_element()] = list(several)
    points = itertools.product(*([f"{key}={value}" for value in there] for key, there in values.items()))
    composed: dict[tuple[str, ...], dict[str, Any]] = {}
    return [_job(number, point, composed) for number, point in enumerate(points)]


def check_first(arguments: Sequence[str]) -> None:
    """Check that the first point of a grid can be composed: most errors are common to all points.

    Hydra would find them too, but only after writing into the sweep's folder.

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
    """Check that overrides span a grid of at most :data:`~p2be_exp.config.ranges.MOST_JOBS` jobs, without listing them.

    Args:
        arguments: overrides.
        globs: whether ``glob(...)`` is allowed for the options of a group.

    Raises:
        BadInput: names the override, or the number of jobs.
    """
    counts: dict[str, int] = {}  # if a key is given twice, the last one counts
    for argument in arguments:
        check_ranges(argument)
    with plain_errors(arguments):
        for each in OverridesParser.create().parse_overrides(list(arguments)):
            globbed = each.value_type == ValueType.GLOB_CHOICE_SWEEP
            if each.is_sweep_override() and (not each.is_discrete_sweep() or (globbed and not globs)):
                raise BadInput(f"{each.input_line}: the values must be listed (A,B,C) or be a range(...)")
            if globbed and not options_of(each.key_or_group):
                raise BadInput(
                    f"{each.input_line}: glob(...) is only for the options of a group; the values must be listed"
                )
            several = each.is_sweep_override() and not globbed
            counts[each.get_key_element()] = sum(1 for _ in each.sweep_iterator()) if several else 1
    if (jobs := math.prod(counts.values())) > MOST_JOBS:
        raise BadInput(f"{' '.join(arguments)}: {jobs:,} jobs; must be at most {MOST_JOBS:,}")


def _job(number: int, overrides: Sequence[str], composed: dict[tuple[str, ...], dict[str, Any]]) -> Job:
    """One job; jobs that differ only in the seed are composed once, since composing takes a tenth of a second."""
    kept = tuple(each for each in overrides if not each.startswith("hydra.sweep."))
    seed = next((each for each in kept if re.fullmatch(r"seed=\d+", each)), None)
    key = tuple(each for each in kept if each != seed)
    with naming_experiment(kept):
        if key not in composed:
            composed[key] = to_plain(compose_config("train", kept))
        config = copy.deepcopy(composed[key])
        if seed is not None:
            config["seed"] = int(seed.removeprefix("seed="))
        built = typed(config)
        check_given(built, kept)
        check_config("train", built)
    subdir = next((each.split("=")[1] for each in overrides if each.startswith("hydra.sweep.subdir=")), JOB_NUMBER)
    folder = subdir.replace("\\", "").replace(JOB_NUMBER, str(number))  # Hydra's parser escapes the braces
    return Job(folder, tuple(overrides), built)


def labelled(jobs: Sequence[Job]) -> list[tuple[Job, str]]:
    """Every job with the overrides that distinguish it, as text; empty for a single job."""
    common = set.intersection(*(set(job.overrides) for job in jobs))

    def distinguishes(override: str) -> bool:
        return override not in common and not override.startswith("hydra.sweep.")

    return [(job, " ".join(filter(distinguishes, job.overrides))) for job in jobs]
