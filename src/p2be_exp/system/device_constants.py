"""Constant tensors kept on their device, since copying them at every call would make the host wait for the device."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import wraps

import torch
from torch import Tensor


def kept_on_device(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Make a tensor once for each list of arguments, of which the device is one.

    A fake tensor serves the mode that it was made in, and no real call.
    """
    kept: dict[tuple[Hashable, ...], Tensor] = {}

    @wraps(make)
    def get(*key: Hashable) -> Tensor:
        mode = torch._guards.detect_fake_mode()
        made = kept.get(key)
        if made is None or getattr(made, "fake_mode", None) is not mode:
            made = kept[key] = make(*key)
        return made

    return get
