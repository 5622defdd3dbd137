"""The table of an evaluation as a person reads it on a terminal."""

from __future__ import annotations

from typing import Any


def results_table(results: dict[str, Any]) -> str:
    """Text table of the conditions in the content of a ``results.json``: images, wrong, error and interval."""
    lines = [f"{'condition':<32}{'images':>8}{'wrong':>8}{'error %':>9}   95 % interval"]
    for name, row in results["conditions"].items():
        interval = f"{row['ci_low']:.2f} to {row['ci_high']:.2f}"
        lines.append(f"{name:<32}{row['n']:>8}{row['n_wrong']:>8}{row['error']:>9.2f}   {interval}")
    return "\n".join(lines)
