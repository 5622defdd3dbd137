"""One training step of a Wide ResNet: P2BE and its plain form over RGB, in time and in peak memory.

    python benchmarks/training_step.py                 # WRN-40-2, batches of 128, standard regime
    python benchmarks/training_step.py --device cuda   # bf16
    python benchmarks/training_step.py --regime augmix

The variants take turns in one process, so that what slows the machine down slows all of them; the median over the
rounds of each round's ratio to RGB is reported. Peak memory is each variant's alone: on a CPU the largest resident size
of a process of its own, on a GPU the allocator's peak.
"""

import argparse
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.backbones import build_backbone
from p2be_exp.data import Batch
from p2be_exp.encodings import P2BE, RGB
from p2be_exp.model import EncodedClassifier
from p2be_exp.optim import build_optimizer
from p2be_exp.regimes import build_regime

OPTIM = {
    "lr": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 5e-4,
    "table_lr": 1e-4,
    "table_betas": [0.999, 0.999],
    "table_weight_decay": 1e-4,
}
AUGMIX = {"name": "augmix", "alpha_jsd": 12.0, "magnitude": 3.0, "view_rounding": "floor"}
VARIANTS = ("rgb", "p2be", "p2be, plain form")


class PlainForm(EncodedClassifier):
    """The reference's way: gather rows, move their values to the front, convolve 3M channels."""

    def forward(self, images: Tensor) -> Tensor:
        rows = F.embedding(images.long(), self.encoding.table())  # (B, 3, H, W, M)
        codes = rows.permute(0, 1, 4, 2, 3).flatten(1, 2).contiguous()
        return self.trunk(F.conv2d(codes, self.stem.weight, stride=self.stem.stride, padding=self.stem.padding))


def make_step(variant: str, backbone: str, batch_size: int, regime: str, device: torch.device) -> Callable[[], None]:
    """A function that does one step: loss, gradients, both optimizers."""
    torch.manual_seed(0)
    encoding = RGB() if variant == "rgb" else P2BE(M=64)
    cls = PlainForm if "plain" in variant else EncodedClassifier
    model: nn.Module = cls(encoding, build_backbone(backbone, 100)).to(device, memory_format=torch.channels_last)
    table = list(model.encoding.parameters())
    optimizer = build_optimizer([*model.stem.parameters(), *model.trunk.parameters()], table, OPTIM)
    rule = build_regime(AUGMIX if regime == "augmix" else {"name": "standard"}, seed=0, augmentation="flip_crop")
    images = torch.randint(0, 256, (batch_size, 3, 32, 32), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 100, (batch_size,), device=device)
    indices = torch.arange(batch_size, device=device)
    batch = Batch(images, labels, indices, batch_size, batch_size, 1.0)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            result = rule.loss(model, batch, epoch=0)
        loss = sum(result.weights.get(name, 1.0) * term for name, term in result.terms.items())
        smoothness = model.encoding.smoothness()
        (loss if smoothness is None else loss + smoothness).backward()
        optimizer.step()

    return step


def peak_memory(variant: str, arguments: argparse.Namespace) -> float:
    """GiB that a variant needs at most, measured in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", variant, "--device", arguments.device]
    command += ["--backbone", arguments.backbone, "--batch-size", str(arguments.batch_size)]
    command += ["--regime", arguments.regime, "--threads", str(arguments.threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def resident_peak() -> float:
    """GiB that this process had resident at most; not ``ru_maxrss``, which a process inherits from its parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 2**20


def report_memory(arguments: argparse.Namespace, device: torch.device) -> None:
    """Do three steps and print the peak in GiB."""
    step = make_step(arguments.memory_of, arguments.backbone, arguments.batch_size, arguments.regime, device)
    for _ in range(3):
        step()
    if device.type == "cuda":
        print(torch.cuda.max_memory_allocated() / 2**30)
    else:
        print(resident_peak())


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backbone", default="wrn40_2")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--regime", choices=("standard", "augmix"), default="standard")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-of", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    if arguments.memory_of:
        report_memory(arguments, device)
        return

    steps = {v: make_step(v, arguments.backbone, arguments.batch_size, arguments.regime, device) for v in VARIANTS}
    seconds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for round_ in range(arguments.rounds + 2):  # the first two warm up
        for variant, step in steps.items():
            start = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_ >= 2:
                seconds[variant].append(time.perf_counter() - start)
    memory = {variant: peak_memory(variant, arguments) for variant in VARIANTS}

    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{arguments.threads} threads"
    print(f"{platform.machine()}, {name}; torch {torch.__version__}; Python {platform.python_version()}; ", end="")
    print(f"{arguments.backbone}, batch {arguments.batch_size}, {arguments.regime}, {arguments.rounds} rounds\n")
    print("| variant | ms a step | over RGB | peak GiB | over RGB |\n|---|---|---|---|---|")
    for variant in VARIANTS:
        ratio = statistics.median(mine / rgb for mine, rgb in zip(seconds[variant], seconds["rgb"], strict=True))
        ms = 1000 * statistics.median(seconds[variant])
        print(f"| {variant} | {ms:.0f} | {ratio:.2f} | {memory[variant]:.2f} | {memory[variant] / memory['rgb']:.2f} |")


if __name__ == "__main__":
    main()
