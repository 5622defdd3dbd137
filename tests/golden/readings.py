"""What is compared of the files that a command leaves: a flat dictionary, numbers as they stand and tensors by digests.

Left out is what two equal runs differ in: times, dates, process numbers, commits, versions, places on the disk.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from worker import Broken, digest_of

TIMES = {"seconds", "images_per_second"}
"""Columns of CSV files."""
RUN_FACTS = ("format_version", "seed", "dataset", "classes", "parameters", "trained_on", "files", "sweep")
"""What is compared of ``run.json``."""
CHECKPOINT = ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "train_meter")
"""What is compared of a checkpoint."""


def read_run(folder: str | Path, log: str | None = None) -> dict[str, Any]:
    """Everything of a run folder.

    Args:
        folder: of the run.
        log: of the command that trained it, for its steps; None where no step is looked for.
    """
    run = Path(folder)
    found: dict[str, Any] = {}
    if log is not None:
        found |= read_steps(Path("logs", f"{log}.jsonl"))
    found |= dict(flat(yaml.safe_load((run / "config.yaml").read_text()), "config.yaml"))
    facts = json.loads((run / "run.json").read_text())
    found |= dict(flat({name: facts[name] for name in RUN_FACTS if name in facts}, "run.json"))
    found |= read_table(run / "metrics.csv", "epoch")
    for file in sorted((run / "checkpoints").glob("*.ckpt")):
        found |= read_checkpoint(file)
    if (run / "results.csv").exists():
        found |= read_results(run)
    return found


def read_steps(file: Path) -> dict[str, Any]:
    """The loss terms of every step, and the digest of the images that the network saw."""
    if not file.exists():
        raise Broken("no step was logged: is logger=tensorboard logger.tensorboard.log_every_n_steps=1 still heard?")
    steps = [json.loads(line) for line in file.read_text().splitlines()]
    return {
        f"step {step['step']}: {name}": value if name == "images" else float.fromhex(value)
        for step in steps
        for name, value in step.items()
        if name != "step"
    }


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Weights, optimizer states, schedules and sums of a checkpoint."""
    import torch

    saved = torch.load(file, weights_only=True, map_location="cpu")
    return dict(flat({name: saved[name] for name in CHECKPOINT}, file.name))


def read_table(file: Path, key: str | None = None) -> dict[str, Any]:
    """Every cell of a CSV file but for times, by its row (the column ``key``, or the number) and column."""
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return {
        f"{file.name}: {row[key] if key else number}: {column}": value
        for number, row in enumerate(rows)
        for column, value in row.items()
        if column not in TIMES
    }


def read_results(folder: Path) -> dict[str, Any]:
    """The rows, the summary and every array of an evaluation."""
    found = read_table(folder / "results.csv", "condition")
    summary = json.loads((folder / "results.json").read_text())
    for name in ("versions", "written", "run"):
        summary.pop(name, None)
    return found | dict(flat(summary, "results.json")) | read_arrays(folder / "per_image")


def read_arrays(folder: Path) -> dict[str, Any]:
    """Every array of the ``.npz`` and ``.npy`` files of a folder."""
    import numpy as np

    found: dict[str, Any] = {}
    for file in sorted(folder.glob("*.np[yz]")):
        content = np.load(file, allow_pickle=False)
        arrays = {"": content} if file.suffix == ".npy" else dict(content)
        found |= {f"{folder.name}/{file.name}: {name}": described(array) for name, array in arrays.items()}
    return found


def read_numbers(file: Path) -> dict[str, Any]:
    """The numbers in the rows of a text's tables (Markdown, LaTeX), but for commits and dates, by row."""
    rows = [line for line in file.read_text().splitlines() if line.startswith("|") or line.endswith("\\\\")]
    found = {}
    for number, row in enumerate(rows):
        row = re.sub(r"\d{4}-\d\d-\d\d|\d\d:\d\d(:\d\d)?|(?<![\w.])[0-9a-f]{7,40}(?![\w.])", "", row)
        found[f"{file.name}: numbers of row {number}"] = " ".join(re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", row))
    return {key: value for key, value in found.items() if value}


def flat(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """A nest of containers as pairs of a path and a plain value, in their order."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from flat(each, f"{where}: {key}")
    elif isinstance(value, list | tuple):
        yield f"{where}: length", len(value)
        for number, each in enumerate(value):
            yield from flat(each, f"{where}: {number}")
    elif isinstance(value, str):
        yield where, value.replace(str(Path.cwd()), ".")
    elif value is None or isinstance(value, bool | int | float):
        yield where, value
    else:
        yield where, described(value)


def described(array: Any) -> str:
    """A tensor or an array in words: type, shape, sum, digest."""
    import numpy as np

    shape, kind = "x".join(map(str, array.shape)), str(array.dtype).removeprefix("torch.")
    numbers = np.asarray(array.detach().double() if hasattr(array, "detach") else array)
    total = "" if numbers.dtype.kind not in "fiub" else f" sum {math.fsum(numbers.astype(float).ravel()):.17g}"
    return f"{kind} ({shape}){total} sha256 {digest_of(array)}"
