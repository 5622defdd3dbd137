"""One step of LS-PGA against a forward and backward pass of the same model on images, in time and in peak memory.

    python benchmarks/lspga.py                 # WRN-40-2, P2BE with M = 64, batches of 128; the plain form with 4
    python benchmarks/lspga.py --device cuda   # bf16
    python benchmarks/lspga.py --rounds 3 --batch-size 32

The pass on images is a training step's, without the optimizers. The attack's seconds are those of a whole search, its
random start and its images included, over its steps. The plain form is the reference's: shares of all 256 levels, their
elementwise product with the table, automatic differentiation. The variants take turns in one process; the median over
the rounds of each round's ratio to the pass on as many images is reported. Peak memory is each variant's alone, in a
process of its own, above what that process holds with the model and the images: on a CPU resident memory, on a GPU the
allocator's.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.attacks.attack import attacked
from p2be_exp.attacks.ball import bounds
from p2be_exp.attacks.lspga import LSPGA
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.backbones import build_backbone
from p2be_exp.encodings import LEVELS, P2BE
from p2be_exp.model import EncodedClassifier
from training_step import resident_peak

EPS_LEVELS, DELTA = 8, 1.2
VARIANTS = ("images", "lspga", "lspga, plain form")


def plain_search(model: EncodedClassifier, images: Tensor, labels: Tensor, steps: int) -> Tensor:
    """Adversarial levels as the reference implementation finds them, over all levels at once."""
    low, high = (bound.unsqueeze(2) for bound in bounds(images, EPS_LEVELS))
    levels = torch.arange(LEVELS, device=images.device).view(1, 1, -1, 1, 1)
    u = torch.randn(*images.shape[:2], LEVELS, *images.shape[2:], device=images.device)
    u = u.masked_fill_((levels < low) | (levels > high), -1e10).requires_grad_()
    table = model.encoding.table().detach().view(1, 1, LEVELS, 1, 1, -1)
    for number in range(steps):
        shares = torch.softmax(u / DELTA ** max(number - 1, 0), dim=2)
        codes = (shares.unsqueeze(-1) * table).sum(dim=2).permute(0, 1, 4, 2, 3).flatten(1, 2)
        loss = F.cross_entropy(model.forward_codes(codes), labels)
        u = (u + torch.autograd.grad(loss, u)[0].sign()).detach().requires_grad_()
    return u.argmax(dim=2)


def make_variant(variant: str, batch_size: int, arguments: argparse.Namespace) -> Callable[[], None]:
    """A function that does one pass on images, or one search of ``arguments.steps`` steps."""
    device = torch.device(arguments.device)
    torch.manual_seed(0)
    model = EncodedClassifier(P2BE(M=64), build_backbone(arguments.backbone, 100))
    model = model.to(device, memory_format=torch.channels_last).train()
    images = torch.randint(0, 256, (batch_size, 3, 32, 32), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 100, (batch_size,), device=device)
    attack = LSPGA(EPS_LEVELS, arguments.steps, 1.0, DELTA, "soften", "sign", "normal")
    random = AttackRandom(0, torch.arange(batch_size, device=device))

    def work() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            if variant == "images":
                model.zero_grad()
                F.cross_entropy(model(images), labels).backward()
                return
            with attacked(model):
                if variant == "lspga":
                    attack.search(model, images, labels, random)
                else:
                    plain_search(model, images, labels, arguments.steps)

    return work


def peak_memory(variant: str, batch_size: int, arguments: argparse.Namespace) -> float:
    """GiB that a variant needs at most, measured in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", variant, "--device", arguments.device]
    command += ["--backbone", arguments.backbone, "--batch-size", str(batch_size), "--steps", "2"]
    command += ["--threads", str(arguments.threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def report_memory(arguments: argparse.Namespace) -> None:
    """Work twice and print by how many GiB the peak lies above the memory before."""
    work = make_variant(arguments.memory_of, arguments.batch_size, arguments)
    on_gpu = arguments.device.startswith("cuda")
    before = torch.cuda.memory_allocated() / 2**30 if on_gpu else resident_peak()
    work()
    work()
    print((torch.cuda.max_memory_allocated() / 2**30 if on_gpu else resident_peak()) - before)


def take_turns(runs: list[tuple[str, int]], arguments: argparse.Namespace) -> dict[tuple[str, int], list[float]]:
    """Seconds of each run in each round: of a pass on images, and of one step of a search."""
    works = {run: make_variant(*run, arguments) for run in runs}
    seconds: dict[tuple[str, int], list[float]] = {run: [] for run in runs}
    for round_ in range(arguments.rounds + 1):  # the first warms up
        for run, work in works.items():
            start = time.perf_counter()
            work()
            if arguments.device.startswith("cuda"):
                torch.cuda.synchronize()
            if round_ >= 1:
                steps = 1 if run[0] == "images" else arguments.steps
                seconds[run].append((time.perf_counter() - start) / steps)
    return seconds


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backbone", default="wrn40_2")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--plain-batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-of", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        report_memory(arguments)
        return

    small, large = arguments.plain_batch_size, arguments.batch_size
    runs = [("images", large), ("lspga", large), *((variant, small) for variant in VARIANTS)]
    seconds = take_turns(runs, arguments)
    name = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else f"{arguments.threads} threads"
    print(f"{platform.machine()}, {name}; torch {torch.__version__}; Python {platform.python_version()}; ", end="")
    print(f"{arguments.backbone}, {arguments.steps} steps, {arguments.rounds} rounds\n")
    print("| variant | batch | ms a pass or step | over a pass on images | peak GiB above the model |")
    print("|---|---|---|---|---|")
    for variant, batch_size in runs:
        mine, images = seconds[variant, batch_size], seconds["images", batch_size]
        ratio = statistics.median(a / b for a, b in zip(mine, images, strict=True))
        memory = peak_memory(variant, batch_size, arguments)
        print(f"| {variant} | {batch_size} | {1000 * statistics.median(mine):.0f} | {ratio:.2f} | {memory:.2f} |")


if __name__ == "__main__":
    main()
