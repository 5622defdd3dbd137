"""One corruption at one severity applied to a batch of images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from p2be_exp.corruptions.blur import defocus_blur, gaussian_blur
from p2be_exp.corruptions.codec import jpeg_compression, pixelate
from p2be_exp.corruptions.colour import brightness, contrast, saturate
from p2be_exp.corruptions.constants import constants_of
from p2be_exp.corruptions.draws import Draws
from p2be_exp.corruptions.elastic import elastic_transform
from p2be_exp.corruptions.fog import fog
from p2be_exp.corruptions.frost import Textures, frost
from p2be_exp.corruptions.glass import glass_blur
from p2be_exp.corruptions.motion import motion_blur
from p2be_exp.corruptions.names import ALL, SEVERITIES
from p2be_exp.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from p2be_exp.corruptions.snow import snow
from p2be_exp.corruptions.spatter import spatter
from p2be_exp.corruptions.zoom import zoom_blur
from p2be_exp.errors import BadInput

Images = NDArray[np.uint8]

GENERATORS: dict[str, Callable[..., Images]] = {
    function.__name__: function
    for function in (
        *(gaussian_noise, shot_noise, impulse_noise, speckle_noise),
        *(defocus_blur, glass_blur, motion_blur, zoom_blur, gaussian_blur),
        *(snow, frost, fog, brightness),
        *(contrast, elastic_transform, pixelate, jpeg_compression, spatter, saturate),
    )
}
"""Every corruption: (images, constants, draws) -> images; frost takes ``textures`` as well."""


def corrupt(
    images: Images,
    name: str,
    severity: int,
    *,
    dataset: str,
    indices: NDArray[np.integer],
    seed: int = 0,
    textures: Textures | None = None,
) -> Images:
    """Corrupt a batch of images; the result is a function of each image, its index and the other arguments alone.

    Args:
        images: uint8 ``(B, H, W, 3)``, RGB levels in the layout of the published files; they stay as they are.
        name: one of :data:`~p2be_exp.corruptions.names.ALL`.
        severity: 1 to 5.
        dataset: name of the data set; part of the random numbers.
        indices: ``(B,)``, the position of each image in its data set; part of the random numbers.
        seed: likewise, 0 or more.
        textures: needed by ``frost``, which overlays them.

    Returns:
        uint8 ``(B, H, W, 3)``.

    Raises:
        BadInput: no such corruption or severity, images of another type or shape, frost without textures.

    Source: Hendrycks and Dietterich, ICLR 2019; see ``docs/corruptions.md`` for what each one does.
    """
    if name not in GENERATORS:
        raise BadInput(f"corruption {name}: must be one of {', '.join(ALL)}")
    if severity not in SEVERITIES:
        raise BadInput(f"severity {severity}: must be between 1 and 5")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise BadInput(f"images must be uint8 (B, H, W, 3), found {images.dtype} {images.shape}")
    if len(indices) != len(images):
        raise BadInput(f"{len(images)} images with {len(indices)} indices")
    if name == "frost" and textures is None:
        raise BadInput("frost: needs its textures")
    generator = GENERATORS[name] if textures is None or name != "frost" else partial(frost, textures=textures)
    constants = constants_of(name, severity, *images.shape[1:3])
    return generator(np.ascontiguousarray(images), constants, Draws(dataset, name, severity, indices, seed))
