"""Whether the codes that an attack on a Feature Pyramid Decoder holds fit into memory at all."""

from __future__ import annotations

import torch

from p2be_exp.attacks.lspga import LSPGA, images_at_once
from p2be_exp.config.schema import FPDModelConfig
from p2be_exp.data import ImageDataModule
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.plan import EvaluationPlan
from p2be_exp.system.memory import free_bytes
from p2be_exp.system.ranks import processes
from p2be_exp.system.trainer import on_gpu

_TENSORS = 4
"""The codes, what the second pass reads, and the gradients of both: there at once on the way back."""


def check_code_memory(plan: EvaluationPlan, data: ImageDataModule) -> None:
    """Check that a batch's codes fit, before anything is read; models that build no codes pass.

    What is asked for is less than the least that an attack takes, so that only what cannot be is refused. A system that
    does not tell what is free is believed to have enough.

    Args:
        plan: of the evaluation.
        data: its images' size and number; nothing of it is read.

    Raises:
        BadInput: they do not; names a smaller ``eval_batch_size``.
    """
    config = plan.config
    attacks = [attack for attack in plan.attacks if attack.gradient]
    if not isinstance(config.model, FPDModelConfig) or not attacks:
        return
    device = torch.device("cuda" if on_gpu(config.trainer) else "cpu")
    if (free := free_bytes(device)) is None:
        return
    channels, positions = 3 * (config.encoding.M or 1), data.image_size**2
    of_image = _TENSORS * channels * positions * torch.float32.itemsize
    batch = -(-data.eval_batch_size // processes(config.trainer))
    if all(isinstance(attack, LSPGA) for attack in attacks):
        batch = min(batch, images_at_once(device.type, positions))
    if batch * of_image > free:
        fitting = max(1, free // of_image * processes(config.trainer) // 2)
        needed, there = (f"{each / 2**30:.1f} GiB" for each in (batch * of_image, free))
        raise BadInput(
            f"eval_batch_size={data.eval_batch_size}: an attack on model=fpd holds {channels:,} channels x "
            f"{positions:,} positions of each image {_TENSORS} times, {needed}, and {there} are free; "
            f"try eval_batch_size={fitting}"
        )
