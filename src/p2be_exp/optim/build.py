"""The two optimizers of the recipe: SGD or Adam for the network, AdamW for the table, with a schedule each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from p2be_exp.config.schema import AdamConfig, AdamWConfig, SGDConfig
from p2be_exp.optim.combined import CombinedOptimizer
from p2be_exp.optim.schedule import Constant, Cosine, Steps, WarmedUpCosine, warmed_up

if TYPE_CHECKING:
    from p2be_exp.config.schema import OptimConfig


def build_optimizer(network: list[nn.Parameter], table: list[nn.Parameter], config: OptimConfig) -> CombinedOptimizer:
    """SGD or Adam named ``backbone`` and AdamW named ``encoding``; the latter is left out where no table learns.

    With ``optim=mixing`` it is AdamW alone, named ``backbone``, for a network without a table that learns.

    On a GPU each steps in fused kernels over many parameters. Elsewhere PyTorch chooses, as it does by itself.

    Args:
        network: parameters of stem and trunk. Weight decay applies to all of them, batch norms and biases included.
        table: latent table, empty for a constant encoding.
        config: the ``optim`` group.

    Source: the reference code; see the presets for where the paper differs.
    """
    if isinstance(config, AdamWConfig):
        return CombinedOptimizer({"backbone": _adamw(network, config)}, parameters=[*network, *table])
    assert isinstance(config, SGDConfig | AdamConfig)  # there is no fourth
    members = {"backbone": _sgd(network, config) if isinstance(config, SGDConfig) else _adam(network, config)}
    if table:
        members["encoding"] = AdamW(
            table,
            lr=config.table_lr,
            betas=(config.table_betas[0], config.table_betas[1]),
            weight_decay=config.table_weight_decay,
            fused=_fused(table),
        )
    return CombinedOptimizer(members, parameters=[*network, *table])


def _sgd(parameters: list[nn.Parameter], config: SGDConfig) -> Optimizer:
    optimizer = SGD(
        parameters,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=_fused(parameters),
    )
    if optimizer.defaults["fused"]:
        optimizer.register_step_pre_hook(_begin_momenta)
    return optimizer


def _adam(parameters: list[nn.Parameter], config: AdamConfig) -> Optimizer:
    betas = (config.betas[0], config.betas[1])
    return Adam(parameters, lr=config.lr, betas=betas, weight_decay=config.weight_decay, fused=_fused(parameters))


def _adamw(parameters: list[nn.Parameter], config: AdamWConfig) -> AdamW:
    betas = (config.betas[0], config.betas[1])
    return AdamW(parameters, lr=config.lr, betas=betas, weight_decay=config.weight_decay, fused=_fused(parameters))


def _fused(parameters: list[nn.Parameter]) -> bool | None:
    """True on GPUs. None elsewhere: fused steps of a CPU differ in the last bit from those of earlier runs."""
    return True if all(parameter.device.type == "cuda" for parameter in parameters) else None


def _begin_momenta(optimizer: Optimizer, *_: Any) -> None:
    """Momenta of 0 where there are none: a fused step needs all or none, and a parameter may get gradients later.

    What a first step makes of 0 is the gradient, as it does without a momentum.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if group["momentum"] and parameter.grad is not None:
                state = optimizer.state[parameter]
                if state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = torch.zeros_like(parameter)


def build_schedule(optimizer: CombinedOptimizer, config: OptimConfig, epochs: int, steps_per_epoch: int) -> LambdaLR:
    """One factor for each group by its name, to be stepped after every optimizer step.

    ``warmup_epochs`` are those of ``backbone`` alone. The rate of a table is a thousandth of the network's, and its
    latent values move so little in some epochs that there is nothing to protect.

    Args:
        optimizer: with the groups ``backbone`` (``schedule``) and ``encoding`` (``table_schedule``).
        config: the ``optim`` group.
        epochs: length of the training.
        steps_per_epoch: optimizer steps in an epoch.
    """
    total_steps, warmup_steps = epochs * steps_per_epoch, config.warmup_epochs * steps_per_epoch
    if isinstance(config, AdamWConfig):
        floor = min(1.0, config.lr_end / config.lr)
        if not config.warmup:
            return LambdaLR(optimizer, warmed_up(Cosine(total_steps, floor), warmup_steps))
        return LambdaLR(optimizer, WarmedUpCosine(total_steps, floor, time=max(1, int(config.warmup * total_steps))))
    assert isinstance(config, SGDConfig | AdamConfig)  # there is no fourth

    def factor(group: dict[str, Any]) -> Cosine | Steps | Constant:
        schedule = config.table_schedule if group["name"] == "encoding" else config.schedule
        if schedule == "constant":
            return Constant()
        if schedule == "steps":
            assert isinstance(config, SGDConfig)  # which alone has it
            return Steps(config.milestones, config.gamma, steps_per_epoch)
        first = group.get("initial_lr", group["lr"])
        # A floor above the first rate would make the cosine rise; such a rate stays as it is.
        return Cosine(total_steps, floor=min(1.0, config.lr_end / first) if first else 1.0)

    def with_warm_up(group: dict[str, Any]) -> Callable[[int], float]:
        return factor(group) if group["name"] == "encoding" else warmed_up(factor(group), warmup_steps)

    return LambdaLR(optimizer, [with_warm_up(group) for group in optimizer.param_groups])


def clip_gradients(optimizer: Optimizer, max_norm: float) -> dict[str, torch.Tensor]:
    """Clip the gradient norm of each named group by itself, so that neither part starves the other.

    Args:
        optimizer: its groups carry a ``name``.
        max_norm: largest Euclidean norm of a group's gradient.

    Returns:
        The norms before clipping, by name.
    """
    return {
        group["name"]: torch.nn.utils.clip_grad_norm_(group["params"], max_norm) for group in optimizer.param_groups
    }
