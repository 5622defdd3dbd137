"""One step of LS-PGA against a forward and backward pass of the same model on images, in time and in peak memory.

    python benchmarks/lspga.py                 # WRN-40-2, P2BE with M = 64, batches of 128
    python benchmarks/lspga.py --plain         # and the plain form, with batches of 4
    python benchmarks/lspga.py --device cuda   # bf16
    python benchmarks/lspga.py --rounds 3 --batch-size 32

The pass on images is a training step's, without the optimizers. The attack's seconds are those of a whole search, its
random start and its images included, over its steps. The plain form is the reference's: shares of all 256 levels, their
elementwise product with the table, automatic differentiation. Each variant takes turns with the pass on as many images;
the median over the rounds of each round's ratio to it is reported. Peak memory is each variant's alone, above what the
model and the images take: on a GPU the allocator's; on a CPU, with --memory and after the rest, resident memory of a
process of its own.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.attacks.attack import attacked
from p2be_exp.attacks.ball import bounds
from p2be_exp.attacks.lspga import LSPGA
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.backbones import build_backbone
from p2be_exp.encodings import LEVELS, P2BE
from p2be_exp.models.model import EncodedClassifier

if not __package__:  # run as a file: the package that it belongs to is found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.hardware import hardware, set_precision
from benchmarks.memory import allocated, in_fresh_process, peak_since, resident_peak
from benchmarks.turns import median_ratio, take_turns

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


class Settings(NamedTuple):
    """What the variants have in common; the precision is ``bf16`` (autocast) or ``32``."""

    backbone: str
    steps: int
    device: torch.device
    precision: str


class Measured(NamedTuple):
    """A variant at a batch size: ms a pass or step, its ratio to the pass on images, peak GiB (None on a CPU)."""

    variant: str
    batch_size: int
    ms: float
    over_images: float
    peak_gib: float | None


def make_variant(variant: str, batch_size: int, settings: Settings) -> Callable[[], None]:
    """A function that does one pass on images, or one search of ``settings.steps`` steps."""
    device = settings.device
    torch.manual_seed(0)
    model = EncodedClassifier(
        P2BE(64, smoothness="mean", init="normal", slope_at_zero=4.0), build_backbone(settings.backbone, 100)
    )
    model = model.to(device, memory_format=torch.channels_last).train()
    images = torch.randint(0, 256, (batch_size, 3, 32, 32), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 100, (batch_size,), device=device)
    attack = LSPGA(EPS_LEVELS, settings.steps, 1.0, DELTA, "soften", "sign", "normal", restarts=1)
    random = AttackRandom(0, torch.arange(batch_size, device=device))

    def work() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            if variant == "images":
                model.zero_grad()
                F.cross_entropy(model(images), labels).backward()
                return
            with attacked(model):
                if variant == "lspga":
                    attack.search(model, images, labels, random)
                else:
                    plain_search(model, images, labels, settings.steps)

    return work


def measure(batch_sizes: dict[str, list[int]], rounds: int, settings: Settings) -> Iterator[Measured]:
    """Each variant at each of its batch sizes, as soon as it is measured."""
    for variant, sizes in batch_sizes.items():
        for size in sizes:
            works, peaks = {}, {}
            for name in dict.fromkeys(["images", variant]):
                works[name] = make_variant(name, size, settings)
                before = allocated(settings.device)
                works[name]()
                peaks[name] = peak_since(before, works[name], settings.device)
            seconds = take_turns(works, rounds, settings.device, warm_up=1)
            steps = 1 if variant == "images" else settings.steps
            mine = [each / steps for each in seconds[variant]]
            ratio = median_ratio(mine, seconds["images"])
            yield Measured(variant, size, 1000 * statistics.median(mine), ratio, peaks[variant])


def resident_peak_of(variant: str, batch_size: int, settings: Settings, threads: int) -> float:
    """By how many GiB the resident peak of this process, a fresh one, lies above the memory before the work."""
    torch.set_num_threads(threads)
    work = make_variant(variant, batch_size, settings)
    before = resident_peak()
    work()
    work()
    return resident_peak() - before


def main() -> None:
    """Measure and print a table in Markdown, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backbone", default="wrn40_2")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--plain", action="store_true", help="the plain form, too: slow and large")
    parser.add_argument("--plain-batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory", action="store_true", help="on a CPU: each variant's peak, after the rest")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    settings = Settings(arguments.backbone, arguments.steps, device, "bf16" if device.type == "cuda" else "32")
    set_precision(settings.precision, device)
    sizes = [arguments.batch_size, *[arguments.plain_batch_size] * arguments.plain]
    batch_sizes = {"images": sizes, "lspga": sizes}
    if arguments.plain:
        batch_sizes["lspga, plain form"] = [arguments.plain_batch_size]

    print(hardware(device))
    print(f"{arguments.backbone}, {arguments.steps} steps, {arguments.rounds} rounds\n")
    print("| variant | batch | ms a pass or step | over a pass on images | peak GiB above the model |")
    print("|---|---|---|---|---|", flush=True)
    for row in measure(batch_sizes, arguments.rounds, settings):
        peak = "" if row.peak_gib is None else f"{row.peak_gib:.2f}"
        print(f"| {row.variant} | {row.batch_size} | {row.ms:.0f} | {row.over_images:.2f} | {peak} |", flush=True)
    if arguments.memory and device.type == "cpu":
        print("\n| variant | batch | peak GiB above model and images |\n|---|---|---|", flush=True)
        two_steps = settings._replace(steps=2)
        for variant, size in [(variant, size) for variant, each in batch_sizes.items() for size in each]:
            peak = in_fresh_process(resident_peak_of, variant, size, two_steps, arguments.threads)
            print(f"| {variant} | {size} | {peak:.2f} |", flush=True)


if __name__ == "__main__":
    main()
