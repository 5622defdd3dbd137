"""The encoded stem alone, forward and backward: look-up, folded and plain form over the number of bits.

    python benchmarks/stem.py
    python benchmarks/stem.py --stem resnet50 alexnet --bits 1 16 64 --batch-size 4
    python benchmarks/stem.py --device cuda

The forms take turns in one process; medians are reported, and for a CPU what each form adds to the memory of a fresh
process. This is what the choice of ``form="auto"`` rests on.
"""

import argparse
import multiprocessing
import platform
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.encodings import P2BE, TableEncoding
from p2be_exp.stem import EncodedConv2d

BITS = (1, 2, 4, 8, 16, 32, 64, 128)
STEMS = {  # image size, and output channels, kernel size, stride, padding
    "wrn": (32, 16, 3, 1, 1),
    "resnext": (32, 64, 3, 1, 1),
    "allconv": (32, 96, 3, 1, 1),
    "resnet50": (224, 64, 7, 2, 3),
    "alexnet": (224, 64, 11, 4, 2),
}
FORMS = ("plain", "lookup", "folded")


def plain(images: Tensor, table: Tensor, stem: EncodedConv2d) -> Tensor:
    """Gather, move the bits to the front, convolve: the reference's way."""
    rows = F.embedding(images.long(), table)
    codes = rows.permute(0, 1, 4, 2, 3).flatten(1, 2).contiguous()
    return F.conv2d(codes, stem.weight, stride=stem.stride, padding=stem.padding)


def forms(encoding: TableEncoding, name: str, device: torch.device) -> dict[str, Callable[[Tensor], Tensor]]:
    """The ways to compute the same features."""
    _, *shape = STEMS[name]
    stem = {form: EncodedConv2d(encoding, *shape, form=form).to(device) for form in ("lookup", "folded")}
    return {
        "plain": lambda images: plain(images, encoding.table(), stem["lookup"]),
        "lookup": lambda images: stem["lookup"](images, encoding.table()),
        "folded": lambda images: stem["folded"](images, encoding.table()),
    }


def random_images(name: str, batch_size: int, device: torch.device) -> Tensor:
    """Levels of the size that a stem is for."""
    size = STEMS[name][0]
    return torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8, device=device)


def added_memory(name: str, bits: int, batch_size: int, form: str, threads: int) -> float:
    """MiB that a forward and backward pass adds to the largest size of this process, which has to be a fresh one."""
    torch.set_num_threads(threads)
    run = forms(P2BE(M=bits), name, torch.device("cpu"))[form]
    images = random_images(name, batch_size, torch.device("cpu"))
    torch.conv2d(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 3, 3, requires_grad=True)).sum().backward()  # libraries
    before = _peak()
    run(images).square().mean().backward()
    return _peak() - before


def _peak() -> float:
    """Largest resident size so far in MiB (Linux; getrusage's also counts the process that started this one)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s*(\d+) kB", status).group(1)) / 1024


def measure(name: str, bits: int, batch_size: int, rounds: int, device: torch.device) -> dict[str, float]:
    """Median milliseconds of each form."""
    ways = forms(P2BE(M=bits).to(device), name, device)
    images = random_images(name, batch_size, device)
    ms: dict[str, list[float]] = {way: [] for way in ways}
    for round_ in range(rounds + 2):
        for way, run in ways.items():
            start = time.perf_counter()
            run(images).square().mean().backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_ >= 2:
                ms[way].append(1000 * (time.perf_counter() - start))
    return {way: statistics.median(values) for way, values in ms.items()}


def main() -> None:
    """Measure and print a table in Markdown for each stem."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--stem", nargs="+", choices=STEMS, default=["wrn"])
    parser.add_argument("--bits", nargs="+", type=int, default=BITS)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    hardware = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{platform.machine()}, {hardware}; torch {torch.__version__}; forward and backward, ms", end="")
    print(" (MiB added)" if device.type == "cpu" else "")
    for name in arguments.stem:
        size, channels, kernel, stride, _ = STEMS[name]
        convolution = f"{kernel} x {kernel} / {stride} to {channels} channels"
        print(f"\nbatch {arguments.batch_size}, {size} x {size}; {convolution}\n")
        print("| M | " + " | ".join(FORMS) + " |\n|---|---|---|---|")
        for bits in arguments.bits:
            ms = measure(name, bits, arguments.batch_size, arguments.rounds, device)
            cells = {form: f"{ms[form]:.1f}" for form in FORMS}
            if device.type == "cpu":
                for form in FORMS:
                    with multiprocessing.get_context("spawn").Pool(1) as fresh:
                        settings = (name, bits, arguments.batch_size, form, torch.get_num_threads())
                        cells[form] += f" ({fresh.apply(added_memory, settings):.0f})"
            print(f"| {bits} | " + " | ".join(cells.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
