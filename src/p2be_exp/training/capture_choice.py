"""Whether a training captures its steps as a CUDA graph: ``trainer.compile``."""

from __future__ import annotations

import torch

from p2be_exp.config.schema import TrainConfig
from p2be_exp.training.module import TrainingModule

WORTH_IT = 300
"""Steps from which on ``auto`` captures: warming up and capturing takes as long as some tens of ordinary steps."""

_KNOWN = ("p2be_exp.", "torch.", "torchvision.")


def reason_against(
    config: TrainConfig, module: TrainingModule, device: torch.device, processes: int, steps: int
) -> str | None:
    """Why a training's steps are not captured; None where they are.

    Args:
        config: of the training.
        module: what is trained.
        device: that it is trained on.
        processes: in number.
        steps: that are left.
    """
    if config.trainer.compile == "off":
        return "trainer.compile=off"
    if device.type != "cuda" or torch.version.hip is not None:
        return "that is for NVIDIA GPUs"
    if processes > 1:
        return "that is for a single process"
    if config.optim.accumulate > 1:
        return f"not with optim.accumulate={config.optim.accumulate}"
    if config.optim.clip_norm is not None:
        return f"not with optim.clip_norm={config.optim.clip_norm:g}"
    if module.regime.several_steps or not module.regime.capturable:
        return f"not with regime={config.regime.name} as it is set"
    if foreign := foreign_modules(module.model):
        return f"not with {', '.join(foreign)}, which does not say that it can be captured"
    if config.trainer.compile == "auto" and steps < WORTH_IT:
        return f"{steps:,} steps are too few"
    return None


def foreign_modules(model: torch.nn.Module) -> list[str]:
    """The classes of a plug-in in a model that do not say ``capturable = True``.

    A graph repeats what a module did in the first step, also where its Python would decide otherwise in a later one.
    """
    kinds = {type(each) for each in model.modules()}
    return sorted(
        kind.__qualname__
        for kind in kinds
        if not f"{kind.__module__}.".startswith(_KNOWN) and not vars(kind).get("capturable", False)
    )
