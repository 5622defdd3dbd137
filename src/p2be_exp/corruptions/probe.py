"""Whether this installation makes the deterministic corruptions as they were published, tried on a few images.

That a version of the generator has made a whole published file says so of the packages and the processor it ran on.
Others may round otherwise. So before images that no digest is known of are called the published ones, a few synthetic
images are corrupted, and compared with what an installation made of them whose whole files had the published md5s.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from p2be_exp.corruptions.apply import corrupt
from p2be_exp.corruptions.names import SEVERITIES

MADE_AS_PUBLISHED: dict[str, str] = {
    "brightness": "deaca289e6d278b580208c6c64f9694d",
    "contrast": "700bec0ff6b7d8bfb498262fd006f56f",
    "defocus_blur": "20a8de88dbfaacd1747762784a887003",
    "gaussian_blur": "19c95fbe6f2665cde84ad9e73bddfd14",
    "jpeg_compression": "989c2f0ac94c49eb0a3c8a284d0160f2",
    "pixelate": "8ea561cfead37a9faf69d2936f686b99",
    "saturate": "890125704d468cf93c084b6bfbd6c57d",
    "zoom_blur": "bcd056ffc57829d8e7845e00293fb01b",
}
"""By corruption, the md5 of the five severities of :func:`probes`, ascending: uint8 ``(5 * 16, 32, 32, 3)`` in C order.

Made where all eight whole files of CIFAR-10 and of CIFAR-100 came out with the published md5s."""


def probes() -> NDArray[np.uint8]:
    """Sixteen images of blocks with noise, ``(16, 32, 32, 3)``, from a generator whose numbers stay the same."""
    numbers = np.random.RandomState(0)
    blocks = numbers.randint(0, 256, (16, 8, 8, 3), np.int64).repeat(4, axis=1).repeat(4, axis=2)
    return np.clip(blocks + numbers.randint(-12, 13, blocks.shape, np.int64), 0, 255).astype(np.uint8)


@lru_cache
def makes_as_published(name: str) -> bool:
    """Whether this installation makes of a few images what the one made that reproduced the published file.

    Args:
        name: of a corruption; of those that are random there is nothing to compare with.
    """
    if name not in MADE_AS_PUBLISHED:
        return False
    images = probes()
    indices = np.arange(len(images))
    digest = hashlib.md5(usedforsecurity=False)
    for severity in SEVERITIES:
        digest.update(corrupt(images, name, severity, dataset="probe", indices=indices).tobytes())
    return digest.hexdigest() == MADE_AS_PUBLISHED[name]
