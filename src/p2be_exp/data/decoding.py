"""From a picture's file to levels: opened as torchvision opens it, then cut out for testing or for training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from p2be_exp.data.depth import deep_levels

if TYPE_CHECKING:
    from p2be_exp.augment.resized_crop import CropBox

MAX_PIXELS = 178_956_970
"""Pixels that a picture may have, and a scaled one: 537 MB in RGB. Pillow's own bound, which others may have lifted."""


class DecodingError(ValueError):
    """A file that gives no picture; the message says why."""


@dataclass(frozen=True)
class TestView:
    """What of a picture is tested on: shorter side scaled, a square out of the middle.

    Attributes:
        size: side of the square in pixels.
        resized: length of the shorter side before the cut; None leaves the picture as it is.
        scaled: side to which the square is scaled after the cut; None leaves it.
    """

    __test__ = False  # not a class of tests

    size: int
    resized: int | None
    scaled: int | None = None

    @property
    def side(self) -> int:
        """Height and width of what comes out, in pixels."""
        return self.size if self.scaled is None else self.scaled

    @property
    def shape(self) -> tuple[int, int]:
        """The same as a pair."""
        return self.side, self.side

    def settings(self) -> dict[str, int | None]:
        """What decides the images beside the pictures, by the names of its keys."""
        return {"image_size": self.side, "resized": self.resized}


@dataclass(frozen=True)
class WholeView:
    """A picture as it is, one of many of one size.

    Attributes:
        height, width: in pixels.
    """

    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what comes out, in pixels."""
        return self.height, self.width

    def settings(self) -> dict[str, int]:
        """What decides the images beside the pictures: nothing."""
        return {}


def picture_size(file: Path | str) -> tuple[int, int]:
    """Height and width of a picture in pixels, from its header only.

    Raises:
        DecodingError: no file, or no picture.
    """
    try:
        with Path(file).open("rb") as content, Image.open(content) as picture:
            return picture.height, picture.width
    except Exception as error:  # Pillow raises many kinds on a damaged file
        raise DecodingError(_reason(error)) from error


def open_picture(file: Path | str) -> Image.Image:
    """A picture in RGB, whatever it was: grey, CMYK, a palette, with an alpha channel.

    Equal to torchvision's `pil_loader`: `convert("RGB")`, no rotation by EXIF. Grey pictures of more than 8 bits are
    scaled by their depth (:func:`~p2be_exp.data.depth.deep_levels`), which that one does not do.

    Raises:
        DecodingError: no file, no picture, one that is not whole, of a depth that is not known, or of more than
            :data:`MAX_PIXELS`: a file of a few bytes may unpack to more than there is memory. PostScript, whatever its
            name ends in: that is a program, and Pillow would have Ghostscript run it.
    """
    try:
        with Path(file).open("rb") as content, Image.open(content) as picture:
            if picture.format == "EPS":
                raise DecodingError("PostScript, which is a program")
            if picture.width * picture.height > MAX_PIXELS:
                raise DecodingError(f"{picture.width}x{picture.height}, more than {MAX_PIXELS:,} pixels")
            levels = deep_levels(picture)
            return (picture if levels is None else Image.fromarray(levels)).convert("RGB")
    except DecodingError:
        raise
    except Exception as error:  # Pillow raises many kinds on a damaged file
        raise DecodingError(_reason(error)) from error


def test_levels(picture: Image.Image, view: TestView | WholeView) -> NDArray[np.uint8]:
    """A picture as it is tested on, uint8 `(*view.shape, 3)`.

    Raises:
        DecodingError: the picture is smaller than the square, and is not scaled before; or is not of the one size.
    """
    if isinstance(view, WholeView):
        if (picture.height, picture.width) != view.shape:
            raise DecodingError(f"{picture.width}x{picture.height}, expected {view.width}x{view.height}")
        return np.asarray(picture)
    if view.resized is None and min(picture.size) < view.size:
        width, height = picture.size
        raise DecodingError(f"{width}x{height}, at least {view.size}x{view.size} is needed")
    resized = min(picture.size) if view.resized is None else view.resized
    square = resize_and_crop(picture, view.size, resized)
    if view.side != view.size:
        square = square.resize((view.side, view.side), Image.Resampling.BILINEAR)
    return np.asarray(square)


def cropped_levels(picture: Image.Image, box: CropBox, side: int) -> NDArray[np.uint8]:
    """A box of a picture, scaled to a square and turned over if the box says so, uint8 `(side, side, 3)`."""
    part = picture.crop((box.left, box.top, box.left + box.width, box.top + box.height))
    levels = np.asarray(part.resize((side, side), Image.Resampling.BILINEAR))
    return levels[:, ::-1] if box.flip else levels


def resize_and_crop(picture: Image.Image, side: int, resized: int) -> Image.Image:
    """Scale the shorter side to ``resized``, bilinear, and cut ``side`` x ``side`` out of the middle, as torchvision's
    ``Resize`` and ``CenterCrop`` do.

    Of a picture so long that it would have more than :data:`MAX_PIXELS` once scaled, only the square is computed: equal
    to a level or two, not to the bit.
    """
    width, height = picture.size
    scaled = (resized, int(resized * height / width)) if width <= height else (int(resized * width / height), resized)
    left, top = (round((length - side) / 2.0) for length in scaled)
    if scaled[0] * scaled[1] > MAX_PIXELS:
        across, down = width / scaled[0], height / scaled[1]
        right, bottom = min((left + side) * across, width), min((top + side) * down, height)
        return picture.resize((side, side), Image.Resampling.BILINEAR, box=(left * across, top * down, right, bottom))
    if scaled != picture.size:
        picture = picture.resize(scaled, Image.Resampling.BILINEAR)
    return picture.crop((left, top, left + side, top + side))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS:,} pixels"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture"
    return " ".join(str(error).split()) or type(error).__name__
