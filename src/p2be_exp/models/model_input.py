"""Checks of a model's input: levels or floats in [0, 1], and one line of advice for everything else.

Scaled, normalised and transposed pictures are easily passed by mistake, and a table look-up would accept all of them:
levels as floats would be white, normalised images would lose half of their values. So nothing is clipped silently.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor
from torch._subclasses.fake_tensor import FakeTensor

from p2be_exp.errors import BadInput

TOLERANCE = 1e-3
"""How far a float may lie outside [0, 1]: a quarter of a level, above the rounding error of resizing and clipping."""

_EXPECTED = "expected uint8 levels or floats in [0, 1], (B, 3, H, W)"
_ADVICE = "give levels as uint8, or divide them by 255; do not normalise them; clamp what noise has moved outside"


class NotImages(BadInput, TypeError):  # noqa: N818  # a BadInput
    """Not a tensor, or a tensor of an unsupported dtype."""


def check_model_input(images: Any) -> None:
    """Check that images have the form that a model expects.

    Checking type and shape is free. Values are checked only for floats: uint8 levels, as in training, attacks and
    evaluations, are never read, so there is no wait for a device. A compiled graph checks values on the device, without
    the advice; an exported or traced graph does not check them.

    Raises:
        NotImages: not a tensor, or one that is neither uint8 nor float.
        BadInput: a tensor of another shape than ``(B, 3, H, W)``; floats that are not finite, or more than
            :data:`TOLERANCE` outside [0, 1].
    """
    if torch.jit.is_tracing():  # a size is not a number there
        return
    if not isinstance(images, Tensor):
        raise NotImages(f"images: {_kind(images)}, {_EXPECTED}{_to_tensor(images)}")
    known = images.dtype == torch.uint8 or images.is_floating_point()
    if not known or images.layout != torch.strided:
        kind = images.dtype if images.layout == torch.strided else f"{images.layout} {images.dtype}"
        raise NotImages(f"images: {kind} {tuple(images.shape)}, {_EXPECTED}")
    if images.ndim != 4 or images.shape[1] != 3:
        raise BadInput(f"images: {images.dtype} {tuple(images.shape)}, {_EXPECTED}{_to_shape(tuple(images.shape))}")
    if images.dtype != torch.uint8:
        _check_values(images.detach())


def _check_values(images: Tensor) -> None:
    if torch.compiler.is_exporting() or _has_no_values(images):
        return
    if not torch.compiler.is_compiling():
        images = _of_all_samples(images)
    low, high = images.aminmax()  # NaN where there is one
    if torch.compiler.is_compiling():
        torch._assert_async((low >= -TOLERANCE) & (high <= 1 + TOLERANCE), f"images outside [0, 1]: {_ADVICE}")
        return
    low, high = torch.stack([low, high]).tolist()  # waits for the device once
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        finite = math.isfinite(low) and math.isfinite(high)
        found = f"values from {low:.6g} to {high:.6g}" if finite else "values that are not finite"
        raise BadInput(f"images: {images.dtype} {tuple(images.shape)} with {found}, {_EXPECTED}: {_ADVICE}")


def _of_all_samples(images: Tensor) -> Tensor:
    """The tensor inside a transform of ``torch.func``: under ``vmap`` the values of a single sample cannot be read."""
    while is_functorch_wrapped_tensor(images):
        images = get_unwrapped(images)
    return images


def _has_no_values(images: Tensor) -> bool:
    """Whether there are no values, or none available now: shape inference, or capture of a CUDA graph."""
    if images.is_meta or isinstance(images, FakeTensor) or not images.numel():
        return True
    return images.is_cuda and torch.cuda.is_current_stream_capturing()


def _kind(images: Any) -> str:
    kind = type(images)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if (shape := getattr(images, "shape", None)) is not None:  # an array
        return f"{name} of {getattr(images, 'dtype', 'unknown type')} {tuple(shape)}"
    size, mode = getattr(images, "size", None), getattr(images, "mode", None)
    if isinstance(size, tuple):  # a picture of Pillow's
        return f"{name} of {mode} {'x'.join(map(str, size))}"
    return f"{name} of {len(images)}" if isinstance(images, list | tuple) else name


def _to_tensor(images: Any) -> str:
    root = type(images).__module__.partition(".")[0]
    if root == "numpy":
        return "; torch.from_numpy(images) makes a tensor"
    if root == "PIL":
        return "; torchvision.transforms.functional.pil_to_tensor(picture.convert('RGB'))[None] makes them"
    return "; torch.stack(images) makes one tensor" if isinstance(images, list | tuple) else ""


def _to_shape(shape: tuple[int, ...]) -> str:
    if len(shape) == 3:
        if shape[0] == 3:
            return "; images[None] is a batch of one"
        return "; images.permute(2, 0, 1)[None] is a batch of one" if shape[2] == 3 else ""
    if len(shape) == 4:
        if shape[3] == 3:
            return "; images.permute(0, 3, 1, 2) puts the channels first"
        if shape[1] == 1:
            return "; images.expand(-1, 3, -1, -1) repeats the one channel"
        if shape[1] == 4:
            return "; images[:, :3] leaves out the fourth channel"
    return ""


def to_levels(images: Tensor) -> Tensor:
    """Levels, uint8, of images that are levels already or floats in [0, 1] (nearest level, clipped)."""
    if images.dtype == torch.uint8:
        return images
    return (images.detach() * 255).round().clamp(0, 255).to(torch.uint8)
