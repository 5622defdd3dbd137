"""A training step against an inner attack, over a standard step of the same batch.

    python benchmarks/adversarial_step.py                          # WRN-16-1, P2BE, batches of 128, LS-PGA of 7 steps
    python benchmarks/adversarial_step.py --backbone wrn40_2 --batch-size 32 --rounds 3
    python benchmarks/adversarial_step.py --device cuda

Loss, backward and optimizer step of each regime take turns on the same images in one process; reported are the median
over the rounds and the median of each round's ratio to the standard step.
"""

import argparse
import platform
import statistics
import time

import torch

from p2be_exp.config import compose_config, to_plain
from p2be_exp.data import Batch
from p2be_exp.training import TrainingModule

REGIMES = {
    "standard": ["regime=standard"],
    "contrain": ["regime=contrain"],
    "advtrain": ["regime=advtrain"],
}


def prepared(overrides: list[str], device: torch.device) -> tuple[TrainingModule, torch.optim.Optimizer]:
    """A module with its optimizer, as training has them."""
    torch.manual_seed(0)
    module = TrainingModule(to_plain(compose_config("train", overrides)), 10, batches_per_epoch=100).to(device).train()
    return module, module.configure_optimizers()["optimizer"]


def step(module: TrainingModule, optimizer: torch.optim.Optimizer, batch: Batch, epoch: int) -> float:
    """Seconds of one step."""
    start = time.perf_counter()
    optimizer.zero_grad()
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=batch.images.is_cuda):
        _, loss, _ = module.loss_terms(batch, epoch)
    loss.backward()
    optimizer.step()
    if batch.images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--backbone", default="wrn16_1")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    images = torch.randint(0, 256, (arguments.batch_size, 3, 32, 32), dtype=torch.uint8, device=device)
    indices = torch.arange(arguments.batch_size, device=device)
    batch = Batch(images, indices % 10, indices, len(images), len(images), 1.0)
    common = [f"backbone={arguments.backbone}", "dataset=cifar10", "encoding=p2be"]
    modules = {name: prepared([*common, *overrides], device) for name, overrides in REGIMES.items()}
    seconds: dict[str, list[float]] = {name: [] for name in REGIMES}
    for number in range(arguments.rounds + 1):
        for name, (module, optimizer) in modules.items():
            took = step(module, optimizer, batch, epoch=number)
            if number:  # the first round warms up
                seconds[name].append(took)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    steps = modules["contrain"][0].regime.attack.steps
    print(f"{platform.machine()}, {where}, Python {platform.python_version()}, torch {torch.__version__}")
    print(f"{arguments.backbone}, P2BE, batch {len(images)}, LS-PGA of {steps} steps, {arguments.rounds} rounds\n")
    print("| regime | ms a step | over standard |\n|---|---|---|")
    for name, mine in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(mine, seconds["standard"], strict=True))
        print(f"| {name} | {1000 * statistics.median(mine):.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
