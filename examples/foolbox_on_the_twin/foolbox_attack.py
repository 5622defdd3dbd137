"""Foolbox's PGD on a trained run, through the differentiable twin; the run's own network judges what comes back.

python examples/foolbox_on_the_twin/foolbox_attack.py RUN
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import foolbox
import torch
from torch import Tensor, nn

from p2be_exp import load_run
from p2be_exp.data import load_dataset


@dataclass(frozen=True)
class Outcome:
    """Numbers of wrong images: as they are, and after the attack."""

    images: int
    clean: int
    attacked: int


def attack(model: nn.Module, images: Tensor, labels: Tensor, eps_levels: int, gradient: str, steps: int) -> Tensor:
    """Adversarial images of Foolbox's L-infinity PGD.

    Args:
        model: of :func:`p2be_exp.load_run`.
        images: uint8 ``(B, 3, H, W)``.
        labels: int64 ``(B,)``.
        eps_levels: radius in levels.
        gradient: ``secant``, ``smooth`` or ``interpolate``, see docs/attacks.md.
        steps: of the attack.

    Returns:
        uint8 ``(B, 3, H, W)``, inside the ball.
    """
    twin = model.surrogate(gradient, radius=eps_levels)
    target = foolbox.PyTorchModel(twin, bounds=(0, 1))
    _, found, _ = foolbox.attacks.LinfPGD(steps=steps)(target, images / 255, labels, epsilons=eps_levels / 255)
    # The nearest levels: what the twin has read, too. The ball is of whole levels, so rounding stays inside it.
    return (found * 255).round().to(torch.uint8)


@torch.no_grad()
def judge(model: nn.Module, images: Tensor, found: Tensor, labels: Tensor, eps_levels: int) -> Outcome:
    """Ask the network itself, from scratch, and check that the images are inside the ball."""
    assert int((found.short() - images.short()).abs().max()) <= eps_levels
    wrong = [int((model(each).argmax(1) != labels).sum()) for each in (images, found)]
    return Outcome(len(images), *wrong)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a run folder")
    parser.add_argument("--dataset", default="digits", help="what the run was trained on")
    parser.add_argument("--data-dir", default="data", help="where its files are")
    parser.add_argument("--images", type=int, default=100, help="how many test images")
    parser.add_argument("--eps-levels", type=int, default=8, help="radius in levels")
    parser.add_argument("--gradient", default="secant", choices=("secant", "smooth", "interpolate"))
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    model = load_run(given.run)
    _, test = load_dataset(given.dataset, given.data_dir, download=False)
    images, labels = test.images[: given.images], test.labels[: given.images]
    torch.manual_seed(0)  # of Foolbox's random start
    found = attack(model, images, labels, given.eps_levels, given.gradient, given.steps)
    outcome = judge(model, images, found, labels, given.eps_levels)
    print(f"clean: {outcome.clean} of {outcome.images} images wrong")
    print(f"LinfPGD, {given.gradient}, {given.eps_levels} levels: {outcome.attacked} of {outcome.images} images wrong")


if __name__ == "__main__":
    main()
