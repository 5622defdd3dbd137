"""Peak memory of trainings and evaluations, by part.

  python -m benchmarks.memory                                    # P2BE and RGB, standard and augmix, WRN-40-2
  python -m benchmarks.memory --batch-size 32 --regime standard --encoding rgb p2be onehot
  python -m benchmarks.memory --only evaluation --images 10000 --cells 75

A training's tensors are counted by part of a step: on a GPU by the allocator's peak, on a CPU by PyTorch's profiler,
without what its libraries take for themselves. On a CPU "process" is the largest resident size of a process of its own,
libraries and Python included; on a GPU it is empty, and a row without a GPU says nothing of one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from benchmarks.hardware import hardware, set_precision
from benchmarks.memory.evaluation import SOURCES, EvaluationPeaks, evaluation_peaks
from benchmarks.memory.peak import in_fresh_process
from benchmarks.memory.training import TrainingPeaks, training_peaks
from benchmarks.step.parts import PARTS
from benchmarks.step.training import Setting

MIB = 2**20

Peaks = TypeVar("Peaks", TrainingPeaks, EvaluationPeaks)


def main(arguments: Sequence[str]) -> int:
    """Measure and print tables in Markdown, row by row."""
    asked = _parser().parse_args(arguments)
    device = torch.device(asked.device)
    print(f"{hardware(device)}; batches of {asked.batch_size} images of 32 x 32, {asked.precision}")
    if device.type == "cpu":
        print("GPU: not on this device")
    if asked.only != "evaluation":
        _trainings(asked, device)
    if asked.only != "training":
        _evaluations(asked, device)
    return 0


def _trainings(asked: argparse.Namespace, device: torch.device) -> None:
    head = ["encoding", "regime", "process GiB", "over RGB", "tensors MiB", "over RGB", "kept", *PARTS]
    print(f"\n{asked.backbone}; MiB of tensors at most, whole and during each part\n")
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|", flush=True)
    for regime in asked.regime:
        rgb: TrainingPeaks | None = None
        for encoding in dict.fromkeys(["rgb", *asked.encoding]):
            setting = Setting(encoding, regime, asked.backbone, asked.precision, asked.batch_size, device)
            found = _median([_call(device, training_peaks, setting, asked.threads) for _ in range(asked.repeats)])
            rgb = rgb or found
            print(f"| {encoding} | {regime} | {' | '.join(_cells(found, rgb))} |", flush=True)


def _median(found: Sequence[TrainingPeaks]) -> TrainingPeaks:
    """One with the process of the middle: what malloc keeps moves it by some per cent; tensors are the same in all."""
    return sorted(found, key=lambda each: each.process_gib or 0)[len(found) // 2]


def _cells(found: TrainingPeaks, rgb: TrainingPeaks) -> list[str]:
    whole, of_rgb = (max(each.parts.values()) for each in (found, rgb))
    process = ["", ""]
    if found.process_gib is not None and rgb.process_gib is not None:
        process = [f"{found.process_gib:.2f}", f"{found.process_gib / rgb.process_gib:.3f}"]
    parts = [f"{found.parts[each] / MIB:.0f}" if each in found.parts else "" for each in PARTS]
    return [*process, f"{whole / MIB:.0f}", f"{whole / of_rgb:.3f}", f"{found.kept / MIB:.0f}", *parts]


def _evaluations(asked: argparse.Namespace, device: torch.device) -> None:
    what = "tensors on the GPU" if device.type == "cuda" else "the process"
    print(f"\n{asked.backbone}, {asked.cells} cells of {asked.images} images; GiB of {what} at most\n")
    print(
        "| encoding | cells | after the clean images | after all cells | images of all cells |\n|---|---|---|---|---|"
    )
    for encoding in asked.encoding:
        for source in SOURCES:
            size = (asked.images, asked.cells, asked.eval_batch_size)
            found = _call(device, evaluation_peaks, source, encoding, asked.backbone, *size, device, asked.threads)
            print(f"| {encoding} | {source} | {' | '.join(f'{each:.2f}' for each in found)} |", flush=True)


def _call(device: torch.device, function: Callable[..., Peaks], *arguments: object) -> Peaks:
    """On a GPU here, where the allocator tells; on a CPU in a process of its own."""
    if device.type != "cuda":
        return in_fresh_process(function, *arguments)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    set_precision("32", device)
    return function(*arguments)


def _parser() -> argparse.ArgumentParser:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("training", "evaluation"))
    parser.add_argument("--encoding", nargs="+", default=["rgb", "p2be"])
    parser.add_argument("--regime", nargs="+", default=["standard", "augmix"])
    parser.add_argument("--backbone", default="wrn40_2")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--precision", choices=("32", "bf16"), default="bf16" if cuda else "32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if cuda else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=1, help="of a training, of which the middle one is printed")
    parser.add_argument("--images", type=int, default=2000, help="of a cell")
    parser.add_argument("--cells", type=int, default=75)
    parser.add_argument("--eval-batch-size", type=int, default=1000 if cuda else 100)
    return parser
