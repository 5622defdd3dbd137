"""Results as evaluations leave them, from counts alone, for leaderboards."""

import json
from pathlib import Path

from p2be_exp.runs.run import FORMAT_VERSION

N = 200
CHECK = {"name": "random is no stronger than one step", "verdict": "ok", "detail": "Stronger in none of 1 comparisons."}
CORRUPTION = {"name": "generated", "names": ["fog", "snow"], "severities": [1, 3], "seed": 0, "generator_version": 2}


def row(n_wrong, n=N):
    """A condition."""
    return {"n": n, "n_wrong": n_wrong, "error": round(100 * n_wrong / n, 4), "ci_low": 0.0, "ci_high": 100.0}


def summary_of(clean=10, worst=None, suite="suite", sanity=(CHECK,), n=N, dataset="digits", **settings):
    """The content of a ``results.json``; ``worst`` are counts by radius, of two attacks, the second one too weak."""
    conditions, worst = {"clean": row(clean, n)}, worst or {}
    for radius, n_wrong in worst.items():
        conditions[f"attack/pgd_ce_secant/{radius}"] = row(n_wrong, n)
        conditions[f"attack/square/{radius}"] = row(clean, n)
    attacks = {str(radius): ["pgd_ce_secant", "square"] for radius in worst}
    return {
        "format_version": FORMAT_VERSION,
        "clean_error": round(100 * clean / n, 4),
        "mean_corruption_error": None,
        "mce": None,
        "relative_mce": None,
        "corruptions": {},
        "worst_case_error": {str(radius): row(n_wrong, n)["error"] for radius, n_wrong in worst.items()} or None,
        "worst_case": {"suite": suite, "attacks": attacks} if worst else None,
        "sanity": [dict(check) for check in sanity] if worst else None,
        "conditions": conditions,
        "settings": {"dataset": dataset, "split_seed": 0, "limit_test": None, "seed": 0}
        | {"attack": {"name": suite if worst else "none"}, "corruption": {"name": "none"}}
        | settings,
        "versions": {"p2be-exp": "0.1.0"},
        "written": "2026-01-31T12:00:00+00:00",
    }


def with_corruptions(summary, wrong=(20, 30, 40, 50), source="generated", identical=()):
    """The same with fog and snow at two severities; without frost, which had no images."""
    for (name, severity), n_wrong in zip([("fog", 1), ("fog", 3), ("snow", 1), ("snow", 3)], wrong, strict=True):
        summary["conditions"][f"corruption/{name}/{severity}"] = row(n_wrong)
    summary["mean_corruption_error"] = sum(100 * n_wrong / N for n_wrong in wrong) / 4
    summary["corruptions"] = {"source": source, "identical": list(identical), "severities": [1, 3]}
    summary["corruptions"] |= {"left_out": {"frost": "no textures"}, "unfinished": []}
    summary["settings"]["corruption"] = CORRUPTION
    return summary


def write_entry(folder, summary=None, entry=None):
    """``results.json``, and ``entry.yaml`` if there is one; the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(summary_of() if summary is None else summary))
    if entry is not None:
        (folder / "entry.yaml").write_text(entry)
    return folder
