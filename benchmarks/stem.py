"""The encoded stem alone, forward and backward: look-up, folded and plain form over the number of bits.

    python benchmarks/stem.py
    python benchmarks/stem.py --stem resnet50 alexnet --bits 1 16 64 --batch-size 4
    python benchmarks/stem.py --device cuda
    python benchmarks/stem.py --memory         # and what each form adds to the memory of a fresh process, on a CPU

The forms take turns in one process; medians are reported. This is what the choice of ``form="auto"`` rests on. Memory
comes after the rest: a process for each form takes some seconds to start.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.encodings import P2BE, TableEncoding
from p2be_exp.models.stem import EncodedConv2d

if not __package__:  # run as a file: the package that it belongs to is found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.hardware import hardware
from benchmarks.memory import in_fresh_process, resident_peak
from benchmarks.turns import take_turns

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


def learned_table(bits: int) -> P2BE:
    """A table of that many bits as the reference code has it."""
    return P2BE(bits, smoothness="mean", init="normal", slope_at_zero=4.0)


def added_memory(name: str, bits: int, batch_size: int, form: str, threads: int) -> float:
    """MiB that a forward and backward pass adds to the largest size of this process, which has to be a fresh one."""
    torch.set_num_threads(threads)
    run = forms(learned_table(bits), name, torch.device("cpu"))[form]
    images = random_images(name, batch_size, torch.device("cpu"))
    torch.conv2d(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 3, 3, requires_grad=True)).sum().backward()  # libraries
    before = resident_peak()
    run(images).square().mean().backward()
    return 1024 * (resident_peak() - before)


def measure(name: str, bits: int, batch_size: int, rounds: int, device: torch.device) -> dict[str, float]:
    """Median milliseconds of each form."""
    ways = forms(learned_table(bits).to(device), name, device)
    images = random_images(name, batch_size, device)
    passes = {way: lambda run=run: run(images).square().mean().backward() for way, run in ways.items()}
    seconds = take_turns(passes, rounds, device)
    return {way: 1000 * statistics.median(values) for way, values in seconds.items()}


def main() -> None:
    """Measure and print a table in Markdown for each stem, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--stem", nargs="+", choices=STEMS, default=["wrn"])
    parser.add_argument("--bits", nargs="+", type=int, default=BITS)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory", action="store_true", help="on a CPU: MiB that each form adds, after the rest")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    print(f"{hardware(device)}; forward and backward, ms")
    for name in arguments.stem:
        print_head(name, arguments.batch_size)
        for bits in arguments.bits:
            ms = measure(name, bits, arguments.batch_size, arguments.rounds, device)
            print(f"| {bits} | " + " | ".join(f"{ms[form]:.1f}" for form in FORMS) + " |", flush=True)
    if not arguments.memory or device.type != "cpu":
        return
    print("\nMiB that a pass adds to a fresh process")
    for name in arguments.stem:
        print_head(name, arguments.batch_size)
        for bits in arguments.bits:
            print(f"| {bits} |", end="", flush=True)
            for form in FORMS:
                settings = (name, bits, arguments.batch_size, form, torch.get_num_threads())
                print(f" {in_fresh_process(added_memory, *settings):.0f} |", end="", flush=True)
            print(flush=True)


def print_head(name: str, batch_size: int) -> None:
    """The head of a stem's table."""
    size, channels, kernel, stride, _ = STEMS[name]
    print(f"\nbatch {batch_size}, {size} x {size}; {kernel} x {kernel} / {stride} to {channels} channels\n")
    print("| M | " + " | ".join(FORMS) + " |\n|---|---|---|---|", flush=True)


if __name__ == "__main__":
    main()
