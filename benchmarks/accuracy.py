"""Whether speed costs accuracy: our training and the published method's plain form, from the same weights, on digits.

    python -m benchmarks.accuracy                          # P2BE and RGB with augmix, seeds 0, 1 and 2
    python -m benchmarks.accuracy --encodings p2be --seeds 0 --overrides regime=standard epochs=4

Both have the quickstart's settings (WRN-16-1, 12 epochs), the same first weights, batches of the same size, loss,
optimizers and schedules. They differ in what an implementation is free to choose: the random numbers of shuffling,
flips, crops and AugMix, and the order of sums. A row is printed as soon as a pair is trained; then the paired
differences.
"""

import argparse
import contextlib
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.hardware import hardware
from benchmarks.step.published import PublishedTraining, Recipe
from benchmarks.step.training import NoSignals
from p2be_exp.config import check_config, training_config
from p2be_exp.config.schema import TrainConfig
from p2be_exp.data import ImageDataModule
from p2be_exp.evaluation.data import build_data
from p2be_exp.runs.run import Run
from p2be_exp.training.job import prepare

CPU = torch.device("cpu")


class Pair(NamedTuple):
    """Test errors in percent."""

    ours: float
    plain: float


def train_both(config: TrainConfig) -> Pair:
    """Train our form and the plain one from the same weights.

    Args:
        config: resolved and checked; of the regimes standard and augmix, on a CPU.
    """
    data = build_data(config, training=True)
    data.prepare_data()
    data.setup()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        run = Run(Path(folder))
        run.create(config)
        trainer, module = prepare(config, run, data, NoSignals(), [])
        plain = _plain(config, data)
        plain.net.take_weights(module.model)
        trainer.fit(module, data)
    model = module.model.eval()
    ours = _error(data, model)
    _train_plain(plain, config)
    net = plain.net.eval()
    return Pair(ours, _error(data, lambda levels: net(levels / 255)))


def _plain(config: TrainConfig, data: ImageDataModule) -> PublishedTraining:
    train = data.train_dataloader().data
    images, labels = train.images, train.labels
    steps = math.ceil(len(labels) / config.batch_size) * config.epochs
    optim = config.optim
    recipe = Recipe(optim.lr, getattr(optim, "table_lr", 0.0), steps, getattr(config.encoding, "lambda_smooth", 0.0))
    names = config.encoding.name, config.backbone.name, config.regime.name
    return PublishedTraining(*names, images, labels, config.batch_size, data.num_classes, CPU, 0, recipe)


def _train_plain(training: PublishedTraining, config: TrainConfig) -> None:
    torch.manual_seed(config.seed)
    training.net.train()
    with torch.enable_grad():
        for _ in range(config.epochs):
            for batch in training.loader:
                training.step(batch)


def _error(data: ImageDataModule, logits_of) -> float:
    wrong: list[Tensor] = []
    with torch.inference_mode():
        for batch in data.test_dataloader():
            wrong.append(logits_of(batch.images).argmax(1) != batch.labels)
    return 100 * torch.cat(wrong).double().mean().item()


def difference(pairs: Sequence[Pair]) -> str:
    """The mean of ours minus the plain form's, with its 95 % interval by Student's t; of one pair the value alone."""
    values = [pair.ours - pair.plain for pair in pairs]
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:+.2f}"
    from scipy import stats

    found = stats.ttest_1samp(values, 0.0).confidence_interval()
    return f"{mean:+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encodings", nargs="+", default=["p2be", "rgb"], help="p2be, rgb, onehot, thermometer")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--overrides", nargs="*", default=[], help="of the training's configuration")
    given = parser.parse_args(arguments)
    print(hardware(CPU))
    print("\n| encoding | seed | ours, error % | plain form, error % |\n|---|---|---|---|", flush=True)
    pairs: dict[str, list[Pair]] = {}
    for encoding in given.encodings:
        for seed in given.seeds:
            words = ["experiment=quickstart", f"encoding={encoding}", "regime=augmix", f"seed={seed}"]
            words += ["corruption=none", "attack=none", "trainer.progress=false", *given.overrides]
            config = training_config(words)
            check_config("train", config)
            pair = train_both(config)
            pairs.setdefault(encoding, []).append(pair)
            print(f"| {encoding} | {seed} | {pair.ours:.2f} | {pair.plain:.2f} |", flush=True)
    print("\n| encoding | pairs | ours minus plain form, points (95 %) |\n|---|---|---|")
    for encoding, found in pairs.items():
        print(f"| {encoding} | {len(found)} | {difference(found)} |")


if __name__ == "__main__":
    main()
