"""What keeps runs of one recipe out of one mean without being a departure: precision, processes, images, steps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from p2be_exp.report.paper.gather import Result

FLOAT32 = "float32"
_PRECISIONS = {"32-true": FLOAT32, "32": FLOAT32, "bf16-mixed": "bf16", "bf16": "bf16"}
"""Names in ``run.json`` (Lightning's) and in the configuration."""


def how_trained(result: Result) -> tuple[str, ...]:
    """The precision that a run was trained in, and whether its processes had batch norms apart, in words.

    Taken from ``trained_on`` in ``run.json``; of a run without it from the configuration, where a precision of ``auto``
    depends on a machine that is not known.
    """
    trainer, recorded = result.config.trainer, result.info.get("trained_on") or {}
    on_cpu = recorded.get("accelerator", trainer.accelerator) == "cpu"
    found = recorded.get("precision") or ("32" if on_cpu else trainer.precision)
    names = [_PRECISIONS.get(part, part) for part in found.split(", then ")]
    precision = "a precision that is not known" if names == ["auto"] else ", then ".join(names)
    processes = recorded.get("processes", trainer.devices * trainer.num_nodes)
    # PyTorch synchronises batch norms on GPUs only.
    together = trainer.sync_batchnorm and trainer.strategy == "ddp" and not on_cpu
    return (precision,) if processes == 1 or together else (precision, f"batch norms of {processes} processes apart")


def kept_apart(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """How runs of one data set and length differ in test images and number of steps.

    Args:
        results: that depart from the paper in the same way.

    Returns:
        For each what differs from the others, in words; empty where all agree.
    """
    facts = [_facts(result) for result in results]
    lengths = [(result.settings["dataset"], result.config.epochs) for result in results]
    found = []
    for mine, length in zip(facts, lengths, strict=True):
        others = [each for each, of in zip(facts, lengths, strict=True) if of == length]
        found.append(tuple(text for key, text in mine.items() if any(each[key] != text for each in others)))
    return found


def _facts(result: Result) -> dict[str, str]:
    settings, counts = result.settings, result.counts
    files, classes = settings.get("test_files"), result.info.get("classes")
    fixed = settings.get("checkpoint", "last") == "last" and not result.config.early_stop
    step = settings.get("step") if fixed else None
    numbers = sorted({count.n for count in counts.values()})
    return {
        "n": f"{' or '.join(f'{n:,}' for n in numbers)} test images",
        # Of image folders: the same name may mean different images.
        "files": f"test files {files[:8]}" if files else "",
        "classes": f"{len(classes)} classes ({_digest(classes)})" if files and classes else "",
        "step": "" if step is None else f"{step:,} steps",
    }


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:8]
