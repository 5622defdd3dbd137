"""Checks of this machine's devices without PyTorch, whose import takes seconds."""

from __future__ import annotations

import ctypes
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from p2be_exp.errors import BadInput
from p2be_exp.system.ranks import check_launcher

if TYPE_CHECKING:
    from p2be_exp.config.schema import TrainerConfig

CPUS = Path("/proc/cpuinfo")


NO_GPU = "no GPU was found; use trainer=cpu or trainer=auto"


NO_BF16 = "this CPU has no bf16 (AVX512-BF16 or AMX); use auto or 32"


def check_devices_early(trainer: TrainerConfig) -> None:
    """Check the launcher and the devices, as far as possible without PyTorch.

    Raises:
        BadInput: see :func:`~p2be_exp.system.ranks.check_launcher`; or this machine certainly lacks a GPU or bf16.
    """
    check_launcher(trainer)
    if not _surely_no_gpu():
        return
    if trainer.accelerator == "gpu":
        raise BadInput(f"trainer={trainer.name}: {NO_GPU}")
    if trainer.precision == "bf16" and _surely_no_bf16():
        raise BadInput(f"trainer.precision=bf16: {NO_BF16}")


def _surely_no_gpu() -> bool:
    """Whether PyTorch is a CPU-only build, or no driver that it can use is installed."""
    try:
        if metadata.version("torch").endswith("+cpu"):
            return True
    except metadata.PackageNotFoundError:
        return False
    if Path("/dev/kfd").exists():  # AMD's
        return False
    try:
        ctypes.CDLL("libcuda.so.1" if sys.platform != "win32" else "nvcuda.dll")
    except OSError:
        return True
    return False


def _surely_no_bf16() -> bool:
    """Whether an x86 CPU lacks the instructions, according to Linux."""
    if platform.machine() not in ("x86_64", "AMD64") or not CPUS.is_file():
        return False
    return not {"avx512_bf16", "amx_tile"} & set(CPUS.read_text(encoding="utf-8", errors="replace").split())
