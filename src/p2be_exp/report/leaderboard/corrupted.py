"""What an evaluation says under corruptions: its means, computed again from the counts, and whose images these were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from p2be_exp.corruptions.names import ALL, SEVERITIES
from p2be_exp.corruptions.provenance import provenance
from p2be_exp.evaluation import measures
from p2be_exp.report.leaderboard.checked import Checked
from p2be_exp.report.leaderboard.conditions import check_equal
from p2be_exp.report.measured import Counts

BADGES = {"official": "official", "given": "given, not verified", "own": "own files", "generated": "generated"}
"""Where corrupted images are from (see :class:`~p2be_exp.evaluation.measures.Plan`), in a word or two."""


@dataclass(frozen=True)
class Corrupted:
    """Errors under corruptions.

    Attributes:
        mean: mean corruption error in percent; None until all its conditions are measured.
        mce: in percent of AlexNet's error, of the complete ImageNet-C alone.
        relative_mce: the same relative to the clean error.
        over: what the mean is over, in words.
        source: a key of :data:`BADGES`.
        origin: where the images are from, in words.
        identical: the corruptions whose images are said to be the published ones.
        missing: test corruptions that are not in the mean.
    """

    mean: float | None
    mce: float | None
    relative_mce: float | None
    over: str
    source: str
    origin: str
    identical: tuple[str, ...]
    missing: tuple[str, ...]


def read_corrupted(summary: Checked, counts: Mapping[str, Counts], dataset: str) -> Corrupted | None:
    """What was measured under corruptions; None without any.

    Raises:
        BadInput: a value is not allowed, or a mean does not follow from the counts.
    """
    section = summary["corruptions"]
    if not section.given or not section.value:
        return None
    plan = _plan(section, counts, dataset)
    cells: dict[str, dict[int, float]] = {}
    for name, severity in plan.cells:
        if (count := counts.get(f"corruption/{name}/{severity}")) is not None:
            cells.setdefault(name, {})[severity] = count.error
    clean = counts["clean"]
    images = min((count.n for name, count in counts.items() if name.startswith("corruption/")), default=None)
    found = measures.summarise(cells, plan, clean.error, images)
    for key in ("mean_corruption_error", "mce", "relative_mce"):
        _check_mean(summary[key], found[key])
    mean = found["corruptions"]["mean"]
    return Corrupted(
        found["mean_corruption_error"],
        found["mce"],
        found["relative_mce"],
        over=mean["over"],
        source=plan.source,
        origin=provenance(plan.source, cells, plan.identical, dataset),
        identical=plan.identical,
        missing=tuple(mean["missing"]),
    )


def _plan(section: Checked, counts: Mapping[str, Counts], dataset: str) -> measures.Plan:
    source = section["source"].one_of(*BADGES)
    if source == "official" and dataset == "imagenet":
        source = "given"  # older results call ImageNet-C official, which nobody can verify
    left_out = _names(section, "left_out")
    measured = {name.split("/")[1] for name in counts if name.startswith("corruption/")}
    names = measured | set(left_out) | set(_names(section, "unfinished"))
    severities = {each.whole(SEVERITIES[0], SEVERITIES[-1]) for each in section["severities"].entries()}
    return measures.Plan(
        source,
        dataset,
        tuple(name for name in ALL if name in names),
        tuple(sorted(severities)),
        dict.fromkeys(left_out, ""),
        tuple(name for name in _names(section, "identical") if name in measured),
    )


def _names(section: Checked, key: str) -> list[str]:
    """Names of corruptions, a list or the keys of a mapping; older results lack some."""
    value = section[key]
    if not value.given:
        return []
    if isinstance(value.value, dict):
        return [Checked(value.file, f"{value.key}.{name}", name).one_of(*ALL) for name in value.value]
    return [each.one_of(*ALL) for each in value.entries()]


def _check_mean(written: Checked, computed: Any) -> None:
    if written.given and computed is None:
        raise written.refused("null, as the counts make it: not all of its conditions are there")
    if computed is not None:
        check_equal(written, computed, "the counts of its conditions")
