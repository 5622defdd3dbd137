"""A training step in bf16 over one in float32, by network and encoding, and what of it the convolutions take.

    python benchmarks/precision.py                              # WRN-40-2 and WRN-16-1, RGB and P2BE, on this CPU
    python benchmarks/precision.py --backbones resnet18 --batch-size 32

The two take turns; medians, and the median of the rounds' ratios. The share of convolutions comes from PyTorch's
profiler over one step. A CPU needs AVX512-BF16 or AMX to gain anything.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

if not __package__:  # run as a file: the package that it belongs to is found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.hardware import hardware
from benchmarks.training_step import make_step
from benchmarks.turns import median_ratio, take_turns

CPU = torch.device("cpu")


def convolutions(step: Callable[[], None]) -> float:
    """Percent of a step's time that its convolutions take, forward and backward."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        step()
    times = {event.key: event.self_cpu_time_total for event in profiled.key_averages()}
    return 100 * sum(time for name, time in times.items() if "convolution" in name) / sum(times.values())


def main() -> None:
    """Measure and print a table in Markdown, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["wrn40_2", "wrn16_1"])
    parser.add_argument("--encodings", nargs="+", default=["rgb", "p2be"])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--regime", choices=("standard", "augmix"), default="standard")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{hardware(CPU)}\nbatch {arguments.batch_size}, {arguments.regime}, {arguments.rounds} rounds\n")
    print("| network | encoding | float32, ms | bf16, ms | float32 over bf16 | convolutions, % of float32, of bf16 |")
    print("|---|---|---|---|---|---|", flush=True)
    for backbone in arguments.backbones:
        for encoding in arguments.encodings:
            settings = (encoding, backbone, arguments.batch_size, arguments.regime, CPU)
            steps = {precision: make_step(*settings, precision) for precision in ("32", "bf16")}
            seconds = take_turns(steps, arguments.rounds, CPU)
            full, low = (f"{1000 * statistics.median(seconds[each]):.0f}" for each in ("32", "bf16"))
            ratio = median_ratio(seconds["32"], seconds["bf16"])
            shares = ", ".join(f"{convolutions(step):.0f}" for step in steps.values())
            print(f"| {backbone} | {encoding} | {full} | {low} | {ratio:.2f} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
