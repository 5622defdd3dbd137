"""What the files of a run say, as cells of a row."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from p2be_exp.report.paper.published import PUBLISHED
from p2be_exp.runs.run import Run


def training_row(run: Run, planned: int) -> dict[str, Any]:
    """The last epoch of ``metrics.csv``, of so many that are planned; empty before the first."""
    if not run.metrics_file.is_file():
        return {}
    with run.metrics_file.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return {}
    last = rows[-1]
    return {
        "epoch": f"{last['epoch']} of {planned}",
        "train_error": round(float(last["train/error"]), 2),
        "images_per_second": round(float(last["images_per_second"])),
        "bits_changed": round(float(last["table/bits_changed"]), 2) if last.get("table/bits_changed") else None,
    }


def saved_steps(run: Run) -> tuple[int, int]:
    """Steps of the last checkpoint, and steps an epoch."""
    import torch

    saved = torch.load(run.checkpoint("last"), map_location="cpu", weights_only=True)
    return saved["global_step"], saved["hyper_parameters"]["batches_per_epoch"]


def epochs_told(steps: int, batches: int, planned: int) -> str:
    """How far a training came.

    >>> epochs_told(18, 2, 9), epochs_told(15, 2, 9)
    ('9 of 9', 'stopped at 7.50 of 9')
    """
    return f"{planned} of {planned}" if steps >= planned * batches else f"stopped at {steps / batches:.2f} of {planned}"


def corruption_cells(evaluation: Path) -> dict[str, Any]:
    """Errors in percent of an evaluation under corruptions: clean, means by category, of all; and how many cells."""
    results = _results(evaluation)
    if results.get("clean_error") is None:
        return {}
    section = results["corruptions"]
    measured = [name for name in results["conditions"] if name.startswith("corruption/")]
    planned = int(section["mean"]["over"].split()[0]) * len(section["severities"])
    return {
        "images": results["conditions"]["clean"]["n"],
        "clean": _rounded(results["clean_error"]),
        **{name: _rounded(group["error"]) for name, group in section["categories"].items()},
        "mean": _rounded(results["mean_corruption_error"]),
        "cells": f"{len(measured)} of {planned}",
    }


def attack_cell(evaluation: Path) -> dict[str, Any]:
    """Error in percent of an evaluation under LS-PGA at 8 levels, and on how many images."""
    results = _results(evaluation)
    error = results.get("attacks", {}).get("lspga", {}).get("error", {}).get("8")
    if error is None:
        return {}
    return {"ls_pga_at_8": f"{error:.2f} on {results['conditions']['clean']['n']:,}"}


def published_cells(encoding: str) -> dict[str, Any]:
    """The paper's mean error under CIFAR-100-C, after 50 and after 200 epochs."""
    sources = {"published_50_epochs": ("table6", "50"), "published_200_epochs": ("table2", "corruption")}
    return {name: PUBLISHED[table].numbers["wrn", encoding, column].value for name, (table, column) in sources.items()}


def _results(evaluation: Path) -> dict[str, Any]:
    file = evaluation / "results.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _rounded(error: float | None) -> float | None:
    return None if error is None else round(error, 2)
