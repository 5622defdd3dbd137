"""What a benchmark ran on, for the head of its table."""

import platform
from pathlib import Path

import torch


def processor() -> str:
    """The CPU's name, or its architecture where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def hardware(device: torch.device) -> str:
    """Processor or GPU, versions of PyTorch and Python."""
    gpu = device.type == "cuda"
    where = torch.cuda.get_device_name(device) if gpu else f"{processor()}, {torch.get_num_threads()} threads"
    return f"{platform.machine()}, {where}; torch {torch.__version__}; Python {platform.python_version()}"


def set_precision(precision: str, device: torch.device) -> None:
    """Choose kernels on a GPU as :func:`p2be_exp.system.trainer.build_trainer` does: ``bf16`` or ``32``."""
    if device.type == "cuda":
        exact = precision == "32"
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("highest" if exact else "high")
        torch.backends.cudnn.allow_tf32 = not exact
