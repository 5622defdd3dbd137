"""Batch norm in training on a CPU: how exact PyTorch's kernels are, and what exact statistics would cost.

    python benchmarks/batch_norm.py                # the layers of WRN-40-2 at a batch of 128
    python benchmarks/batch_norm.py --threads 1

Forward passes take turns; the median of each in milliseconds. The error is the largest relative error of a channel's
variance against float64, of normal values with mean 1 and standard deviation 2. "exact" takes sums of 256 values in
float32 and adds those up in float64, then normalises with PyTorch's kernel for evaluation.
"""

import argparse
import statistics
import time

import torch
from torch import Tensor

LAYERS = ((16, 32), (32, 32), (64, 16), (128, 8))
"""Channels, and height and width of the images."""


def native(x: Tensor) -> Tensor:
    """PyTorch's kernel; returns the variance that it took."""
    inverse = torch.native_batch_norm(x, None, None, None, None, True, 0.1, 1e-5)[2]
    return 1 / inverse.double() ** 2 - 1e-5


def exact(x: Tensor) -> Tensor:
    """Two passes over blocks, put together in float64."""
    blocks = x.permute(0, 2, 3, 1).reshape(-1, 256, x.shape[1])
    count = blocks.shape[0] * 256
    mean = blocks.sum(1).double().sum(0) / count
    variance = (blocks - mean.float()).square().sum(1).double().sum(0) / count
    torch.native_batch_norm(x, None, None, mean.float(), variance.float(), False, 0.0, 1e-5)
    return variance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(f"batch {arguments.batch_size}, {arguments.threads} threads, torch {torch.__version__}")
    print("| layer | kernel | ms | over native | relative error of the variance |\n|---|---|---|---|---|", flush=True)
    for channels, size in LAYERS:
        x = 2 * torch.randn(arguments.batch_size, channels, size, size) + 1
        last = x.contiguous(memory_format=torch.channels_last)
        variants = {"contiguous": (native, x), "channels-last": (native, last), "channels-last, exact": (exact, last)}
        truth = x.double().var((0, 2, 3), correction=0)
        times: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(arguments.rounds):
            for name, (function, values) in variants.items():
                start = time.perf_counter()
                function(values)
                times[name].append(time.perf_counter() - start)
        base = statistics.median(times["channels-last"])
        for name, (function, values) in variants.items():
            error = ((function(values) - truth).abs() / truth).max().item()
            median = statistics.median(times[name])
            layer = f"{channels} x {size} x {size}"
            print(f"| {layer} | {name} | {1000 * median:.2f} | {median / base:.2f} | {error:.1e} |", flush=True)


if __name__ == "__main__":
    main()
