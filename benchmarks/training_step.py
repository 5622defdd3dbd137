"""One training step of a network: P2BE and its plain form over RGB, in time and in peak memory.

    python benchmarks/training_step.py                 # WRN-40-2, batches of 128, standard regime
    python benchmarks/training_step.py --device cuda   # bf16
    python benchmarks/training_step.py --regime augmix --variants rgb onehot thermometer
    python benchmarks/training_step.py --backbone resnet50 --batch-size 4 --variants p2be   # at 224 x 224

Each variant takes turns with RGB, so that what slows the machine down slows both; the median over the rounds of each
round's ratio is reported. Peak memory is each variant's alone: on a GPU the allocator's peak; on a CPU, with --memory
and after the rest, the largest resident size of a process of its own, which takes some seconds to start.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.backbones import build_backbone
from p2be_exp.config.schema import AugMixConfig, OneHotConfig, RGBConfig, SGDConfig, StandardConfig, ThermometerConfig
from p2be_exp.data import Batch
from p2be_exp.encodings import P2BE, build_encoding
from p2be_exp.models.model import EncodedClassifier
from p2be_exp.optim import build_optimizer
from p2be_exp.regimes import build_regime

if not __package__:  # run as a file: the package that it belongs to is found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.hardware import hardware, set_precision
from benchmarks.memory import allocated, in_fresh_process, peak_since, resident_peak
from benchmarks.turns import median_ratio, take_turns

OPTIM = SGDConfig(
    lr=0.1,
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    table_lr=1e-4,
    table_betas=[0.999, 0.999],
    table_weight_decay=1e-4,
)
ENCODINGS = {"rgb": RGBConfig(), "onehot": OneHotConfig(M=64), "thermometer": ThermometerConfig(M=64)}
AUGMIX = AugMixConfig(alpha_jsd=12.0, magnitude=3.0, view_rounding="floor")
PLAIN = "p2be, plain form"
SIZES = {"resnet50": 224, "alexnet": 224}
"""Of the images, in pixels, where it is not 32."""
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
VARIANTS = ("rgb", "p2be", PLAIN, "onehot", "thermometer")


class PlainForm(EncodedClassifier):
    """The reference's way: gather rows, move their values to the front, convolve 3M channels."""

    def forward(self, images: Tensor) -> Tensor:
        rows = F.embedding(images.long(), self.encoding.table())  # (B, 3, H, W, M)
        codes = rows.permute(0, 1, 4, 2, 3).flatten(1, 2).contiguous()
        return self.trunk(F.conv2d(codes, self.stem.weight, stride=self.stem.stride, padding=self.stem.padding))


def make_model(variant: str, backbone: str, device: torch.device) -> EncodedClassifier:
    """The network of one of ``VARIANTS``, for 100 classes, channels-last."""
    torch.manual_seed(0)
    name = variant.partition(",")[0]
    encoding = (
        P2BE(64, smoothness="mean", init="normal", slope_at_zero=4.0)
        if name == "p2be"
        else build_encoding(ENCODINGS[name])
    )
    cls = PlainForm if variant == PLAIN else EncodedClassifier
    return cls(encoding, build_backbone(backbone, 100)).to(device, memory_format=torch.channels_last)


def make_step(
    variant: str, backbone: str, batch_size: int, regime: str, device: torch.device, precision: str
) -> Callable[[], None]:
    """A function that does one step: loss, gradients, both optimizers.

    Args:
        variant: one of ``VARIANTS``.
        backbone: name of the network.
        batch_size: images a step, 3 x 32 x 32, or of the size that the network is for.
        regime: ``standard`` or ``augmix``.
        device: where to.
        precision: ``bf16`` (autocast) or ``32``.
    """
    model = make_model(variant, backbone, device)
    table = list(model.encoding.parameters())
    optimizer = build_optimizer([*model.stem.parameters(), *model.trunk.parameters()], table, OPTIM)
    rule = build_regime(AUGMIX if regime == "augmix" else StandardConfig(), seed=0, augmentation="flip_crop")
    size = SIZES.get(backbone, 32)
    images = torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 100, (batch_size,), device=device)
    indices = torch.arange(batch_size, device=device)
    batch = Batch(images, labels, indices, batch_size, batch_size, 1.0)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            result = rule.loss(model, batch, epoch=0)
        loss = sum(result.weights.get(name, 1.0) * term for name, term in result.terms.items())
        smoothness = model.encoding.smoothness()
        (loss if smoothness is None else loss + smoothness).backward()
        optimizer.step()

    return step


def made_and_warm(variant: str, *settings: object) -> tuple[Callable[[], None], float | None]:
    """A variant's step after two calls, and the GiB that it needs on a GPU by itself (None on a CPU).

    Args:
        variant: one of ``VARIANTS``.
        settings: the other arguments of :func:`make_step`.
    """
    device = next(each for each in settings if isinstance(each, torch.device))
    before = allocated(device)
    step = make_step(variant, *settings)
    step()
    step()
    return step, peak_since(before, step, device)


def resident_peak_of(variant: str, settings: tuple, threads: int) -> float:
    """GiB that this process, which has to be a fresh one, has resident at most in three steps of a variant."""
    torch.set_num_threads(threads)
    step = make_step(variant, *settings)
    for _ in range(3):
        step()
    return resident_peak()


def main() -> None:
    """Measure and print a table in Markdown, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backbone", default="wrn40_2")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--regime", choices=("standard", "augmix"), default="standard")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS[:3])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: the processor's time")
    parser.add_argument("--memory", action="store_true", help="on a CPU: each variant's peak, after the rest")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    precision = "bf16" if device.type == "cuda" else "32"
    set_precision(precision, device)
    settings = (arguments.backbone, arguments.batch_size, arguments.regime, device, precision)

    print(hardware(device))
    print(f"{arguments.backbone}, batch {arguments.batch_size}, {arguments.regime}, {arguments.rounds} rounds\n")
    print("| variant | ms a step | over RGB | peak GiB | over RGB |\n|---|---|---|---|---|", flush=True)
    rgb, rgb_peak = made_and_warm("rgb", *settings)
    for variant in arguments.variants:
        step, peak = (rgb, rgb_peak) if variant == "rgb" else made_and_warm(variant, *settings)
        turns = {"rgb": rgb, variant: step}
        seconds = take_turns(turns, arguments.rounds, device, warm_up=0, clock=CLOCKS[arguments.clock])
        cells = [f"{1000 * statistics.median(seconds[variant]):.0f}"]
        cells += [f"{median_ratio(seconds[variant], seconds['rgb']):.2f}"]
        cells += ["", ""] if peak is None else [f"{peak:.2f}", f"{peak / rgb_peak:.2f}"]
        print(f"| {variant} | {' | '.join(cells)} |", flush=True)
    if arguments.memory and device.type == "cpu":
        print("\n| variant | peak GiB of a process of its own | over RGB |\n|---|---|---|", flush=True)
        peaks = {}
        for variant in dict.fromkeys(["rgb", *arguments.variants]):
            peaks[variant] = in_fresh_process(resident_peak_of, variant, settings, arguments.threads)
            print(f"| {variant} | {peaks[variant]:.2f} | {peaks[variant] / peaks['rgb']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
