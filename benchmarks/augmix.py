"""AugMix: two views of 128 images of 32x32 by this project, against the reference recipe's loop with Pillow.

    python benchmarks/augmix.py                 # one thread each: the cost on one core
    python benchmarks/augmix.py --device cuda   # this project on the GPU, the loop on one core

Both are timed in turn in one process, and the medians over the repetitions are compared.
"""

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image, ImageOps
from torch import Tensor

from p2be_exp.augment import AugMix
from p2be_exp.randomness.draws import ImageRandom, Purpose

if not __package__:  # run as a file: the package that it belongs to is found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.hardware import processor
from benchmarks.turns import take_turns

BATCH, SIZE, VIEWS, MAGNITUDE = 128, 32, 2, 3


def photographs(source: np.random.Generator) -> list[np.ndarray]:
    """Crops of two photographs at an eighth of their size: uint8 (32, 32, 3) each."""
    from sklearn.datasets import load_sample_images  # here: who imports this module may do without

    scaled = [Image.fromarray(image).reduce(8) for image in load_sample_images().images]
    crops = []
    for index in range(BATCH):
        image = scaled[index % 2]
        left, top = (int(source.integers(side - SIZE + 1)) for side in image.size)
        crops.append(np.asarray(image.crop((left, top, left + SIZE, top + SIZE))))
    return crops


class PillowLoop:
    """The reference recipe: one image, one chain and one operation at a time, mixed in float32 by NumPy."""

    def __init__(self, images: list[np.ndarray], source: np.random.Generator):
        self.images = [Image.fromarray(image) for image in images]
        self.source = source
        self.operations = [
            lambda image: ImageOps.autocontrast(image),
            lambda image: ImageOps.equalize(image),
            lambda image: ImageOps.posterize(image, 4 - int(self.magnitude() * 4 / 10)),
            lambda image: image.rotate(self.signed(int(self.magnitude() * 30 / 10)), Image.Resampling.BILINEAR),
            lambda image: ImageOps.solarize(image, 256 - int(self.magnitude() * 256 / 10)),
            lambda image: self.affine(image, (1, self.signed(self.magnitude() * 0.3 / 10), 0, 0, 1, 0)),
            lambda image: self.affine(image, (1, 0, 0, self.signed(self.magnitude() * 0.3 / 10), 1, 0)),
            lambda image: self.affine(image, (1, 0, self.signed(self.shift()), 0, 1, 0)),
            lambda image: self.affine(image, (1, 0, 0, 0, 1, self.signed(self.shift()))),
        ]

    def __call__(self) -> list[np.ndarray]:
        return [self.view(image) for image in self.images for _ in range(VIEWS)]

    def view(self, image: Image.Image) -> np.ndarray:
        weights = self.source.dirichlet([1.0] * 3).astype(np.float32)
        share = np.float32(self.source.beta(1, 1))
        pixels = self.pixels(image)
        mixed = np.zeros_like(pixels)
        for weight in weights:
            augmented = image
            for _ in range(self.source.integers(1, 4)):
                augmented = self.operations[self.source.integers(9)](augmented)
            mixed += weight * self.pixels(augmented)
        return (1 - share) * pixels + share * mixed

    @staticmethod
    def pixels(image: Image.Image) -> np.ndarray:
        return np.asarray(image).transpose(2, 0, 1).astype(np.float32) / 255

    @staticmethod
    def affine(image: Image.Image, numbers: tuple[float, ...]) -> Image.Image:
        return image.transform(image.size, Image.Transform.AFFINE, numbers, Image.Resampling.BILINEAR)

    def magnitude(self) -> float:
        return self.source.uniform(0.1, MAGNITUDE)

    def shift(self) -> int:
        return int(self.magnitude() * (SIZE / 3) / 10)

    def signed(self, value: float) -> float:
        return -value if self.source.uniform() > 0.5 else value


def measure(device: torch.device, repetitions: int, within: float = float("inf")) -> dict[str, list[float]]:
    """Milliseconds of two views of 128 images in each repetition: ``loop`` (Pillow) and ``batched`` (this project).

    Args:
        device: of ``batched``; the loop runs on one core.
        repetitions: that count; two more warm up.
        within: seconds after which no further repetition begins.
    """
    source = np.random.default_rng(0)
    crops = photographs(source)
    loop = PillowLoop(crops, source)
    images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous().to(device)
    ids = torch.arange(BATCH, device=device)
    augmix = AugMix(views=VIEWS, magnitude=MAGNITUDE)
    epochs = iter(range(repetitions + 2))

    def batched() -> Tensor:
        return augmix(images, ImageRandom(seed=0, epoch=next(epochs), images=ids, purpose=Purpose.AUGMIX))

    seconds = take_turns({"batched": batched, "loop": loop}, repetitions, device, within=within)
    return {name: [1000 * each for each in values] for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repetitions", type=int, default=21)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    times = measure(device, arguments.repetitions)
    medians = {name: statistics.median(values) for name, values in times.items()}

    accelerator = f", {torch.cuda.get_device_name()}" if device.type == "cuda" else ""
    print(f"{processor()}{accelerator}; torch {torch.__version__}, Pillow {PIL.__version__}")
    print(f"{VIEWS} views of {BATCH} images of {SIZE}x{SIZE}, median (range) of {arguments.repetitions}:")
    for name, label in (("loop", "Pillow loop, one core"), ("batched", f"this project, {device.type}")):
        low, high = min(times[name]), max(times[name])
        print(f"  {label:24s}{medians[name]:8.1f} ms ({low:.1f} to {high:.1f})")
    print(f"  ratio {medians['loop'] / medians['batched']:.2f}")


if __name__ == "__main__":
    main()
