"""The encoded stem alone, forward and backward: its forms and the plain form over the number of bits.

    python benchmarks/stem.py
    python benchmarks/stem.py --stem resnet50 alexnet --bits 1 16 64 --batch-size 4
    python benchmarks/stem.py --device cuda                   # one fused kernel among the forms, in float32
    python benchmarks/stem.py --device cuda --precision bf16  # and as a training of binary codes has it
    python benchmarks/stem.py --memory         # and what each form adds to the memory of a fresh process, on a CPU

The forms take turns in one process; medians are reported. This is what the choice of ``form="auto"`` rests on
(:mod:`p2be_exp.models.stem_form`). "embedding" is the look-up with PyTorch's own gradient of a table, as on a CPU; on a
GPU "lookup" has it as a histogram over levels. Memory comes after the rest: a process for each form takes some seconds
to start.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.encodings import P2BE, TableEncoding
from p2be_exp.models.stem import EncodedConv2d
from p2be_exp.models.stem_form import fusible

if not __package__:  # run as a file: the package that it belongs to is found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.hardware import hardware, set_precision
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
GPU_FORMS = ("plain", "embedding", "lookup", "folded", "fused")


def plain(images: Tensor, table: Tensor, stem: EncodedConv2d) -> Tensor:
    """Gather, move the bits to the front, convolve: the reference's way."""
    rows = F.embedding(images.long(), table)
    codes = rows.permute(0, 1, 4, 2, 3).flatten(1, 2).contiguous()
    return F.conv2d(codes, stem.weight, stride=stem.stride, padding=stem.padding)


def by_embedding(images: Tensor, table: Tensor, stem: EncodedConv2d) -> Tensor:
    """The look-up as a CPU has it, on any device."""
    rows = F.embedding(images.permute(0, 2, 3, 1).int(), table)
    return stem.convolve(rows.flatten(3).permute(0, 3, 1, 2), stem.binary)


def forms(encoding: TableEncoding, name: str, device: torch.device) -> dict[str, Callable[[Tensor], Tensor]]:
    """The ways to compute the same features: those of :data:`FORMS`, or of :data:`GPU_FORMS`."""
    _, *shape = STEMS[name]
    _, kernel, stride, padding = shape
    stem = {form: EncodedConv2d(encoding, *shape, form=form).to(device) for form in ("lookup", "folded", "fused")}
    ways = {
        "plain": lambda images: plain(images, encoding.table(), stem["lookup"]),
        "lookup": lambda images: stem["lookup"](images, encoding.table()),
        "folded": lambda images: stem["folded"](images, encoding.table()),
    }
    if device.type == "cuda":
        ways["embedding"] = lambda images: by_embedding(images, encoding.table(), stem["lookup"])
        if fusible(device, torch.float32, kernel, stride, padding):
            ways["fused"] = lambda images: stem["fused"](images, encoding.table())
    return ways


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


def measure(
    name: str,
    bits: int,
    batch_size: int,
    rounds: int,
    device: torch.device,
    precision: str = "32",
    within: float = math.inf,
) -> dict[str, float]:
    """Median milliseconds of each form that the shape has there.

    Args:
        name: of :data:`STEMS`.
        bits: of the code.
        batch_size: images.
        rounds: in which the forms take turns.
        device: that they run on.
        precision: ``bf16`` or ``32``.
        within: no round begins after so many seconds.
    """
    ways = forms(learned_table(bits).to(device), name, device)
    images = random_images(name, batch_size, device)

    def once(run: Callable[[Tensor], Tensor]) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            features = run(images)
        features.float().square().mean().backward()

    seconds = take_turns({way: partial(once, run) for way, run in ways.items()}, rounds, device, within=within)
    return {way: 1000 * statistics.median(values) for way, values in seconds.items()}


def main() -> None:
    """Measure and print a table in Markdown for each stem, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--stem", nargs="+", choices=STEMS, default=["wrn"])
    parser.add_argument("--bits", nargs="+", type=int, default=BITS)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--memory", action="store_true", help="on a CPU: MiB that each form adds, after the rest")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    set_precision(arguments.precision, device)
    print(f"{hardware(device)}; forward and backward, {arguments.precision}, ms")
    columns, digits = (GPU_FORMS, 3) if device.type == "cuda" else (FORMS, 1)
    for name in arguments.stem:
        print_head(name, arguments.batch_size, columns)
        for bits in arguments.bits:
            ms = measure(name, bits, arguments.batch_size, arguments.rounds, device, arguments.precision)
            cells = (f"{ms[form]:.{digits}f}" if form in ms else "" for form in columns)
            print(f"| {bits} | " + " | ".join(cells) + " |", flush=True)
    if not arguments.memory or device.type != "cpu":
        return
    print("\nMiB that a pass adds to a fresh process")
    for name in arguments.stem:
        print_head(name, arguments.batch_size, FORMS)
        for bits in arguments.bits:
            print(f"| {bits} |", end="", flush=True)
            for form in FORMS:
                settings = (name, bits, arguments.batch_size, form, torch.get_num_threads())
                print(f" {in_fresh_process(added_memory, *settings):.0f} |", end="", flush=True)
            print(flush=True)


def print_head(name: str, batch_size: int, columns: Sequence[str]) -> None:
    """The head of a stem's table."""
    size, channels, kernel, stride, _ = STEMS[name]
    print(f"\nbatch {batch_size}, {size} x {size}; {kernel} x {kernel} / {stride} to {channels} channels\n")
    print("| M | " + " | ".join(columns) + " |\n" + "|---" * (1 + len(columns)) + "|", flush=True)


if __name__ == "__main__":
    main()
