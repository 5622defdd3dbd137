"""Mixtures as they might be measured on 200 images: the error under attack falls just above one half."""

from pathlib import Path

from p2be_exp.report.measured import Counts
from p2be_exp.report.paper.mixtures import Pair, Part, Point

CURVE = {0: (8, 150), 0.3: (8, 141), 0.45: (7, 96), 0.5: (6, 60), 0.55: (6, 38), 0.7: (7, 30), 1: (9, 26)}
"""By alpha, wrong images without and under attack."""


def point(label, clean, attacked, alpha=None, radius=16):
    """Of so many of 200 images; ``attacked`` None: not measured."""
    return Point(label, Counts(clean, 200), {} if attacked is None else {radius: Counts(attacked, 200)}, alpha)


def pair(others=(), alone=(), curve=None, **more):
    """The mixtures of two runs under a short suite; ``others`` and ``alone`` are points, these by role."""
    points = [point(f"alpha = {alpha}", *wrong, alpha) for alpha, wrong in (curve or CURVE).items()]
    parts = {role: Part(Path("sweep", role)) for role in ("accurate", "robust")}
    return Pair(parts, (*points, *others), dict(alone), **{"attack": "suite_short", **more})
