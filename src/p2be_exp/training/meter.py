"""Running means over an epoch: exact over ranks of unequal share, without waiting for the device, and resumable."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from p2be_exp.errors import BadInput


class EpochMeter:
    """Sums of values weighted by how many images each stands for, in float64 on the values' device.

    Args:
        name: what an error message calls the images.
    """

    def __init__(self, name: str = "images") -> None:
        self.name = name
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, means: dict[str, Tensor], count: int) -> None:
        """Add means over ``count`` images. The names are the same at every call."""
        self._count += count
        for name, mean in means.items():
            value = mean.detach().double() * count
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def means(self) -> dict[str, float]:
        """Means over all images of all ranks since the last reset; every rank has to call it.

        Raises:
            BadInput: on all ranks: batches came, but without an image that counts.
        """
        if not self._sums:
            return {}
        sums, count = self._reduced()
        if not count:
            raise BadInput(f"{self.name}: none of the images can be read")
        return dict(zip(self._sums, (sums / count).tolist(), strict=True))

    def local_means(self) -> dict[str, float]:
        """Means over this rank's images since the last reset, for the eye; waits for the device."""
        return {name: value.item() / max(1, self._count) for name, value in self._sums.items()}

    def reset(self) -> None:
        """Forget everything."""
        self._sums, self._count = {}, 0

    def state_dict(self) -> dict[str, Any]:
        """The sums over all ranks; every rank has to call it."""
        if not self._sums:
            return {"names": [], "sums": torch.zeros(0, dtype=torch.float64), "count": 0}
        sums, count = self._reduced()
        return {"names": list(self._sums), "sums": sums.cpu(), "count": int(count)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device, rank: int = 0) -> None:
        """Go on with saved sums; rank 0 takes them all, so that they count once."""
        share = 1 if rank == 0 else 0
        self._sums = {name: value * share for name, value in zip(state["names"], state["sums"].to(device), strict=True)}
        self._count = state["count"] * share

    def _reduced(self) -> tuple[Tensor, float]:
        values = torch.stack([*self._sums.values()])
        values = torch.cat([values, values.new_tensor([self._count])])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(values)
        return values[:-1], values[-1].item()
