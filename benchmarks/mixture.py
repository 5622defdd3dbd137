"""What a step of PGD costs on a mixture, beside the same steps on its two parts alone.

    python benchmarks/mixture.py                                      # two WRN-16-1, RGB and P2BE
    python benchmarks/mixture.py accurate=resnet18 robust=wrn40_2 batch=16 rounds=5

CPU seconds on one thread, in turns; networks as they are initialised, and no image leaves the search. A mixture with a
gate computes more than its parts do; the gate is of its default size.
"""

import sys
import time
from functools import partial

import torch

from benchmarks.hardware import hardware
from benchmarks.turns import median_ratio, take_turns
from p2be_exp.attacks.attack import attacked
from p2be_exp.attacks.pgd import PGD
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.config import training_config
from p2be_exp.models.adaptive_mixed import AdaptiveMixedClassifier
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.mixed import MixedClassifier
from p2be_exp.models.model import build_model

KEYS = {"accurate": "wrn16_1", "robust": "wrn16_1", "encodings": "rgb+p2be", "batch": "32", "steps": "4", "rounds": "9"}


def searched(model: Classifier, images: torch.Tensor, labels: torch.Tensor, steps: int) -> None:
    """A search that no image leaves."""
    attack = PGD(8, gradient="secant", loss="margin", steps=steps, restarts=1, stop_when_wrong=False)
    with attacked(model):
        attack.search(model, images, labels, AttackRandom(0, torch.arange(len(images))))


def main() -> None:
    """The command."""
    given = {**KEYS, **dict(word.split("=", 1) for word in sys.argv[1:])}
    if unknown := sorted(given.keys() - KEYS.keys()):
        raise SystemExit(f"{', '.join(unknown)}: unknown; the keys are {', '.join(KEYS)}")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    batch, steps, rounds = (int(given[key]) for key in ("batch", "steps", "rounds"))
    encodings = dict(zip(("accurate", "robust"), given["encodings"].split("+"), strict=True))
    parts = {
        role: build_model(training_config([f"encoding={encoding}", f"backbone={given[role]}"]), 10).eval()
        for role, encoding in encodings.items()
    }
    models = {
        **parts,
        "mix": MixedClassifier(**parts, alpha=0.7),
        "adaptive_mix": AdaptiveMixedClassifier(**parts, alpha_low=0.5, alpha_high=1.0, gate_std=2.0, gate_mean=1.0),
    }
    images = torch.randint(256, (batch, 3, 32, 32)).to(torch.uint8)
    labels = torch.randint(10, (batch,))
    works = {
        name: partial(searched, model.to(memory_format=torch.channels_last).eval(), images, labels, steps)
        for name, model in models.items()
    }
    print(f"{hardware(torch.device('cpu'))}; {' '.join(f'{key}={value}' for key, value in given.items())}\n")
    seconds = take_turns(works, rounds, torch.device("cpu"), clock=time.process_time)
    together = [sum(pair) for pair in zip(seconds["accurate"], seconds["robust"], strict=True)]
    print("| model | seconds a step, median | over the sum of its parts |\n|---|---|---|")
    for name, each in seconds.items():
        ratio = f"{median_ratio(each, together):.2f}" if name not in parts else ""
        print(f"| {name} | {sorted(each)[len(each) // 2] / steps:.3f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
