"""The encoded stem alone, forward and backward: look-up, folded and plain form over the number of bits.

    python benchmarks/stem.py
    python benchmarks/stem.py --device cuda

The forms take turns in one process; medians are reported. This is what the choice of ``form="auto"`` rests on.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.encodings import P2BE, TableEncoding
from p2be_exp.stem import EncodedConv2d

BITS = (1, 2, 4, 8, 16, 32, 64, 128)


def plain(images: Tensor, table: Tensor, weight: Tensor) -> Tensor:
    """Gather, move the bits to the front, convolve: the reference's way."""
    rows = F.embedding(images.long(), table)
    return F.conv2d(rows.permute(0, 1, 4, 2, 3).flatten(1, 2).contiguous(), weight, padding=1)


def forms(encoding: TableEncoding, device: torch.device) -> dict[str, Callable[[Tensor], Tensor]]:
    """The ways to compute the same features."""
    stem = {form: EncodedConv2d(encoding, 16, form=form).to(device) for form in ("lookup", "folded")}
    return {
        "plain": lambda images: plain(images, encoding.table(), stem["lookup"].weight),
        "lookup": lambda images: stem["lookup"](images, encoding.table()),
        "folded": lambda images: stem["folded"](images, encoding.table()),
    }


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    images = torch.randint(0, 256, (arguments.batch_size, 3, 32, 32), dtype=torch.uint8, device=device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{platform.machine()}, {name}; torch {torch.__version__}; batch {arguments.batch_size}, 32 x 32, ", end="")
    print("3 x 3 to 16 channels; ms forward and backward\n")
    print("| M | plain | lookup | folded |\n|---|---|---|---|")
    for bits in BITS:
        ways = forms(P2BE(M=bits).to(device), device)
        ms: dict[str, list[float]] = {way: [] for way in ways}
        for round_ in range(arguments.rounds + 2):
            for way, run in ways.items():
                start = time.perf_counter()
                run(images).square().mean().backward()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                if round_ >= 2:
                    ms[way].append(1000 * (time.perf_counter() - start))
        print(f"| {bits} | " + " | ".join(f"{statistics.median(values):.1f}" for values in ms.values()) + " |")


if __name__ == "__main__":
    main()
