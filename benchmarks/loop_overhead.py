"""What the training loop costs beside the steps: the wait for data, and Lightning's own work.

    python benchmarks/loop_overhead.py                 # WRN-16-1, batches of 128, standard regime
    python benchmarks/loop_overhead.py --batch-size 2 --batches 150 --threads 1    # little work: the cost itself
    python benchmarks/loop_overhead.py --device cuda

The same batches are trained twice over in one process, in turn: by ``Trainer.fit`` with every callback of a real run,
and by a bare loop over the same loader, loss and optimizer. The difference of their medians is Lightning's and the
callbacks' cost a step, in the rounds one by one. The wait for data is the time spent inside the loader during ``fit``.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from p2be_exp.config import training_config
from p2be_exp.data import Batch, ImageDataModule, ImageSet, ResidentLoader
from p2be_exp.runs.run import Run
from p2be_exp.system.stop_signals import StopSignals
from p2be_exp.training.job import prepare


class TimedLoader(ResidentLoader):
    """Adds up the seconds spent making batches."""

    waited = 0.0

    def __iter__(self) -> Iterator[Batch]:
        batches = super().__iter__()
        while True:
            start = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            TimedLoader.waited += time.perf_counter() - start
            yield batch


class RandomData(ImageDataModule):
    """Random levels in the shape of CIFAR-100, so that nothing has to be on disk."""

    def __init__(self, images: int, batch_size: int) -> None:
        super().__init__(
            "cifar100", "", batch_size=batch_size, eval_batch_size=1000, seed=0, limit_train=None, limit_test=None,
            val_size=0, split_seed=0, download=False,
        )  # fmt: skip
        levels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
        labels = torch.randint(0, 100, (images,))
        self._sets = {part: ImageSet(levels, labels, tuple(map(str, range(100)))) for part in ("train", "test")}

    def prepare_data(self) -> None:
        """Nothing to fetch."""

    def train_dataloader(self) -> TimedLoader:
        loader = super().train_dataloader()
        return TimedLoader(loader.data, loader.batch_size, shuffle_seed=0, device=loader.device)


class EpochTimes(pl.Callback):
    """Seconds of each epoch's batches."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self._start = time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds.append(time.perf_counter() - self._start)


def bare_epoch(module: Any, optimizer: torch.optim.Optimizer, loader: ResidentLoader, device: torch.device) -> float:
    """Seconds of an epoch without Lightning."""
    start = time.perf_counter()
    for batch in loader:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            _, loss, _ = module.loss_terms(batch, epoch=0)
        loss.backward()
        optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backbone", default="wrn16_1")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    overrides = [f"backbone={arguments.backbone}", "dataset=cifar100", "regime=standard", "optim.lr=0.001"]
    overrides += [f"batch_size={arguments.batch_size}", f"epochs={arguments.rounds + 1}"]
    overrides += [f"trainer={'gpu' if device.type == 'cuda' else 'cpu'}", "trainer.progress=true"]
    config = training_config(overrides)
    data = RandomData(arguments.batches * arguments.batch_size, arguments.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        run.create(config)
        times = EpochTimes()
        trainer, module = prepare(config, run, data, StopSignals(), [], more_callbacks=[times])
        bare: list[float] = []

        class BareInTurn(pl.Callback):
            """After each epoch of ``fit`` one of the bare loop, on the same weights."""

            def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
                with torch.enable_grad():
                    loader = ImageDataModule.train_dataloader(data)
                    bare.append(bare_epoch(pl_module, trainer.optimizers[0], loader, trainer.strategy.root_device))

        trainer.callbacks.append(BareInTurn())
        TimedLoader.waited = 0.0
        trainer.fit(module, data)
        share = 100 * TimedLoader.waited / sum(times.seconds)
    fit, alone = ([1000 * s / arguments.batches for s in seconds[1:]] for seconds in (times.seconds, bare))
    extra = [mine - other for mine, other in zip(fit, alone, strict=True)]
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"\n{platform.machine()}, {name}; torch {torch.__version__}; Lightning {pl.__version__}; ", end="")
    print(f"{arguments.backbone}, batch {arguments.batch_size}, {arguments.batches} batches, {arguments.rounds} rounds")
    print(f"fit {statistics.median(fit):.2f} ms a step, bare loop {statistics.median(alone):.2f} ms a step; ", end="")
    print(f"Lightning and callbacks {statistics.median(extra):.2f} ms a step ({min(extra):.2f} to {max(extra):.2f})")
    print(f"wait for data: {share:.2f} % of the epochs")


if __name__ == "__main__":
    main()
