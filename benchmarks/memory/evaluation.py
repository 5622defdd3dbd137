"""The memory of an evaluation: after the clean images, and after all cells of a -C set, stored or generated."""

from __future__ import annotations

from typing import NamedTuple

import torch

from benchmarks.evaluation import stored_cells
from benchmarks.memory.peak import resident_peak
from p2be_exp.corruptions.names import SEVERITIES
from p2be_exp.evaluation.corrupted.generated import GeneratedImages

SOURCES = ("stored", "generated")


class EvaluationPeaks(NamedTuple):
    """GiB at most: of the process, on a GPU of its tensors there."""

    clean: float
    cells: float
    all_images: float
    """What the images of all cells would take together."""


def evaluation_peaks(
    source: str, encoding: str, backbone: str, images: int, cells: int, batch_size: int, device: torch.device,
    threads: int,
) -> EvaluationPeaks:  # fmt: skip
    """Evaluate random images of 32 x 32; on a CPU in a process of its own, which calls this once in its life."""
    torch.set_num_threads(threads)

    def peak() -> float:
        return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else resident_peak()

    with stored_cells(encoding, backbone, images, cells, batch_size, device) as stored:
        clean = peak()
        names = tuple(dict.fromkeys(each.name for each in stored.cells))
        made = GeneratedImages("cifar100", names, SEVERITIES, 0) if source == "generated" else None
        there = [each for each in stored.cells if made is None or (each.name, each.severity) in made.plan.cells]
        stored.evaluate(there, source, corrupted=made)
        return EvaluationPeaks(clean, peak(), len(there) * images * 3 * 32 * 32 / 2**30)
