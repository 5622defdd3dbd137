"""The published networks and systems as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from p2be_exp.config.published_networks import PUBLISHED_NETWORKS
from p2be_exp.published.systems import ALONE, SYSTEMS, Part, System

_NOTE = """\
Accuracies are clean / robust in percent as published by RobustBench: test set, AutoAttack, Linf 8/255, real-valued
images. None was measured here, and none is what a file at hand must have. Files are named as their authors publish
them; whether they are still there was not checked. ImageNet's entries are left out."""


def published_table() -> str:
    """Networks, then systems with their parts, files and constants; lines of at most 120 characters."""
    networks = [("network", "classes", "parameters", "what it is")]
    for name, network in PUBLISHED_NETWORKS.items():
        classes = ", ".join(map(str, network.classes))
        networks.append((name, classes, f"{network.parameters:,}", network.what))
    systems = [block for name, system in SYSTEMS.items() for block in ("", *_system(name, system))]
    alone = [block for name, part in ALONE.items() for block in ("", f"{name}: a part alone", *_part(part))]
    return "\n".join([*_aligned(networks), *systems, *alone, "", _NOTE])


def _system(name: str, system: System) -> list[str]:
    constants = " ".join(f"model.{key}={value:.10g}" for key, value in system.constants.items())
    lines = textwrap.wrap(constants, 106, break_long_words=False, break_on_hyphens=False)
    gate = [f"  {'gate':<10}{system.gate}, readme of Bai-YT/AdaptiveSmoothing"] if system.gate else []
    return [
        f"{name}: {system.published}",
        f"  {system.paper}; dataset={system.dataset} model={system.model}",
        *(line for part in system.parts for line in _part(part)),
        *gate,
        *(f"  {'' if number else 'constants':<10}{line}" for number, line in enumerate(lines)),
    ]


def _part(part: Part) -> list[str]:
    alone = "" if part.published is None else f", alone {part.published}"
    return [f"  {part.role:<10}network={part.network}, {part.file}{alone}", f"  {'':<10}{part.source}"]


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
