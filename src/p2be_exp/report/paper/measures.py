"""What is reported of a run: each measure as a weighted sum of the errors under its conditions."""

from __future__ import annotations

from collections.abc import Mapping

from p2be_exp.corruptions.names import SEVERITIES, TEST, select_names
from p2be_exp.corruptions.provenance import SOURCES, provenance
from p2be_exp.evaluation.measures import ALEXNET, IMAGENET_IMAGES
from p2be_exp.report.comparable import conditions_of
from p2be_exp.report.paper.gather import Result
from p2be_exp.report.paper.keys import Measure
from p2be_exp.statistics.intervals import wilson_interval

LSPGA = "attack/lspga/8"
"""The condition that the paper attacks under: LS-PGA as the reference runs it, 8 levels."""

MEASURES = {
    "clean": "clean error",
    "corruption": "error under corruptions",
    "lspga": "error under LS-PGA",
    "mce": "mCE",
    "worst": "worst case of the attacks",
}
"""Measures in words."""

SUITES = ("suite", "suite_short")
"""Attacks that a worst case is over: of a single attack it would be that attack alone."""

WORST_RADIUS = 8
"""Levels of the worst case."""

NORMALISED = frozenset({"mce", "ce"})
"""Kinds of measures that are in percent of AlexNet's error."""


def weights(result: Result, measure: Measure) -> Mapping[str, float] | None:
    """By condition, how much its error counts; None where the run does not have the measure, or not all of it.

    Args:
        result: of one run.
        measure: ``clean``; ``corruption``, the plain mean over the requested test corruptions; ``lspga``;
            ``error`` of one corruption, its mean over the severities; ``mce``, and ``ce`` of one corruption, in percent
            of AlexNet's, which only the complete official ImageNet-C has.
    """
    kind, name = measure.kind, measure.corruption
    if kind == "clean":
        found = {"clean": 1.0}
    elif kind == "lspga":
        found = {LSPGA: 1.0}
    elif kind == "corruption":
        found = _mean(result, corruptions(result))
    elif kind == "error":
        found = _mean(result, (name,) if name in corruptions(result) else ())
    elif kind in NORMALISED and is_official_imagenet(result):
        names = TEST if kind == "mce" else (name,)
        found = {cell: 100 / ALEXNET[of] / len(names) / 5 for of in names for cell in conditions_of([of])}
    else:
        found = {}
    return found if found and all(condition in result.counts for condition in found) else None


def value(result: Result, measure: Measure) -> float | None:
    """The measure in percent; None where the run does not have it.

    Args:
        measure: as :func:`weights` has it, or ``worst``, the worst case over the attacks of a suite.
    """
    if measure.kind == "worst":
        return worst_case(result)
    found = weights(result, measure)
    if found is None:
        return None
    return sum(weight * result.counts[condition].error for condition, weight in found.items())


def interval_over_images(result: Result, measure: Measure) -> tuple[float, float] | None:
    """What the choice of the test images leaves open about one network: a 95 % interval in percent.

    Wilson's under one condition. Of a mean over conditions the mean of theirs, as if they were fully correlated: they
    are of the same images, and this is the most conservative choice. None where it is missing, and of a worst case.
    """
    shares = weights(result, measure)
    if shares is None:
        return None
    ends = [wilson_interval(result.counts[name].n_wrong, result.counts[name].n) for name in shares]
    low, high = (sum(100 * share * end[i] for share, end in zip(shares.values(), ends, strict=True)) for i in (0, 1))
    return low, high


def worst_case(result: Result) -> float | None:
    """Percent of the images that some attack of a suite broke within :data:`WORST_RADIUS` levels.

    None without a suite, or where one of its attacks is missing.
    """
    suite = (result.settings.get("attack") or {}).get("name") in SUITES
    return result.worst_case.get(str(WORST_RADIUS)) if suite else None


def corruptions(result: Result) -> tuple[str, ...]:
    """The test corruptions that were requested and that there were images of, in the published order."""
    requested = result.settings["corruption"].get("names")
    names = select_names(requested) if requested else ()
    return tuple(name for name in names if name in TEST and name not in result.left_out)


def severities(result: Result) -> tuple[int, ...]:
    """The requested severities."""
    return tuple(sorted(result.settings["corruption"].get("severities") or ()))


def source_of(result: Result) -> str:
    """Where the corrupted images are from, in words."""
    settings, names = result.settings["corruption"], corruptions(result)
    source = SOURCES.get(settings["name"], settings["name"])
    return provenance(source, names, result.identical, result.settings["dataset"])


def is_official_imagenet(result: Result) -> bool:
    """Whether the complete published ImageNet-C was measured: all corruptions, severities and images."""
    images = [count.n for name, count in result.counts.items() if name.startswith("corruption/")]
    return (
        result.settings["corruption"]["name"] == "imagenet_c"
        and corruptions(result) == TEST
        and severities(result) == SEVERITIES
        and bool(images)
        and set(images) == {IMAGENET_IMAGES}
    )


def _mean(result: Result, names: tuple[str, ...]) -> dict[str, float]:
    conditions = conditions_of(names, severities(result))
    return dict.fromkeys(conditions, 1 / len(conditions)) if conditions else {}
