"""Whether results can be compared: a group's runs differ in the seed only, and all saw the same images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from p2be_exp.config.typed import plain
from p2be_exp.corruptions.names import ALL, SEVERITIES
from p2be_exp.errors import BadInput
from p2be_exp.report.measured import Measured

NOT_THE_METHOD = {
    "seed",
    # where and on what a run was made, and what was watched meanwhile
    "data_dir",
    "trainer",
    "logger",
    "watch_every",
    "figures",
    "checkpoint_every",
    "task_name",
    "resume",
    "strict_plugins",
    "departs_from_paper",  # a remark
    # of which sweep it was a job
    "sweeps",
    "scale",
    "dry_run",
    # what was measured at its end
    "eval_batch_size",
    "limit_test",
    "limit_attack",
    "corruption",
    "attack",
}
"""Keys and groups of a run's configuration that do not decide what is trained."""

_NOT_THE_IMAGES = {
    # which weights were measured
    "checkpoint",
    "step",
    "seed",
    # which conditions: those that all results have are compared
    "corruption.names",
    "corruption.severities",
    "attack",
}
"""Keys of an evaluation's settings that do not decide what a condition's images are."""


def conditions_of(names: Iterable[str], severities: Sequence[int] = SEVERITIES) -> tuple[str, ...]:
    """The conditions of some corruptions, in order.

    >>> conditions_of(["fog", "snow"], [3])
    ('corruption/fog/3', 'corruption/snow/3')
    """
    return tuple(f"corruption/{name}/{severity}" for name in names for severity in severities)


def mean_over(names: Sequence[str], of: Sequence[str], severities: Sequence[int]) -> str:
    """What a mean over corruptions is over, in words.

    Args:
        names: corruptions in the mean.
        of: those that a complete mean would have.
        severities: in the mean, of each corruption.
    """
    return f"{len(names)} of {len(of)} corruptions x {len(severities)} of {len(SEVERITIES)} severities"


ORDER = ("clean", *conditions_of(ALL))
"""The conditions that can be compared, in the order in which they are shown."""


def config_differences(one: Measured, other: Measured) -> dict[str, tuple[Any, Any]]:
    """The keys in which what was trained differs, apart from the seed, with both values."""
    return _differences(plain(one.config), plain(other.config), NOT_THE_METHOD)


def check_group(group: Sequence[Measured]) -> None:
    """Check that the runs of a group are one method trained with several seeds.

    Raises:
        BadInput: they differ in more than the seed, two have the same seed, or different weights were measured.
    """
    first = group[0]
    for other in group[1:]:
        for key, (value, found) in config_differences(first, other).items():
            raise BadInput(
                f"{key}={value} in {first.folder}, {found} in {other.folder}: the runs of a group ({first.key}) "
                "may differ in the seed only"
            )
        _check_same_weights(first, other)
    seeds: dict[int, Measured] = {}
    for measured in group:
        if measured.seed in seeds:
            raise BadInput(
                f"seed={measured.seed} in {seeds[measured.seed].folder} and in {measured.folder}: the runs of a "
                f"group ({measured.key}) must have different seeds"
            )
        seeds[measured.seed] = measured


def _check_same_weights(one: Measured, other: Measured) -> None:
    """The best checkpoint may come from another epoch in each run, the last may not, unless it was stopped early."""
    any_step = one.settings.get("checkpoint") == "best" or one.config.early_stop
    keys = ("checkpoint",) if any_step else ("checkpoint", "step")
    for key in keys:
        if one.settings.get(key) != other.settings.get(key):
            values = f"{one.settings.get(key)} in {one.folder}, {other.settings.get(key)} in {other.folder}"
            raise BadInput(f"{key}={values}: must be the same for all runs of a group ({one.key})")


def check_apart(a: Sequence[Measured], b: Sequence[Measured]) -> None:
    """Check that nothing is compared with itself: no results, and in groups no run, are on both sides.

    Raises:
        BadInput: it is.
    """
    groups = len(a) > 1
    mine = {each.run_folder if groups else each.folder.resolve() for each in a}
    for each in b:
        if (each.run_folder if groups else each.folder.resolve()) in mine:
            raise BadInput(f"{each}: this run is in A, too" if groups else f"{each}: these results are A, too")


def check_settings(measured: Sequence[Measured]) -> None:
    """Check that all were measured in the same way: data set, number of images, source of the corruptions, ...

    Raises:
        BadInput: names a setting that differs, and its values.
    """
    first, *others = measured
    for other in others:
        # Where one has no corrupted images, those of the other are not compared.
        clean_alone = "none" in (_source(first), _source(other))
        but = _NOT_THE_IMAGES | ({"corruption"} if clean_alone else set())
        for key, (value, found) in _differences(first.settings, other.settings, but).items():
            if key.startswith("corruption.files.") and None in (value, found):
                continue  # the file of a corruption that only one of them has
            raise BadInput(
                f"{key}={value} in {first}, {found} in {other}: results must be measured with the same settings"
            )


def _source(measured: Measured) -> str:
    """Where the corrupted images are from: ``cifar_c``, ``generated``, ...; ``none`` without any."""
    return measured.settings["corruption"]["name"]


def check_images(measured: Sequence[Measured], conditions: Sequence[str]) -> None:
    """Check that all saw the same images, under every condition.

    Raises:
        BadInput: they did not, or the file of a condition's images cannot be used.
    """
    expected = measured[0].images(conditions[0])
    for condition in conditions:
        for each in measured:
            found = each.images(condition)
            if not (np.array_equal(expected.index, found.index) and np.array_equal(expected.label, found.label)):
                counts = f"{len(found.index)} and {len(expected.index)} images"
                raise BadInput(
                    f"{each}: {condition} was measured on other test images than {conditions[0]} of {measured[0]} "
                    f"({counts})"
                )


def common_conditions(measured: Sequence[Measured]) -> list[str]:
    """The conditions that all results have, of those that can be compared, in their order.

    Raises:
        BadInput: there is none.
    """
    common = [condition for condition in ORDER if all(condition in each.counts for each in measured)]
    if not common:
        raise BadInput(f"{measured[0]} and {measured[-1]}: no condition was measured on all runs")
    return common


def conditions_left_out(a: Sequence[Measured], b: Sequence[Measured]) -> dict[str, list[str]]:
    """The conditions that were measured on some run and are not compared, by the reason; without any: empty."""
    measured = list(dict.fromkeys(condition for each in (*a, *b) for condition in each.counts))
    found: dict[str, list[str]] = {}
    for side, runs in (("A", a), ("B", b)):
        reason = f"not in {side}" if len(runs) == 1 else f"not in all runs of {side}"
        found[reason] = [name for name in measured if name in ORDER and any(name not in each.counts for each in runs)]
    found["neither clean nor a corruption"] = [name for name in measured if name not in ORDER]
    return {reason: names for reason, names in found.items() if names}


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], but: set[str]) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, with dots between the levels; None stands for a key that is missing."""
    flat_one, flat_other = dict(flat(one)), dict(flat(other))
    return {
        key: (flat_one.get(key), flat_other.get(key))
        for key in {**flat_one, **flat_other}
        if key not in but and key.split(".")[0] not in but and flat_one.get(key) != flat_other.get(key)
    }


def flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
