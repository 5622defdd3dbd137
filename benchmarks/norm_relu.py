"""Batch norm and ReLU, forward and backward: PyTorch's operators, the same compiled, and one fused function.

    python benchmarks/norm_relu.py --device cuda                   # layers of WRN-40-2 in an augmix step, bf16
    python benchmarks/norm_relu.py --device cuda --precision 32

For each layer batch norm with ReLU alone, and a whole block of WRN-40-2 (two of them, two convolutions, the sum). The
forms take turns in one process; medians are reported. The rule of :mod:`p2be_exp.backbones.batch_norm` will rest on it.
A CPU has PyTorch's operators alone.
"""

import argparse
import math
import os
import statistics
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.backbones.batch_norm import norm_and_activation
from p2be_exp.backbones.wide_resnet import PreActivationBlock
from p2be_exp.system.device_kernels import kernels_serve
from p2be_exp.system.gpu_batch_norm import VARIABLE

if not __package__:  # run as a file: the package that it belongs to is found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.hardware import hardware, set_precision
from benchmarks.turns import take_turns

LAYERS = ((32, 32), (64, 16), (128, 8))
"""Channels, and height and width, of WRN-40-2."""

WORKS = ("batch norm and ReLU", "a block")
PLAIN, COMPILED, FUSED = FORMS = ("PyTorch", "torch.compile", "fused")
MISSING = "not on this device"


class NormReLU(nn.Module):
    """A batch norm and what follows it, as the networks have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        return norm_and_activation(self.norm, F.relu, features, convolved=True)


def measure(
    work: str,
    channels: int,
    size: int,
    batch_size: int,
    rounds: int,
    device: torch.device,
    precision: str,
    within: float = math.inf,
) -> dict[str, float | None]:
    """Median milliseconds of each form, forward and backward; None where a device does not have it.

    Args:
        work: of :data:`WORKS`.
        channels, size, batch_size: of the features.
        rounds: in which the forms take turns.
        device: that they run on.
        precision: ``bf16`` or ``32``.
        within: no round begins after so many seconds.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    features = torch.randn(batch_size, channels, size, size, device=device, dtype=dtype)
    features = features.contiguous(memory_format=torch.channels_last).requires_grad_()
    above = torch.randn_like(features)

    def once(module: nn.Module, said: str) -> None:
        with mock.patch.dict(os.environ, {VARIABLE: said}):
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                out = module(features)
            torch.autograd.grad(out, [features, *module.parameters()], above)

    modules = {form: _module(work, channels).to(device, memory_format=torch.channels_last) for form in FORMS}
    works = {PLAIN: partial(once, modules[PLAIN], "plain")}
    if device.type == "cuda":
        modules[COMPILED].compile()
        works[COMPILED] = partial(once, modules[COMPILED], "plain")
    if kernels_serve(device):
        works[FUSED] = partial(once, modules[FUSED], "fused")
    seconds = take_turns(works, rounds, device, within=within)
    return {form: 1000 * statistics.median(seconds[form]) if form in seconds else None for form in FORMS}


def rows(ms: dict[str, float | None]) -> Iterator[tuple[str, str, str]]:
    """Form, milliseconds and ratio to PyTorch's operators."""
    for form, value in ms.items():
        yield form, *((MISSING, "") if value is None else (f"{value:.3f}", f"{value / (ms[PLAIN] or 1):.2f}"))


def _module(work: str, channels: int) -> nn.Module:
    return NormReLU(channels) if work == WORKS[0] else PreActivationBlock(channels, channels, 1, F.relu)


def main() -> None:
    """Measure and print a table in Markdown, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=384, help="features: three views of 128 images")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--precision", choices=("32", "bf16"), default="bf16")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    set_precision(arguments.precision, device)
    print(f"{hardware(device)}; batch {arguments.batch_size}, forward and backward, {arguments.precision}\n")
    print("| work | channels x size | form | ms | over PyTorch |\n|---|---|---|---|---|", flush=True)
    for channels, size in LAYERS:
        for work in WORKS:
            shape = (work, channels, size, arguments.batch_size)
            ms = measure(*shape, arguments.rounds, device, arguments.precision)
            for cells in rows(ms):
                print(f"| {work} | {channels} x {size} x {size} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
