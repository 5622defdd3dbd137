"""Running means over an epoch: exact over ranks of unequal share, without waiting for the device, and resumable."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from p2be_exp.errors import BadInput
from p2be_exp.system.collectives import sum_over_ranks


class EpochMeter:
    """Sums of values weighted by how many images each stands for, in float64 on the values' device.

    Each name has a count of its own: a term of a second optimizer step occurs in some batches only, and is a mean over
    some of their images. The names must occur in the same order on all ranks.

    Args:
        name: what an error message calls the images.
    """

    def __init__(self, name: str = "images") -> None:
        self.name = name
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, means: dict[str, Tensor], count: int) -> None:
        """Add means over ``count`` images."""
        self.add_sums({name: mean.detach().double() * count for name, mean in means.items()}, count)

    def add_sums(self, sums: dict[str, Tensor], count: int) -> None:
        """Add sums over ``count`` images, in float64; their memory may be used for others afterwards."""
        known = [name for name in sums if name in self._sums]
        if known:
            torch._foreach_add_([self._sums[name] for name in known], [sums[name] for name in known])
        for name, value in sums.items():
            if name not in self._counts:
                self._sums[name] = value.clone()
            self._counts[name] = self._counts.get(name, 0) + count

    def means(self) -> dict[str, float]:
        """Means over all images of all ranks since the last reset; every rank must call it.

        A name without an image that counts is left out.

        Raises:
            BadInput: on all ranks: batches came, but without an image that counts.
        """
        if not self._sums:
            return {}
        sums, counts = self._reduced()
        if not any(counts):
            raise BadInput(f"{self.name}: none of the images can be read")
        # One number at a time: on a GPU, dividing by a tensor rounds differently from dividing by a number.
        means = {name: sums[i] / count for i, (name, count) in enumerate(zip(self._sums, counts, strict=True)) if count}
        return dict(zip(means, torch.stack([*means.values()]).tolist(), strict=True))

    def local_means(self) -> dict[str, float]:
        """Means over this rank's images since the last reset, for the eye; waits for the device, once."""
        if not self._sums:
            return {}
        sums = torch.stack([*self._sums.values()]).tolist()
        return {name: value / max(1, self._counts[name]) for name, value in zip(self._sums, sums, strict=True)}

    def reset(self) -> None:
        """Forget everything."""
        self._sums, self._counts = {}, {}

    def state_dict(self) -> dict[str, Any]:
        """The sums over all ranks; every rank must call it.

        ``count`` is the count of every name, or the largest where they differ; ``counts`` is then there, by name.
        """
        if not self._sums:
            return {"names": [], "sums": torch.zeros(0, dtype=torch.float64), "count": 0}
        sums, reduced = self._reduced()
        counts = [int(count) for count in reduced]
        each = {"counts": counts} if len(set(counts)) > 1 else {}
        return {"names": list(self._sums), "sums": sums.cpu(), "count": max(counts), **each}

    def load_state_dict(self, state: dict[str, Any], device: torch.device, rank: int = 0) -> None:
        """Go on with saved sums; rank 0 takes them all, so that they count once."""
        share = 1 if rank == 0 else 0
        names, counts = state["names"], state.get("counts", [state["count"]] * len(state["names"]))
        self._sums = {name: value * share for name, value in zip(names, state["sums"].to(device), strict=True)}
        self._counts = {name: count * share for name, count in zip(names, counts, strict=True)}

    def _reduced(self) -> tuple[Tensor, list[float]]:
        """Sums and counts of all ranks, by name."""
        values = torch.stack([*self._sums.values()])
        values = sum_over_ranks(torch.cat([values, values.new_tensor([*self._counts.values()])]))
        sums, counts = values.chunk(2)
        return sums, counts.tolist()
