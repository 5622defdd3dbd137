"""Where a step of LS-PGA spends its time, by part; and what the step costs beside a pass on RGB.

    python benchmarks/lspga_parts.py                                                # both networks, batches of 32
    python benchmarks/lspga_parts.py --backbones wrn16_1 --encodings p2be --batch-size 128 --threads 1

Each part does again what a step does, on its own inputs: the softmax over the places of a window, the mixture of codes
and the stem (forward and backward, to the shares), the trunk (forward and backward, to the stem's features), and the
update (gradient of the softmax, sign, count of zeros). ``search`` is a whole search over its steps, random start and
images included; a pass on RGB is forward and backward of the same network with the gradients of all weights, on as many
images. All of a row take turns, and on a CPU the seconds are the processor's time, which does not grow when others use
the machine. Printed are medians, in ms, and the median of each round's ratio.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

from p2be_exp.attacks.attack import attacked
from p2be_exp.attacks.lspga import LSPGA, ascend
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.attacks.window import Window
from p2be_exp.backbones import build_backbone
from p2be_exp.encodings import P2BE, RGB, TableEncoding, Thermometer
from p2be_exp.models.model import EncodedClassifier

if not __package__:  # run as a file: the package that it belongs to is found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.hardware import hardware, set_precision
from benchmarks.turns import median_ratio, take_turns

STEPS = 7
ENCODINGS: dict[str, Callable[[], TableEncoding]] = {
    "rgb": RGB,
    "thermometer": lambda: Thermometer(64),
    "p2be": lambda: P2BE(64, smoothness="mean", init="normal", slope_at_zero=4.0),
}
PARTS = ("softmax", "mix", "stem", "trunk", "update", "start", "search")


def build(encoding: str, backbone: str, device: torch.device) -> EncodedClassifier:
    """A fresh network of 100 classes in channels-last memory."""
    torch.manual_seed(0)
    model = EncodedClassifier(ENCODINGS[encoding](), build_backbone(backbone, 100))
    return model.to(device, memory_format=torch.channels_last)


def works(encoding: str, backbone: str, batch_size: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """Every part of a step, the search, and a pass on RGB.

    The networks stay as :func:`~p2be_exp.attacks.attack.attacked` has them, apart from that of the pass.
    """
    model, plain = build(encoding, backbone, device).eval().requires_grad_(False), build("rgb", backbone, device)
    images = torch.randint(0, 256, (batch_size, 3, 32, 32), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 100, (batch_size,), device=device)
    attack = LSPGA(8, STEPS, 1.0, 1.2, "soften", "sign", "normal", restarts=1)
    random = AttackRandom(0, torch.arange(batch_size, device=device))
    (reader,) = model.readers
    window = Window(model.encodings, images, 8)
    rows = window.rows(model.encoding.table())
    u = attack.start(window, random, 0)
    shares = torch.softmax(u, dim=-1)
    codes = window.mix(shares, rows)
    features = reader.of_codes(codes)
    of_codes, of_features = torch.randn_like(codes), torch.randn_like(features)

    def mix() -> None:
        leaf = shares.detach().requires_grad_()
        torch.autograd.grad(window.mix(leaf, rows), leaf, of_codes)

    def stem() -> None:
        leaf = codes.detach().requires_grad_()
        torch.autograd.grad(reader.of_codes(leaf), leaf, of_features)

    def trunk() -> None:
        leaf = features.detach().requires_grad_()
        torch.autograd.grad(F.cross_entropy(model.body(leaf), labels, reduction="sum"), leaf)

    def search() -> None:
        with attacked(model):
            attack.search(model, images, labels, random)

    def pass_on_rgb() -> None:
        plain.zero_grad()
        F.cross_entropy(plain(images), labels).backward()

    return {
        "softmax": lambda: torch.softmax(u / 1.2, dim=-1),
        "mix": mix,
        "stem": stem,
        "trunk": trunk,
        "update": lambda: ascend(u.clone(), shares, shares, 1.2, "sign", 1.0),
        "start": lambda: attack.start(window, random, 0),
        "search": search,
        "pass": pass_on_rgb,
    }


def main() -> None:
    """Measure and print a table in Markdown, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backbones", nargs="+", default=["wrn16_1", "wrn40_2"])
    parser.add_argument("--encodings", nargs="+", choices=ENCODINGS, default=list(ENCODINGS))
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    set_precision("32", device)
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    print(hardware(device))
    print(f"batches of {arguments.batch_size}, {STEPS} steps, {arguments.rounds} rounds, ms a step\n")
    print(f"| network | encoding | {' | '.join(PARTS)} | pass on RGB | step over pass |")
    print("|---" * (len(PARTS) + 4) + "|", flush=True)
    for backbone in arguments.backbones:
        for encoding in arguments.encodings:
            works_ = works(encoding, backbone, arguments.batch_size, device)
            seconds = take_turns(works_, arguments.rounds, device, warm_up=1, clock=clock)
            for name in ("start", "search"):
                seconds[name] = [each / STEPS for each in seconds[name]]
            ms = [f"{1000 * statistics.median(seconds[name]):.1f}" for name in (*PARTS, "pass")]
            ratio = median_ratio(seconds["search"], seconds["pass"])
            print(f"| {backbone} | {encoding} | {' | '.join(ms)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
