"""Images per second that the resident loader serves, beside PyTorch's DataLoader over the same tensors.

    python benchmarks/loader.py

Random data of CIFAR's size, one shuffled epoch a measurement, the two taking turns; medians over the epochs.
It measures serving alone: what a training loop waits for its data is measured where the training is.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Iterable

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from p2be_exp.data import ImageSet, ResidentLoader

NUM_IMAGES = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=5, help="measured epochs of each loader")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)

    images = torch.randint(0, 256, (NUM_IMAGES, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 100, (NUM_IMAGES,))
    data = ImageSet(images, labels, tuple(str(number) for number in range(100))).to(device)
    loaders = {
        "ResidentLoader": ResidentLoader(data, arguments.batch_size, shuffle_seed=0),
        "DataLoader(TensorDataset, shuffle=True, num_workers=0)": DataLoader(
            TensorDataset(images, labels), arguments.batch_size, shuffle=True, num_workers=0
        ),
    }
    describe(device, arguments.batch_size)
    seconds = {name: [] for name in loaders}
    for epoch in range(arguments.epochs + 1):
        loaders["ResidentLoader"].set_epoch(epoch)
        for name, loader in loaders.items():
            elapsed = time_epoch(loader, device)
            if epoch > 0:  # the first epoch warms up
                seconds[name].append(elapsed)
    for name, measured in seconds.items():
        middle, low, high = statistics.median(measured), min(measured), max(measured)
        print(
            f"{name}: {NUM_IMAGES / middle:,.0f} images/s "
            f"(median of {len(measured)} epochs; {low * 1e3:.1f} to {high * 1e3:.1f} ms an epoch)"
        )


def time_epoch(loader: Iterable, device: torch.device) -> float:
    """Seconds until every batch of an epoch has been on the device."""
    start = time.perf_counter()
    for images, labels, *_ in loader:
        images.to(device), labels.to(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def describe(device: torch.device, batch_size: int) -> None:
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{NUM_IMAGES} images of 3 x 32 x 32, batches of {batch_size}, on {device.type} ({where})")
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}, "
        f"{torch.get_num_threads()} CPU threads"
    )


if __name__ == "__main__":
    main()
