"""Images per second that the loader of picture files decodes and crops, beside torchvision in a DataLoader.

    python benchmarks/decoding.py --workers 0 1 2

Made JPEGs of 500 x 375 (ImageNet's usual size), random resized crops of 224 and flips, batches of 64; the two take
turns, after a first pass that warms up. What is measured is decoding alone: nobody trains beside it.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from p2be_exp.data.decoding import TestView
from p2be_exp.data.file_loader import FileLoader
from p2be_exp.data.listing import class_names, listed
from p2be_exp.system.threads import usable_cpus

SIDE = 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, usable_cpus()])
    parser.add_argument("--passes", type=int, default=5, help="measured passes of each loader")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{arguments.images} JPEGs of 500 x 375, batches of {arguments.batch_size}, {usable_cpus()} cores "
        f"({platform.processor() or platform.machine()})\nPython {platform.python_version()}, torch "
        f"{torch.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__}"
    )
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), arguments.images)
        for workers in arguments.workers:
            measure(Path(folder), arguments.batch_size, workers, arguments.passes)


def measure(folder: Path, batch_size: int, workers: int, passes: int) -> None:
    files = listed(folder, class_names(folder), TestView(SIDE, 256), "made")
    ours = FileLoader(files, batch_size, shuffle_seed=0, device=torch.device("cpu"), workers=workers, crop_seed=0,
                      keep_workers=True)  # fmt: skip
    recipe = transforms.Compose(
        [transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
    )
    theirs = DataLoader(ImageFolder(str(folder), recipe), batch_size, shuffle=True, num_workers=workers,
                        persistent_workers=workers > 0)  # fmt: skip
    seconds: dict[str, list[float]] = {"FileLoader": [], "torchvision": []}
    for number in range(passes + 1):
        ours.set_epoch(number)
        for name, loader in (("FileLoader", ours), ("torchvision", theirs)):
            elapsed = time_pass(loader)
            if number > 0:
                seconds[name].append(elapsed)
    ours.close()
    for name, measured in seconds.items():
        rates = [len(files) / each for each in measured]
        print(
            f"workers {workers}: {name:<12}{statistics.median(rates):7,.0f} images/s "
            f"(median of {passes} passes; {min(rates):,.0f} to {max(rates):,.0f})",
            flush=True,
        )


def time_pass(loader: Iterable) -> float:
    """Seconds until every batch has been there."""
    start = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - start


def write_pictures(folder: Path, n: int) -> None:
    """Pictures with something of a photograph's spectrum: smooth shapes and fine grain; about 100 KB each."""
    rng = np.random.default_rng(0)
    for number in range(n):
        coarse = Image.fromarray(rng.integers(256, size=(12, 16, 3)).astype(np.uint8)).resize((500, 375))
        grain = rng.normal(0, 12, size=(375, 500, 3))
        made = Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8))
        home = folder / f"class{number % 4}"
        home.mkdir(exist_ok=True)
        made.save(home / f"{number:06}.JPEG", quality=90)


if __name__ == "__main__":
    main()
