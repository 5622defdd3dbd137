"""Images to augment, and the AugMix operations as the reference recipe has them, by Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

from p2be_exp.augment import Operation


@pytest.fixture(scope="session")
def noise():
    """uint8 (64, 3, 32, 32), uniform."""
    return torch.randint(256, (64, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.fixture(scope="session")
def photographs():
    """uint8 (64, 3, 32, 32): crops of two photographs, at full size and at an eighth of it."""
    source = np.random.default_rng(0)
    crops = []
    for photograph in load_sample_images().images:
        image = Image.fromarray(photograph)
        for scaled in (image, image.reduce(8)):
            for _ in range(16):
                left, top = (int(source.integers(side - 31)) for side in scaled.size)
                crops.append(np.asarray(scaled.crop((left, top, left + 32, top + 32))))
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="session")
def pillow_map():
    """A function of images and a function of (PIL image, index): what it makes of each image, as a batch."""

    def apply(images, function):
        results = [
            np.asarray(function(Image.fromarray(image), index))
            for index, image in enumerate(images.permute(0, 2, 3, 1).numpy())
        ]
        return torch.from_numpy(np.stack(results)).permute(0, 3, 1, 2)

    return apply


@pytest.fixture(scope="session")
def pillow_operation():
    """A function of (PIL image, operation, magnitude, negative) that gives the operation's PIL image."""

    def apply(image, operation, magnitude, negative):
        width, height = image.size
        sign = -1 if negative else 1

        def affine(*numbers):
            return image.transform(image.size, Image.Transform.AFFINE, numbers, Image.Resampling.BILINEAR)

        match operation:
            case Operation.AUTOCONTRAST:
                return ImageOps.autocontrast(image)
            case Operation.EQUALIZE:
                return ImageOps.equalize(image)
            case Operation.POSTERIZE:
                bits = 4 - int(magnitude * 4 / 10)
                return ImageOps.posterize(image, bits) if bits else image.point(lambda _: 0)
            case Operation.SOLARIZE:
                return ImageOps.solarize(image, 256 - int(magnitude * 256 / 10))
            case Operation.ROTATE:
                return image.rotate(sign * int(magnitude * 30 / 10), Image.Resampling.BILINEAR)
            case Operation.SHEAR_X:
                return affine(1, sign * magnitude * 0.3 / 10, 0, 0, 1, 0)
            case Operation.SHEAR_Y:
                return affine(1, 0, 0, sign * magnitude * 0.3 / 10, 1, 0)
            case Operation.TRANSLATE_X:
                return affine(1, 0, sign * int(magnitude * (width / 3) / 10), 0, 1, 0)
            case Operation.TRANSLATE_Y:
                return affine(1, 0, 0, 0, 1, sign * int(magnitude * (height / 3) / 10))

    return apply
