"""Images a second of every corruption, one thread, and what two threads add.

    python benchmarks/corruptions.py                       # 1,000 images of 32 x 32
    python benchmarks/corruptions.py --side 224 --images 64
    python benchmarks/corruptions.py --frost-dir FOLDER    # frost needs its textures

Each corruption runs over the same smooth random images at severities 1 to 5, after one call that compiles. Reported
are the median over severities and the slowest of them, then the ratio of the time of one thread to that of
``--threads`` over the same images, both in this run. For comparison the same is told of Pillow's JPEG round trip at the
same qualities.
"""

import argparse
import io
import platform
import time
from pathlib import Path
from statistics import median

import cv2
import numba
import numpy as np
import scipy
import torch
from PIL import Image

from p2be_exp.corruptions import ALL, SEVERITIES, corrupt, find_textures
from p2be_exp.corruptions.constants import constants_of
from p2be_exp.system.parallel import in_order

PILLOW = "jpeg by Pillow"


def smooth_images(n: int, side: int) -> np.ndarray:
    """Random images that look a little like photographs: noise of 8 x 8, enlarged, with a little noise on top."""
    numbers = np.random.default_rng(0)
    coarse = numbers.uniform(0, 255, (n, 8, 8, 3)).astype(np.float32)
    images = np.stack([cv2.resize(each, (side, side), interpolation=cv2.INTER_CUBIC) for each in coarse])
    return np.clip(images + numbers.normal(0, 4, images.shape), 0, 255).astype(np.uint8)


def through_pillow(images: np.ndarray, quality: int) -> np.ndarray:
    """Each image saved as a JPEG and read again, by the libjpeg-turbo that Pillow brings."""
    out = np.empty_like(images)
    for image, result in zip(images, out, strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        result[...] = Image.open(file)
    return out


def seconds(images: np.ndarray, name: str, severity: int, textures: object, threads: int, chunk: int) -> float:
    """Time to corrupt all images in chunks."""

    def work(start: int) -> None:
        part = images[start : start + chunk]
        if name == PILLOW:
            through_pillow(part, *constants_of("jpeg_compression", severity, *part.shape[1:3]))
            return
        indices = np.arange(start, start + len(part))
        corrupt(part, name, severity, dataset="benchmark", indices=indices, textures=textures)

    begin = time.perf_counter()
    for _ in in_order(work, range(0, len(images), chunk), threads):
        pass
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frost-dir", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    images = smooth_images(arguments.images, arguments.side)
    chunk = max(1, 1_500_000 // images[0].size)
    textures = find_textures(arguments.frost_dir)
    versions = f"NumPy {np.__version__}, SciPy {scipy.__version__}, OpenCV {cv2.__version__}, Numba {numba.__version__}"
    print(f"{platform.machine()}, Python {platform.python_version()}, {versions}")
    print(f"{len(images)} images of {arguments.side} x {arguments.side}, chunks of {chunk}\n")
    print(f"| corruption | images/s, median | slowest severity | {arguments.threads} threads: times as fast |")
    print("|---|---|---|---|")
    for name in (*ALL, PILLOW):
        if name == "frost" and textures is None:
            print("| frost | not measured: no textures | | |")
            continue
        for severity in SEVERITIES:
            seconds(images[:2], name, severity, textures, 1, chunk)
        alone = [seconds(images, name, severity, textures, 1, chunk) for severity in SEVERITIES]
        together = [seconds(images, name, severity, textures, arguments.threads, chunk) for severity in SEVERITIES]
        speed, slowest = len(images) / median(alone), len(images) / max(alone)
        print(f"| {name} | {speed:,.0f} | {slowest:,.0f} | {sum(alone) / sum(together):.2f} |", flush=True)


if __name__ == "__main__":
    main()
