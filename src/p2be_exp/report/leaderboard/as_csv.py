"""A leaderboard as a table of one row per entry and radius; an entry without a worst case has one row."""

from __future__ import annotations

import csv
import io
from typing import Any

COLUMNS = (
    "dataset", "n_images", "images", "rank", "ranked_by", "name", "place", "clean_error", "clean_ci_low",
    "clean_ci_high", "mean_corruption_error", "mce", "corruptions_over", "corruptions_source", "eps_levels",
    "worst_case_error", "worst_case_ci_low", "worst_case_ci_high", "suite", "n_attacks", "sanity",
)  # fmt: skip


def as_csv(content: dict[str, Any]) -> str:
    """The rows; what was not measured is an empty field.

    Args:
        content: of ``leaderboard.json``.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for board in content["boards"]:
        for entry in board["entries"]:
            writer.writerows(_rows(board, entry))
    return text.getvalue()


def _rows(board: dict[str, Any], entry: dict[str, Any]) -> list[dict[str, Any]]:
    corruptions, worst = entry["corruptions"] or {}, entry["worst_case"] or {"radii": {}}
    row = {
        "dataset": _harmless(board["dataset"]),
        "n_images": board["n_images"],
        "images": board["images"],
        "rank": entry["rank"],
        "ranked_by": entry["ranked_by"],
        "name": _harmless(entry["name"]),
        "place": _harmless(entry["place"]),
        **{f"clean_{key}": entry["clean"][key] for key in ("error", "ci_low", "ci_high")},
        "mean_corruption_error": corruptions.get("mean"),
        "mce": corruptions.get("mce"),
        "corruptions_over": corruptions.get("over"),
        "corruptions_source": corruptions.get("source"),
        "sanity": entry["sanity"]["verdict"],
    }
    found = [
        row
        | {"eps_levels": radius, "suite": worst["suite"], "n_attacks": len(at["attacks"])}
        | {f"worst_case_{key}": at[key] for key in ("error", "ci_low", "ci_high")}
        for radius, at in worst["radii"].items()
    ]
    return found or [row]


def _harmless(text: str) -> str:
    """A text that a spreadsheet does not take for a formula.

    >>> _harmless("=1+1")
    "'=1+1"
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
