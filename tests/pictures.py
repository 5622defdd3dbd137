"""Folders of made pictures, as data sets of picture files have them."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WNIDS = ("n01440764", "n01443537", "n02119789")


def picture(seed: int, width: int = 60, height: int = 48, mode: str = "RGB") -> Image.Image:
    """A smooth picture that is a function of its arguments."""
    small = np.random.default_rng(seed).integers(256, size=(5, 6, 3)).astype(np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def write_part(folder: Path, classes=WNIDS, each: int = 4, seed: int = 0, ending: str = ".JPEG") -> Path:
    """A folder a class, in each some pictures of differing sizes."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            sizes = np.random.default_rng([seed, label, number]).integers(36, 90, size=2)
            made = picture(1000 * seed + 100 * label + number, *map(int, sizes))
            made.save(folder / name / f"{name}_{number}{ending}", quality=90)
    return folder


def write_imagenet(data_dir: Path, train: int = 8, test: int = 3) -> Path:
    """ImageNet's layout below a data folder; the folder of its two parts."""
    write_part(data_dir / "imagenet" / "train", each=train, seed=1)
    write_part(data_dir / "imagenet" / "val", each=test, seed=2)
    return data_dir / "imagenet"


LATIN_1 = tuple(map(os.fsdecode, (b"caf\xe9", b"na\xefve", "öster".encode())))
"""Names of folders as older systems wrote them, in the order of their names: two are no UTF-8."""


def write_latin_1(folder: Path, each: int = 4) -> Path:
    """Both parts of a data set whose classes are :data:`LATIN_1`; the test is skipped where there are no such names."""
    try:
        for part in ("train", "test"):
            write_part(folder / part, LATIN_1, each, ending=".png")
    except OSError:
        pytest.skip("this file system takes names of UTF-8 alone")
    return folder


def damage(file: Path) -> str:
    """Cut a picture's file off in the middle; its name below the folder of its part."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    return f"{file.parent.name}/{file.name}"
