"""A training step against an inner attack, over a standard step of the same batch.

    python benchmarks/adversarial_step.py                          # WRN-16-1, P2BE, batches of 128, LS-PGA of 7 steps
    python benchmarks/adversarial_step.py --backbone wrn40_2 --batch-size 32 --rounds 3
    python benchmarks/adversarial_step.py --device cuda
    python benchmarks/adversarial_step.py --trades                 # TRADES over advtrain, both with PGD of 10 steps

Loss, backward and optimizer step of each regime take turns with the standard regime's on the same images; reported are
the median over the rounds and the median of each round's ratio to the standard step. With ``--trades`` the regimes that
take turns are advtrain and TRADES without perturbed weights. On a CPU the seconds are the processor's time, which does
not grow when others use the machine.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from p2be_exp.config import training_config
from p2be_exp.data import Batch
from p2be_exp.training.module import TrainingModule

if not __package__:  # run as a file: the package that it belongs to is found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.hardware import hardware, set_precision
from benchmarks.turns import median_ratio, take_turns

REGIMES = {
    "standard": ["regime=standard"],
    "contrain": ["regime=contrain"],
    "advtrain": ["regime=advtrain"],
}
BY_PGD = {
    "advtrain": ["regime=advtrain", "attack@regime.attack=pgd", "regime.attack.steps=10"],
    "trades": ["regime=trades", "regime.attack.steps=10"],
}
"""Both with ten steps of PGD."""


class Measured(NamedTuple):
    """A regime's step: milliseconds, and its ratio to the standard step of the same batch."""

    regime: str
    ms: float
    over_standard: float


def make_step(regime: Sequence[str], backbone: str, batch_size: int, device: torch.device) -> Callable[[], None]:
    """A function that does one step of P2BE, as training has it: bf16 on a GPU, float32 on a CPU.

    Args:
        regime: overrides that choose it.
        backbone: its name.
        batch_size: images, 3 x 32 x 32.
        device: where to.
    """
    torch.manual_seed(0)
    overrides = [f"backbone={backbone}", "dataset=cifar10", "encoding=p2be", *regime]
    module = TrainingModule(training_config(overrides), 10, batches_per_epoch=100).to(device).train()
    optimizer = module.configure_optimizers()["optimizer"]
    images = torch.randint(0, 256, (batch_size, 3, 32, 32), dtype=torch.uint8, device=device)
    indices = torch.arange(batch_size, device=device)
    batch = Batch(images, indices % 10, indices, len(images), len(images), 1.0)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            _, loss, _ = module.loss_terms(batch, epoch=0)
        loss.backward()
        module.on_after_backward()
        optimizer.step()

    return step


def measure(backbone: str, batch_size: int, rounds: int, device: torch.device) -> Iterator[Measured]:
    """Each regime, as soon as it is measured."""
    standard = make_step(REGIMES["standard"], backbone, batch_size, device)
    for regime in REGIMES:
        mine = standard if regime == "standard" else make_step(REGIMES[regime], backbone, batch_size, device)
        seconds = take_turns({"standard": standard, regime: mine}, rounds, device, warm_up=1, clock=clock_of(device))
        ratio = median_ratio(seconds[regime], seconds["standard"])
        yield Measured(regime, 1000 * statistics.median(seconds[regime]), ratio)


def clock_of(device: torch.device) -> Callable[[], float]:
    """The wall's on a GPU; on a CPU the processor's time."""
    return time.perf_counter if device.type == "cuda" else time.process_time


def trades_over_advtrain(
    backbone: str, batch_size: int, rounds: int, device: torch.device
) -> tuple[dict[str, float], float]:
    """Median milliseconds of each step of :data:`BY_PGD`, and the median of each round's ratio."""
    steps = {name: make_step(regime, backbone, batch_size, device) for name, regime in BY_PGD.items()}
    seconds = take_turns(steps, rounds, device, warm_up=1, clock=clock_of(device))
    medians = {name: 1000 * statistics.median(each) for name, each in seconds.items()}
    return medians, median_ratio(seconds["trades"], seconds["advtrain"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--backbone", default="wrn16_1")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--trades", action="store_true", help="TRADES over advtrain, both with PGD of 10 steps")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    set_precision("bf16" if device.type == "cuda" else "32", device)
    print(hardware(device))
    if arguments.trades:
        print(f"{arguments.backbone}, P2BE, batch {arguments.batch_size}, PGD of 10 steps, {arguments.rounds} rounds\n")
        settings = (arguments.backbone, arguments.batch_size, arguments.rounds, device)
        medians, ratio = trades_over_advtrain(*settings)
        print("| regime | ms a step |\n|---|---|")
        print("\n".join(f"| {name} | {ms:.0f} |" for name, ms in medians.items()))
        print(f"\ntrades over advtrain: {ratio:.2f}")
        return
    print(f"{arguments.backbone}, P2BE, batch {arguments.batch_size}, the regimes' LS-PGA, {arguments.rounds} rounds\n")
    print("| regime | ms a step | over standard |\n|---|---|---|", flush=True)
    for row in measure(arguments.backbone, arguments.batch_size, arguments.rounds, device):
        print(f"| {row.regime} | {row.ms:.0f} | {row.over_standard:.2f} |", flush=True)


if __name__ == "__main__":
    main()
