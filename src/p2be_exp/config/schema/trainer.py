"""Keys of ``trainer=``: devices, processes and precision."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from p2be_exp.config.fields import choice, number


@dataclass
class TrainerConfig:
    name: str = MISSING
    accelerator: str = choice("auto", "cpu", "gpu")
    devices: int = number(1)
    num_nodes: int = number(1)
    strategy: str = choice("auto", "ddp")
    precision: str = choice("auto", "32", "bf16")
    compile: str = choice("auto", "on", "off")
    deterministic: bool = MISSING
    sync_batchnorm: bool = MISSING
    timeout: float = number(above=0)
    progress: bool = MISSING
    fast_dev_run: bool = MISSING
    profile: bool = MISSING
