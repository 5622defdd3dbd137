"""The pictures of frost that the frost corruption overlays: found on disk, since they are not part of the project."""

from __future__ import annotations

import hashlib
import io
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from p2be_exp.corruptions.constants import family_of
from p2be_exp.errors import BadInput

Texture = NDArray[np.uint8]

FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
"""Published are six; the published generators draw among the first five."""

PACKAGE = "imagecorruptions"
"""A package that brings the pictures along; it is searched for them and never imported."""


class Textures:
    """The five frost textures.

    Args:
        folder: where the files are.

    Attributes:
        images: five uint8 ``(H, W, 3)`` of various sizes, RGB, in the order of :data:`FILES`.
        sha256: of each file, by its name.

    Raises:
        OSError: a file that cannot be read, or is not a picture.
    """

    def __init__(self, folder: Path) -> None:
        contents = {name: (Path(folder) / name).read_bytes() for name in FILES}
        self.images = tuple(_picture(name, content) for name, content in contents.items())
        self.sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        self._scaled: dict[tuple[int, int], tuple[Texture, ...]] = {}

    def scaled_for(self, height: int, width: int) -> tuple[Texture, ...]:
        """The textures as they are overlaid on images of a size; made once a size.

        Every side is scaled by :func:`scale_for` and rounded, linear between pixels, without antialiasing.
        """
        size = (height, width)
        if size not in self._scaled:  # threads that come here at once make the same
            self._scaled[size] = tuple(_scaled(image, height, width) for image in self.images)
        return self._scaled[size]


def find_textures(frost_dir: Path | None, key: str = "frost_dir") -> Textures | None:
    """The textures in a folder, or, where none is given, in the installed package ``imagecorruptions``.

    Args:
        frost_dir: a folder with the :data:`FILES`, or None.
        key: the option's name, for the message.

    Returns:
        None if no folder is given and the package is not installed, or came without the pictures.

    Raises:
        BadInput: the folder, or a file in it, is missing or is not a picture.
    """
    if frost_dir is None:
        folder = _package_folder()
        return None if folder is None else _read(folder, f"{PACKAGE} in {folder}")
    folder = Path(frost_dir)
    needed = f"needed there: {', '.join(FILES)}"
    if not folder.is_dir():
        raise BadInput(f"{key}={frost_dir}: no such folder; {needed}")
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise BadInput(f"{key}={frost_dir}: no {', '.join(missing)}; {needed}")
    return _read(folder, f"{key}={frost_dir}")


def scale_for(texture: tuple[int, int], height: int, width: int) -> float:
    """How much larger a texture, ``(H, W)`` pixels, is made before it is overlaid on images of a size.

    A fifth for 32 x 32 pixels and 1 for 224 x 224, as published, and in proportion to the shorter side for other images
    of the same family; never less than 1 for the larger family. A texture that would then not exceed an image by a
    pixel in both directions, so that there is a place to choose, is scaled until it just does.
    """
    side = min(height, width)
    scale = 0.2 * side / 32 if family_of(height, width) == "cifar" else max(1.0, side / 224)
    return max(scale, (height + 1) / texture[0], (width + 1) / texture[1])


def _scaled(image: Texture, height: int, width: int) -> Texture:
    scale = scale_for(image.shape[:2], height, width)
    return cast("Texture", cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR))


def _read(folder: Path, where: str) -> Textures:
    try:
        return Textures(folder)
    except OSError as error:
        raise BadInput(f"{where}: {error}; needed there: {', '.join(FILES)}") from error


def _picture(name: str, content: bytes) -> Texture:
    try:
        return np.array(Image.open(io.BytesIO(content)).convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # a damaged PNG can be a SyntaxError
        raise OSError(f"{name} is not a picture that can be read") from error


def _package_folder() -> Path | None:
    spec = find_spec(PACKAGE)
    places = [] if spec is None else spec.submodule_search_locations or []
    folders = [Path(place) / "frost" for place in places]
    return next((folder for folder in folders if all((folder / name).is_file() for name in FILES)), None)
