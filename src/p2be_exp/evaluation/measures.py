"""Summaries of the errors of the cells, corruption x severity: means, mCE, relative mCE.

D. Hendrycks and T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
ICLR 2019. CIFAR-C has no normaliser: its mean is plain. Only ImageNet-C's mCE divides by AlexNet's errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import Any

from p2be_exp.corruptions.names import CATEGORIES, EXTRA, SEVERITIES, TEST, category_of

Cells = Mapping[str, Mapping[int, float]]
"""Error in percent by corruption and severity."""

ALEXNET = {
    "gaussian_noise": 88.6428,
    "shot_noise": 89.4468,
    "impulse_noise": 92.2640,
    "defocus_blur": 81.9880,
    "glass_blur": 82.6268,
    "motion_blur": 78.5948,
    "zoom_blur": 79.8360,
    "snow": 86.6816,
    "frost": 82.6572,
    "fog": 81.9324,
    "brightness": 56.4592,
    "contrast": 85.3204,
    "elastic_transform": 64.6056,
    "pixelate": 71.7840,
    "jpeg_compression": 60.6500,
}
"""Mean error over the five severities of ImageNet-C, percent, of torchvision's AlexNet: the published normaliser."""

ALEXNET_EXTRA = {"speckle_noise": 84.5388, "gaussian_blur": 78.7108, "spatter": 71.7512, "saturate": 65.8248}
"""The same for the four extra corruptions: in common use, but not published where it could be checked."""

ALEXNET_CLEAN = 43.478
"""Clean error of the same network, percent."""

IMAGENET_IMAGES = 50_000


@dataclass(frozen=True)
class Plan:
    """The corrupted images that an evaluation measures.

    Attributes:
        source: ``official`` (the published files, verified), ``given`` (said to be the published files, not verified),
            ``own`` (somebody's own files) or ``generated``.
        dataset: name of the data set.
        names: the requested corruptions, in the published order.
        severities: the requested severities, ascending.
        left_out: requested corruptions without images, with the reason.
        identical: the corruptions whose images are the published ones, as far as there is evidence.
    """

    source: str
    dataset: str
    names: tuple[str, ...]
    severities: tuple[int, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    identical: tuple[str, ...] = ()

    @property
    def cells(self) -> list[tuple[str, int]]:
        """The pairs of corruption and severity that have images, in order."""
        return [(name, severity) for name in self.names if name not in self.left_out for severity in self.severities]


def mce(errors: Mapping[str, float], reference: Mapping[str, float] = ALEXNET) -> float:
    """Mean corruption error: the mean over corruptions of 100 error / error of the reference network.

    Args:
        errors: mean error over the five severities, percent, by corruption.
        reference: the same of the reference network, for the corruptions to take the mean over.

    Raises:
        KeyError: a corruption of the reference is missing from ``errors``.

    >>> round(mce(ALEXNET), 9)
    100.0
    """
    return fmean(100 * errors[name] / reference[name] for name in reference)


def relative_mce(
    errors: Mapping[str, float],
    clean: float,
    reference: Mapping[str, float] = ALEXNET,
    reference_clean: float = ALEXNET_CLEAN,
) -> float:
    """Relative mCE: as :func:`mce`, with the clean error (percent) subtracted from each network's errors.

    >>> round(relative_mce(ALEXNET, ALEXNET_CLEAN), 9)
    100.0
    """
    ratios = [100 * (errors[name] - clean) / (reference[name] - reference_clean) for name in reference]
    return fmean(ratios)


def summarise(cells: Cells, plan: Plan, clean: float | None, images: int | None) -> dict[str, Any]:
    """Everything in ``results.json`` about corruptions.

    A mean is null until all its cells are measured. A corruption without images is left out of every mean, and each
    mean says what it was taken over.

    Args:
        cells: what was measured.
        plan: what was to be measured.
        clean: clean error in percent, if known.
        images: number of images per cell, if known.

    Returns:
        ``mean_corruption_error``, ``mce``, ``relative_mce`` and ``corruptions``.
    """
    available = [name for name in plan.names if name not in plan.left_out]
    unfinished = [
        name for name in available if any(severity not in cells.get(name, {}) for severity in plan.severities)
    ]
    errors = {
        name: fmean(cells[name][severity] for severity in plan.severities)
        for name in available
        if name not in unfinished
    }
    per_corruption = {
        name: {
            "category": category_of(name),
            "error": _rounded(errors.get(name)),
            "severities": {str(severity): _rounded(cells[name].get(severity)) for severity in plan.severities},
        }
        for name in available
        if cells.get(name)
    }
    test = _mean(TEST, errors, plan)
    section: dict[str, Any] = {
        "source": plan.source,
        "identical": [name for name in available if name in plan.identical],
        "severities": list(plan.severities),
        "mean": test,
        "extra": _mean(EXTRA, errors, plan),
        "categories": {category: _mean(names, errors, plan) for category, names in CATEGORIES.items()},
        "per_corruption": per_corruption,
        "left_out": dict(plan.left_out),
        "unfinished": unfinished,
        "remarks": not_worse(errors, cells, plan.severities) if plan.source == "own" else [],
    }
    normalised = _is_official_imagenet(plan, images)
    if normalised and all(name in errors for name in EXTRA):
        section["extra"] |= {"normaliser": "AlexNet, unverified", **_normalised(errors, clean, ALEXNET_EXTRA)}
    complete = normalised and all(name in errors for name in TEST)
    normalised_means = _normalised(errors, clean, ALEXNET) if complete else {"mce": None, "relative_mce": None}
    return {"mean_corruption_error": test["error"], **normalised_means, "corruptions": section}


def not_worse(names: Iterable[str], cells: Cells, severities: Sequence[int]) -> list[str]:
    """Remarks where a higher severity is no worse than a lower one, which suggests a wrong order; usually empty.

    Args:
        names: the corruptions that are complete.
        cells: what was measured.
        severities: ascending.
    """
    names, pairs = list(names), list(pairwise(severities))
    if not names or not pairs:
        return []
    means = {severity: fmean(cells[name][severity] for name in names) for severity in severities}
    found = [
        f"severity {high} is no worse than {low} on average (error {means[high]:.2f} and {means[low]:.2f})"
        for low, high in pairs
        if means[high] <= means[low]
    ]
    first, last = severities[0], severities[-1]
    if easy := [name for name in names if cells[name][last] <= cells[name][first]]:
        found.append(f"severity {last} is no worse than {first}: {', '.join(easy)}")
    return found


def nothing_measured() -> dict[str, Any]:
    """The result of :func:`summarise` for an evaluation without corruptions."""
    return {"mean_corruption_error": None, "mce": None, "relative_mce": None, "corruptions": {}}


def _mean(names: tuple[str, ...], errors: Mapping[str, float], plan: Plan) -> dict[str, Any]:
    """Mean error over the corruptions of one group, and which of them it covers."""
    present = [name for name in names if name in plan.names and name not in plan.left_out]
    complete = bool(present) and all(name in errors for name in present)
    return {
        "error": _rounded(fmean(errors[name] for name in present)) if complete else None,
        "over": f"{len(present)} of {len(names)} corruptions x {len(plan.severities)} of {len(SEVERITIES)} severities",
        "missing": [name for name in names if name not in present],
    }


def _normalised(errors: Mapping[str, float], clean: float | None, reference: Mapping[str, float]) -> dict[str, Any]:
    relative = None if clean is None else _rounded(relative_mce(errors, clean, reference))
    return {"mce": _rounded(mce(errors, reference)), "relative_mce": relative}


def _is_official_imagenet(plan: Plan, images: int | None) -> bool:
    given = plan.source == "given" and plan.dataset == "imagenet"
    return given and plan.severities == SEVERITIES and images == IMAGENET_IMAGES


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
