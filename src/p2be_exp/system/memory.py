"""Memory: how much a device has left, and how many bytes of tensors a work holds at most."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

MEMINFO = Path("/proc/meminfo")
CONTROL_GROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int | None:
    """Bytes that are free on a GPU, or to this process on the host (Linux); None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        available = re.search(r"^MemAvailable:\s+(\d+) kB", MEMINFO.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    known = [] if available is None else [1024 * int(available[1])]
    try:  # a container's own limit
        most, used = (int((CONTROL_GROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        known.append(max(0, most - used))
    except (OSError, ValueError):
        pass
    return min(known, default=None)


class HeldBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operators make while it is entered, on any device.

    What an operator takes for itself and gives back is not in it, nor what was there before.

    Attributes:
        now: bytes that are held.
        most: the largest amount that was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        arguments: Mapping[str, Any] = kwargs or {}
        before = {id(each.untyped_storage()) for each in tree_leaves((args, arguments)) if isinstance(each, Tensor)}
        made = func(*args, **arguments)
        for each in tree_leaves(made):
            if isinstance(each, Tensor) and id(each.untyped_storage()) not in before:
                self._add(each.untyped_storage())
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._known:
            return

        def gone(_: Any) -> None:
            self._known.pop(key, None)
            self.now -= size

        self._known[key] = weakref.ref(storage, gone)
        self.now += size
        self.most = max(self.most, self.now)
